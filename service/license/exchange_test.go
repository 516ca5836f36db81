package license_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/servicetest"
)

// trusted is an account with a policy, and an identity that the policy allows.
func (b *bench) trusted() (license.TrustPolicy, account.Account, oidc.Identity) {
	b.t.Helper()
	a, _ := b.account()
	rule := oidc.Policy{Issuer: "https://token.actions.githubusercontent.com", RepositoryID: "7", OwnerID: "8"}
	p, err := b.AddPolicy(b.t.Context(), license.TrustPolicy{Policy: rule, AccountID: a.ID, Repository: "acme/site"})
	if err != nil {
		b.t.Fatal(err)
	}
	now := b.clock()
	return p, a, oidc.Identity{
		Issuer: rule.Issuer, Subject: "repo:acme/site:ref:refs/heads/main", ID: "j1", IssuedAt: now, NotBefore: now, ExpiresAt: now.Add(5 * time.Minute),
		RepositoryID: "7", OwnerID: "8", Event: "push", Ref: "refs/heads/main", RunID: "42",
	}
}

func (b *bench) exchanges() int {
	b.t.Helper()
	lines, err := b.Lines(b.t.Context(), audit.Query{Action: audit.TokenExchanged, Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	return len(lines)
}

func TestAnIdentityIsExchangedOnceOnAllReplicas(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, a, id := b.trusted()
	replicas := []servicetest.Rules{b.replica(), b.replica(), b.replica()}
	const each = 8
	issued := make([]license.Issued, each*len(replicas))
	errs := make([]error, len(issued))
	var wg sync.WaitGroup
	for i := range issued {
		wg.Go(func() {
			issued[i], errs[i] = replicas[i%len(replicas)].Exchange(context.WithoutCancel(t.Context()), jobOf(id, p.Policy, a))
			b.advance(time.Millisecond) // no two of them at the same time
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, i := range issued {
		if i.Token != issued[0].Token {
			t.Fatal("one identity was exchanged for two tokens")
		}
	}
	if n := b.exchanges(); n != 1 {
		t.Errorf("exchanges in the audit log = %d, want 1", n)
	}
	b.advance(license.IdentityRetry + time.Second)
	for _, s := range replicas {
		if _, err := s.Exchange(t.Context(), jobOf(id, p.Policy, a)); !errors.Is(err, license.ErrIdentityUsed) {
			t.Errorf("Exchange(replayed) = %v, want ErrIdentityUsed", err)
		}
	}
	other := id
	other.Issuer = "https://token.actions.example.ghe.com" // names its tokens by itself
	if again, err := b.Exchange(t.Context(), jobOf(other, p.Policy, a)); err != nil || again.Token == issued[0].Token {
		t.Errorf("Exchange(the same jti of another issuer) = %v, want a token of its own", err)
	}
}

// A client that lost the answer must not suffer from a key that began to sign in between.
func TestALostAnswerIsGivenAgainAfterAKeyRotation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, a, id := b.trusted()
	first, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a))
	if err != nil {
		t.Fatal(err)
	}
	made, err := b.Rotate(t.Context(), keyring.HS256)
	if err != nil {
		t.Fatal(err)
	}
	b.advance(10 * time.Second)
	again, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a))
	if err != nil || again.Token != first.Token {
		t.Errorf("Exchange(again, after a key rotation) = %+v, %v, want the same token", again.ID, err)
	}
	next := id
	next.ID = "j2"
	other, err := b.Exchange(t.Context(), jobOf(next, p.Policy, a))
	if err != nil {
		t.Fatal(err)
	}
	if record, err := b.Token(t.Context(), string(other.ID)); err != nil || record.KeyID != made.ID {
		t.Errorf("key of the next token = %s, %v, want %s", record.KeyID, err, made.ID)
	}
	if err := b.Retire(t.Context(), keyOf(t, b, first), true); err != nil {
		t.Fatal(err)
	}
	b.advance(time.Second)
	if _, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a)); !errors.Is(err, license.ErrIdentityUsed) {
		t.Errorf("Exchange after its key was retired by force = %v, want ErrIdentityUsed", err)
	}
}

// An account that was changed in between would need another token, and an identity is good for one.
func TestALostAnswerIsNotGivenAgainForAChangedAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p, a, id := b.trusted()
	if _, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a)); err != nil {
		t.Fatal(err)
	}
	b.advance(time.Second)
	a, err := b.UpdateAccount(t.Context(), a.ID, account.Change{Tier: new(account.Team)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a)); !errors.Is(err, license.ErrIdentityUsed) {
		t.Errorf("Exchange(again, after a change) = %v, want ErrIdentityUsed", err)
	}
	if n := b.exchanges(); n != 1 {
		t.Errorf("exchanges in the audit log = %d, want 1", n)
	}
}

// A request that was allowed in the last moment of an identity, here or on a replica whose clock is
// behind, finds it still remembered.
func TestAnIdentityIsRememberedLongerThanItIsAccepted(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]time.Duration{"a moment": time.Millisecond, "a clock that is behind": oidc.Leeway} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			p, a, id := b.trusted()
			if _, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a)); err != nil {
				t.Fatal(err)
			}
			b.advance(id.ExpiresAt.Add(oidc.Leeway).Sub(b.clock()) + late)
			if _, err := b.Exchange(t.Context(), jobOf(id, p.Policy, a)); !errors.Is(err, license.ErrIdentityUsed) {
				t.Errorf("Exchange = %v, want ErrIdentityUsed", err)
			}
		})
	}
}

// jobOf is a job that a policy allows, as a caller whom nobody has looked up.
func jobOf(id oidc.Identity, p oidc.Policy, a account.Account) auth.Caller {
	return auth.Caller{Kind: auth.ByIdentity, Account: a, Job: &auth.Job{Identity: id, Policy: p}}
}
