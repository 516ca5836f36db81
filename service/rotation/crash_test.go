package rotation_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/rotation"
)

// dying is a database whose process is killed at a step: nothing that comes after it is done.
type dying struct {
	rotation.Store
	at   string // "recorded": right after the token was; "written": right before that is noted
	dead bool
}

var errKilled = errors.New("killed")

func (d *dying) RecordRotated(ctx context.Context, w rotation.Work, r license.TokenRecord, act audit.Act) error {
	if d.dead {
		return errKilled
	}
	err := d.Store.RecordRotated(ctx, w, r, act)
	if d.at == "recorded" {
		d.dead = true
		return errKilled
	}
	return err
}

func (d *dying) FinishTarget(ctx context.Context, w rotation.Work, r rotation.Result, acts ...audit.Act) error {
	if d.dead || d.at == "written" {
		d.dead = true
		return errKilled
	}
	return d.Store.FinishTarget(ctx, w, r, acts...)
}

// Whatever step a process is killed at, the next one writes the token that was recorded, and makes
// no other.
func TestAProcessIsKilled(t *testing.T) {
	t.Parallel()
	for at, kills := range map[string]int{"recorded": 1, "written": 3} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			made := w.add(t, "acme/site")
			stores := parts.On(w.store)
			for range kills {
				d := &dying{Store: w.store, at: at}
				stores.Rotations = d
				w.cfg.Stores = stores
				w.start(t)
				if err := w.r.Run(t.Context()); !d.dead {
					t.Fatalf("it was not killed: %v", err)
				}
				w.run(t) // its claim has not ended: nobody else begins
				w.pass(10*time.Minute + time.Second)
			}
			pending := w.target(t, made.ID).Pending
			w.cfg.Stores = parts.On(w.store)
			w.start(t)
			w.run(t)
			same(t, 1, w.tokens(t))
			same(t, pending, w.secret(t, site))
			got := w.target(t, made.ID)
			same(t, []opaque.TokenID{pending, ""}, []opaque.TokenID{got.JTI, got.Pending})
		})
	}
}

// What was recorded before and is no longer so is not written.
func TestATokenThatWasNotWrittenIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *world, opaque.TokenID){
		"the account has another tier": func(t *testing.T, w *world, _ opaque.TokenID) {
			_, err := w.Accounts.UpdateAccount(t.Context(), w.account.ID, account.Change{Tier: new(account.Team)})
			must(t, err)
		},
		"it was revoked": func(t *testing.T, w *world, id opaque.TokenID) {
			_, err := w.Licenses.RevokeToken(t.Context(), string(id), true)
			must(t, err)
		},
		"half of its life is over": func(_ *testing.T, w *world, _ opaque.TokenID) { w.pass(200 * day) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			made := w.add(t, "acme/site")
			w.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{Status: 422})
			w.run(t)
			first := w.target(t, made.ID).Pending
			if first == "" {
				t.Fatal("no token was recorded")
			}
			change(t, w, first)
			w.pass(2 * time.Hour)
			w.run(t)
			if second := w.secret(t, site); second == first {
				t.Error("the token of before was written")
			}
			same(t, 2, w.tokens(t))
		})
	}
}

// Two replicas that both think that it is their turn write each secret once.
func TestTwoReplicasAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, target := range []string{"repository", "environment:prod", "dependabot/repository"} {
		w.add(t, "acme/site", target)
	}
	w.add(t, "acme/docs")
	w.pass(2 * time.Hour)
	other := *w
	other.start(t)
	var both sync.WaitGroup
	for _, r := range []*rotation.Rotations{w.r, other.r, w.r, other.r} {
		both.Go(func() {
			if err := r.Run(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	same(t, 4, len(w.github.Puts()))
	same(t, 4, w.tokens(t))
	stock, err := w.r.Stock(t.Context())
	must(t, err)
	same(t, int64(4), stock.States[rotation.Fresh])
}

// A holder that was suspended while it wrote, and comes back after another one has done its work,
// changes nothing.
func TestAHolderThatComesBackTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.github.FailNext("PUT /PAGEFLARE_TOKEN", githubtest.Fault{OnArrive: func() {
		w.pass(11 * time.Minute)
		other := *w
		other.start(t)
		must(t, other.r.Run(t.Context()))
	}})
	w.run(t)
	same(t, 1, w.tokens(t)) // both wrote the same one
	got := w.target(t, made.ID)
	same(t, got.JTI, w.secret(t, site))
	same(t, 1, len(w.acts(t, audit.SecretRotated)))
}

// The clock goes a day ahead and comes back.
func TestTheClockSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(t, "acme/site")
	w.pass(2 * time.Hour)
	w.github.FailNext("GET /repositories/7", githubtest.Fault{Status: 502})
	w.run(t)
	w.pass(-time.Hour)
	must(t, w.r.Run(t.Context()))
	w.pass(time.Hour + 10*time.Minute)
	w.run(t)
	w.secret(t, site)
	same(t, 1, w.tokens(t))
}
