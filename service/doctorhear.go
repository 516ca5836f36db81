package main

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/webhook/in"
)

// What the doctor says of webhooks that GitHub sent, and of purchases.

// maxFindings is how many of a kind are named.
const maxFindings = 5

// checkHeard looks at deliveries that failed, at purchases that nobody gets, and at whether
// sponsorships are compared with GitHub's. Where nothing is bought through GitHub nothing is said.
func (a *app) checkHeard(ctx context.Context, in inside) (out []finding) {
	if in.err != nil {
		return nil
	}
	err := a.commands.WithNew(ctx, func(ctx context.Context, l *parts.Parts) error {
		received, err := receivedFindings(ctx, l)
		if err != nil {
			return err
		}
		bought, err := a.purchaseFindings(ctx, l)
		out = append(received, bought...)
		return err
	})
	if err != nil {
		out = append(out, wrong("webhooks of github", oneLine(err.Error())))
	}
	return out
}

func receivedFindings(ctx context.Context, l *parts.Parts) ([]finding, error) {
	failed, err := l.Received.Deliveries(ctx, in.Query{State: in.Failed, Limit: maxFindings})
	if err != nil {
		return nil, err
	}
	var out []finding
	for _, d := range failed {
		text := fmt.Sprintf("delivery %s of %s failed: %s", d.ID, d.Event, oneLine(d.Error))
		if d.DueAt.IsZero() {
			text += fmt.Sprintf("; it is not tried again: run pageflare-license received retry %s when the cause is gone", d.ID)
		}
		out = append(out, warned("webhooks of github", text))
	}
	return out, nil
}

func (a *app) purchaseFindings(ctx context.Context, l *parts.Parts) ([]finding, error) {
	const what = "purchases"
	unmatched, err := l.Billing.Purchases(ctx, billing.Query{Unmatched: true, Limit: maxFindings})
	if err != nil {
		return nil, err
	}
	var out []finding
	for _, p := range unmatched {
		out = append(out, warned(what, fmt.Sprintf("nobody gets %s: %s", p.Ref, unmatchedAdvice(p))))
	}
	plans, err := l.Billing.Plans(ctx)
	if err != nil {
		return nil, err
	}
	if len(plans) > 0 && len(a.cfg.WebhookSecrets) == 0 {
		out = append(out, warned(what, "plans say what is bought through GitHub, and LICENSE_GITHUB_WEBHOOK_SECRET is not set: a Marketplace listing and a sponsored account "+
			"have webhooks of their own, which are set up by hand, with a secret that you choose; choose one, set the variable, and give it to them and to the App's webhook"))
	}
	about := map[bool]bool{} // of sponsorships, of the Marketplace
	for _, p := range plans {
		about[p.Source != billing.FromMarketplace] = true
	}
	if about[true] && a.getenv("GITHUB_TOKEN") == "" {
		out = append(out, warned(what, "plans say what sponsorships give, and GITHUB_TOKEN is not set: sponsorships are not compared with GitHub's, "+
			"so that a webhook that was lost is noticed by nobody; give serve a token of the sponsored account"))
	}
	if about[false] && a.cfg.GitHubAppID == "" {
		if _, err := l.App.Installations(ctx); err != nil {
			out = append(out, warned(what, "plans say what the Marketplace gives, and no GitHub App is set up: purchases are not compared with GitHub's, "+
				"so that licenses end a week after the first paid cycle; set LICENSE_GITHUB_APP_ID and LICENSE_GITHUB_APP_KEY_FILE"))
		}
	}
	if len(out) == 0 && len(plans) > 0 {
		out = append(out, well(what, fmt.Sprintf("%d plans are described, and every purchase has its account", len(plans))))
	}
	return out, nil
}
