package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
)

var accounts = suite{
	"an account comes back as it was stored":       accountRoundTrip,
	"two accounts cannot have one email":           emailIsUnique,
	"accounts are listed page by page":             accountPages,
	"an account is found by its email":             accountByEmail,
	"a change that is refused changes nothing":     refusedChange,
	"a change without effect leaves no line":       emptyChange,
	"a deleted account loses its API tokens":       deletedAccount,
	"the email of a deleted account is free again": freedEmail,
}

func accountRoundTrip(t *testing.T, s Store) {
	want := create(t, s, 1)
	got, err := s.Account(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
}

func emailIsUnique(t *testing.T, s Store) {
	first := create(t, s, 1)
	second := newAccount(2)
	second.Email = first.Email
	wantErr(t, "CreateAccount(same email)", s.CreateAccount(t.Context(), second, newAPIToken(2)),
		failure.ErrConflict)
	_, err := s.Account(t.Context(), second.ID)
	wantErr(t, "Account(refused)", err, failure.ErrNotFound)
	_, _, err = s.APIToken(t.Context(), newAPIToken(2).Hash)
	wantErr(t, "APIToken(of refused account)", err, failure.ErrNotFound)
}

func accountPages(t *testing.T, s Store) {
	for n := range 5 {
		create(t, s, n)
	}
	var ids []string
	for after := ""; ; {
		page, err := s.Accounts(t.Context(), account.Query{After: after, Limit: 2})
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			ids = append(ids, a.ID)
		}
		after = page[len(page)-1].ID
	}
	same(t, []string{"user_000", "user_001", "user_002", "user_003", "user_004"}, ids)
}

func accountByEmail(t *testing.T, s Store) {
	create(t, s, 1)
	want := create(t, s, 2)
	got, err := s.Accounts(t.Context(), account.Query{Email: want.Email, Limit: 9})
	must(t, err)
	same(t, []account.Account{want}, got)
	got, err = s.Accounts(t.Context(), account.Query{Email: "none@example.com", Limit: 9})
	must(t, err)
	same(t, 0, len(got))
	got, err = s.Accounts(t.Context(), account.Query{Email: want.Email, After: want.ID, Limit: 9})
	must(t, err)
	same(t, 0, len(got))
}

func refusedChange(t *testing.T, s Store) {
	want := create(t, s, 1)
	_, err := s.ChangeAccount(t.Context(), want.ID, func(a *account.Account) error {
		a.Tier = account.Team
		return failure.ErrInvalid
	}, did(at))
	wantErr(t, "ChangeAccount(refused)", err, failure.ErrInvalid)
	got, err := s.Account(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)

	want.Tier, want.Features, want.Status = account.Team, []string{}, account.Suspended
	_, err = s.ChangeAccount(t.Context(), want.ID,
		func(a *account.Account) error { *a = want; return nil }, did(at))
	must(t, err)
	got, err = s.Account(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
}

func emptyChange(t *testing.T, s Store) {
	want := create(t, s, 1)
	for _, change := range []func(*account.Account){
		func(*account.Account) {},
		func(a *account.Account) { a.Features = append([]string{}, want.Features...) },
		func(a *account.Account) { a.ValidUntil = want.ValidUntil.In(time.FixedZone("x", 3600)) },
	} {
		got, err := s.ChangeAccount(t.Context(), want.ID,
			func(a *account.Account) error { change(a); return nil }, did(at))
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
	head, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, int64(0), head.Seq)
	for i, change := range []func(*account.Account){
		func(a *account.Account) { a.Email = "new@example.com" },
		func(a *account.Account) { a.Tier = account.Free },
		func(a *account.Account) { a.Features[0] = "minify" },
		func(a *account.Account) { a.ValidUntil = a.ValidUntil.Add(time.Millisecond) },
		func(a *account.Account) { a.Status = account.Suspended },
	} {
		_, err := s.ChangeAccount(t.Context(), want.ID,
			func(a *account.Account) error { change(a); return nil }, did(at))
		must(t, err)
		head, err := s.AuditHead(t.Context())
		must(t, err)
		same(t, int64(i+1), head.Seq)
	}
}

func deletedAccount(t *testing.T, s Store) {
	a := create(t, s, 1)
	later := at.Add(time.Minute)
	_, err := s.ChangeAccount(t.Context(), a.ID,
		func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(later))
	must(t, err)
	token, owner, err := s.APIToken(t.Context(), newAPIToken(1).Hash)
	must(t, err)
	same(t, later, token.RevokedAt)
	same(t, "", owner.Email)
}

func freedEmail(t *testing.T, s Store) {
	for n := 1; n <= 2; n++ {
		a := newAccount(n)
		a.Email = "same@example.com"
		must(t, s.CreateAccount(t.Context(), a, newAPIToken(n)))
		_, err := s.ChangeAccount(t.Context(), a.ID,
			func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(at))
		must(t, err)
	}
}
