package license_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/token"
)

// watched is a store that a test looks into: it counts reads of the keys, lets them fail, and does
// something just before a record is made.
type watched struct {
	license.Store
	reads  atomic.Int64
	fault  atomic.Pointer[error]
	before func()
}

// watchedKeys are the keys of a watched store.
type watchedKeys struct {
	keyring.Store
	w *watched
}

func (k watchedKeys) Keys(ctx context.Context) ([]keyring.SealedKey, error) {
	k.w.reads.Add(1)
	if fault := k.w.fault.Load(); fault != nil {
		return nil, *fault
	}
	return k.Store.Keys(ctx)
}

func (w *watched) RecordToken(ctx context.Context, r license.TokenRecord, act audit.Act) error {
	if w.before != nil {
		w.before()
	}
	return w.Store.RecordToken(ctx, r, act)
}

func (w *watched) RecordLease(ctx context.Context, r license.LeaseRecord, act audit.Act) error {
	if w.before != nil {
		w.before()
	}
	return w.Store.RecordLease(ctx, r, act)
}

// fail lets reads of the keys fail from now on.
func (w *watched) fail() {
	w.fault.Store(new(fmt.Errorf("%w: the disk is gone", failure.ErrUnavailable)))
}

// apart is one more service on the same database as another process has it: with a store of its
// own, and a clock that differs.
func (b *bench) apart(ahead time.Duration) (servicetest.Rules, *watched) {
	b.t.Helper()
	s, err := store.Open(b.t.Context(), "sqlite:"+b.file)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { s.Close() })
	s.AlwaysAsk()
	w := &watched{Store: s}
	cfg := b.cfg
	cfg.Stores = parts.On(s)
	cfg.Stores.Licenses, cfg.Stores.Keys = w, watchedKeys{s, w}
	cfg.Now = func() time.Time { return b.clock().Add(ahead) }
	replica, err := join(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return replica, w
}

func (b *bench) signingKey() string {
	b.t.Helper()
	keys, err := b.Keys(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, k := range keys {
		if k.State == keyring.Signing && k.Algorithm == keyring.HS256 {
			return k.ID
		}
	}
	b.t.Fatal("no key signs")
	return ""
}

// decodedPart is one part of a JWT: 0 is its header, 1 its claims.
func decodedPart(t *testing.T, raw string, i int) string {
	t.Helper()
	part, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	return string(part)
}

func keyOf(t *testing.T, b *bench, i license.Issued) string {
	t.Helper()
	r, err := b.Token(t.Context(), string(i.ID))
	if err != nil {
		t.Fatal(err)
	}
	return r.KeyID
}

// Each replica serves something now and then, and so reads the keys about once a second. Whenever a
// token by the new key appears, every other replica takes it although it cannot read the keys any
// more: it knew the key before.
func TestEveryReplicaKnowsANewKeyBeforeItSigns(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-3900 * time.Millisecond, 0, 3900 * time.Millisecond} {
		t.Run(fmt.Sprintf("a clock ahead by %s", skew), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a, old := b.issue(0)
			signer, _ := b.apart(skew)
			b.advance(100 * time.Millisecond) // in each second the signer reads the keys, and only then the other one
			other, kept := b.apart(0)
			for step := 0; ; step++ {
				switch {
				case step%10 == 0:
					b.caller(other, old.Token)
				case step == 1: // a moment after the other one has read
					if _, err := b.Rotate(t.Context(), keyring.HS256); err != nil {
						t.Fatal(err)
					}
				case step > 120:
					t.Fatal("the new key never signed")
				}
				made, err := signer.IssueFor(t.Context(), a.ID, 0)
				if err != nil {
					t.Fatal(err)
				}
				if keyOf(t, b, made) == keyOf(t, b, old) {
					b.advance(100 * time.Millisecond)
					continue
				}
				kept.fail()
				b.caller(other, made.Token)
				return
			}
		})
	}
}

// A clock that is too far ahead breaks the order above. Then the replica that meets the unknown key
// looks again.
func TestATokenIsNotRefusedOnTheWordOfAnOldView(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, old := b.issue(0)
	early, _ := b.apart(30 * time.Second)
	other, reads := b.apart(0)
	b.advance(time.Second)
	b.caller(other, old.Token) // it has just read
	rotated, err := b.Rotate(t.Context(), keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	made, err := early.IssueFor(t.Context(), a.ID, 0)
	if err != nil || keyOf(t, b, made) != rotated.ID {
		t.Fatalf("IssueFor = %v, want a token by the new key", err)
	}
	b.advance(100 * time.Millisecond)
	before := reads.reads.Load()
	b.caller(other, made.Token)
	if n := reads.reads.Load() - before; n != 1 {
		t.Errorf("the keys were read %d times, want once", n)
	}
}

// Who cannot read the keys cannot say no to a key that it does not know.
func TestWithoutKeysThereIsNoVerdict(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, old := b.issue(0)
	other, kept := b.apart(0)
	if _, err := b.Rotate(t.Context(), keyring.HS256); err != nil {
		t.Fatal(err)
	}
	kept.fail()
	b.advance(6 * time.Second)
	made, err := b.IssueFor(t.Context(), a.ID, 0)
	if err != nil || keyOf(t, b, made) == keyOf(t, b, old) {
		t.Fatalf("IssueFor = %v, want a token by the new key", err)
	}
	admin := auth.Caller{Kind: auth.ByAdminToken, Admin: &auth.AdminToken{}}
	_, authenticate := other.Authenticate(t.Context(), made.Token.Reveal())
	_, introspect := other.Introspect(t.Context(), admin, made.Token.Reveal())
	_, revokeToken := other.RevokeToken(t.Context(), made.Token.Reveal(), true)
	for name, err := range map[string]error{
		"Authenticate": authenticate, "Introspect": introspect, "RevokeToken": revokeToken, "Revoke": other.Revoke(t.Context(), admin, made.Token.Reveal()),
	} {
		if !errors.Is(err, failure.ErrUnavailable) || errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("%s without keys = %v, want ErrUnavailable", name, err)
		}
	}
	b.caller(other, old.Token) // what it knows it goes on to know
	kept.fault.Store(nil)
	b.advance(100 * time.Millisecond)
	b.caller(other, made.Token)
}

// A canceled request says nothing about the store: the next one reads at once.
func TestAReadThatWasGivenUpIsNoOutage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a, _ := b.issue(0)
	other, kept := b.apart(0)
	if _, err := b.Rotate(t.Context(), keyring.HS256); err != nil {
		t.Fatal(err)
	}
	b.advance(6 * time.Second)
	made, err := b.IssueFor(t.Context(), a.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	kept.fail()
	if _, err := other.Authenticate(gone, made.Token.Reveal()); err == nil {
		t.Fatal("Authenticate without keys = nil")
	}
	kept.fault.Store(nil)
	b.caller(other, made.Token)
}

func TestAMadeUpKidForcesFewReads(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, old := b.issue(0)
	other, reads := b.apart(0)
	b.caller(other, old.Token)
	made, err := token.NewKeySet(token.Key{ID: "k_madeup", Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	forged, err := made.Sign(decode(t, old.Token))
	if err != nil {
		t.Fatal(err)
	}
	before := reads.reads.Load()
	for range 100 { // in one second
		b.advance(10 * time.Millisecond)
		if _, err := other.Authenticate(t.Context(), forged); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Fatalf("Authenticate(forged) = %v, want ErrUnauthenticated", err)
		}
	}
	if n := reads.reads.Load() - before; n > 10 {
		t.Errorf("100 forged tokens in a second forced %d reads of the keys, want 10 at most", n)
	}
	reads.fail() // nor is a store that does not answer asked by everybody
	before = reads.reads.Load()
	for range 200 {
		b.advance(10 * time.Millisecond)
		b.caller(other, old.Token)
	}
	if n := reads.reads.Load() - before; n == 0 || n > 20 {
		t.Errorf("200 good tokens in two seconds tried to read the keys %d times, want 1 to 20", n)
	}
}

// The key is retired after it has signed and before the record is made, which is when the token is
// still nobody's.
func TestAKeyThatIsRetiredInBetweenSignsNothing(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(s servicetest.Rules, c auth.Caller) (opaque.Secret, error){
		"issue": func(s servicetest.Rules, c auth.Caller) (opaque.Secret, error) {
			i, err := s.Issue(t.Context(), c)
			return i.Token, err
		},
		"refresh": func(s servicetest.Rules, c auth.Caller) (opaque.Secret, error) {
			i, err := s.Refresh(t.Context(), c)
			return i.Token, err
		},
		"issue for": func(s servicetest.Rules, c auth.Caller) (opaque.Secret, error) {
			i, err := s.IssueFor(t.Context(), c.Account.ID, 0)
			return i.Token, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, old := b.issue(time.Minute)
			first := b.signingKey()
			late, store := b.apart(-3 * time.Second) // to it the first key signs longer than to us
			if _, err := b.Rotate(t.Context(), keyring.HS256); err != nil {
				t.Fatal(err)
			}
			b.advance(6 * time.Second)
			c := b.caller(late, old.Token)
			if err := forget(t, b.file, old.ID); err != nil { // so that nothing depends on the first key
				t.Fatal(err)
			}
			retired := 0
			store.before = func() {
				if retired++; retired == 1 {
					if err := b.Retire(t.Context(), first, false); err != nil {
						t.Error(err)
					}
				}
			}
			text, err := make(late, c)
			if err != nil {
				t.Fatal(err)
			}
			if retired != 2 {
				t.Errorf("the record was tried %d times, want twice: by the first key and by the second", retired)
			}
			for range 3 {
				b.caller(late, text)
				b.caller(b.Rules, text)
				b.advance(time.Second)
			}
		})
	}
}

func TestAClockThatIsAheadRetiresNoKeyEarly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, short := b.issue(time.Minute)
	first := b.signingKey()
	if _, err := b.Rotate(t.Context(), keyring.HS256); err != nil {
		t.Fatal(err)
	}
	b.advance(10 * time.Second)
	ahead, _ := b.apart(55 * time.Second) // to it the token is over
	if err := ahead.Retire(t.Context(), first, false); !errors.Is(err, keyring.ErrInUse) {
		t.Fatalf("RetireKey = %v, want ErrKeyInUse", err)
	}
	b.caller(b.Rules, short.Token)
	b.advance(2 * time.Minute)
	if err := ahead.Retire(t.Context(), first, false); err != nil {
		t.Error(err)
	}
}

func TestServicesThatStartAtOnceShareTheirFirstKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.change(`DELETE FROM signing_keys`)
	cfg := b.cfg
	cfg.LeaseGrace = time.Hour
	services := make([]servicetest.Rules, 8)
	errs := make([]error, len(services))
	var wg sync.WaitGroup
	for i := range services {
		wg.Go(func() { services[i], errs[i] = join(context.WithoutCancel(t.Context()), cfg) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	a, _ := b.account()
	for _, s := range services {
		issued, err := s.IssueFor(t.Context(), a.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range services {
			b.caller(other, issued.Token)
		}
	}
	wantStates(t, b, "HS256 signing", "EdDSA signing")
}

// wantStates fails unless the keys are these, in this order.
func wantStates(t *testing.T, b *bench, want ...string) []keyring.Key {
	t.Helper()
	keys, err := b.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, k := range keys {
		got = append(got, fmt.Sprint(k.Algorithm, " ", k.State))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got)\n%s", diff)
	}
	return keys
}

// A key that somebody who can write the database makes out to be of the other kind does not open.
func TestAKeyCannotBeMadeOneOfAnotherAlgorithm(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"a lease key for license tokens":  `UPDATE signing_keys SET algorithm = 'HS256' WHERE algorithm = 'EdDSA'`,
		"a key of tokens for leases":      `UPDATE signing_keys SET algorithm = 'EdDSA' WHERE algorithm = 'HS256'`,
		"one key with the id of another":  `UPDATE signing_keys SET sealed = (SELECT sealed FROM signing_keys WHERE algorithm = 'EdDSA')`,
		"a secret that somebody made up":  `UPDATE signing_keys SET sealed = '` + base64.StdEncoding.EncodeToString(make([]byte, 60)) + `'`,
		"an algorithm that is not known":  `UPDATE signing_keys SET algorithm = 'none' WHERE algorithm = 'EdDSA'`,
		"the algorithm in another letter": `UPDATE signing_keys SET algorithm = 'eddsa' WHERE algorithm = 'EdDSA'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.cfg.LeaseGrace = time.Hour
			s := b.replica()
			b.change(query)
			if _, err := join(t.Context(), b.cfg); !errors.Is(err, keyring.ErrWrongMasterKey) {
				t.Errorf("New = %v, want ErrWrongMasterKey", err)
			}
			b.advance(time.Second)
			if _, err := s.LeaseKeys(t.Context()); !errors.Is(err, keyring.ErrWrongMasterKey) {
				t.Errorf("LeaseKeys of a running service = %v, want ErrWrongMasterKey", err)
			}
		})
	}
}

// A key that was added while the clock was ahead waits for a time that is far away. The one that is
// added after it takes its place, for good.
func TestAKeyFromTheFutureNeverTakesOver(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	b.advance(365 * 24 * time.Hour)
	slip, err := b.Rotate(ctx, keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	b.advance(-365 * 24 * time.Hour)
	next, err := b.Rotate(ctx, keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{6 * time.Second, 366 * 24 * time.Hour} {
		b.advance(later)
		if got := b.signingKey(); got != next.ID {
			t.Fatalf("%s later signs %s, want the newest, %s", later, got, next.ID)
		}
		keys, err := b.Keys(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if k.ID == slip.ID && k.State != keyring.Verifying {
				t.Errorf("%s later the key from the future is %s, want verifying", later, k.State)
			}
		}
	}
	if err := b.Retire(ctx, slip.ID, false); err != nil {
		t.Errorf("Retire of the key from the future = %v", err)
	}
}

func TestAKeyThatWaitsIsRetiredByForce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	old := b.signingKey()
	b.advance(365 * 24 * time.Hour)
	slip, err := b.Rotate(ctx, keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	b.advance(-365 * 24 * time.Hour)
	if err := b.Retire(ctx, slip.ID, false); !errors.Is(err, keyring.ErrInUse) {
		t.Errorf("Retire of a key that waits = %v, want ErrInUse", err)
	}
	if err := b.Retire(ctx, slip.ID, true); err != nil {
		t.Errorf("Retire by force = %v", err)
	}
	b.advance(366 * 24 * time.Hour)
	if got := b.signingKey(); got != old {
		t.Errorf("%s signs, want the one that is left, %s", got, old)
	}
}
