package in

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"time"

	"github.com/pageflare/ci/service/failure"
)

// MaxBody is the most bytes of a body: GitHub sends no larger ones.
const MaxBody = 25 << 20

// A stranger may send a body as large as GitHub's, and only all of it shows that it is not signed. So
// few large ones are read at once.
const (
	smallBody   = 64 << 10
	largeBodies = 2
)

var (
	// ErrNoSecret says that there is no secret, so nobody can be believed.
	ErrNoSecret = errors.New("this service hears no webhooks of GitHub: it has no secret for them (LICENSE_GITHUB_WEBHOOK_SECRET)")
	// ErrTooLarge says that a body is larger than MaxBody.
	ErrTooLarge = fmt.Errorf("the body is larger than %d bytes, which GitHub never sends", MaxBody)
	// ErrForm says that GitHub sends forms.
	ErrForm = errors.New("the webhook sends another content type than application/json: choose application/json as Content type in the settings of the App or webhook")
	// ErrBusy says that other large bodies are being read.
	ErrBusy = errors.New("other large deliveries are being read: deliver this one again later")
)

// BodyError is a body that could not be read.
type BodyError struct{ Err error }

// Error is the cause.
func (e *BodyError) Error() string { return "read the body: " + e.Err.Error() }

// Unwrap is the cause.
func (e *BodyError) Unwrap() error { return e.Err }

// Receipt is what a delivery is answered with.
type Receipt struct {
	ID        string
	State     State
	Repeated  bool // it was processed before, and is not again
	OldSecret bool // it was signed with the secret of before
}

var (
	idForm    = regexp.MustCompile(`\A[0-9A-Za-z-]{1,64}\z`)
	eventForm = regexp.MustCompile(`\A[a-z0-9_]{1,64}\z`)
)

// Receive proves a delivery and stores it; nothing else is done with it before it is answered. A
// delivery that came before and was not processed is processed again.
// Refusals: ErrNoSecret, ErrForm, ErrSignature, ErrTooLarge, ErrBusy; ErrInvalid: a header that
// GitHub always sends is missing; a *BodyError. After a good signature nothing else is refused, for
// GitHub would take that for a failure of ours. Another error is of the database.
func (r *Receiver) Receive(ctx context.Context, header http.Header, body io.Reader,
	length int64) (Receipt, error) {
	secrets, err := r.cfg.Secrets(ctx)
	if err != nil {
		return Receipt{}, err
	}
	if len(secrets) == 0 {
		return Receipt{}, ErrNoSecret
	}
	if !isJSON(header) {
		return Receipt{}, ErrForm
	}
	event := header.Get("X-GitHub-Event")
	sum, err := ParseSignature(header.Values("X-Hub-Signature-256"))
	if err != nil {
		r.count(event, CountRefused)
		return Receipt{}, err
	}
	text, done, err := r.read(ctx, body, length)
	if err != nil {
		return Receipt{}, err
	}
	defer done()
	which, err := Verify(secrets, sum, text)
	if err != nil {
		r.count(event, CountRefused)
		return Receipt{}, err
	}
	d := Delivery{ID: header.Get("X-GitHub-Delivery"), Event: event, Body: text, ReceivedAt: r.cfg.Now()}
	if !idForm.MatchString(d.ID) || !eventForm.MatchString(d.Event) {
		return Receipt{}, failure.Invalid("the headers X-GitHub-Delivery and X-GitHub-Event are not those of a delivery")
	}
	d.Action = actionOf(text)
	receipt := Receipt{ID: d.ID, OldSecret: which > 0}
	if receipt.OldSecret {
		r.mu.Lock()
		r.old++
		r.mu.Unlock()
	}
	return r.store(ctx, d, receipt)
}

func (r *Receiver) store(ctx context.Context, d Delivery, receipt Receipt) (Receipt, error) {
	receipt.State = Received
	due := d.ReceivedAt
	switch {
	case d.Event == ping:
		receipt.State, due = Processed, time.Time{}
	case r.cfg.Handlers[d.Event] == nil:
		receipt.State, due = Ignored, time.Time{}
	}
	before, err := r.cfg.Store.ReceiveDelivery(ctx, d, receipt.State, due)
	if err != nil {
		return Receipt{}, err
	}
	switch {
	case before == Processed:
		receipt.State, receipt.Repeated = Processed, true
		r.count(d.Event, CountRepeated)
	case receipt.State == Ignored:
		r.count(d.Event, CountIgnored)
	default:
		r.count(d.Event, CountReceived)
		r.awaken()
	}
	return receipt, nil
}

func isJSON(header http.Header) bool {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return err == nil && media == "application/json" && len(header.Values("Content-Type")) == 1 && header.Get("Content-Encoding") == ""
}

// read reads a body whole. done gives back what a large one holds.
func (r *Receiver) read(ctx context.Context, from io.Reader, length int64) (text []byte, done func(), err error) {
	if length > MaxBody {
		return nil, nil, ErrTooLarge
	}
	text, err = io.ReadAll(io.LimitReader(from, smallBody+1))
	if err != nil {
		return nil, nil, &BodyError{err}
	}
	if len(text) <= smallBody {
		return text, func() {}, nil
	}
	if !r.takeTurn(ctx) {
		return nil, nil, ErrBusy
	}
	done = func() { <-r.large }
	whole := bytes.NewBuffer(make([]byte, 0, max(length+bytes.MinRead, 2*smallBody)))
	whole.Write(text)
	if _, err = whole.ReadFrom(io.LimitReader(from, MaxBody+1-int64(len(text)))); err != nil {
		err = &BodyError{err}
	} else if whole.Len() > MaxBody {
		err = ErrTooLarge
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return whole.Bytes(), done, nil
}

// takeTurn waits for the turn of a large body; false: it did not come in time.
func (r *Receiver) takeTurn(ctx context.Context) bool {
	select {
	case r.large <- struct{}{}:
		return true
	default:
	}
	patience, cancel := context.WithTimeout(ctx, r.cfg.Patience)
	defer cancel()
	select {
	case r.large <- struct{}{}:
		return true
	case <-patience.Done():
		return false
	}
}

// actionOf is the action that a payload names; "" when there is none.
func actionOf(body []byte) string {
	var in struct {
		Action string `json:"action"`
	}
	if json.Unmarshal(body, &in) != nil || !eventForm.MatchString(in.Action) {
		return ""
	}
	return in.Action
}
