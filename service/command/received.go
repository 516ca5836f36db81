package command

import (
	"context"
	"io"
	"slices"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
	"github.com/pageflare/ci/service/webhook/in"
)

// Received is the commands of what GitHub delivered.
type Received struct {
	List  receivedList  `cmd:"" help:"List deliveries of GitHub's webhooks, newest first."`
	Retry receivedRetry `cmd:"" help:"Process a delivery once more: a running server does it at once."`
}

type receivedList struct {
	Output
	State in.State `help:"Only received, processed, failed or ignored ones." placeholder:"STATE"`
	Event string   `help:"Only this event, such as marketplace_purchase." placeholder:"EVENT"`
	Limit limit    `default:"100" help:"How many to list at most."`
	After string   `help:"Continue after this delivery." placeholder:"ID"`
}

// Run lists the deliveries.
func (c receivedList) Run(ctx context.Context, a *App) error {
	if c.State != "" && !slices.Contains(in.States, c.State) {
		return Usagef("--state: give one of %s", failure.Names(in.States))
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Received.Deliveries(ctx, in.Query{State: c.State, Event: c.Event, After: c.After, Limit: c.Limit.andOne()})
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.Deliveries(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ID", "EVENT", "ACTION", "STATE", "RECEIVED", "ATTEMPTS", "AGAIN", "ERROR")
			for _, d := range page.Items {
				Row(w, d.ID, d.Event, dash(d.Action), d.State, d.ReceivedAt, d.Attempts, orDash(d.DueAt), dash(d.Error))
			}
		})
	})
}

type receivedRetry struct {
	Output
	ID string `arg:"" help:"Id of the delivery (X-GitHub-Delivery)."`
}

// Run lets the delivery be processed once more.
func (c receivedRetry) Run(ctx context.Context, a *App) error {
	if !in.IsDeliveryID(c.ID) {
		return Usagef("that is no id of a delivery: see received list")
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		d, err := l.Received.Retry(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		j := show.Delivery(d)
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "event", j.Event)
			Row(w, "state", j.State)
			Row(w, "due", orDash(j.DueAt))
		})
	})
}
