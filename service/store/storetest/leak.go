package storetest

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/leak"
)

var leaks = suite{
	"a leaked API token ends in one transaction with what it issued": leakedAPIToken,
	"a leaked token ends once":                                       leakedOnce,
	"an account whose token leaked is noted until that is done":      leakNotes,
	"the key of a test is used once":                                 leakTests,
}

// leakActs are lines that can be told apart.
func leakActs(when time.Time) leak.Acts {
	act := func(a audit.Action) *audit.Act {
		out := did(when)
		out.Action = a
		return &out
	}
	return leak.Acts{Leaked: *act("leaked"), Ended: act("ended"), Issued: act("issued")}
}

// newest are the newest actions of the audit log, oldest first.
func newest(t *testing.T, s Store, n int) (actions []audit.Action) {
	t.Helper()
	lines, err := s.AuditLines(t.Context(), audit.Query{Limit: n})
	must(t, err)
	for _, l := range lines {
		actions = append([]audit.Action{l.Action}, actions...)
	}
	return actions
}

func leakedAPIToken(t *testing.T, s Store) {
	a := create(t, s, 1)
	r := newToken(a.ID, tokenID(1, 1, 1))
	r.IssuedBy = newAPIToken(1).ID
	must(t, s.RecordToken(t.Context(), r, did(at)))
	before, err := s.Rights(t.Context())
	must(t, err)
	target := leak.Target{Kind: leak.APIToken, ID: newAPIToken(1).ID, AccountID: a.ID}
	ended, err := s.EndLeaked(t.Context(), target, leakActs(at.Add(time.Minute)))
	must(t, err)
	same(t, true, ended)
	same(t, []audit.Action{"ended", "issued", "leaked"}, newest(t, s, 3))
	found, _, err := s.APIToken(t.Context(), newAPIToken(1).Hash)
	must(t, err)
	same(t, at.Add(time.Minute), found.RevokedAt)
	got, err := s.Token(t.Context(), r.ID)
	must(t, err)
	same(t, true, got.Revoked)
	after, err := s.Rights(t.Context())
	must(t, err)
	if after <= before {
		t.Errorf("the state of rights is %d after %d", after, before)
	}
	head, err := s.AuditHead(t.Context())
	must(t, err)
	ended, err = s.EndLeaked(t.Context(), target, leakActs(at.Add(time.Hour)))
	must(t, err)
	same(t, false, ended)
	again, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, head, again)
}

func leakedOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	must(t, s.AddAdminToken(t.Context(), auth.AdminToken{ID: "adm_1", Hash: "a", Scopes: []auth.Scope{}, CreatedAt: at}, did(at)))
	must(t, s.AddAdminToken(t.Context(), auth.AdminToken{ID: "adm_2", Hash: "b", Scopes: []auth.Scope{}, CreatedAt: at, ExpiresAt: at.Add(time.Second)}, did(at)))
	must(t, s.AddSignInLink(t.Context(), auth.SignInLink{Hash: "link", AccountID: a.ID, ExpiresAt: at.Add(time.Hour)}, did(at)))
	must(t, s.AddSignInLink(t.Context(), auth.SignInLink{Hash: "link2", AccountID: a.ID, ExpiresAt: at.Add(time.Hour)}, did(at)))
	must(t, s.BeginSession(t.Context(), "link2", auth.Session{
		ID: "ses_1", Hash: "s", AccountID: a.ID, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}, did(at)))
	must(t, s.AddDeviceLogin(t.Context(), auth.DeviceLogin{
		ID: "dev_1", DeviceHash: "d", UserHash: "u", State: auth.DeviceWaiting, CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}))
	family := tokenID(1, 1, 1).Family()
	for _, target := range []leak.Target{
		{Kind: leak.LicenseToken, ID: string(tokenID(1, 1, 1)), AccountID: a.ID, Subject: family},
		{Kind: leak.AdminToken, ID: "adm_1"},
		{Kind: leak.SignInLink, Subject: "link", AccountID: a.ID},
		{Kind: leak.Session, ID: "ses_1", AccountID: a.ID},
		{Kind: leak.DeviceCode, ID: "dev_1"},
	} {
		for _, want := range []bool{true, false} {
			acts := leakActs(at.Add(time.Minute))
			acts.Issued = nil
			ended, err := s.EndLeaked(t.Context(), target, acts)
			must(t, err)
			if ended != want {
				t.Errorf("%s: ended = %t, want %t", target.Kind, ended, want)
			}
		}
	}
	acts := leakActs(at.Add(time.Minute))
	acts.Issued = nil
	ended, err := s.EndLeaked(t.Context(), leak.Target{Kind: leak.AdminToken, ID: "adm_2"}, acts)
	must(t, err)
	same(t, false, ended) // it had expired
	_, revoked, err := s.AccountStatus(t.Context(), a.ID, family)
	must(t, err)
	same(t, true, revoked)
	_, _, err = s.Session(t.Context(), "s")
	wantErr(t, "Session", err, failure.ErrNotFound)
}

func leakNotes(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	end := func(owner account.Account, n int, when time.Time) {
		t.Helper()
		id := tokenID(n, n, n)
		acts := leakActs(when)
		acts.Issued = nil
		_, err := s.EndLeaked(t.Context(), leak.Target{Kind: leak.LicenseToken, ID: string(id), AccountID: owner.ID, Subject: id.Family()}, acts)
		must(t, err)
	}
	end(b, 1, at)
	end(a, 2, at.Add(time.Minute))
	notes, err := s.Leaks(t.Context(), 9)
	must(t, err)
	same(t, []leak.Note{{AccountID: b.ID, At: at}, {AccountID: a.ID, At: at.Add(time.Minute)}}, notes)
	end(b, 3, at.Add(time.Hour)) // while the note of before is worked on
	must(t, s.EndLeak(t.Context(), notes[0]))
	must(t, s.EndLeak(t.Context(), notes[1]))
	notes, err = s.Leaks(t.Context(), 9)
	must(t, err)
	same(t, []leak.Note{{AccountID: b.ID, At: at.Add(time.Hour)}}, notes)
}

func leakTests(t *testing.T, s Store) {
	old := leak.Test{ID: "test-old", PublicKey: "k", TokenHash: "h", ExpiresAt: at}
	want := leak.Test{ID: "test-1", PublicKey: "key", TokenHash: "hash", ExpiresAt: at.Add(time.Hour)}
	must(t, s.AddTest(t.Context(), old))
	must(t, s.AddTest(t.Context(), want))
	_, err := s.UseTest(t.Context(), old.ID)
	wantErr(t, "UseTest(expired)", err, failure.ErrNotFound)
	got, err := s.UseTest(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
	_, err = s.UseTest(t.Context(), want.ID)
	wantErr(t, "UseTest(used)", err, failure.ErrNotFound)
}
