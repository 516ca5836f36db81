// Package storetest is the suite that every database of the License service must pass. It decides what Store promises, by example.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// Store is a whole database.
type Store interface {
	audit.Store
	keyring.Store
	account.Store
	auth.Store
	auth.AdminStore
	auth.DeviceStore
	auth.SessionStore
	license.PolicyStore
	license.Store
	license.MachineStore
	oidc.Keeper
}

// at is a time with milliseconds, the resolution that is kept.
var at = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

// Run runs the suite. open returns an empty store, and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"an account comes back as it was stored":                accountRoundTrip,
		"two accounts cannot have one email":                    emailIsUnique,
		"accounts are listed page by page":                      accountPages,
		"a change that is refused changes nothing":              refusedChange,
		"a change without effect leaves no line":                emptyChange,
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
		"no token is recorded whose right has ended":            endedRights,
		"a token beside a revocation is refused or revoked":     endingRace,
		"signing keys are listed until they are retired":        keys,
		"live tokens of a key are counted":                      liveTokens,
		"a first key is added once":                             firstKeys,
		"a key in use is not retired":                           keyInUse,
		"a retired key signs nothing any more":                  retiredKey,
		"a key is retired or its token recorded, never both":    retireRace,
		"the newest lease of a token is kept":                   leases,
		"many writers at once all find what they wrote":         manyWriters,
		"an admin token is found by its hash until it ends":     adminTokens,
		"acts stand in the log, chained, when they did change":  acts,
		"a device login is found by both of its codes":          deviceLogins,
		"a device login is consumed once":                       deviceOnce,
		"old device logins are let go of, a few at a time":      deviceLetGo,
		"a machine ends with its family and no other":           machines,
		"a sign-in link begins one session":                     sessions,
		"writers at once make one chain":                        oneChain,
		"the end of the log is sealed with each line":           sealedEnd,
		"lines give no seal to an end that had none":            unsealedEnd,
		"policies are found by repository until removed":        policies,
		"the last keys of an issuer are kept":                   issuerKeys,
		"an identity is used once":                              identityOnce,
		"uses of identities are forgotten in time":              identitiesForgotten,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// did is an act of no importance.
func did(at time.Time) audit.Act {
	return audit.Act{At: at, Actor: audit.Actor{Kind: audit.ActorCommand, ID: "test"}, Action: "test.act", Details: "{}"}
}

func newAccount(n int) account.Account {
	return account.Account{
		ID: fmt.Sprintf("user_%03d", n), Email: fmt.Sprintf("dev%d@example.com", n), Tier: account.Pro, Features: []string{"spa_mode", "critical_css"},
		ValidUntil: at.AddDate(1, 0, 0), Status: account.Active, CreatedAt: at,
	}
}

func newAPIToken(n int) account.APIToken {
	return account.APIToken{ID: fmt.Sprintf("at_%03d", n), AccountID: fmt.Sprintf("user_%03d", n), Name: "first", Hash: fmt.Sprintf("hash%d", n), CreatedAt: at}
}

// tokenID has the form of a real one: 8 letters of time, 16 of family, 16 of its own.
func tokenID(second, family, own int) opaque.TokenID {
	return opaque.TokenID(fmt.Sprintf("%08d%016d%016d", second, family, own))
}

func newToken(account string, id opaque.TokenID) license.TokenRecord {
	return license.TokenRecord{
		ID: id, AccountID: account, KeyID: "k_1", IssuedAt: at.Truncate(time.Second), ExpiresAt: at.Add(time.Hour).Truncate(time.Second), Recorded: at,
	}
}

func create(t *testing.T, s Store, n int) account.Account {
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
	wantErr(t, "CreateAccount(same email)", s.CreateAccount(t.Context(), second, newAPIToken(2)), failure.ErrConflict)
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
	_, err = s.ChangeAccount(t.Context(), want.ID, func(a *account.Account) error { *a = want; return nil }, did(at))
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
		got, err := s.ChangeAccount(t.Context(), want.ID, func(a *account.Account) error { change(a); return nil }, did(at))
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
		_, err := s.ChangeAccount(t.Context(), want.ID, func(a *account.Account) error { change(a); return nil }, did(at))
		must(t, err)
		head, err := s.AuditHead(t.Context())
		must(t, err)
		same(t, int64(i+1), head.Seq)
	}
}

func deletedAccount(t *testing.T, s Store) {
	a := create(t, s, 1)
	later := at.Add(time.Minute)
	_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(later))
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
		_, err := s.ChangeAccount(t.Context(), a.ID, func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(at))
		must(t, err)
	}
}

func apiTokenByHash(t *testing.T, s Store) {
	a := create(t, s, 1)
	token, owner, err := s.APIToken(t.Context(), "hash1")
	must(t, err)
	same(t, newAPIToken(1), token)
	same(t, a, owner)

	second := account.APIToken{ID: "at_second", AccountID: a.ID, Name: "ci", Hash: "hash2", CreatedAt: at.Add(time.Second)}
	must(t, s.AddAPIToken(t.Context(), second, did(at)))
	twin := second // made in the same moment
	twin.ID, twin.Hash = "at_twin", "hash3"
	must(t, s.AddAPIToken(t.Context(), twin, did(at)))
	create(t, s, 4)
	for after, want := range map[string][]account.APIToken{
		"": {newAPIToken(1), second}, "at_001": {second, twin}, "at_second": {twin}, "at_twin": nil,
	} {
		list, err := s.APITokens(t.Context(), a.ID, after, 2)
		must(t, err)
		same(t, want, list)
	}
	for _, after := range []string{"at_none", "at_004"} {
		_, err = s.APITokens(t.Context(), a.ID, after, 2)
		wantErr(t, "APITokens(after "+after+")", err, failure.ErrInvalid)
	}
}

func apiTokenRevoked(t *testing.T, s Store) {
	create(t, s, 1)
	revokeAPIToken(t, s, did(at), nil)
	revokeAPIToken(t, s, did(at.Add(time.Hour)), nil)
	token, _, err := s.APIToken(t.Context(), "hash1")
	must(t, err)
	same(t, at, token.RevokedAt)
}

// revokeAPIToken revokes the first API token of the first account.
func revokeAPIToken(t *testing.T, s Store, act audit.Act, issued *audit.Act) (families int64) {
	t.Helper()
	families, err := s.RevokeAPIToken(t.Context(), "at_001", act, issued)
	must(t, err)
	return families
}

func missing(t *testing.T, s Store) {
	ctx := t.Context()
	_, err := s.Account(ctx, "user_none")
	wantErr(t, "Account", err, failure.ErrNotFound)
	_, err = s.ChangeAccount(ctx, "user_none", func(*account.Account) error { return nil }, did(at))
	wantErr(t, "ChangeAccount", err, failure.ErrNotFound)
	_, _, err = s.APIToken(ctx, "none")
	wantErr(t, "APIToken", err, failure.ErrNotFound)
	wantErr(t, "AddAPIToken", s.AddAPIToken(ctx, newAPIToken(9), did(at)), failure.ErrNotFound)
	_, err = s.RevokeAPIToken(ctx, "at_none", did(at), new(did(at)))
	wantErr(t, "RevokeAPIToken", err, failure.ErrNotFound)
	_, err = s.RemovePolicy(ctx, "pol_none", did(at), new(did(at)))
	wantErr(t, "RemovePolicy", err, failure.ErrNotFound)
	_, _, err = s.Standing(ctx, "user_none", "x")
	wantErr(t, "Standing", err, failure.ErrNotFound)
	_, err = s.Token(ctx, tokenID(1, 1, 1))
	wantErr(t, "Token", err, failure.ErrNotFound)
	_, err = s.RecordedAt(ctx, tokenID(1, 1, 1))
	wantErr(t, "RecordedAt", err, failure.ErrNotFound)
	_, err = s.RetireKey(ctx, "k_none", at, did(at))
	wantErr(t, "RetireKey", err, failure.ErrNotFound)
}

func tokenOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	want := newToken(a.ID, tokenID(1, 1, 1))
	want.Parent = tokenID(0, 1, 0)
	must(t, s.RecordToken(t.Context(), want, did(at)))
	again := want
	again.Recorded = at.Add(time.Hour)
	must(t, s.RecordToken(t.Context(), again, did(at)))
	got, err := s.Token(t.Context(), want.ID)
	must(t, err)
	same(t, want, got)
	recorded, err := s.RecordedAt(t.Context(), want.ID)
	must(t, err)
	same(t, at, recorded)
}

func tokenPages(t *testing.T, s Store) {
	a, other := create(t, s, 1), create(t, s, 2)
	for n := 1; n <= 3; n++ {
		must(t, s.RecordToken(t.Context(), newToken(a.ID, tokenID(n, 1, n)), did(at)))
		must(t, s.RecordToken(t.Context(), newToken(other.ID, tokenID(n, 2, n)), did(at)))
	}
	first, err := s.Tokens(t.Context(), a.ID, "", 2)
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, tokenID(3, 1, 3)), newToken(a.ID, tokenID(2, 1, 2))}, first)
	rest, err := s.Tokens(t.Context(), a.ID, first[1].ID, 2)
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, tokenID(1, 1, 1))}, rest)
}

func tokenWithoutAccount(t *testing.T, s Store) {
	a := create(t, s, 1)
	const n = 20
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		owner := a.ID
		if i == 7 {
			owner = "user_none"
		}
		wg.Go(func() {
			errs[i] = s.RecordToken(context.WithoutCancel(t.Context()), newToken(owner, tokenID(i, 1, i)), did(at))
		})
	}
	wg.Wait()
	for i, err := range errs {
		if i == 7 {
			wantErr(t, "RecordToken(no account)", err, failure.ErrNotFound)
			continue
		}
		must(t, err)
	}
	list, err := s.Tokens(t.Context(), a.ID, "", n)
	must(t, err)
	same(t, n-1, len(list))
}

func revokedToken(t *testing.T, s Store) {
	a := create(t, s, 1)
	bad, sibling := newToken(a.ID, tokenID(1, 1, 1)), newToken(a.ID, tokenID(2, 1, 2))
	must(t, s.RecordToken(t.Context(), bad, did(at)))
	must(t, s.RecordToken(t.Context(), sibling, did(at)))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: string(bad.ID), AccountID: a.ID, At: at}, did(at)))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: string(bad.ID), AccountID: a.ID, At: at.Add(time.Hour)}, did(at)))
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

func revokedFamily(t *testing.T, s Store) {
	a := create(t, s, 1)
	member, stranger := newToken(a.ID, tokenID(1, 1, 1)), newToken(a.ID, tokenID(1, 2, 1))
	must(t, s.RecordToken(t.Context(), member, did(at)))
	must(t, s.RecordToken(t.Context(), stranger, did(at)))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: member.ID.Family(), AccountID: a.ID, At: at}, did(at)))
	list, err := s.Tokens(t.Context(), a.ID, "", 10)
	must(t, err)
	revoked := map[opaque.TokenID]bool{}
	for _, r := range list {
		revoked[r.ID] = r.Revoked
	}
	same(t, map[opaque.TokenID]bool{member.ID: true, stranger.ID: false}, revoked)
	_, gone, err := s.Standing(t.Context(), a.ID, string(tokenID(9, 1, 9)), tokenID(9, 1, 9).Family())
	must(t, err)
	same(t, true, gone)
}

func revokedIssuedBy(t *testing.T, s Store) {
	a := create(t, s, 1)
	for n, by := range []string{"at_001", "at_001", "at_002", ""} {
		r := newToken(a.ID, tokenID(n, n/2*2+n%2, n))
		r.IssuedBy = by
		must(t, s.RecordToken(t.Context(), r, did(at)))
	}
	child := newToken(a.ID, tokenID(9, 0, 9)) // of the first family, made by a refresh
	must(t, s.RecordToken(t.Context(), child, did(at)))
	same(t, int64(0), revokeAPIToken(t, s, did(at), nil)) // what it issued stays good
	same(t, int64(2), revokeAPIToken(t, s, did(at), new(did(at))))
	same(t, a.ID, lastLine(t, s).Account) // that of the API token
	same(t, int64(0), revokeAPIToken(t, s, did(at), new(did(at))))
	list, err := s.Tokens(t.Context(), a.ID, "", 10)
	must(t, err)
	revoked := map[string]bool{}
	for _, r := range list {
		revoked[string(r.ID[:8])] = r.Revoked
	}
	same(t, map[string]bool{"00000000": true, "00000001": true, "00000002": false, "00000003": false, "00000009": true}, revoked)
}

// lastLine is the newest line of the audit log.
func lastLine(t *testing.T, s Store) audit.Line {
	t.Helper()
	lines, err := s.AuditLines(t.Context(), audit.Query{Limit: 1})
	must(t, err)
	return lines[0]
}

func newKey(id string, from time.Time) keyring.SealedKey {
	return keyring.SealedKey{ID: id, Algorithm: keyring.HS256, Sealed: []byte{0, 1, 255}, CreatedAt: at, SignsFrom: from}
}

func retire(t *testing.T, s Store, id string, alive time.Time) (live int64) {
	t.Helper()
	live, err := s.RetireKey(t.Context(), id, alive, did(at))
	must(t, err)
	return live
}

func keys(t *testing.T, s Store) {
	first, second := newKey("k_1", at), newKey("k_0", at.Add(time.Second))
	second.Algorithm, second.Sealed = keyring.EdDSA, []byte{2}
	must(t, s.AddKey(t.Context(), second, did(at)))
	must(t, s.AddKey(t.Context(), first, did(at)))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, []keyring.SealedKey{second, first}, list) // as they were added, though the first one signs from later on
	same(t, int64(0), retire(t, s, "k_1", at))
	_, err = s.RetireKey(t.Context(), "k_1", time.Time{}, did(at))
	wantErr(t, "RetireKey(again)", err, failure.ErrNotFound)
	list, err = s.Keys(t.Context())
	must(t, err)
	same(t, []keyring.SealedKey{second}, list)
}

func firstKeys(t *testing.T, s Store) {
	lease := newKey("k_lease", at)
	lease.Algorithm = keyring.EdDSA
	must(t, s.AddFirstKey(t.Context(), lease, did(at))) // of its algorithm: it stands in nobody's way
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.AddFirstKey(context.WithoutCancel(t.Context()), newKey(fmt.Sprintf("k_%d", i), at), did(at))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, 2, len(list))
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 2, len(lines)) // what was not added leaves no line
	for _, k := range list {
		retire(t, s, k.ID, at)
	}
	must(t, s.AddFirstKey(t.Context(), newKey("k_next", at), did(at)))
	list, err = s.Keys(t.Context())
	must(t, err)
	same(t, []keyring.SealedKey{newKey("k_next", at)}, list)
}

func keyInUse(t *testing.T, s Store) {
	a := create(t, s, 1)
	must(t, s.AddKey(t.Context(), newKey("k_1", at), did(at)))
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r, did(at)))
	same(t, int64(1), retire(t, s, "k_1", r.ExpiresAt.Add(-time.Millisecond)))
	list, err := s.Keys(t.Context())
	must(t, err)
	same(t, 1, len(list))
	l := newLease(a.ID, tokenID(1, 1, 1), 1)
	l.ExpiresAt = r.ExpiresAt.Add(time.Minute)
	must(t, s.RecordLease(t.Context(), l, did(at)))
	same(t, int64(1), retire(t, s, "k_1", r.ExpiresAt))
	same(t, int64(0), retire(t, s, "k_1", l.ExpiresAt))

	must(t, s.AddKey(t.Context(), newKey("k_2", at), did(at)))
	r.KeyID, r.ID = "k_2", tokenID(2, 1, 2)
	must(t, s.RecordToken(t.Context(), r, did(at)))
	same(t, int64(0), retire(t, s, "k_2", time.Time{})) // whatever lives
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 7, len(lines)) // a retirement that was refused leaves none
}

// retiredKey signs nothing any more, whoever still thinks that it does.
func retiredKey(t *testing.T, s Store) {
	a := create(t, s, 1)
	must(t, s.AddKey(t.Context(), newKey("k_1", at), did(at)))
	before := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), before, did(at)))
	retire(t, s, "k_1", time.Time{})
	wantErr(t, "RecordToken(retired key)", s.RecordToken(t.Context(), newToken(a.ID, tokenID(2, 1, 2)), did(at)), keyring.ErrRetired)
	wantErr(t, "RecordToken(again, retired key)", s.RecordToken(t.Context(), before, did(at)), keyring.ErrRetired)
	wantErr(t, "RecordLease(retired key)", s.RecordLease(t.Context(), newLease(a.ID, before.ID, 1), did(at)), keyring.ErrRetired)
	use := newUse("h", tokenID(3, 1, 3))
	_, err := s.RecordExchange(t.Context(), use, newToken(a.ID, use.Token), did(at))
	wantErr(t, "RecordExchange(retired key)", err, keyring.ErrRetired)
	again := newToken(a.ID, use.Token)
	again.KeyID = "k_2"
	first, err := s.RecordExchange(t.Context(), use, again, did(at)) // the identity was not used up by the attempt
	must(t, err)
	same(t, use, first)
	list, err := s.Tokens(t.Context(), a.ID, "", 9)
	must(t, err)
	same(t, 2, len(list))
}

// retireRace retires keys while tokens are recorded under them: a token has a record and its key lives, or neither.
func retireRace(t *testing.T, s Store) {
	a := create(t, s, 1)
	const keys, writers = 20, 4
	for k := range keys {
		key := fmt.Sprintf("k_%d", k)
		must(t, s.AddKey(t.Context(), newKey(key, at), did(at)))
		errs := make([]error, writers)
		var live int64
		var retired error
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				r := newToken(a.ID, tokenID(k, w, w))
				r.KeyID = key
				errs[w] = s.RecordToken(context.WithoutCancel(t.Context()), r, did(at))
			})
		}
		wg.Go(func() { live, retired = s.RetireKey(context.WithoutCancel(t.Context()), key, at, did(at)) })
		wg.Wait()
		must(t, retired)
		for _, err := range errs {
			switch {
			case live > 0:
				must(t, err)
			case !errors.Is(err, keyring.ErrRetired):
				t.Errorf("RecordToken = %v, though %s was retired with no live token", err, key)
			}
		}
	}
}

func newLease(account string, of opaque.TokenID, n int) license.LeaseRecord {
	return license.LeaseRecord{
		ID: fmt.Sprintf("ls_%d", n), TokenID: of, AccountID: account, KeyID: "k_1", IssuedAt: at.Add(time.Duration(n) * time.Minute), ExpiresAt: at.Add(time.Duration(n) * time.Hour),
	}
}

func leases(t *testing.T, s Store) {
	a := create(t, s, 1)
	token := tokenID(1, 1, 1)
	for _, n := range []int{1, 3, 3, 2} { // the second 3 is the same lease; 2 ends before 3
		must(t, s.RecordLease(t.Context(), newLease(a.ID, token, n), did(at)))
	}
	must(t, s.RecordLease(t.Context(), newLease(a.ID, tokenID(2, 1, 2), 1), did(at)))
	wantErr(t, "RecordLease(no account)", s.RecordLease(t.Context(), newLease("user_none", tokenID(3, 1, 3), 1), did(at)), failure.ErrNotFound)
	for when, want := range map[time.Duration]int64{59 * time.Minute: 2, time.Hour: 1, 3*time.Hour - time.Millisecond: 1, 3 * time.Hour: 0} {
		n, err := s.LiveTokens(t.Context(), "k_1", at.Add(when))
		must(t, err)
		same(t, want, n)
	}
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 4, len(lines))
}

func liveTokens(t *testing.T, s Store) {
	a := create(t, s, 1)
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r, did(at)))
	for when, want := range map[time.Time]int64{r.ExpiresAt.Add(-time.Millisecond): 1, r.ExpiresAt: 0} {
		n, err := s.LiveTokens(t.Context(), "k_1", when)
		must(t, err)
		same(t, want, n)
	}
	n, err := s.LiveTokens(t.Context(), "k_2", at)
	must(t, err)
	same(t, int64(0), n)
}

func manyWriters(t *testing.T, s Store) {
	a := create(t, s, 1)
	const writers, each = 16, 25
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := tokenID(i, w, i)
				if err := s.RecordToken(context.WithoutCancel(t.Context()), newToken(a.ID, id), did(at)); err != nil {
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

func adminTokens(t *testing.T, s Store) {
	first := auth.AdminToken{ID: "adm_1", Name: "console", Hash: "h1", Scopes: []auth.Scope{auth.ScopeAuditRead}, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	second := auth.AdminToken{ID: "adm_2", Hash: "h2", Scopes: []auth.Scope{}, CreatedAt: at.Add(time.Second)}
	must(t, s.AddAdminToken(t.Context(), first, did(at)))
	must(t, s.AddAdminToken(t.Context(), second, did(at)))
	wantErr(t, "AddAdminToken(again)", s.AddAdminToken(t.Context(), first, did(at)), failure.ErrConflict)
	got, err := s.AdminToken(t.Context(), "h1")
	must(t, err)
	same(t, first, got)
	must(t, s.RevokeAdminToken(t.Context(), "adm_1", did(at)))
	must(t, s.RevokeAdminToken(t.Context(), "adm_1", did(at.Add(time.Hour))))
	first.RevokedAt = at
	for after, want := range map[string][]auth.AdminToken{"": {first, second}, "adm_1": {second}, "adm_2": nil} {
		list, err := s.AdminTokens(t.Context(), after, 2)
		must(t, err)
		same(t, want, list)
	}
	list, err := s.AdminTokens(t.Context(), "", 1)
	must(t, err)
	same(t, []auth.AdminToken{first}, list)
	_, err = s.AdminTokens(t.Context(), "adm_none", 1)
	wantErr(t, "AdminTokens(after none)", err, failure.ErrInvalid)
	_, err = s.AdminToken(t.Context(), "none")
	wantErr(t, "AdminToken(none)", err, failure.ErrNotFound)
	wantErr(t, "RevokeAdminToken(none)", s.RevokeAdminToken(t.Context(), "adm_none", did(at)), failure.ErrNotFound)
}

// acts makes some changes and some that change nothing, and reads the log.
func acts(t *testing.T, s Store) {
	act := func(action audit.Action, account string) audit.Act {
		a := did(at)
		a.Action, a.Account, a.Object, a.Details = action, account, "x", `{"n":1}`
		a.Actor.Address, a.Actor.RequestID = "192.0.2.7", "r1"
		return a
	}
	a := newAccount(1)
	must(t, s.CreateAccount(t.Context(), a, newAPIToken(1), act("one", a.ID), act("two", a.ID)))
	wantErr(t, "CreateAccount(again)", s.CreateAccount(t.Context(), a, newAPIToken(1), act("refused", a.ID)), failure.ErrConflict)
	r := newToken(a.ID, tokenID(1, 1, 1))
	must(t, s.RecordToken(t.Context(), r, act("three", a.ID)))
	must(t, s.RecordToken(t.Context(), r, act("nothing new", a.ID)))
	revokeAPIToken(t, s, act("four", ""), nil)
	revokeAPIToken(t, s, act("ended before", ""), nil)
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: "y", AccountID: a.ID, At: at}, act("five", a.ID)))
	must(t, s.Revoke(t.Context(), license.Revocation{Subject: "y", AccountID: a.ID, At: at}, act("revoked before", a.ID)))

	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	var want []audit.Line
	previous := ""
	for i, action := range []audit.Action{"one", "two", "three", "four", "five"} {
		l := audit.Line{Seq: int64(i + 1), Act: act(action, a.ID)} // that of "four" comes from the API token
		l.Hash = l.Link(l.Seq, previous)
		want, previous = append(want, l), l.Hash
	}
	if diff := cmp.Diff(want, lines, cmpopts.IgnoreUnexported(audit.Act{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	head, err := s.AuditHead(t.Context())
	must(t, err)
	same(t, audit.Head{Seq: 5, Hash: previous}, head)

	numbers := func(q audit.Query) any {
		var out []int64
		lines, err := s.AuditLines(t.Context(), q)
		must(t, err)
		for _, l := range lines {
			out = append(out, l.Seq)
		}
		if out == nil {
			return nil
		}
		return out
	}
	same(t, []int64{5, 4, 3}, numbers(audit.Query{Limit: 3}))
	same(t, []int64{2, 1}, numbers(audit.Query{Before: 3, Limit: 3}))
	same(t, []int64{5, 4, 3, 2, 1}, numbers(audit.Query{Account: a.ID, Limit: 9}))
	same(t, nil, numbers(audit.Query{Account: "user_none", Limit: 9}))
	same(t, []int64{3}, numbers(audit.Query{Action: "three", Limit: 9}))
	same(t, []int64{5, 4, 3, 2, 1}, numbers(audit.Query{Actor: "test", Limit: 9}))
	same(t, nil, numbers(audit.Query{Actor: "tes", Limit: 9}))
}

func oneChain(t *testing.T, s Store) {
	a := create(t, s, 1)
	const writers, each = 8, 30
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				id := tokenID(i, w, i)
				act := did(at)
				act.Object = string(id)
				err := s.RecordToken(context.WithoutCancel(t.Context()), newToken(a.ID, id), act)
				if i%10 == 0 {
					err = errors.Join(err, s.Revoke(context.WithoutCancel(t.Context()), license.Revocation{Subject: string(id), AccountID: a.ID, At: at}, act))
				}
				if err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	lines, err := s.AuditAfter(t.Context(), 0, 1000)
	must(t, err)
	same(t, writers*each+writers*each/10, len(lines))
	previous := ""
	for i, l := range lines {
		if l.Seq != int64(i+1) || l.Hash != l.Link(l.Seq, previous) {
			t.Fatalf("line %d has number %d and does not follow the one before", i+1, l.Seq)
		}
		previous = l.Hash
	}
}

// sealedEnd seals an empty log and adds to it.
func sealedEnd(t *testing.T, s Store) {
	end, err := s.AuditEnd(t.Context())
	must(t, err)
	if diff := cmp.Diff(audit.End{}, end, cmpopts.IgnoreUnexported(audit.Act{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	seal := func(seal string) {
		t.Helper()
		must(t, s.SealAuditEnd(t.Context(), func(e audit.End) string { return seal }))
	}
	seal("") // nobody can say what it is
	empty := did(at).Seal(audit.Head{})
	seal(empty)
	seal("another") // it has one
	end, err = s.AuditEnd(t.Context())
	must(t, err)
	same(t, empty, end.Seal)
	a := newAccount(1)
	must(t, s.CreateAccount(t.Context(), a, newAPIToken(1), did(at), did(at)))
	end, err = s.AuditEnd(t.Context())
	must(t, err)
	lines, err := s.AuditAfter(t.Context(), 0, 9)
	must(t, err)
	want := audit.End{Head: lines[1].Head(), Last: lines[1], Before: lines[0].Hash, Used: true}
	if !did(at).Sealed(want.Head, end.Seal) {
		t.Errorf("the seal of %v is not its own", end.Head)
	}
	end.Seal = ""
	if diff := cmp.Diff(want, end, cmpopts.IgnoreUnexported(audit.Act{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// unsealedEnd adds to a log that was never sealed.
func unsealedEnd(t *testing.T, s Store) {
	create(t, s, 1)
	must(t, s.AddKey(t.Context(), newKey("k_1", at), did(at)))
	end, err := s.AuditEnd(t.Context())
	must(t, err)
	same(t, "", end.Seal)
}

func newPolicy(n int, account, repository string) license.TrustPolicy {
	return license.TrustPolicy{
		AccountID: account, Repository: "acme/site", CreatedAt: at.Add(time.Duration(n) * time.Second),
		Policy: oidc.Policy{ID: fmt.Sprintf("pol_%d", n), Issuer: "https://issuer.example", RepositoryID: repository, OwnerID: "1"},
	}
}

func policies(t *testing.T, s Store) {
	a, b := create(t, s, 1), create(t, s, 2)
	add := func(p license.TrustPolicy) license.TrustPolicy {
		t.Helper()
		made, err := s.AddPolicy(t.Context(), p, did(at))
		must(t, err)
		return made
	}
	narrow := newPolicy(3, a.ID, "7")
	narrow.Refs, narrow.Environments, narrow.Events = []string{"refs/heads/main"}, []string{"a, b", "c"}, []string{"push"}
	narrow.JobWorkflowRefs, narrow.Visibilities = []string{"x"}, []string{"private"}
	narrow = add(narrow)
	second, other, foreign := add(newPolicy(1, a.ID, "7")), add(newPolicy(2, a.ID, "8")), add(newPolicy(4, b.ID, "7"))
	same(t, []int{1, 2, 1, 1}, []int{narrow.Version, second.Version, other.Version, foreign.Version})
	for repository, want := range map[string][]license.TrustPolicy{"7": {second, narrow, foreign}, "8": {other}, "9": nil} {
		got, err := s.PoliciesFor(t.Context(), repository)
		must(t, err)
		same(t, want, got)
	}
	page, err := s.Policies(t.Context(), a.ID, "", 2)
	must(t, err)
	same(t, []license.TrustPolicy{second, other}, page)
	page, err = s.Policies(t.Context(), "", other.ID, 9)
	must(t, err)
	same(t, []license.TrustPolicy{narrow, foreign}, page)
	r := newToken(a.ID, tokenID(1, 1, 1))
	r.IssuedBy = narrow.ID
	must(t, s.RecordToken(t.Context(), r, did(at)))
	for _, again := range []struct {
		issued *audit.Act
		want   int64
	}{{nil, 0}, {nil, 0}, {new(did(at)), 1}, {new(did(at)), 0}} { // the tokens can be an afterthought
		families, err := s.RemovePolicy(t.Context(), narrow.ID, did(at), again.issued)
		must(t, err)
		same(t, again.want, families)
	}
	same(t, a.ID, lastLine(t, s).Account)
	got, err := s.PoliciesFor(t.Context(), "7")
	must(t, err)
	same(t, []license.TrustPolicy{second, foreign}, got)
	same(t, 3, add(newPolicy(5, a.ID, "7")).Version)
	_, err = s.AddPolicy(t.Context(), newPolicy(6, "user_none", "7"), did(at))
	wantErr(t, "AddPolicy(no account)", err, failure.ErrNotFound)
}

func issuerKeys(t *testing.T, s Store) {
	const issuer = "https://issuer.example"
	wantKept := func(want string, fetched time.Time) {
		t.Helper()
		jwks, at, err := s.IssuerKeys(t.Context(), issuer)
		must(t, err)
		same(t, want, string(jwks))
		same(t, fetched, at)
	}
	wantKept("", time.Time{})
	must(t, s.KeepIssuerKeys(t.Context(), issuer, []byte("one"), at))
	wantKept("one", at)
	must(t, s.KeepIssuerKeys(t.Context(), issuer, []byte("two"), at.Add(time.Second)))
	must(t, s.KeepIssuerKeys(t.Context(), "https://other.example", []byte("other"), at.Add(time.Hour)))
	wantKept("two", at.Add(time.Second))
	must(t, s.KeepIssuerKeys(t.Context(), issuer, []byte("three"), at)) // by a replica whose clock is behind
	wantKept("three", at)
}

func newUse(hash string, token opaque.TokenID) license.IdentityUse {
	return license.IdentityUse{Hash: hash, At: at, Until: at.Add(time.Minute), Token: token}
}

func identityOnce(t *testing.T, s Store) {
	a := create(t, s, 1)
	const n = 20
	firsts := make([]license.IdentityUse, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			id := tokenID(1, i, i)
			firsts[i], errs[i] = s.RecordExchange(context.WithoutCancel(t.Context()), newUse("h", id), newToken(a.ID, id), did(at))
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	for i := range n {
		same(t, firsts[0], firsts[i])
	}
	list, err := s.Tokens(t.Context(), a.ID, "", n)
	must(t, err)
	same(t, []license.TokenRecord{newToken(a.ID, firsts[0].Token)}, list)
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 1, len(lines))
}

func identitiesForgotten(t *testing.T, s Store) {
	a := create(t, s, 1)
	use := newUse("h", tokenID(1, 1, 1))
	_, err := s.IdentityUse(t.Context(), "h")
	wantErr(t, "IdentityUse(unused)", err, failure.ErrNotFound)
	_, err = s.RecordExchange(t.Context(), use, newToken(a.ID, use.Token), did(at))
	must(t, err)
	got, err := s.IdentityUse(t.Context(), "h")
	must(t, err)
	same(t, use, got)
	for i, test := range []struct {
		at   time.Time
		want opaque.TokenID // what the identity is found to be exchanged for
	}{
		{use.Until, use.Token},                         // still remembered
		{use.Until.Add(time.Second), tokenID(9, 9, 1)}, // forgotten: nobody accepts the identity token any more
	} {
		again := newUse("h", tokenID(9, 9, i))
		again.At = test.at
		first, err := s.RecordExchange(t.Context(), again, newToken(a.ID, again.Token), did(at))
		must(t, err)
		same(t, test.want, first.Token)
	}
}
