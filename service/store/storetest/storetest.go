// Package storetest is the suite that every database of the License service must pass. It decides
// what the Store of each noun promises, by example: one suite a noun.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/limit"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/in"
	"github.com/pageflare/ci/service/webhook/out"
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
	license.JobStore
	oidc.KeyStore
	limit.Store
	SetLimitClock(func() time.Time)
	PruneLimits(ctx context.Context, before time.Time) (int64, error)
	upkeep.Store
	githubapp.Store
	leak.Store
	rotation.Store
	githubapp.Store
	account.NoticeStore
	out.Store
	out.FeedStore
	Published() <-chan struct{}
	Stock(ctx context.Context, now time.Time) (license.Stock, error)
	deliver.Store
	deliver.HistoryStore
	githubapp.Store
	billing.Store
	in.Store
	in.Places
}

// suite is the promises of one noun, each by its name.
type suite map[string]func(*testing.T, Store)

// Run runs the suites. open returns an empty store, and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, s := range []suite{
		general, accounts, apiTokens, tokens, endings, signingKeys, leaseRecords, adminTokenRecords,
		auditLog, trustPolicies, exchanges, devices, signIns, machineRecords, jobRecords, limits,
		upkeeping, events, endpoints, notices, rotationRecords, githubApps, purchaseRecords,
		receivedDeliveries, places, leaks, sends,
	} {
		for name, test := range s {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, open(t))
			})
		}
	}
}

var general = suite{
	"what is not there is ErrNotFound": missing,
}

// at is a time with milliseconds, the resolution that is kept.
var at = time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)

// did is an act of no importance.
func did(at time.Time) audit.Act {
	return audit.Act{
		At: at, Actor: audit.Actor{Kind: audit.ActorCommand, ID: "test"}, Action: "test.act",
		Details: "{}",
	}
}

func newAccount(n int) account.Account {
	return account.Account{
		ID: fmt.Sprintf("user_%03d", n), Email: fmt.Sprintf("dev%d@example.com",
			n), Tier: account.Pro, Features: []string{"spa_mode", "critical_css"},
		ValidUntil: at.AddDate(1, 0, 0), Status: account.Active, CreatedAt: at,
	}
}

func newAPIToken(n int) account.APIToken {
	return account.APIToken{
		ID: fmt.Sprintf("at_%03d", n), AccountID: fmt.Sprintf("user_%03d", n), Name: "first",
		Hash: fmt.Sprintf("hash%d", n), CreatedAt: at,
	}
}

// tokenID has the form of a real one: 8 letters of time, 16 of family, 16 of its own.
func tokenID(second, family, own int) opaque.TokenID {
	return opaque.TokenID(fmt.Sprintf("%08d%016d%016d", second, family, own))
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
	_, _, err = s.AccountStatus(ctx, "user_none", "x")
	wantErr(t, "AccountStatus", err, failure.ErrNotFound)
	_, err = s.Token(ctx, tokenID(1, 1, 1))
	wantErr(t, "Token", err, failure.ErrNotFound)
	_, err = s.RecordedAt(ctx, tokenID(1, 1, 1))
	wantErr(t, "RecordedAt", err, failure.ErrNotFound)
	_, err = s.RetireKey(ctx, "k_none", at, did(at))
	wantErr(t, "RetireKey", err, failure.ErrNotFound)
}
