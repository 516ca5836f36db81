package command

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/webhook/out"
	"github.com/pageflare/ci/service/webhook/signature"
)

// webhookListen follows the event feed of a service that may be anywhere: it needs no database.
//
//   - It goes on behind the last event that was dealt with, which it keeps in a file: shown, or accepted
//     by the address that it forwards to. So what happens while it does not run is shown later.
//   - A replay to an endpoint reaches it too: the feed tells of each, and the events are read by its id.
//   - It never goes on quietly when it misses something: every reason to stop is an error.
type webhookListen struct {
	Forward   string    `help:"Send each event to this address, signed as a delivery is. The secret is printed when it is made, at the first time." placeholder:"URL"`
	APIURL    string    `name:"api-url" help:"Base path of the API. Default: PAGEFLARE_API_URL, else that of the service with the settings of this folder." placeholder:"URL"`
	Account   string    `help:"Only events of this account." placeholder:"ID"`
	Event     eventType `help:"Only events of this type." placeholder:"TYPE"`
	After     *int64    `help:"Begin behind this number, 0 for the oldest event there is, instead of where it ended last; the first time it begins with what happens next." placeholder:"SEQUENCE"`
	KeepGoing bool      `help:"Go on with the next event when the address does not accept one. Without it, that is an error, and the next run begins with that event."`
	NewSecret bool      `help:"Make another secret for --forward."`
	Once      bool      `help:"End when all events that there are were dealt with, instead of waiting for more."`
	JSON      bool      `name:"json" help:"Print each event as webhooks get it, one a line."`
}

// adminTokenVariable holds the admin token, which needs the scope events:read.
const adminTokenVariable = "PAGEFLARE_ADMIN_TOKEN"

// listenWait is how long a request waits for an event, in seconds: a heartbeat is printed as often.
const listenWait = 25

// forwardTime is how long the address may take to accept an event.
const forwardTime = 15 * time.Second

// forwardPauses are the pauses between the tries of one event.
var forwardPauses = []time.Duration{time.Second, 3 * time.Second}

// listening is a run of webhookListen.
type listening struct {
	webhookListen
	app    *App
	api    *client.Admin
	http   *http.Client
	own    *listenState
	behind int64 // the last event that was dealt with
}

// Run shows events until it is interrupted.
func (c webhookListen) Run(ctx context.Context, a *App) error {
	l, err := c.begin(a)
	if err != nil {
		return err
	}
	defer l.own.close()
	if err := l.from(ctx); err != nil {
		return l.ended(ctx, err)
	}
	fmt.Fprintf(a.Stderr, "listening: %s, behind event %d\n", l.own.API, l.behind)
	for {
		more, err := l.page(ctx)
		if err != nil {
			return l.ended(ctx, err)
		}
		if c.Once && !more {
			return nil
		}
	}
}

// begin checks what was given and reads the file.
func (c webhookListen) begin(a *App) (*listening, error) {
	token := a.Getenv(adminTokenVariable)
	if token == "" {
		return nil, Usagef("%s is not set: give it an admin token with the scope events:read, as `pageflare-license admin-token create --scope events:read` makes one", adminTokenVariable)
	}
	c.APIURL = cmp.Or(c.APIURL, a.Getenv("PAGEFLARE_API_URL"), a.APIURL)
	if c.After != nil && *c.After < 0 {
		return nil, Usagef("--after: %d is below 0", *c.After)
	}
	if c.NewSecret && c.Forward == "" {
		return nil, Usagef("--new-secret is for --forward")
	}
	if u, err := url.Parse(c.Forward); c.Forward != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil) {
		return nil, Usagef("--forward: %q is not an address such as http://127.0.0.1:3000/hooks", hideURL(c.Forward))
	}
	api, err := client.New(client.Config{BaseURL: c.APIURL, UserAgent: "pageflare-license"})
	if err != nil {
		return nil, UsageError{err}
	}
	own, err := openListenState(a.Getenv, api.BaseURL(), c.Account)
	if err != nil {
		return nil, err
	}
	l := &listening{webhookListen: c, app: a, api: api.Admin(token), own: own, http: &http.Client{
		Transport: &http.Transport{Proxy: nil}, Timeout: forwardTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := l.secret(); err != nil {
		own.close()
		return nil, err
	}
	return l, nil
}

// hideURL leaves a password out of a message.
func hideURL(text string) string {
	if i := strings.LastIndex(text, "@"); i >= 0 {
		return "[hidden]" + text[i:]
	}
	return text
}

// secret makes the secret of --forward, if there is none.
func (l *listening) secret() error {
	if l.Forward == "" || l.own.Secret != "" && !l.NewSecret {
		return nil
	}
	var err error
	if l.own.Secret, err = signature.NewSecret(rand.Reader); err != nil {
		return err
	}
	fmt.Fprintf(l.app.Stderr, "secret: %s (of this address alone, printed this once)\n", l.own.Secret)
	return l.own.save()
}

// from decides where to begin.
func (l *listening) from(ctx context.Context) error {
	switch {
	case l.After != nil:
		l.behind, l.own.Replay = *l.After, nil
	case l.own.After != nil:
		l.behind = *l.own.After
	default:
		page, err := l.api.ListEvents(ctx, api.ListEventsParams{Limit: 1})
		if err != nil {
			return err
		}
		l.behind = page.Latest
	}
	if l.own.After != nil && *l.own.After == l.behind {
		return nil // also in the middle of a replay
	}
	return l.dealtWith(l.behind)
}

// page deals with the next events, or prints a heartbeat when there are none. more says that there
// may be others right behind them.
func (l *listening) page(ctx context.Context) (more bool, err error) {
	p := api.ListEventsParams{After: l.behind, Limit: 50, Wait: listenWait, Account: l.Account, Type: string(l.Event), Tests: true, Replays: true}
	if l.Once {
		p.Wait = 0
	}
	page, err := l.api.ListEvents(ctx, p)
	if err != nil {
		return false, err
	}
	for _, raw := range page.Events {
		if err := l.event(ctx, raw); err != nil {
			return false, err
		}
	}
	if len(page.Events) == 0 && !l.JSON {
		fmt.Fprintf(l.app.Stderr, "heartbeat: %s, nothing behind event %d\n", time.Now().UTC().Format(time.RFC3339), page.Next)
	}
	return page.Next < page.Latest, l.dealtWith(page.Next)
}

// listened is an event, as far as it is looked into.
type listened struct {
	ID, Type  string
	Timestamp string
	Sequence  int64
	Data      json.RawMessage
	raw       api.Event
}

// readEvent reads an event of the feed, which must be behind a number.
func readEvent(raw api.Event, behind int64) (e listened, err error) {
	if err := json.Unmarshal(raw, &e); err != nil || e.Sequence <= behind {
		return e, fmt.Errorf("the feed answered what is not the event behind %d: is --api-url right?", behind)
	}
	e.raw = raw
	return e, nil
}

// event deals with an event of the feed.
func (l *listening) event(ctx context.Context, raw api.Event) error {
	e, err := readEvent(raw, l.behind)
	if err != nil {
		return err
	}
	if e.Type == string(audit.EventReplayed) {
		err = l.replay(ctx, e)
	} else {
		err = l.show(ctx, e)
	}
	if err != nil {
		return err
	}
	return l.dealtWith(e.Sequence)
}

// replay deals with the events of a replay that the feed tells of.
func (l *listening) replay(ctx context.Context, told listened) error {
	var of struct {
		Replay, Endpoint  string
		Events, After, To int64
	}
	if err := json.Unmarshal(told.Data, &of); err != nil || of.Replay == "" {
		return fmt.Errorf("event %d (%s) names no replay: is --api-url right?", told.Sequence, told.ID)
	}
	at := of.After
	if done := l.own.Replay; done != nil && done.Event == told.Sequence {
		at = done.After
	}
	fmt.Fprintf(l.app.Stderr, "replay: %s to %s, %d events\n", of.Replay, of.Endpoint, of.Events)
	for at < of.To {
		page, err := l.api.ListEvents(ctx, api.ListEventsParams{
			Replay: of.Replay, After: at, Limit: 50, Account: l.Account, Type: string(l.Event), Tests: true,
		})
		if fault, ok := errors.AsType[*client.Error](err); ok && (fault.Code == api.CodeEventsMissing || fault.Code == api.CodeNotFound) {
			fmt.Fprintf(l.app.Stderr, "warning: replay %s is not shown beyond event %d: %v\n", of.Replay, at, err)
			return nil
		}
		if err != nil {
			return err
		}
		for _, raw := range page.Events {
			e, err := readEvent(raw, at)
			if err == nil {
				err = l.show(ctx, e)
			}
			if err != nil {
				return err
			}
			at = e.Sequence
			l.own.Replay = &listenReplay{Event: told.Sequence, After: at}
			if err := l.own.save(); err != nil {
				return err
			}
		}
		if page.Next <= at && len(page.Events) == 0 {
			return fmt.Errorf("the feed has no end of replay %s behind event %d: is --api-url right?", of.Replay, at)
		}
		at = page.Next
	}
	return nil
}

// show shows an event and forwards it.
func (l *listening) show(ctx context.Context, e listened) error {
	if l.JSON {
		fmt.Fprintf(l.app.Stdout, "%s\n", e.raw)
	} else {
		Row(l.app.Stdout, fmt.Sprintf("%s %d %s %s %s", e.Timestamp, e.Sequence, e.Type, e.ID, e.Data))
	}
	if l.Forward == "" {
		return nil
	}
	err := l.forward(ctx, e.ID, e.Type, e.raw)
	if err != nil && (ctx.Err() != nil || !l.KeepGoing) {
		return fmt.Errorf("event %d (%s) was not accepted: %w", e.Sequence, e.ID, err)
	}
	if err != nil {
		fmt.Fprintf(l.app.Stderr, "warning: event %d (%s) was not accepted: %v\n", e.Sequence, e.ID, err)
	}
	return nil
}

// forward sends an event to the address until it accepts it by a 2xx.
func (l *listening) forward(ctx context.Context, id, kind string, body []byte) (err error) {
	for try := 0; ; try++ {
		if err = l.send(ctx, id, kind, body); err == nil || try == len(forwardPauses) {
			return err
		}
		select {
		case <-time.After(forwardPauses[try]):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *listening) send(ctx context.Context, id, kind string, body []byte) error {
	now := time.Now()
	signed, err := signature.Message{ID: id, At: now, Body: body}.Sign(l.own.Secret)
	if err != nil {
		return err
	}
	vendor, err := signature.Vendor(body, l.own.Secret)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.Forward, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", signature.HeaderID: id, signature.HeaderTimestamp: strconv.FormatInt(now.Unix(), 10),
		signature.HeaderSignature: signed, signature.HeaderVendorEvent: kind, signature.HeaderVendorSignature: vendor,
	} {
		req.Header.Set(name, value)
	}
	res, err := l.http.Do(req)
	if err != nil {
		return errors.Unwrap(err) // without the address, which the person knows
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, out.MaxBody)); err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("it answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	if !l.JSON {
		fmt.Fprintf(l.app.Stderr, "forwarded: %s, %d %s\n", id, res.StatusCode, http.StatusText(res.StatusCode)) // not in its own words: they reach a terminal
	}
	return nil
}

// dealtWith notes the last event that was dealt with.
func (l *listening) dealtWith(seq int64) error {
	l.behind = seq
	if l.own.After != nil && *l.own.After == seq {
		return nil
	}
	l.own.After, l.own.Replay = &seq, nil
	return l.own.save()
}

// ended is the error with which it ends; nil when it was interrupted.
func (l *listening) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	hint := "run this again to go on behind it"
	if fault, ok := errors.AsType[*client.Error](err); ok {
		switch {
		case fault.Code == api.CodeEventsMissing:
			hint = "give --after to go on where the message says"
		case errors.Is(err, client.ErrUnauthorized), errors.Is(err, client.ErrRefused):
			hint = "give another admin token in " + adminTokenVariable + ": it needs the scope events:read"
		}
	}
	return fmt.Errorf("stopped behind event %d: %w: %s", l.behind, err, hint)
}
