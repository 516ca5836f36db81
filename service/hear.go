package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/in"
)

// How the service hears GitHub beside the route of its webhook: every replica processes what was
// received, and one of them asks for what was not.

// startReceiving processes deliveries until the function that it returns is called, which waits for
// those that were begun.
func startReceiving(p *parts.Parts, log *slog.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Received.Run(ctx, log, time.After) })
	return func() {
		cancel()
		running.Wait()
	}
}

// reconcileTime is how long GitHub's lists may take.
const reconcileTime = 10 * time.Minute

// hearErrands is what one replica asks GitHub for.
func (a *app) hearErrands(p *parts.Parts, log *slog.Logger) []upkeep.Errand {
	return []upkeep.Errand{
		{Name: "github-deliveries", Every: in.HealEvery, Do: func(ctx context.Context) error {
			asked, err := p.Received.Heal(ctx, p.App)
			if asked > 0 {
				log.Info("GitHub was asked to deliver webhooks again", "events", asked)
			}
			return hidden(err)
		}},
		{Name: "github-purchases", Every: billing.ReconcileEvery, Do: func(ctx context.Context) error {
			return hidden(a.reconcile(ctx, p, log))
		}},
		{Name: "received-prune", Every: in.PruneEvery, Do: p.Received.Prune},
	}
}

// reconcile compares purchases with GitHub's lists, then licenses with purchases: where GitHub does
// not answer, time goes on all the same.
func (a *app) reconcile(ctx context.Context, p *parts.Parts, log *slog.Logger) error {
	asking, cancel := context.WithTimeout(ctx, reconcileTime)
	defer cancel()
	faults := []error{a.reconcileMarketplace(asking, p), a.reconcileSponsors(asking, p), p.Billing.Settle(ctx)}
	unmatched, err := p.Billing.Purchases(ctx, billing.Query{Unmatched: true, Limit: maxUnmatched})
	for _, one := range unmatched {
		log.Warn("a purchase that nobody gets", "purchase", one.Ref.String(), "missing", one.Unmatched, "plan", one.Terms.Offer.PlanID,
			"cents", one.Terms.Offer.Cents, "advice", unmatchedAdvice(one))
	}
	return errors.Join(append(faults, err)...)
}

// maxUnmatched is how many the log names in a round.
const maxUnmatched = 10

// unmatchedAdvice is what the operator does about a purchase that nobody gets.
func unmatchedAdvice(p billing.Purchase) string {
	switch {
	case p.Unmatched == billing.MissingBuyer:
		return "GitHub does not tell who it is: run pageflare-license plan match " + p.Ref.String() + " --account ID"
	case p.Ref.Source == billing.Marketplace:
		return fmt.Sprintf("no plan says what it gives: run pageflare-license plan add --plan-id %d --tier TIER", p.Terms.Offer.PlanID)
	case p.Terms.Offer.Once:
		return fmt.Sprintf("no plan says what it gives: run pageflare-license plan add --sponsor-once %d --days N --tier TIER", p.Terms.Offer.Cents/100)
	}
	return fmt.Sprintf("no plan says what it gives: run pageflare-license plan add --sponsor-monthly %d --tier TIER", p.Terms.Offer.Cents/100)
}

func (a *app) reconcileMarketplace(ctx context.Context, p *parts.Parts) error {
	installations, err := p.App.Installations(ctx)
	if errors.Is(err, failure.ErrNotFound) {
		return nil
	}
	var client *github.Client
	if err == nil {
		client, err = installations.AsApp()
	}
	if err != nil {
		return err
	}
	return p.Billing.ReconcileMarketplace(ctx, client)
}

// reconcileSponsors asks by GITHUB_TOKEN, as adding a policy does: no App may see sponsorships.
func (a *app) reconcileSponsors(ctx context.Context, p *parts.Parts) error {
	client, err := a.github()
	if err != nil {
		return fmt.Errorf("GITHUB_TOKEN: %w", err)
	}
	if client.Anonymous() {
		return nil
	}
	return p.Billing.ReconcileSponsors(ctx, client)
}

// hidden is an error without what looks like a secret.
func hidden(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(opaque.HideSecrets(err.Error()))
}
