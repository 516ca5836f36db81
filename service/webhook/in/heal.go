package in

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/failure"
)

// GitHub delivers once. What it could not deliver to an App it keeps for three days, and delivers
// again when it is asked to. Webhooks of Marketplace and Sponsors have no such list: see
// service/billing, which compares.

// App is the GitHub App of the service.
type App interface {
	// Installations makes clients of the App. failure.ErrNotFound: there is none.
	Installations(ctx context.Context) (*github.Installations, error)
}

// How GitHub is asked.
const (
	HealEvery  = 10 * time.Minute
	healWindow = 3 * 24 * time.Hour
	healTime   = 5 * time.Minute
	healPages  = 100
	healAsks   = 100 // in a round
	healShare  = 5   // a fifth of the requests of an hour is left for others
	// settleTime is how long GitHub may be about to deliver.
	settleTime = time.Minute
	// stubborn is how many attempts are made one after the other; then there are hours between them.
	stubborn    = 5
	stubbornFor = 6 * time.Hour
)

var errBudget = errors.New("most of the requests that GitHub allows the App in an hour are used up, and the rest is for other work: this goes on in the next round")

// event is what GitHub's list tells of one event.
type event struct {
	newest   github.HookDelivery
	attempts int
	ok       bool
}

// Heal asks GitHub to deliver again what it could not deliver in the last three days, and returns how
// many events that were. What we have received, GitHub is not asked for, whether it knows that or
// not. Without an App there is nothing to do.
func (r *Receiver) Heal(ctx context.Context, app App) (asked int, err error) {
	installations, err := app.Installations(ctx)
	if errors.Is(err, failure.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, healTime)
	defer cancel()
	var spent atomic.Bool
	ctx = github.OnAllowance(ctx, func(a github.Allowance) { spent.Store(a.Remaining < a.Limit/healShare) })
	client, err := installations.AsApp()
	if err != nil {
		return 0, err
	}
	missed, err := r.missed(ctx, client, &spent)
	if err != nil {
		return 0, fmt.Errorf("ask GitHub for what it did not deliver: %w", err)
	}
	for _, e := range missed {
		if asked == healAsks {
			break
		}
		if spent.Load() {
			return asked, errBudget
		}
		if err := client.Redeliver(ctx, e.newest.ID); err != nil {
			if fault := github.Explain(ctx, err); fault.Kind == github.NotFound || fault.Kind == github.Invalid {
				continue // it is not kept any more
			}
			return asked, fmt.Errorf("ask GitHub to deliver again: %w", err)
		}
		asked++
		r.count("", CountAsked)
	}
	return asked, nil
}

// missed are the events that GitHub could not deliver and that we have not received, oldest first.
func (r *Receiver) missed(ctx context.Context, client *github.Client, spent *atomic.Bool) ([]event, error) {
	now := r.cfg.Now()
	events, order, err := failedOf(ctx, client, now, spent)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range order {
		e := events[id]
		wait := settleTime
		if e.attempts >= stubborn {
			wait = stubbornFor
		}
		if !e.ok && !e.newest.At.After(now.Add(-wait)) {
			ids = append(ids, id)
		}
	}
	known, err := r.cfg.Store.KnownReceived(ctx, ids)
	if err != nil {
		return nil, err
	}
	var missed []event
	for i := len(ids) - 1; i >= 0; i-- { // the list has the newest first
		if !known[ids[i]] {
			missed = append(missed, *events[ids[i]])
		}
	}
	return missed, nil
}

// failedOf reads GitHub's list, newest first.
func failedOf(ctx context.Context, client *github.Client, now time.Time, spent *atomic.Bool) (map[string]*event, []string, error) {
	events := map[string]*event{}
	var order []string
	cursor := ""
	for range healPages {
		page, next, err := client.HookDeliveries(ctx, cursor)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range page {
			if d.At.Before(now.Add(-healWindow)) {
				return events, order, nil
			}
			if !idForm.MatchString(d.GUID) {
				continue
			}
			e := events[d.GUID]
			if e == nil {
				e = &event{newest: d}
				events[d.GUID] = e
				order = append(order, d.GUID)
			}
			e.attempts++
			e.ok = e.ok || d.OK
		}
		if next == "" || next == cursor {
			break
		}
		if spent.Load() {
			return nil, nil, errBudget
		}
		cursor = next
	}
	return events, order, nil
}

// How long deliveries are kept.
const (
	PruneEvery = time.Hour
	keepBodies = 3 * 24 * time.Hour   // of what was processed, or nobody wants
	keepRows   = 120 * 24 * time.Hour // so that an id is known for longer than anyone can send it again
	pruneBatch = 500
)

// Prune forgets what is too old to be needed.
func (r *Receiver) Prune(ctx context.Context) error {
	for ctx.Err() == nil {
		now := r.cfg.Now()
		n, err := r.cfg.Store.PruneReceived(ctx, now.Add(-keepBodies), now.Add(-keepRows), pruneBatch)
		if err != nil || n == 0 {
			return err
		}
	}
	return ctx.Err()
}
