// Package storetest is the suite that every database of the License service must pass. It decides what license.Store promises, by example.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/license"
)

// at is a time with milliseconds, the resolution that is kept.
var at = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

// Run runs the suite. open returns an empty store, and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T) license.Store) {
	for name, test := range map[string]func(*testing.T, license.Store){
		"an account comes back as it was stored":                accountRoundTrip,
		"two accounts cannot have one email":                    emailIsUnique,
		"accounts are listed page by page":                      accountPages,
		"a change that is refused changes nothing":              refusedChange,
		"a deleted account loses its API tokens":                deletedAccount,
		"the email of a deleted account is free again":          freedEmail,
		"an API token is found by its hash":                     apiTokenByHash,
		"a revoked API token keeps its first time":              apiTokenRevoked,
		"what is not there is ErrNotFound":                      missing,
		"a token is recorded once":                              tokenOnce,
		"tokens are listed newest first":                        tokenPages,
		"a token for no account is refused, others still go in": tokenWithoutAccount,
		"a revoked token is revoked":                            revokedToken,
		"a revoked family is revoked":                           revokedFamily,
		"what an API token began is revoked":                    revokedIssuedBy,
		"signing keys are listed until they are retired":        keys,
		"live tokens of a key are counted":                      liveTokens,
		"many writers at once all find what they wrote":         manyWriters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func newAccount(n int) license.Account {
	return license.Account{
		ID: fmt.Sprintf("user_%03d", n), Email: fmt.Sprintf("dev%d@example.com", n), Tier: license.Pro, Features: []string{"spa_mode", "critical_css"},
		ValidUntil: at.AddDate(1, 0, 0), Status: license.Active, CreatedAt: at,
	}
}

func newAPIToken(n int) license.APIToken {
	return license.APIToken{ID: fmt.Sprintf("at_%03d", n), AccountID: fmt.Sprintf("user_%03d", n), Name: "first", Hash: fmt.Sprintf("hash%d", n), CreatedAt: at}
}

// tokenID has the form of a real one: 8 letters of time, 16 of family, 16 of its own.
func tokenID(second, family, own int) license.TokenID {
	return license.TokenID(fmt.Sprintf("%08d%016d%016d", second, family, own))
}

func newToken(account string, id license.TokenID) license.TokenRecord {
	return license.TokenRecord{
		ID: id, AccountID: account, KeyID: "k_1", IssuedAt: at.Truncate(time.Second), ExpiresAt: at.Add(time.Hour).Truncate(time.Second), Recorded: at,
	}
}

func create(t *testing.T, s license.Store, n int) license.Account {
	t.Helper()
	a := newAccount(n)
	must(t, s.CreateAccount(t.Context(), a, newAPIToken(n)))
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func accountRoundTrip(t *testing.T, s license.Store) {
	want := create(t, s, 1)
	got, err := s.Account(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
}

func emailIsUnique(t *testing.T, s license.Store) {
	first := create(t, s, 1)
	second := newAccount(2)
	second.Email = first.Email
	wantErr(t, "CreateAccount(same email)", s.CreateAccount(t.Context(), second, newAPIToken(2)), license.ErrConflict)
	_, err := s.Account(t.Context(), second.ID)
	wantErr(t, "Account(refused)", err, license.ErrNotFound)
	_, _, err = s.APIToken(t.Context(), newAPIToken(2).Hash)
	wantErr(t, "APIToken(of refused account)", err, license.ErrNotFound)
}

func accountPages(t *testing.T, s license.Store) {
	for n := range 5 {
		create(t, s, n)
	}
	var ids []string
	for after := ""; ; {
		page, err := s.Accounts(t.Context(), after, 2)
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

func refusedChange(t *testing.T, s license.Store) {
	want := create(t, s, 1)
	_, err := s.ChangeAccount(t.Context(), want.ID, at, func(a *license.Account) error {
		a.Tier = license.Team
		return license.ErrInvalid
	})
	wantErr(t, "ChangeAccount(refused)", err, license.ErrInvalid)
	got, err := s.Account(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)

	want.Tier, want.Features, want.Status = license.Team, []string{}, license.Suspended
	_, err = s.ChangeAccount(t.Context(), want.ID, at, func(a *license.Account) error { *a = want; return nil })
	must(t, err)
	got, err = s.Account(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
}

func deletedAccount(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	later := at.Add(time.Minute)
	_, err := s.ChangeAccount(t.Context(), a.ID, later, func(a *license.Account) error { a.Status, a.Email = license.Deleted, ""; return nil })
	must(t, err)
	token, owner, err := s.APIToken(t.Context(), newAPIToken(1).Hash)
	must(t, err)
	same(t, later, token.RevokedAt)
	same(t, "", owner.Email)
}

func freedEmail(t *testing.T, s license.Store) {
	for n := 1; n <= 2; n++ {
		a := newAccount(n)
		a.Email = "same@example.com"
		must(t, s.CreateAccount(t.Context(), a, newAPIToken(n)))
		_, err := s.ChangeAccount(t.Context(), a.ID, at, func(a *license.Account) error { a.Status, a.Email = license.Deleted, ""; return nil })
		must(t, err)
	}
}

func apiTokenByHash(t *testing.T, s license.Store) {
	want := create(t, s, 1)
	token, owner, err := s.APIToken(t.Context(), "hash1")
	must(t, err)
	same(t, newAPIToken(1), token)
	same(t, want, owner)

	second := license.APIToken{ID: "at_second", AccountID: want.ID, Name: "ci", Hash: "hash2", CreatedAt: at.Add(time.Second)}
	must(t, s.AddAPIToken(t.Context(), second))
	list, err := s.APITokens(t.Context(), want.ID)
	must(t, err)
	same(t, []license.APIToken{newAPIToken(1), second}, list)
}

func apiTokenRevoked(t *testing.T, s license.Store) {
	create(t, s, 1)
	must(t, s.RevokeAPIToken(t.Context(), "at_001", at))
	must(t, s.RevokeAPIToken(t.Context(), "at_001", at.Add(time.Hour)))
	token, _, err := s.APIToken(t.Context(), "hash1")
	must(t, err)
	same(t, at, token.RevokedAt)
}

func missing(t *testing.T, s license.Store) {
	ctx := t.Context()
	_, err := s.Account(ctx, "user_none")
	wantErr(t, "Account", err, license.ErrNotFound)
	_, err = s.ChangeAccount(ctx, "user_none", at, func(*license.Account) error { return nil })
	wantErr(t, "ChangeAccount", err, license.ErrNotFound)
	_, _, err = s.APIToken(ctx, "none")
	wantErr(t, "APIToken", err, license.ErrNotFound)
	wantErr(t, "AddAPIToken", s.AddAPIToken(ctx, newAPIToken(9)), license.ErrNotFound)
	wantErr(t, "RevokeAPIToken", s.RevokeAPIToken(ctx, "at_none", at), license.ErrNotFound)
	_, _, err = s.Standing(ctx, "user_none", "x")
	wantErr(t, "Standing", err, license.ErrNotFound)
	_, err = s.Token(ctx, tokenID(1, 1, 1))
	wantErr(t, "Token", err, license.ErrNotFound)
	_, err = s.RecordedAt(ctx, tokenID(1, 1, 1))
	wantErr(t, "RecordedAt", err, license.ErrNotFound)
	wantErr(t, "RetireKey", s.RetireKey(ctx, "k_none", at), license.ErrNotFound)
}

func tokenOnce(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	want := newToken(a.ID, tokenID(1, 1, 1))
	want.Parent = tokenID(0, 1, 0)
	must(t, s.RecordToken(t.Context(), want))
	again := want
	again.Recorded = at.Add(time.Hour)
	must(t, s.RecordToken(t.Context(), again))
	got, err := s.Token(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
	recorded, err := s.RecordedAt(t.Context(), want.ID)
	must(t, err)
	same(t, at, recorded)
}

func tokenPages(t *testing.T, s license.Store) {
	a, other := create(t, s, 1), create(t, s, 2)
	for n := 1; n <= 3; n++ {
		must(t, s.RecordToken(t.Context(), newToken(a.ID, tokenID(n, 1, n))))
		must(t, s.RecordToken(t.Context(), newToken(other.ID, tokenID(n, 2, n))))
	}
	first, err := s.Tokens(t.Context(), a.ID, "", 2)
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, tokenID(3, 1, 3)), newToken(a.ID, tokenID(2, 1, 2))}, first)
	rest, err := s.Tokens(t.Context(), a.ID, first[1].ID, 2)
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, tokenID(1, 1, 1))}, rest)
}

func tokenWithoutAccount(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	const n = 20
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		owner := a.ID
		if i == 7 {
			owner = "user_none"
		}
		wg.Go(func() { errs[i] = s.RecordToken(context.WithoutCancel(t.Context()), newToken(owner, tokenID(i, 1, i))) })
	}
	wg.Wait()
	for i, err := range errs {
		if i == 7 {
			wantErr(t, "RecordToken(no account)", err, license.ErrNotFound)
			continue
		}
		must(t, err)
	}
	list, err := s.Tokens(t.Context(), a.ID, "", n)
	must(t, err)
	same(t, n-1, len(list))
}

func revokedToken(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	bad, sibling := newToken(a.ID, tokenID(1, 1, 1)), newToken(a.ID, tokenID(2, 1, 2))
	must(t, s.RecordToken(t.Context(), bad))
	must(t, s.RecordToken(t.Context(), sibling))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: string(bad.ID), AccountID: a.ID, At: at}))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: string(bad.ID), AccountID: a.ID, At: at.Add(time.Hour)}))
	for _, want := range []struct {
		token   license.TokenRecord
		revoked bool
	}{{bad, true}, {sibling, false}} {
		owner, revoked, err := s.Standing(t.Context(), a.ID, string(want.token.ID), want.token.ID.Family())
		must(t, err)
		same(t, want.revoked, revoked)
		same(t, a, owner)
		got, err := s.Token(t.Context(), want.token.ID)
		must(t, err)
		same(t, want.revoked, got.Revoked)
	}
}

func revokedFamily(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	member, stranger := newToken(a.ID, tokenID(1, 1, 1)), newToken(a.ID, tokenID(1, 2, 1))
	must(t, s.RecordToken(t.Context(), member))
	must(t, s.RecordToken(t.Context(), stranger))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: member.ID.Family(), AccountID: a.ID, At: at}))
	list, err := s.Tokens(t.Context(), a.ID, "", 10)
	must(t, err)
	revoked := map[license.TokenID]bool{}
	for _, r := range list {
		revoked[r.ID] = r.Revoked
	}
	same(t, map[license.TokenID]bool{member.ID: true, stranger.ID: false}, revoked)
	_, gone, err := s.Standing(t.Context(), a.ID, string(tokenID(9, 1, 9)), tokenID(9, 1, 9).Family())
	must(t, err)
	same(t, true, gone)
}

func revokedIssuedBy(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	for n, by := range []string{"at_001", "at_001", "at_002", ""} {
		r := newToken(a.ID, tokenID(n, n/2*2+n%2, n))
		r.IssuedBy = by
		must(t, s.RecordToken(t.Context(), r))
	}
	child := newToken(a.ID, tokenID(9, 0, 9)) // of the first family, made by a refresh
	must(t, s.RecordToken(t.Context(), child))
	n, err := s.RevokeIssuedBy(t.Context(), "at_001", at)
	must(t, err)
	same(t, int64(2), n)
	list, err := s.Tokens(t.Context(), a.ID, "", 10)
	must(t, err)
	revoked := map[string]bool{}
	for _, r := range list {
		revoked[string(r.ID[:8])] = r.Revoked
	}
	same(t, map[string]bool{"00000000": true, "00000001": true, "00000002": false, "00000003": false, "00000009": true}, revoked)
}

func keys(t *testing.T, s license.Store) {
	first := license.SealedKey{ID: "k_1", Sealed: []byte{0, 1, 255}, CreatedAt: at, SignsFrom: at}
	second := license.SealedKey{ID: "k_0", Sealed: []byte{2}, CreatedAt: at, SignsFrom: at.Add(time.Second)}
	must(t, s.AddKey(t.Context(), second))
	must(t, s.AddKey(t.Context(), first))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, []license.SealedKey{first, second}, list)
	must(t, s.RetireKey(t.Context(), "k_1", at))
	wantErr(t, "RetireKey(again)", s.RetireKey(t.Context(), "k_1", at), license.ErrNotFound)
	list, err = s.Keys(t.Context())
	must(t, err)
	same(t, []license.SealedKey{second}, list)
}

func liveTokens(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r))
	for when, want := range map[time.Time]int64{r.ExpiresAt.Add(-time.Millisecond): 1, r.ExpiresAt: 0} {
		n, err := s.LiveTokens(t.Context(), "k_1", when)
		must(t, err)
		same(t, want, n)
	}
	n, err := s.LiveTokens(t.Context(), "k_2", at)
	must(t, err)
	same(t, int64(0), n)
}

func manyWriters(t *testing.T, s license.Store) {
	a := create(t, s, 1)
	const writers, each = 16, 25
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := tokenID(i, w, i)
				if err := s.RecordToken(context.WithoutCancel(t.Context()), newToken(a.ID, id)); err != nil {
					errs[w] = err
					return
				}
				if _, err := s.RecordedAt(context.WithoutCancel(t.Context()), id); err != nil {
					errs[w] = fmt.Errorf("not there after it was acknowledged: %w", err)
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	list, err := s.Tokens(t.Context(), a.ID, "", writers*each+1)
	must(t, err)
	same(t, writers*each, len(list))
}
