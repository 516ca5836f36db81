package license_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

const week = 7 * 24 * time.Hour

// newLeaseBench is a bench whose service gives leases for a week.
func newLeaseBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.cfg.LeaseGrace = week
	b.Rules = b.replica()
	return b
}

func (b *bench) lease(s servicetest.Rules, text opaque.Secret) license.Lease {
	b.t.Helper()
	l, err := s.Lease(b.t.Context(), b.caller(s, text))
	if err != nil {
		b.t.Fatal(err)
	}
	return l
}

// leaseKeys are the published keys.
func (b *bench) leaseKeys() *token.LeaseKeys {
	b.t.Helper()
	keys, err := b.LeaseKeys(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	set, err := token.NewLeaseKeys(keys...)
	if err != nil {
		b.t.Fatal(err)
	}
	return set
}

func (b *bench) verify(l license.Lease) token.Lease {
	b.t.Helper()
	says, err := b.leaseKeys().Parse(l.Text.Reveal(), "http://127.0.0.1:8080", b.clock())
	if err != nil {
		b.t.Fatal(err)
	}
	return says
}

func TestALeaseSaysWhatTheLicenseIs(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	a, issued := b.issue(0)
	l := b.lease(b.Rules, issued.Token)
	want := token.Lease{
		Issuer: "http://127.0.0.1:8080", Subject: a.ID, ID: l.ID, LicenseID: string(issued.ID), Tier: "pro", Features: []string{"critical_css"},
		ValidUntil: noon.Add(2 * year), IssuedAt: noon, GraceUntil: noon.Add(week),
	}
	if diff := cmp.Diff(want, b.verify(l)); diff != "" {
		t.Error(diff)
	}
	if !l.GraceUntil.Equal(noon.Add(week)) || !l.ValidUntil.Equal(a.ValidUntil) || l.CappedBy != "" || !l.RefreshAfter.Equal(noon.Add(week*2/3)) {
		t.Errorf("answer = %+v", l)
	}
	if claims := decodedPart(t, l.Text.Reveal(), 1); strings.Contains(claims, "@") || strings.Contains(claims, "example.com") {
		t.Errorf("the lease holds the address: %s", claims)
	}
	other := b.replica()
	if again := b.lease(other, issued.Token); again != l {
		t.Error("another replica gave another lease to the same token")
	}
}

func TestTheEndOfALease(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		valid, ttl time.Duration // of the license and the token, from now on
		want       time.Duration
		by         license.LeaseCap
	}{
		"usually after the grace":                   {2 * year, year, week, ""},
		"with a license that ends before":           {3*24*time.Hour + 500*time.Millisecond, year, 3 * 24 * time.Hour, license.CapValidUntil},
		"with a license that ends with it":          {week, year, week, ""},
		"with a license that ends in a second":      {1500 * time.Millisecond, year, time.Second, license.CapValidUntil},
		"with a short token":                        {2 * year, time.Hour, time.Hour, license.CapToken},
		"with a license shorter than a short token": {time.Minute, time.Hour, time.Minute, license.CapValidUntil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newLeaseBench(t)
			a, issued := b.issue(test.ttl)
			if _, err := b.UpdateAccount(t.Context(), a.ID, account.Change{ValidUntil: new(noon.Add(test.valid))}); err != nil {
				t.Fatal(err)
			}
			l := b.lease(b.Rules, issued.Token)
			if !l.GraceUntil.Equal(noon.Add(test.want)) || l.CappedBy != test.by {
				t.Errorf("GraceUntil = %s by %q, want %s by %q", l.GraceUntil.Sub(noon), l.CappedBy, test.want, test.by)
			}
			if says := b.verify(l); !says.GraceUntil.Equal(l.GraceUntil) || says.GraceUntil.After(says.ValidUntil) {
				t.Errorf("the lease says %+v", says)
			}
			b.advance(test.want)
			if _, err := b.leaseKeys().Parse(l.Text.Reveal(), "http://127.0.0.1:8080", b.clock()); !errors.Is(err, token.ErrExpired) {
				t.Errorf("Parse at its end = %v, want ErrExpired", err)
			}
		})
	}
}

// Whom refresh refuses gets no lease, and says why with the same error.
func TestANoEndsEveryGrace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(b *bench, a account.Account, issued license.Issued) error
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
		"license over within this second": {func(b *bench, a account.Account, _ license.Issued) error {
			b.advance(100 * time.Millisecond)
			_, err := b.UpdateAccount(b.t.Context(), a.ID, account.Change{ValidUntil: new(noon.Add(900 * time.Millisecond))})
			return err
		}, account.ErrExpired},
		"token revoked": {func(b *bench, _ account.Account, issued license.Issued) error {
			_, err := b.RevokeToken(b.t.Context(), issued.Token.Reveal(), false)
			return err
		}, license.ErrTokenRevoked},
		"family revoked": {func(b *bench, _ account.Account, issued license.Issued) error {
			_, err := b.RevokeToken(b.t.Context(), issued.Token.Reveal(), true)
			return err
		}, license.ErrTokenRevoked},
		"token over": {func(b *bench, _ account.Account, _ license.Issued) error {
			b.advance(48 * time.Hour)
			return nil
		}, auth.ErrUnauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newLeaseBench(t)
			a, issued := b.issue(48 * time.Hour)
			b.lease(b.Rules, issued.Token)
			if err := c.spoil(b, a, issued); err != nil {
				t.Fatal(err)
			}
			who, err := b.Authenticate(t.Context(), issued.Token.Reveal())
			if err == nil {
				_, err = b.Lease(t.Context(), who)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("Lease = %v, want %v", err, c.want)
			}
		})
	}
}

func TestLeasesAreForLicenseTokensAlone(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	_, key := b.account()
	if _, err := b.Lease(t.Context(), b.caller(b.Rules, key)); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Lease(API token) = %v, want ErrUnauthenticated", err)
	}
	off := newBench(t)
	_, issued := off.issue(0)
	if _, err := off.Lease(t.Context(), off.caller(off.Rules, issued.Token)); !errors.Is(err, license.ErrNoLeases) {
		t.Errorf("Lease = %v, want ErrNoLeases", err)
	}
	wantStates(t, off, "HS256 signing")
	if keys, err := off.LeaseKeys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("LeaseKeys without leases = %v, %v, want none", keys, err)
	}
}

func TestATokenHasOneLeaseAMinute(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	a, issued := b.issue(0)
	first := b.lease(b.Rules, issued.Token)
	b.advance(59 * time.Second)
	if again := b.lease(b.replica(), issued.Token); again.Text != first.Text {
		t.Error("within the minute it got another lease")
	}
	if _, err := b.UpdateAccount(t.Context(), a.ID, account.Change{Tier: new(account.Team)}); err != nil {
		t.Fatal(err)
	}
	if changed := b.lease(b.Rules, issued.Token); b.verify(changed).Tier != "team" || changed.ID == first.ID {
		t.Errorf("after a change of the account: %+v", b.verify(changed))
	}
	b.advance(time.Second)
	if next := b.lease(b.Rules, issued.Token); !next.GraceUntil.Equal(first.GraceUntil.Add(time.Minute)) {
		t.Errorf("in the next minute it lasts until %s, want a minute longer than %s", next.GraceUntil, first.GraceUntil)
	}
	lines, err := b.Lines(t.Context(), audit.Query{Limit: 10, Action: audit.LeaseIssued})
	if err != nil || len(lines) != 3 {
		t.Fatalf("the log has %d leases, %v; want one line for each", len(lines), err)
	}
	for _, l := range lines {
		if l.Account != a.ID || !strings.HasPrefix(l.Object, "ls_") || strings.Contains(l.Details, "eyJ") || !strings.Contains(l.Details, `"license_jti":"`+string(issued.ID)) {
			t.Errorf("line = %+v", l)
		}
	}
}

// The new key is there for all who verify long before it signs, and the old one for as long as it
// matters.
func TestLeaseKeysRotateWithoutARefusedLease(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	_, issued := b.issue(0)
	first := wantStates(t, b, "HS256 signing", "EdDSA signing")[1].ID
	old := b.lease(b.Rules, issued.Token)
	rotated, err := b.Rotate(t.Context(), keyring.EdDSA)
	if err != nil || rotated.State != keyring.Waiting || rotated.Algorithm != keyring.EdDSA || rotated.SignsFrom.Sub(b.clock()) < 2*keyring.KeysMaxAge {
		t.Fatalf("RotateKey = %+v, %v; want a key that waits twice as long as the published ones may be kept", rotated, err)
	}
	b.advance(time.Second)
	published, err := b.LeaseKeys(t.Context())
	if err != nil || len(published) != 2 {
		t.Fatalf("LeaseKeys = %v, %v; want both", published, err)
	}
	copied := b.leaseKeys() // as somebody has it who keeps it from now on
	b.advance(rotated.SignsFrom.Sub(b.clock()) - time.Millisecond)
	before := b.lease(b.Rules, issued.Token)
	wantStates(t, b, "HS256 signing", "EdDSA signing", "EdDSA waiting")
	b.advance(time.Minute)
	wantStates(t, b, "HS256 signing", "EdDSA verifying", "EdDSA signing")
	after := b.lease(b.Rules, issued.Token)
	for name, l := range map[string]license.Lease{"old": old, "last of the old": before, "first of the new": after} {
		if _, err := copied.Parse(l.Text.Reveal(), "http://127.0.0.1:8080", b.clock()); err != nil {
			t.Errorf("the %s lease = %v", name, err)
		}
	}
	if !strings.Contains(decodedPart(t, after.Text.Reveal(), 0), rotated.ID) {
		t.Error("the new key does not sign")
	}

	if err := b.Retire(t.Context(), first, false); !errors.Is(err, keyring.ErrInUse) || !strings.Contains(err.Error(), "1 live leases") {
		t.Errorf("RetireKey = %v, want ErrKeyInUse by 1 lease, the newest of its token", err)
	}
	b.advance(before.GraceUntil.Sub(b.clock()))
	if err := b.Retire(t.Context(), first, false); !errors.Is(err, keyring.ErrInUse) {
		t.Errorf("RetireKey at the end of the last lease = %v, want ErrKeyInUse while another clock may be behind", err)
	}
	b.advance(token.Leeway)
	if err := b.Retire(t.Context(), first, false); err != nil {
		t.Fatal(err)
	}
	b.advance(time.Second)
	if published, err = b.LeaseKeys(t.Context()); err != nil || len(published) != 1 || published[0].ID != rotated.ID {
		t.Errorf("LeaseKeys = %v, %v; want the new one alone", published, err)
	}
	wantStates(t, b, "HS256 signing", "EdDSA signing")
}

// As TestAKeyThatIsRetiredInBetweenSignsNothing.
func TestALeaseKeyThatIsRetiredInBetweenSignsNothing(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	_, issued := b.issue(0)
	first := wantStates(t, b, "HS256 signing", "EdDSA signing")[1].ID
	late, store := b.apart(-3 * time.Second)
	rotated, err := b.Rotate(t.Context(), keyring.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	b.advance(rotated.SignsFrom.Sub(b.clock()) + time.Second)
	retired := false
	store.before = func() {
		if !retired {
			retired = true
			if err := b.Retire(t.Context(), first, false); err != nil {
				t.Error(err)
			}
		}
	}
	l := b.lease(late, issued.Token)
	b.advance(time.Second)
	b.verify(l)
	if !retired || !strings.Contains(decodedPart(t, l.Text.Reveal(), 0), rotated.ID) {
		t.Errorf("the lease has the header %s, want the key %s", decodedPart(t, l.Text.Reveal(), 0), rotated.ID)
	}
}

// The two kinds of keys are changed apart: what happens to one leaves the other as it is.
func TestKeysOfTheTwoKindsDoNotMeet(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	_, issued := b.issue(0)
	for _, a := range []keyring.Algorithm{keyring.HS256, keyring.EdDSA} {
		if _, err := b.Rotate(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	b.advance(time.Minute)
	keys := wantStates(t, b, "HS256 verifying", "HS256 signing", "EdDSA signing", "EdDSA waiting")
	if err := b.Retire(t.Context(), keys[0].ID, true); err != nil {
		t.Fatal(err)
	}
	if err := b.Retire(t.Context(), keys[2].ID, true); !errors.Is(err, keyring.ErrInUse) {
		t.Errorf("RetireKey(the lease key that signs) = %v, want ErrKeyInUse", err)
	}
	b.advance(time.Second)
	b.mustRefuse(issued.Token, auth.ErrUnauthenticated)
	wantStates(t, b, "HS256 signing", "EdDSA signing", "EdDSA waiting")
}

// RFC 8725, 2.1, 3.1 and 3.12: neither kind passes for the other, nor does HMAC by what everybody
// may know.
func TestALeaseIsNoLicenseTokenAndTheReverse(t *testing.T) {
	t.Parallel()
	b := newLeaseBench(t)
	_, issued := b.issue(0)
	l := b.lease(b.Rules, issued.Token)
	keys, err := b.LeaseKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{"a lease": l.Text.Reveal()}
	for name, secret := range map[string][]byte{"the public key": keys[0].Key, "a kid": []byte(strings.Repeat(keys[0].ID, 2))} {
		for _, kid := range []string{keys[0].ID, b.signingKey()} {
			set, err := token.NewKeySet(token.Key{ID: kid, Secret: secret})
			if err != nil {
				t.Fatal(err)
			}
			if shown[name+" as a secret, under "+kid], err = set.Sign(decode(t, issued.Token)); err != nil {
				t.Fatal(err)
			}
		}
	}
	admin := auth.Caller{Kind: auth.ByAdminToken, Admin: &auth.AdminToken{}}
	for name, text := range shown {
		if _, err := b.Authenticate(t.Context(), text); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("Authenticate(%s) = %v, want ErrUnauthenticated", name, err)
		}
		if i, err := b.Introspect(t.Context(), admin, text); err != nil || i.Active {
			t.Errorf("Introspect(%s) = %+v, %v, want inactive", name, i, err)
		}
		if err := b.Revoke(t.Context(), admin, text); err != nil {
			t.Errorf("Revoke(%s) = %v, want nothing done", name, err)
		}
		if _, err := b.RevokeToken(t.Context(), text, true); !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("RevokeToken(%s) = %v, want ErrInvalid", name, err)
		}
		if name == "a lease" {
			continue
		}
		if _, err := b.leaseKeys().Parse(text, "http://127.0.0.1:8080", b.clock()); !errors.Is(err, token.ErrAlgorithm) {
			t.Errorf("LeaseKeys.Parse(%s) = %v, want ErrAlgorithm", name, err)
		}
	}
	b.caller(b.Rules, issued.Token) // nothing of that ended it
	if _, err := b.leaseKeys().Parse(issued.Token.Reveal(), "http://127.0.0.1:8080", b.clock()); !errors.Is(err, token.ErrAlgorithm) {
		t.Errorf("LeaseKeys.Parse(license token) = %v, want ErrAlgorithm", err)
	}
}

// A service that had no leases, and whose keys are older than leases are, gets its first lease key
// when it starts.
func TestLeasesCanBeTurnedOnAndOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.change(`UPDATE signing_keys SET algorithm = 'HS256'`)
	_, issued := b.issue(0)
	b.cfg.LeaseGrace = time.Hour
	on := b.replica()
	l := b.lease(on, issued.Token)
	b.advance(time.Second)
	b.verify(l) // by the keys that a service without leases publishes, for as long as there are some
	b.caller(on, issued.Token)
	wantStates(t, b, "HS256 signing", "EdDSA signing")
}

// Who was let in a moment before gets no lease by which to live on, when another replica ended the
// right in between.
func TestNoLeaseIsGivenAfterItsRightEnded(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		end  func(b *bench, owner string, id opaque.TokenID) error
		want error
	}{
		"the token": {func(b *bench, _ string, id opaque.TokenID) error {
			_, err := b.RevokeToken(b.t.Context(), string(id), false)
			return err
		}, license.ErrTokenRevoked},
		"its family": {func(b *bench, _ string, id opaque.TokenID) error {
			_, err := b.RevokeToken(b.t.Context(), string(id), true)
			return err
		}, license.ErrTokenRevoked},
		"its account": {func(b *bench, owner string, _ opaque.TokenID) error {
			_, err := b.SuspendAccount(b.t.Context(), owner)
			return err
		}, account.ErrInactive},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newLeaseBench(t)
			a, issued := b.issue(0)
			other := b.replica()
			c := b.caller(other, issued.Token)
			if err := end.end(b, a.ID, issued.ID); err != nil {
				t.Fatal(err)
			}
			if l, err := other.Lease(t.Context(), c); !errors.Is(err, end.want) {
				t.Errorf("Lease = %v, %v, want %v", l.ID, err, end.want)
			}
		})
	}
}
