package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/storetest"
	"github.com/pageflare/ci/service/token"
)

// What a database holds before it is measured is made by the service's own rules and store, in
// this process: accounts, their tokens, and records of refreshes as they are made in production.

// seedWriters make records at once: as many as share a transaction.
const seedWriters = 256

// licensee is an account with a license token.
type licensee struct {
	account  account.Account
	apiToken string
	token    string
}

// seedAccounts makes accounts with a token each.
func (d database) seedAccounts(ctx context.Context, n int) ([]licensee, error) {
	made := make([]licensee, n)
	err := d.with(ctx, func(p *parts.Parts) error {
		return atOnce(ctx, min(n, seedWriters), n, func(i int) error {
			a, text, err := p.Accounts.CreateAccount(ctx, account.NewAccount{
				Email: fmt.Sprintf("bench-%d@example.com", i), Tier: account.Pro, ValidUntil: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
			})
			if err != nil {
				return err
			}
			made[i] = licensee{account: a, apiToken: text.Reveal()}
			made[i].token, err = issue(ctx, p, a.ID)
			return err
		})
	})
	return made, err
}

// moreTokens gives an account tokens.
func (d database) moreTokens(ctx context.Context, account string, n int) ([]string, error) {
	made := make([]string, n)
	err := d.with(ctx, func(p *parts.Parts) error {
		return atOnce(ctx, seedWriters, n, func(i int) (err error) {
			made[i], err = issue(ctx, p, account)
			return err
		})
	})
	return made, err
}

func issue(ctx context.Context, p *parts.Parts, account string) (string, error) {
	issued, err := p.Licenses.IssueFor(ctx, account, 0)
	return issued.Token.Reveal(), err
}

// atOnce calls f for 0 to n-1, by so many workers, until one fails.
func atOnce(ctx context.Context, workers, n int, f func(i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := f(int(i)); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// addPolicy lets the jobs of the issuer exchange their identities for tokens of the account.
func (d database) addPolicy(ctx context.Context, account string) error {
	return d.with(ctx, func(p *parts.Parts) error {
		_, err := p.Policies.AddPolicy(ctx, license.TrustPolicy{
			AccountID: account, Policy: oidc.Policy{Issuer: d.issuer, RepositoryID: "1296269", OwnerID: "1"},
		})
		return err
	})
}

// seedStep is the time between two records that are seeded: a day of them has 43,200, and a walk
// goes on within the window in which the token before was issued.
const seedStep = 2 * time.Second

// seedClock is the time at which seeded records are made: it ends shortly before now.
type seedClock struct{ at atomic.Int64 }

func newSeedClock(records int) *seedClock {
	c := &seedClock{}
	c.at.Store(time.Now().Add(-time.Minute - time.Duration(records)*seedStep).UnixNano())
	return c
}

func (c *seedClock) now() time.Time { return time.Unix(0, c.at.Load()) }
func (c *seedClock) tick()          { c.at.Add(int64(seedStep)) }

// seedRecords refreshes tokens of an account so many times, on a database whose time is the
// clock's, and sums the records up as upkeep does. It returns one of the first tokens.
func (d database) seedRecords(ctx context.Context, a account.Account, n int, clock *seedClock) (old opaque.TokenID, err error) {
	err = d.withStore(ctx, func(s *store.Store) error {
		p, err := d.join(ctx, s, nil)
		if err != nil {
			return err
		}
		walks := min(n, seedWriters)
		return atOnce(ctx, walks, walks, func(i int) error {
			steps := n / walks
			if i < n%walks {
				steps++
			}
			first, err := walk(ctx, s, p, a, steps, clock)
			if i == 0 {
				old = first
			}
			return err
		})
	})
	if err != nil {
		return "", err
	}
	return old, d.withStore(ctx, func(s *store.Store) error { return storetest.Index(ctx, s) })
}

// walk makes a chain of tokens, each of which is what the one before was refreshed to, and returns
// the first.
func walk(ctx context.Context, s *store.Store, p *parts.Parts, a account.Account, steps int, clock *seedClock) (first opaque.TokenID, err error) {
	issued, err := p.Licenses.IssueFor(ctx, a.ID, 0)
	if err != nil {
		return "", err
	}
	first = issued.ID
	for range steps - 1 {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		clock.tick()
		asOf, err := s.Rights(ctx)
		if err != nil {
			return "", err
		}
		before := issued
		caller := auth.Caller{Kind: auth.ByLicenseToken, Account: a, AsOf: asOf, Token: token.Claims{
			Subject: a.ID, ID: string(before.ID), IssuedAt: clock.now().Truncate(time.Second), ExpiresAt: before.ExpiresAt,
		}}
		if issued, err = p.Licenses.Refresh(requestOf(ctx, caller), caller); err != nil {
			return "", err
		}
		if issued.ID == before.ID {
			return "", errNotRecorded
		}
	}
	return first, nil
}

// requestOf is the context of a request of a caller, with all that its record says.
func requestOf(ctx context.Context, c auth.Caller) context.Context {
	who := c.Actor()
	who.Address, who.RequestID = "127.0.0.1", rand.Text()
	return audit.WithActor(ctx, who)
}
