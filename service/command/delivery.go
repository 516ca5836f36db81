package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/signature"
)

type webhookDeliveries struct {
	Output
	ID    string `arg:"" help:"Id of the endpoint (wh_…)."`
	State string `help:"Only these: pending, sending, held, delivered, failed or skipped ones." enum:",pending,sending,held,delivered,failed,skipped" default:"" placeholder:"STATE"`
	Event string `help:"Only those of this event." placeholder:"ID"`
	Limit limit  `default:"100" help:"How many to list at most."`
	After string `help:"Continue behind this place, which the page before ends with." placeholder:"PLACE"`
}

// Run lists the deliveries, newest events first.
func (c webhookDeliveries) Run(ctx context.Context, a *App) error {
	after, err := deliver.ParsePosition(c.After)
	if err != nil {
		return listRefusal("--after", err)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Sent.Deliveries(ctx, deliver.Query{Endpoint: c.ID, State: deliver.State(c.State), Event: c.Event, After: after, Limit: c.Limit.andOne()})
		if err != nil {
			return refusal(err)
		}
		q, err := l.Sent.Queue(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		page := show.SentDeliveries(found, q, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "EVENT", "TYPE", "STATE", "TRIES", "ATTEMPTED", "NEXT", "REASON")
			for _, d := range page.Items {
				Row(w, dash(d.Event), dash(d.Type), d.State, d.Tries, dash(d.AttemptedAt), dash(d.NextAt), dash(oneLine(d.Reason, d.Response)))
			}
			if q.Waiting > 0 {
				Row(w, "", fmt.Sprintf("%d events wait behind them", q.Waiting))
			}
		})
	})
}

// oneLine is why a delivery was not accepted, with the beginning of what its receiver said.
func oneLine(reason, response string) string {
	if reason == "" || response == "" {
		return reason
	}
	text := strings.Join(strings.Fields(response), " ")
	return fmt.Sprintf("%s: %.60s", reason, text)
}

type webhookReplay struct {
	Output
	Confirm
	ID          string `arg:"" help:"Id of the endpoint (wh_…)."`
	Event       string `help:"The one event to send again." placeholder:"ID"`
	Since       moment `help:"What happened from this time on: a date, a time, or how long ago, such as 24h or 7d." placeholder:"TIME"`
	Until       moment `help:"And before this time." placeholder:"TIME"`
	Undelivered bool   `help:"Of that, only what the endpoint never accepted, also what was never tried."`
	Count       bool   `help:"Only say how many events there are."`
	List        bool   `help:"List the replays of the endpoint, and how far each is."`
	Limit       limit  `default:"100" help:"How many to list at most."`
	After       string `help:"Continue after this replay." placeholder:"ID"`
}

// Run says how many events there are, and sends them again.
func (c webhookReplay) Run(ctx context.Context, a *App) error {
	scope := deliver.Scope{Event: c.Event, Since: c.Since.Time, Until: c.Until.Time, Undelivered: c.Undelivered}
	if c.List && scope != (deliver.Scope{}) {
		return Usagef("--list shows what was replayed before: leave --event, --since, --until and --undelivered out")
	}
	if !c.List && scope == (deliver.Scope{}) {
		return Usagef("which events? give --event, --since, --until or --undelivered")
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if c.List {
			return c.list(ctx, a, l)
		}
		n, err := l.Sent.Count(ctx, c.ID, scope)
		if err != nil {
			return refusal(err)
		}
		if c.Count {
			j := show.CountedReplay(n, c.Undelivered)
			return c.Print(a.Stdout, j, func(w io.Writer) { replayText(w, j) })
		}
		if err := c.confirm(a, "%d events are sent to endpoint %s again", n, c.ID); err != nil {
			return err
		}
		r, err := l.Sent.Replay(ctx, c.ID, scope)
		if err != nil {
			return refusal(err)
		}
		j := show.Replay(r)
		return c.Print(a.Stdout, j, func(w io.Writer) { replayText(w, j) })
	})
}

func (c webhookReplay) list(ctx context.Context, a *App, l *parts.Parts) error {
	found, err := l.Sent.Replays(ctx, deliver.ReplayQuery{Endpoint: c.ID, After: c.After, Limit: c.Limit.andOne()})
	if err != nil {
		return listRefusal("--after", err)
	}
	page := show.Replays(found, int(c.Limit))
	return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
		Row(w, "ID", "STATE", "EVENTS", "QUEUED", "CREATED", "ENDED")
		for _, r := range page.Items {
			Row(w, r.ID, r.State, r.Events, r.Queued, r.CreatedAt, dash(r.EndedAt))
		}
	})
}

func replayText(w io.Writer, j api.WebhookReplay) {
	Row(w, "id", dash(j.ID))
	Row(w, "state", j.State)
	Row(w, "events", j.Events)
	Row(w, "queued", j.Queued)
}

type webhookSkip struct {
	Output
	Confirm
	ID string `arg:"" help:"Id of the endpoint (wh_…)."`
}

// Run leaves out what is queued.
func (c webhookSkip) Run(ctx context.Context, a *App) error {
	if err := c.confirm(a, "What is queued for endpoint %s is not sent, unless it is replayed", c.ID); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		n, err := l.Sent.Skip(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		j := api.SkippedWebhook{ID: c.ID, Events: n}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "events", j.Events)
		})
	})
}

// webhookSecretVariable is where verify finds the secret of the endpoint.
const webhookSecretVariable = "PAGEFLARE_WEBHOOK_SECRET"

type webhookVerify struct {
	Output
	EventID         string `name:"id" help:"Header webhook-id of the delivery." placeholder:"ID"`
	Timestamp       string `help:"Header webhook-timestamp." placeholder:"SECONDS"`
	Signature       string `help:"Header webhook-signature." placeholder:"TEXT"`
	VendorSignature string `help:"Header X-Pageflare-Signature, instead of those three; it says nothing about how old the delivery is." placeholder:"HEX"`
	At              moment `help:"When it came. Default: now." placeholder:"TIME"`
}

// verified is what verify prints.
type verified struct {
	ID string `json:"id,omitempty"`
	OK bool   `json:"ok"`
}

// Run reads the body of the delivery from standard input, byte by byte as it came, and says whether
// the endpoint's secret signed it. The secret is in the environment: an argument would be seen by
// every user of the machine.
func (c webhookVerify) Run(a *App) error {
	secret := a.Getenv(webhookSecretVariable)
	if secret == "" {
		return Usagef("set %s to the secret of the endpoint (whsec_…)", webhookSecretVariable)
	}
	if err := signature.CheckSecret(secret); err != nil {
		return Usagef("%s: %w", webhookSecretVariable, err)
	}
	body, err := io.ReadAll(io.LimitReader(a.Stdin, maxDelivery+1))
	if err != nil {
		return fmt.Errorf("read the body from standard input: %w", err)
	}
	if len(body) > maxDelivery {
		return Usagef("the body is larger than any delivery is (20 KB)")
	}
	h := http.Header{}
	for name, value := range map[string]string{
		signature.HeaderID: c.EventID, signature.HeaderTimestamp: c.Timestamp, signature.HeaderSignature: c.Signature, signature.HeaderVendorSignature: c.VendorSignature,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	if c.VendorSignature != "" && c.Signature == "" {
		err = signature.VerifyVendor(h, body, secret)
	} else {
		now := c.At.Time
		if now.IsZero() {
			now = time.Now()
		}
		_, err = signature.Verify(h, body, now, secret)
	}
	if err != nil {
		return fmt.Errorf("not verified: %w", err)
	}
	return c.Print(a.Stdout, verified{ID: c.EventID, OK: true}, func(w io.Writer) { Row(w, "verified", dash(c.EventID)) })
}

// maxDelivery is more than the body of any delivery has.
const maxDelivery = 64 << 10
