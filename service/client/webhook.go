package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/pageflare/ci/service/webhook/signature"
)

// WebhookEvent is what a delivery tells. A receiver can hear of the same event several times, and of
// a later one first: it keeps the ids that it has dealt with, and the greatest Sequence of each
// account, and leaves out what is older.
type WebhookEvent struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Sequence  int64           `json:"sequence"`
	Data      json.RawMessage `json:"data"`
}

// Why a delivery is not believed. ErrWebhookSecret is the receiver's own mistake; answer the others
// with 401 or 400.
var (
	ErrWebhookSecret    = signature.ErrSecret
	ErrWebhookHeaders   = signature.ErrHeaders
	ErrWebhookTimestamp = signature.ErrTimestamp
	ErrWebhookSignature = signature.ErrSignature
	// ErrWebhookBody says that the body is not an event, or is larger than any is.
	ErrWebhookBody = errors.New("webhook body")
)

// maxWebhookBody is more than any event has (20 KB).
const maxWebhookBody = 64 << 10

// Webhooks verifies the deliveries of one endpoint. It is safe for use by several goroutines.
type Webhooks struct {
	secrets []string
	now     func() time.Time
}

// NewWebhooks returns a verifier. While a secret is being changed, give the new one and the old one.
// now is the clock; nil: time.Now. ErrWebhookSecret: none is given, or one is malformed.
func NewWebhooks(now func() time.Time, secrets ...string) (*Webhooks, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%w: none is given", ErrWebhookSecret)
	}
	for _, secret := range secrets {
		if err := signature.CheckSecret(secret); err != nil {
			return nil, err
		}
	}
	if now == nil {
		now = time.Now
	}
	return &Webhooks{secrets: secrets, now: now}, nil
}

// Read reads the body of a request, and returns the event if it was signed by one of the secrets
// within the last five minutes. Answer 2xx within 15 seconds, before any long work: all else is
// sent again.
func (w *Webhooks) Read(r *http.Request) (WebhookEvent, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxWebhookBody+1))
	if err != nil {
		return WebhookEvent{}, fmt.Errorf("%w: %w", ErrWebhookBody, err)
	}
	if len(body) > maxWebhookBody {
		return WebhookEvent{}, fmt.Errorf("%w: it is larger than %d bytes", ErrWebhookBody, maxWebhookBody)
	}
	return w.Verify(r.Header, body)
}

// Verify is Read for a body that was read already, as it came.
func (w *Webhooks) Verify(h http.Header, body []byte) (WebhookEvent, error) {
	var e WebhookEvent
	m, err := signature.Verify(h, body, w.now(), w.secrets...)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return WebhookEvent{}, fmt.Errorf("%w: %w", ErrWebhookBody, err)
	}
	if e.ID != m.ID || e.Type == "" {
		return WebhookEvent{}, fmt.Errorf("%w: it is not the event %s", ErrWebhookBody, m.ID)
	}
	return e, nil
}
