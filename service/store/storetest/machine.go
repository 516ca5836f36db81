package storetest

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

var machineRecords = suite{
	"a machine ends with its family and no other":      machines,
	"a machine and its token are stored or neither is": machineWithoutRoom,
}

// activate stores a machine with a first token of its family.
func activate(t *testing.T, s Store, m license.Machine) error {
	t.Helper()
	return s.Activate(t.Context(), newToken(m.AccountID, firstOf(m.Family)), did(at), m, did(at))
}

// firstOf is a token of a family.
func firstOf(family string) opaque.TokenID {
	return opaque.TokenID("00000001" + family + "000000000000000a")
}

func machineWithoutRoom(t *testing.T, s Store) {
	a := create(t, s, 1)
	first := license.Machine{
		ID: "mac_1", AccountID: a.ID, MachineID: "m", Family: tokenID(1, 7, 1).Family(),
		CreatedAt: at,
	}
	must(t, activate(t, s, first))
	before, err := s.AuditHead(t.Context())
	must(t, err)
	second := first // of the same id, which is taken
	second.Family = tokenID(1, 8, 1).Family()
	wantErr(t, "Activate(an id that is taken)", activate(t, s, second), failure.ErrConflict)
	_, err = s.Token(t.Context(), firstOf(second.Family))
	wantErr(t, "Token(of a machine that was not stored)", err, failure.ErrNotFound)
	after, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, before, after)
}

func machines(t *testing.T, s Store) {
	a := create(t, s, 1)
	token := tokenID(1, 7, 1)
	want := license.Machine{
		ID: "mac_1", AccountID: a.ID, MachineID: "m", Label: "build-7", Family: token.Family(),
		CreatedAt: at,
	}
	must(t, activate(t, s, want))
	got, err := s.MachineOf(t.Context(), want.Family)
	must(t, err)
	same(t, want, got)
	twin := want
	twin.ID, twin.Family = "mac_2", tokenID(1, 8, 1).Family()
	must(t, activate(t, s, twin))

	before, err := s.AuditHead(t.Context())
	must(t, err)
	must(t, s.EndMachine(t.Context(), want, did(at.Add(time.Hour))))
	must(t, s.EndMachine(t.Context(), want, did(at.Add(2*time.Hour))))
	after, err := s.AuditHead(t.Context())
	must(t, err)
	if after.Seq != before.Seq+1 {
		t.Errorf("ending a machine twice left %d lines in the log, want 1", after.Seq-before.Seq)
	}
	got, err = s.MachineOf(t.Context(), want.Family)
	must(t, err)
	want.EndedAt, want.Revoked = at.Add(time.Hour), true
	same(t, want, got)
	got, err = s.Machine(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
	other := twin
	other.ID, other.Family, other.AccountID = "mac_0", "another", create(t, s, 2).ID
	must(t, activate(t, s, other))
	for after, want := range map[string][]license.Machine{
		"": {want, twin}, "mac_1": {twin}, "mac_2": nil,
	} {
		list, err := s.Machines(t.Context(), a.ID, after, 2)
		must(t, err)
		same(t, want, list)
	}
	list, err := s.Machines(t.Context(), a.ID, "", 1)
	must(t, err)
	same(t, []license.Machine{want}, list)
	_, err = s.Machine(t.Context(), "mac_none")
	wantErr(t, "Machine(none)", err, failure.ErrNotFound)
	for family, ended := range map[string]bool{want.Family: true, twin.Family: false} {
		_, revoked, err := s.AccountStatus(t.Context(), a.ID, family)
		must(t, err)
		if revoked != ended {
			t.Errorf("family %s is revoked: %t, want %t", family, revoked, ended)
		}
	}
	_, err = s.ChangeAccount(t.Context(), a.ID,
		func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(at))
	must(t, err)
	for _, family := range []string{want.Family, twin.Family} { // host names often name their owner
		got, err = s.MachineOf(t.Context(), family)
		must(t, err)
		same(t, "", got.Label)
	}
	_, err = s.MachineOf(t.Context(), "unknown")
	wantErr(t, "MachineOf(unknown)", err, failure.ErrNotFound)
	twin.ID, twin.Family, twin.AccountID = "mac_3", "other", "user_none"
	wantErr(t, "Activate(no account)", activate(t, s, twin), failure.ErrNotFound)
}
