package license_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/ledger"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/token"
)

const year = 365 * 24 * time.Hour

// bench is a service on a real database, with a clock that the test moves.
type bench struct {
	servicetest.Rules
	t    *testing.T
	file string
	cfg  parts.Config
	mu   sync.Mutex
	now  time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	file := sqlitetest.File(t)
	s, err := store.Open(t.Context(), "sqlite:"+file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.AlwaysAsk() // replicas see at once what another one ended
	master, err := keyring.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, file: file, now: noon}
	b.cfg = parts.Config{Stores: parts.On(s), MasterKey: master, Issuer: "http://127.0.0.1:8080", TokenTTL: year, Now: b.clock, Rand: rand.Reader}
	b.Rules = b.replica()
	return b
}

// join makes a service.
func join(ctx context.Context, c parts.Config) (servicetest.Rules, error) {
	p, err := parts.New(ctx, c)
	if err != nil {
		return servicetest.Rules{}, err
	}
	return servicetest.RulesOf(p), nil
}

// replica is one more service on the same database.
func (b *bench) replica() servicetest.Rules {
	b.t.Helper()
	s, err := join(b.t.Context(), b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) account() (account.Account, opaque.Secret) {
	b.t.Helper()
	a, key, err := b.CreateAccount(b.t.Context(), account.NewAccount{
		Email: "dev@example.com", Tier: account.Pro, Features: []string{"critical_css"}, ValidUntil: noon.Add(2 * year),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return a, key
}

func (b *bench) issue(ttl time.Duration) (account.Account, license.Issued) {
	b.t.Helper()
	a, _ := b.account()
	i, err := b.IssueFor(b.t.Context(), a.ID, ttl)
	if err != nil {
		b.t.Fatal(err)
	}
	return a, i
}

func (b *bench) caller(s servicetest.Rules, text opaque.Secret) auth.Caller {
	b.t.Helper()
	c, err := s.Authenticate(b.t.Context(), text.Reveal())
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) refresh(s servicetest.Rules, text opaque.Secret) license.Issued {
	b.t.Helper()
	i, err := s.Refresh(b.t.Context(), b.caller(s, text))
	if err != nil {
		b.t.Fatal(err)
	}
	return i
}

func (b *bench) mustRefuse(text opaque.Secret, want error) {
	b.t.Helper()
	c, err := b.Authenticate(b.t.Context(), text.Reveal())
	if err == nil {
		_, err = b.Refresh(b.t.Context(), c)
	}
	if !errors.Is(err, want) {
		b.t.Errorf("Refresh = %v, want %v", err, want)
	}
}

// forget removes the record of a token.
func forget(t *testing.T, file string, id opaque.TokenID) error {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT seq, body FROM ledger")
	if err != nil {
		return err
	}
	defer rows.Close()
	var in int64
	for rows.Next() {
		var seq int64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return err
		}
		records, err := ledger.Decode(body)
		if err != nil {
			return err
		}
		if records[0].ID == string(id) {
			in = seq // tests do one thing at a time: a block has one record
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	_, err = db.ExecContext(t.Context(), "DELETE FROM ledger WHERE seq = $1", in)
	return err
}

func decode(t *testing.T, s opaque.Secret) token.Claims {
	t.Helper()
	c, err := token.Decode(s.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIssuedTokenSaysWhatTheAccountHas(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, key := b.account()
	issued, err := b.Issue(t.Context(), b.caller(b.Rules, key))
	if err != nil {
		t.Fatal(err)
	}
	want := token.Claims{
		Subject: a.ID, Email: "dev@example.com", Tier: "pro", Features: []string{"critical_css"}, ValidUntil: noon.Add(2 * year),
		IssuedAt: noon, ExpiresAt: noon.Add(year), ID: string(issued.ID), Issuer: "http://127.0.0.1:8080",
	}
	if diff := cmp.Diff(want, decode(t, issued.Token)); diff != "" {
		t.Error(diff)
	}
	record, err := b.Token(t.Context(), issued.Token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if record.AccountID != a.ID || record.Parent != "" || !record.ExpiresAt.Equal(noon.Add(year)) {
		t.Errorf("record = %+v", record)
	}
}

func TestRefreshExtendsAndKeepsTheParentValid(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, old := b.issue(48 * time.Hour)
	b.advance(time.Hour)
	fresh := b.refresh(b.Rules, old.Token)
	if fresh.ID == old.ID || fresh.ID.Family() != old.ID.Family() {
		t.Errorf("refreshed id = %s, want another of family %s", fresh.ID, old.ID.Family())
	}
	if c := decode(t, fresh.Token); !c.ExpiresAt.Equal(noon.Add(time.Hour+year)) || c.Subject != a.ID {
		t.Errorf("refreshed claims = %+v", c)
	}
	b.caller(b.Rules, old.Token)
	record, err := b.Token(t.Context(), string(fresh.ID))
	if err != nil || record.Parent != old.ID {
		t.Errorf("record = %+v, %v, want parent %s", record, err, old.ID)
	}
}

func TestParallelRefreshesOnReplicasGiveOneToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, old := b.issue(48 * time.Hour)
	replicas := []servicetest.Rules{b.Rules, b.replica(), b.replica()}
	b.advance(3 * time.Hour)
	got := make([]string, 64)
	errs := make([]error, 64)
	var wg sync.WaitGroup
	for i := range got {
		s := replicas[i%len(replicas)]
		wg.Go(func() {
			c, err := s.Authenticate(context.Background(), old.Token.Reveal())
			if err != nil {
				errs[i] = err
				return
			}
			fresh, err := s.Refresh(context.Background(), c)
			got[i], errs[i] = fresh.Token.Reveal(), err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, text := range got[1:] {
		if text != got[0] {
			t.Fatal("64 parallel refreshes of one token gave different tokens")
		}
	}
	if list, err := b.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: 10}); err != nil || len(list) != 2 {
		t.Errorf("%d tokens recorded (%v), want the parent and one child", len(list), err)
	}
}

func TestRefreshIsTheSameForOneWindowFromTheFirstAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, old := b.issue(48 * time.Hour)
	b.advance(9*time.Minute + 59*time.Second) // the bucket turns in a second
	first := b.refresh(b.Rules, old.Token)
	for _, step := range []struct {
		advance time.Duration
		same    bool
	}{{time.Second, true}, {9 * time.Minute, true}, {58 * time.Second, true}, {2 * time.Second, false}} {
		b.advance(step.advance)
		if got := b.refresh(b.Rules, old.Token); (got.Token == first.Token) != step.same {
			t.Errorf("at %s: same token = %t, want %t", b.now.Format(time.TimeOnly), got.Token == first.Token, step.same)
		}
	}
}

func TestRefreshAtOnceIsNotOlderThanItsParent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, old := b.issue(0)
	fresh := b.refresh(b.Rules, old.Token)
	if fresh.ExpiresAt.Before(old.ExpiresAt) || fresh.ID == old.ID {
		t.Errorf("refreshed at once: exp %v, id %s; parent has %v, %s", fresh.ExpiresAt, fresh.ID, old.ExpiresAt, old.ID)
	}
}

func TestAChangedAccountIsInTheNextTokenWithinTheWindow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, old := b.issue(0)
	before := b.refresh(b.Rules, old.Token)
	team := account.Team
	if _, err := b.UpdateAccount(t.Context(), a.ID, account.Change{Tier: &team}); err != nil {
		t.Fatal(err)
	}
	after := b.refresh(b.Rules, old.Token)
	if c := decode(t, after.Token); c.Tier != "team" || after.ID == before.ID {
		t.Errorf("tier = %s with id %s, want team with an id other than %s", c.Tier, after.ID, before.ID)
	}
}

func TestTokenIsCappedByTheLicense(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.account()
	soon := noon.Add(30 * 24 * time.Hour)
	if _, err := b.UpdateAccount(t.Context(), a.ID, account.Change{ValidUntil: &soon}); err != nil {
		t.Fatal(err)
	}
	issued, err := b.IssueFor(t.Context(), a.ID, 0)
	if err != nil || !issued.Capped || !issued.ExpiresAt.Equal(soon) {
		t.Errorf("IssueFor = exp %v, capped %t, %v; want %v, capped", issued.ExpiresAt, issued.Capped, err, soon)
	}
}

func TestRefusalsSayWhich(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(b *bench, a account.Account, old license.Issued) error
		want  error
	}{
		"suspended": {func(b *bench, a account.Account, _ license.Issued) error {
			_, err := b.SuspendAccount(b.t.Context(), a.ID)
			return err
		}, account.ErrInactive},
		"deleted": {func(b *bench, a account.Account, _ license.Issued) error {
			_, err := b.DeleteAccount(b.t.Context(), a.ID)
			return err
		}, account.ErrRevoked},
		"license over": {func(b *bench, a account.Account, _ license.Issued) error {
			_, err := b.UpdateAccount(b.t.Context(), a.ID, account.Change{ValidUntil: new(noon)})
			return err
		}, account.ErrExpired},
		"token revoked": {func(b *bench, _ account.Account, old license.Issued) error {
			_, err := b.RevokeToken(b.t.Context(), old.Token.Reveal(), false)
			return err
		}, license.ErrTokenRevoked},
		"token expired": {func(b *bench, _ account.Account, _ license.Issued) error {
			b.advance(48 * time.Hour)
			return nil
		}, auth.ErrUnauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a, old := b.issue(48 * time.Hour)
			if err := c.spoil(b, a, old); err != nil {
				t.Fatal(err)
			}
			b.mustRefuse(old.Token, c.want)
		})
	}
}

func TestSuspensionCanBeUndoneAndDeletionCannot(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, old := b.issue(0)
	ctx := t.Context()
	if _, err := b.SuspendAccount(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RestoreAccount(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	b.refresh(b.Rules, old.Token)
	if got, err := b.DeleteAccount(ctx, a.ID); err != nil || got.Email != "" {
		t.Errorf("DeleteAccount = %+v, %v, want the address erased", got, err)
	}
	if _, err := b.RestoreAccount(ctx, a.ID); !errors.Is(err, account.ErrRevoked) {
		t.Errorf("RestoreAccount(deleted) = %v, want ErrRevoked", err)
	}
}

// What a thief of a token can make with it must end with the token's family.
func TestRevokedFamilyEndsWhatWasMadeFromALeakedToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, leaked := b.issue(0)
	stranger, err := b.IssueFor(t.Context(), a.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	refreshed := b.refresh(b.Rules, leaked.Token)
	issued, err := b.Issue(t.Context(), b.caller(b.Rules, leaked.Token))
	if err != nil {
		t.Fatal(err)
	}
	grandchild := b.refresh(b.Rules, issued.Token)
	if _, err := b.RevokeToken(t.Context(), string(refreshed.ID), true); err != nil {
		t.Fatal(err)
	}
	for _, s := range []opaque.Secret{leaked.Token, refreshed.Token, issued.Token, grandchild.Token} {
		b.mustRefuse(s, license.ErrTokenRevoked)
	}
	b.refresh(b.Rules, stranger.Token)
}

func TestAPITokensWorkUntilTheyAreRevoked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, first := b.account()
	b.advance(time.Second)
	second, record, err := b.CreateAPIToken(t.Context(), a.ID, "ci")
	if err != nil {
		t.Fatal(err)
	}
	if !opaque.APIToken.Fits(first.Reveal()) || !opaque.APIToken.Fits(second.Reveal()) || opaque.APIToken.Fits(mistype(second.Reveal())) {
		t.Error("IsAPIToken does not tell a good API token from a mistyped one")
	}
	if _, _, err := b.RevokeAPIToken(t.Context(), first.Reveal(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Authenticate(t.Context(), first.Reveal()); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Authenticate(revoked) = %v, want ErrUnauthenticated", err)
	}
	c := b.caller(b.Rules, second)
	if c.Key() != record.ID || c.Account.ID != a.ID {
		t.Errorf("caller = %s of %s, want %s of %s", c.Key(), c.Account.ID, record.ID, a.ID)
	}
	if _, err := b.Refresh(t.Context(), c); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Refresh(API token) = %v, want ErrUnauthenticated", err)
	}
	list, err := b.APITokens(t.Context(), a.ID, "", 9)
	if err != nil || len(list) != 2 || list[0].RevokedAt.IsZero() || strings.Contains(fmt.Sprint(list), second.Reveal()) {
		t.Errorf("APITokens = %+v, %v", list, err)
	}
}

func mistype(s string) string {
	b := []byte(s)
	b[10] ^= 1
	return string(b)
}

func TestTokensOfAnotherServiceAreUnknown(t *testing.T) {
	t.Parallel()
	ours, theirs := newBench(t), newBench(t)
	_, foreign := theirs.issue(0)
	ours.account()
	if _, err := ours.Authenticate(t.Context(), foreign.Token.Reveal()); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Authenticate(foreign token) = %v, want ErrUnauthenticated", err)
	}
}

func TestKeysRotateWithoutARejectedToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.replica()
	_, old := b.issue(0)
	states := func() []keyring.State {
		t.Helper()
		keys, err := b.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var s []keyring.State
		for _, k := range keys {
			s = append(s, k.State)
		}
		return s
	}
	first, err := b.Keys(t.Context())
	if err != nil || len(first) != 1 {
		t.Fatalf("Keys = %v, %v, want one", first, err)
	}
	rotated, err := b.Rotate(t.Context(), keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]keyring.State{keyring.Signing, keyring.Waiting}, states()); diff != "" {
		t.Error(diff)
	}
	if err := b.Retire(t.Context(), rotated.ID, false); !errors.Is(err, keyring.ErrInUse) {
		t.Errorf("RetireKey(waiting) = %v, want ErrKeyInUse", err)
	}
	b.advance(5 * time.Second)
	if diff := cmp.Diff([]keyring.State{keyring.Verifying, keyring.Signing}, states()); diff != "" {
		t.Error(diff)
	}
	fresh := b.refresh(b.Rules, old.Token) // signed by the new key, and the other replica knows it
	b.refresh(other, fresh.Token)
	if err := b.Retire(t.Context(), first[0].ID, false); !errors.Is(err, keyring.ErrInUse) {
		t.Errorf("RetireKey(with live tokens) = %v, want ErrKeyInUse", err)
	}
	if err := b.Retire(t.Context(), "k_none", true); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("RetireKey(unknown) = %v, want ErrNotFound", err)
	}
	if err := b.Retire(t.Context(), first[0].ID, true); err != nil {
		t.Fatal(err)
	}
	b.advance(time.Second)
	if _, err := other.Authenticate(t.Context(), old.Token.Reveal()); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Authenticate(token of a retired key) = %v, want ErrUnauthenticated", err)
	}
	b.refresh(other, fresh.Token)
}

// One jti is one token: a record that names another key than the one that signed would let a key be
// retired under a live token.
func TestARefreshAcrossAKeyRotationIsAnotherToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, old := b.issue(0)
	before := b.refresh(b.Rules, old.Token)
	rotated, err := b.Rotate(t.Context(), keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	for name, later := range map[string]time.Duration{"in the same bucket": 10 * time.Second, "in the next bucket": 10 * time.Minute} {
		b.advance(later)
		after := b.refresh(b.Rules, old.Token)
		record, err := b.Token(t.Context(), string(after.ID))
		if err != nil || after.ID == before.ID || record.KeyID != rotated.ID {
			t.Errorf("%s: id %s (before: %s), record %+v, %v; want another id, recorded with key %s", name, after.ID, before.ID, record, err, rotated.ID)
		}
	}
}

func TestATokenWithoutARecordCanBeRevoked(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, first := b.account()
	c := b.caller(b.Rules, first)
	lost, err := b.Issue(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := forget(t, b.file, lost.ID); err != nil { // as when an old backup was restored
		t.Fatal(err)
	}
	forged := lost.Token.Reveal()[:len(lost.Token.Reveal())-4] + "AAAA"
	if _, err := b.RevokeToken(t.Context(), forged, true); !errors.Is(err, failure.ErrInvalid) || strings.Contains(err.Error(), forged) {
		t.Errorf("RevokeToken(forged) = %v, want ErrInvalid", err)
	}
	b.refresh(b.Rules, lost.Token)
	record, err := b.RevokeToken(t.Context(), lost.Token.Reveal(), true)
	if err != nil || record.AccountID != a.ID {
		t.Fatalf("RevokeToken(unrecorded) = %+v, %v", record, err)
	}
	b.mustRefuse(lost.Token, license.ErrTokenRevoked)
}

func TestWhatALeakedAPITokenMadeCanBeEnded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, leaked := b.account()
	other, _, err := b.CreateAPIToken(t.Context(), a.ID, "other")
	if err != nil {
		t.Fatal(err)
	}
	made, err := b.Issue(t.Context(), b.caller(b.Rules, leaked))
	if err != nil {
		t.Fatal(err)
	}
	descended := b.refresh(b.Rules, made.Token)
	good, err := b.Issue(t.Context(), b.caller(b.Rules, other))
	if err != nil {
		t.Fatal(err)
	}
	id, n, err := b.RevokeAPIToken(t.Context(), leaked.Reveal(), true)
	if n != 1 || err != nil {
		t.Errorf("RevokeAPIToken = %d, %v, want 1 family", n, err)
	}
	b.mustRefuse(made.Token, license.ErrTokenRevoked)
	b.mustRefuse(descended.Token, license.ErrTokenRevoked)
	b.refresh(b.Rules, good.Token)
	if again, n, err := b.RevokeAPIToken(t.Context(), id, true); again != id || n != 0 || err != nil {
		t.Errorf("RevokeAPIToken again = %s, %d, %v, want nothing to do", again, n, err)
	}
}

func TestAnotherMasterKeyIsNoticedAtTheStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	wrong, err := keyring.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg := b.cfg
	cfg.MasterKey = wrong
	if _, err := join(t.Context(), cfg); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("New(wrong master key) = %v, want ErrWrongMasterKey", err)
	}
}

func TestSecretsHideThemselves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, key := b.account()
	issued, err := b.Issue(t.Context(), b.caller(b.Rules, key))
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key, "token", issued.Token, "master", b.cfg.MasterKey)
	fmt.Fprintf(&log, "%v %+v %#v %s %v %#v", issued, issued, issued, key, b.cfg.MasterKey, b.cfg.MasterKey)
	for name, secret := range map[string]string{"API token": key.Reveal(), "token": issued.Token.Reveal(), "master key": b.cfg.MasterKey.Text().Reveal()} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
}
