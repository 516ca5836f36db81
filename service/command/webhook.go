package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
	"github.com/pageflare/ci/service/webhook/out"
)

// Webhook is the commands of webhook endpoints.
type Webhook struct {
	Add          webhookAdd        `cmd:"" help:"Send what happens from now on to an address; its secret is shown this once."`
	List         webhookList       `cmd:"" help:"List the endpoints, without their secrets."`
	Show         webhookShow       `cmd:"" help:"Show an endpoint, without its secret."`
	Update       webhookUpdate     `cmd:"" help:"Change the address or the events of an endpoint, or disable or enable it."`
	Remove       webhookRemove     `cmd:"" help:"Remove an endpoint permanently, with its secret."`
	RotateSecret webhookRotate     `cmd:"" name:"rotate-secret" help:"Give an endpoint another secret, which is shown this once."`
	Test         webhookTest       `cmd:"" help:"Send an endpoint, and nobody else, an event of a type, as it would look."`
	Deliveries   webhookDeliveries `cmd:"" help:"List what was sent to an endpoint, and what came of it."`
	Replay       webhookReplay     `cmd:"" help:"Send events to an endpoint again: one, those of a time, or those that it never accepted."`
	Skip         webhookSkip       `cmd:"" help:"Leave out what is queued for an endpoint: it hears what happens from now on."`
	Verify       webhookVerify     `cmd:"" help:"Say whether a delivery was signed by an endpoint's secret, which PAGEFLARE_WEBHOOK_SECRET holds; the body comes on standard input."`
	Listen       webhookListen     `cmd:"" help:"Show what happens at a service, by its event feed, and forward it to an address on this machine."`
}

// webhookText is an endpoint, for people.
func webhookText(w io.Writer, j api.Webhook) {
	account, events := "all", "all"
	if j.Account != "" {
		account = j.Account
	}
	if len(j.Events) > 0 {
		events = strings.Join(j.Events, ",")
	}
	Row(w, "id", j.ID)
	Row(w, "account", account)
	Row(w, "url", j.URL)
	Row(w, "events", events)
	Row(w, "status", j.Status)
	if j.Reason != "" {
		Row(w, "reason", j.Reason)
	}
	Row(w, "created", j.CreatedAt)
	if j.PreviousSecretUntil != "" {
		Row(w, "previous secret until", j.PreviousSecretUntil)
	}
	if j.Secret != "" {
		Row(w, "secret", j.Secret)
		Row(w, "", "(store it now: it is shown this once)")
	}
}

// webhookRefusal is refusal for acts of endpoints.
func webhookRefusal(err error) error {
	if errors.Is(err, out.ErrTooMany) {
		return UsageError{err}
	}
	return refusal(err)
}

// eventType is a type of events.
type eventType string

// Validate refuses what is none.
func (t eventType) Validate() error {
	if !slices.Contains(audit.EventTypes, audit.EventType(t)) {
		return fmt.Errorf("%q is none of %s", string(t), failure.Names(audit.EventTypes))
	}
	return nil
}

func eventTypes(list []eventType) []audit.EventType {
	return show.Each(list, func(t eventType) audit.EventType { return audit.EventType(t) })
}

type webhookAdd struct {
	Output
	Account string      `help:"Id of the account whose events are sent. Without it: those of all accounts, and what is nobody's." placeholder:"ID"`
	URL     string      `name:"url" required:"" help:"Where they are sent, such as https://example.com/hooks; by plain http and to addresses that are not public only within LICENSE_WEBHOOK_ALLOW." placeholder:"URL"`
	Event   []eventType `help:"Only this type of events, such as account.updated; can be given several times. Default: all." placeholder:"TYPE"`
}

// Run makes the endpoint.
func (c webhookAdd) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		made, err := l.Endpoints.Add(ctx, out.NewEndpoint{AccountID: c.Account, URL: c.URL, Events: eventTypes(c.Event)})
		if err != nil {
			return webhookRefusal(err)
		}
		j := show.NewWebhook(made)
		return c.Print(a.Stdout, j, func(w io.Writer) { webhookText(w, j) })
	})
}

type webhookList struct {
	Output
	Account string `help:"Only those of this account." placeholder:"ID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	After   string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the endpoints.
func (c webhookList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Endpoints.Endpoints(ctx, out.Query{Account: c.Account, After: c.After, Limit: c.Limit.andOne()})
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.Webhooks(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ID", "ACCOUNT", "STATUS", "URL", "EVENTS")
			for _, e := range page.Items {
				Row(w, e.ID, dash(e.Account), e.Status, e.URL, dash(strings.Join(e.Events, ",")))
			}
		})
	})
}

// oneWebhook is the argument and the output of commands that are about one endpoint.
type oneWebhook struct {
	Output
	ID string `arg:"" help:"Id of the endpoint (wh_…)."`
}

// print runs an act on the endpoint and prints what it gives.
func (c oneWebhook) print(ctx context.Context, a *App, act func(context.Context, *out.Registry) (out.Endpoint, error)) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		e, err := act(ctx, l.Endpoints)
		if err != nil {
			return webhookRefusal(err)
		}
		j := show.Webhook(e)
		if e.Secret != "" {
			j = show.NewWebhook(e)
		}
		return c.Print(a.Stdout, j, func(w io.Writer) { webhookText(w, j) })
	})
}

type webhookShow struct{ oneWebhook }

// Run shows the endpoint.
func (c webhookShow) Run(ctx context.Context, a *App) error {
	return c.print(ctx, a, func(ctx context.Context, r *out.Registry) (out.Endpoint, error) { return r.Endpoint(ctx, c.ID) })
}

type webhookUpdate struct {
	oneWebhook
	URL       *string     `name:"url" help:"New address." placeholder:"URL"`
	Event     []eventType `help:"A type of events; those given replace the old ones." placeholder:"TYPE"`
	AllEvents bool        `help:"Send all types."`
	Disable   bool        `help:"Stop sending. What happens is kept, and sent when it is enabled."`
	Enable    bool        `help:"Send again: what was queued first, unless skip leaves it out."`
}

// Run changes the endpoint.
func (c webhookUpdate) Run(ctx context.Context, a *App) error {
	ch := out.Change{URL: c.URL}
	if c.AllEvents && len(c.Event) > 0 {
		return Usagef("--event and --all-events exclude each other")
	}
	if c.Disable && c.Enable {
		return Usagef("--disable and --enable exclude each other")
	}
	if c.AllEvents || len(c.Event) > 0 {
		ch.Events = new(eventTypes(c.Event))
	}
	if c.Disable {
		ch.Status = new(out.Disabled)
	}
	if c.Enable {
		ch.Status = new(out.Active)
	}
	if ch == (out.Change{}) {
		return Usagef("nothing to change: give --url, --event, --all-events, --disable or --enable")
	}
	return c.print(ctx, a, func(ctx context.Context, r *out.Registry) (out.Endpoint, error) { return r.Update(ctx, c.ID, ch) })
}

type webhookRemove struct {
	oneWebhook
	Confirm
}

// Run removes the endpoint.
func (c webhookRemove) Run(ctx context.Context, a *App) error {
	if err := c.confirm(a, "Endpoint %s is removed, and nothing more is sent to it", c.ID); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		e, err := l.Endpoints.Remove(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		j := show.RemovedWebhook(e)
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "status", j.Status)
		})
	})
}

type webhookRotate struct {
	oneWebhook
	Overlap lifetime `default:"24h" help:"How long the secret of now signs too, so that the receiver can change over: 0 to 7d." placeholder:"DURATION"`
}

// Run changes the secret.
func (c webhookRotate) Run(ctx context.Context, a *App) error {
	return c.print(ctx, a, func(ctx context.Context, r *out.Registry) (out.Endpoint, error) {
		return r.RotateSecret(ctx, c.ID, c.Overlap.Duration)
	})
}

type webhookTest struct {
	oneWebhook
	Type eventType `arg:"" help:"Type of the event, such as ping or account.updated."`
}

// Run makes the event, which a running server sends.
func (c webhookTest) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		e, err := l.Endpoints.Test(ctx, c.ID, audit.EventType(c.Type))
		if err != nil {
			return refusal(err)
		}
		return c.Print(a.Stdout, api.Event(e.Body()), func(w io.Writer) {
			Row(w, "id", e.ID)
			Row(w, "type", e.Type)
			Row(w, "sequence", e.Seq)
			Row(w, "data", e.Data)
		})
	})
}
