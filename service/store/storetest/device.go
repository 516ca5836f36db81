package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

func newDeviceLogin(n int) auth.DeviceLogin {
	return auth.DeviceLogin{
		ID: fmt.Sprintf("dev_%03d", n), DeviceHash: fmt.Sprintf("device%d", n), UserHash: fmt.Sprintf("user%d", n), Client: "cl_pageflare_cli", Address: "192.0.2.7",
		State: auth.DeviceWaiting, Interval: 5 * time.Second, CreatedAt: at, ExpiresAt: at.Add(15 * time.Minute),
	}
}

func deviceLogins(t *testing.T, s Store) {
	a := create(t, s, 1)
	want := newDeviceLogin(1)
	must(t, s.AddDeviceLogin(t.Context(), want))
	for _, hash := range []string{want.DeviceHash, want.UserHash} {
		got, err := s.DeviceLogin(t.Context(), hash)
		must(t, err)
		same(t, want, got)
	}
	taken := newDeviceLogin(2)
	taken.UserHash = want.UserHash
	wantErr(t, "AddDeviceLogin(same user code)", s.AddDeviceLogin(t.Context(), taken), failure.ErrConflict)
	_, err := s.DeviceLogin(t.Context(), "unknown")
	wantErr(t, "DeviceLogin(unknown)", err, failure.ErrNotFound)

	want.State, want.AccountID, want.PolledAt, want.Interval = auth.DeviceUsed, a.ID, at.Add(time.Second), 10*time.Second
	want.TokenHash, want.TokenEnds = "token", at.Add(time.Hour)
	got, err := s.ChangeDeviceLogin(t.Context(), want.UserHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
		*d = want
		return []audit.Act{did(at)}, nil
	})
	must(t, err)
	same(t, want, got)
	got, owner, err := s.LoginToken(t.Context(), "token")
	must(t, err)
	same(t, want, got)
	same(t, a, owner)
	_, _, err = s.LoginToken(t.Context(), "")
	wantErr(t, "LoginToken(none)", err, failure.ErrNotFound)
	_, err = s.ChangeDeviceLogin(t.Context(), want.UserHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
		d.State = auth.DeviceDenied
		return nil, auth.ErrDenied
	})
	wantErr(t, "ChangeDeviceLogin(refused)", err, auth.ErrDenied)
	got, err = s.DeviceLogin(t.Context(), want.DeviceHash)
	must(t, err)
	same(t, want, got)
}

// Many that consume one login at once: one does, and the log says so once.
func deviceOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	approved := newDeviceLogin(1)
	approved.State = auth.DeviceApproved
	must(t, s.AddDeviceLogin(t.Context(), approved))
	before, err := s.AuditHead(t.Context())
	must(t, err)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = s.ChangeDeviceLogin(t.Context(), approved.DeviceHash, func(d *auth.DeviceLogin) ([]audit.Act, error) {
				if d.State != auth.DeviceApproved {
					return nil, auth.ErrInvalidGrant
				}
				d.State, d.AccountID, d.TokenHash, d.TokenEnds = auth.DeviceUsed, a.ID, fmt.Sprintf("token%d", i), at
				return []audit.Act{did(at)}, nil
			})
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case !errors.Is(err, auth.ErrInvalidGrant) && !errors.Is(err, failure.ErrConflict):
			t.Errorf("ChangeDeviceLogin = %v", err)
		}
	}
	after, err := s.AuditHead(t.Context())
	must(t, err)
	if done != 1 || after.Seq != before.Seq+1 {
		t.Errorf("%d of %d consumed the login, with %d lines in the log; want 1 and 1", done, len(errs), after.Seq-before.Seq)
	}
}

func deviceLetGo(t *testing.T, s Store) {
	for n := range 20 {
		must(t, s.AddDeviceLogin(t.Context(), newDeviceLogin(n)))
	}
	add := func(n int, later time.Duration) {
		d := newDeviceLogin(n)
		d.CreatedAt, d.ExpiresAt = d.CreatedAt.Add(later), d.ExpiresAt.Add(later)
		must(t, s.AddDeviceLogin(t.Context(), d))
	}
	left := func() (n int) {
		for i := range 20 {
			if _, err := s.DeviceLogin(t.Context(), newDeviceLogin(i).DeviceHash); err == nil {
				n++
			}
		}
		return n
	}
	add(100, 15*time.Minute+auth.LoginTokenLife)
	if got := left(); got != 20 {
		t.Errorf("%d of 20 are left while a token of theirs may live", got)
	}
	add(101, time.Millisecond+15*time.Minute+auth.LoginTokenLife)
	if got := left(); got == 0 || got == 20 {
		t.Errorf("%d of 20 are left after one addition, want some to go, not all", got)
	}
	add(102, time.Hour+15*time.Minute+auth.LoginTokenLife)
	if got := left(); got != 0 {
		t.Errorf("%d of 20 are left after two additions, want 0", got)
	}
}

func machines(t *testing.T, s Store) {
	a := create(t, s, 1)
	token := tokenID(1, 7, 1)
	want := license.Machine{ID: "mac_1", AccountID: a.ID, MachineID: "m", Label: "build-7", Family: token.Family(), CreatedAt: at}
	must(t, s.AddMachine(t.Context(), want, did(at)))
	got, err := s.MachineOf(t.Context(), want.Family)
	must(t, err)
	same(t, want, got)
	twin := want
	twin.ID, twin.Family = "mac_2", tokenID(1, 8, 1).Family()
	must(t, s.AddMachine(t.Context(), twin, did(at)))

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
	must(t, s.AddMachine(t.Context(), other, did(at)))
	for after, want := range map[string][]license.Machine{"": {want, twin}, "mac_1": {twin}, "mac_2": nil} {
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
		_, revoked, err := s.Standing(t.Context(), a.ID, family)
		must(t, err)
		if revoked != ended {
			t.Errorf("family %s is revoked: %t, want %t", family, revoked, ended)
		}
	}
	_, err = s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(at))
	must(t, err)
	for _, family := range []string{want.Family, twin.Family} { // host names often name their owner
		got, err = s.MachineOf(t.Context(), family)
		must(t, err)
		same(t, "", got.Label)
	}
	_, err = s.MachineOf(t.Context(), "unknown")
	wantErr(t, "MachineOf(unknown)", err, failure.ErrNotFound)
	twin.ID, twin.Family, twin.AccountID = "mac_3", "other", "user_none"
	wantErr(t, "AddMachine(no account)", s.AddMachine(t.Context(), twin, did(at)), failure.ErrNotFound)
}

func sessions(t *testing.T, s Store) {
	a := create(t, s, 1)
	link := auth.SignInLink{Hash: "link", AccountID: a.ID, ExpiresAt: at.Add(time.Minute)}
	made := did(at)
	made.Action = "made"
	must(t, s.AddSignInLink(t.Context(), link, made))
	same(t, audit.Action("made"), lastLine(t, s).Action)
	got, err := s.SignInLink(t.Context(), link.Hash)
	must(t, err)
	same(t, link, got)
	wantErr(t, "AddSignInLink(no account)", s.AddSignInLink(t.Context(), auth.SignInLink{Hash: "x", AccountID: "user_none", ExpiresAt: at}, did(at)), failure.ErrNotFound)

	session := func(n int) auth.Session {
		return auth.Session{ID: fmt.Sprintf("ses_%d", n), Hash: fmt.Sprintf("session%d", n), AccountID: a.ID, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	}
	begun := did(at)
	begun.Action = "begun"
	must(t, s.BeginSession(t.Context(), link.Hash, session(1), begun))
	same(t, audit.Action("begun"), lastLine(t, s).Action)
	wantErr(t, "BeginSession(used link)", s.BeginSession(t.Context(), link.Hash, session(2), did(at)), failure.ErrNotFound)
	_, _, err = s.Session(t.Context(), session(2).Hash)
	wantErr(t, "Session(refused)", err, failure.ErrNotFound)
	found, owner, err := s.Session(t.Context(), session(1).Hash)
	must(t, err)
	if found != session(1) {
		t.Errorf("Session = %+v, want %+v", found, session(1))
	}
	same(t, a, owner)

	later := did(at.Add(2 * time.Hour)) // when the first session has expired
	must(t, s.AddSignInLink(t.Context(), auth.SignInLink{Hash: "late", AccountID: a.ID, ExpiresAt: later.At.Add(time.Minute)}, later))
	third := session(3)
	third.CreatedAt, third.ExpiresAt = later.At, later.At.Add(time.Hour)
	must(t, s.BeginSession(t.Context(), "late", third, later))
	_, _, err = s.Session(t.Context(), session(1).Hash)
	wantErr(t, "Session(let go of)", err, failure.ErrNotFound)
	before, err := s.AuditHead(t.Context())
	must(t, err)
	for range 2 {
		must(t, s.EndSession(t.Context(), third.ID, later))
	}
	after, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, before.Seq+1, after.Seq)
	_, _, err = s.Session(t.Context(), third.Hash)
	wantErr(t, "Session(ended)", err, failure.ErrNotFound)
}
