package deliver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/webhook/signature"
)

// The bounds of an attempt.
const (
	// AttemptTime is how long an attempt may take, from the look-up of the name to the end of the
	// body.
	AttemptTime = 15 * time.Second
	// KeptBody is how much of a response is kept.
	KeptBody = 2 << 10
	// readBody is how much of it is read at all; a connection with more is closed.
	readBody = 64 << 10
)

// Attempt is what is sent, once.
type Attempt struct {
	URL     string
	Secrets []string // the newest first; all of them sign
	EventID string
	Type    string
	Body    []byte
}

// SenderConfig is what a Sender is made of. All must be set unless they say what 0 means.
type SenderConfig struct {
	Guard *Guard
	Agent string // how it calls itself
	Now   func() time.Time
	TLS   *tls.Config   // nil: as the system trusts
	Limit time.Duration // of an attempt; 0: AttemptTime
}

// Sender sends attempts to where a guard lets them go.
type Sender struct {
	secure, plain *http.Transport
	cfg           SenderConfig
}

// NewSender returns a sender.
func NewSender(c SenderConfig) *Sender {
	if c.Limit == 0 {
		c.Limit = AttemptTime
	}
	return &Sender{secure: c.Guard.transport(false, c.TLS), plain: c.Guard.transport(true, c.TLS), cfg: c}
}

// Close closes the connections that nobody uses.
func (s *Sender) Close() {
	s.secure.CloseIdleConnections()
	s.plain.CloseIdleConnections()
}

// Send makes an attempt, and says what came of it. It ends when ctx does, and after the limit.
func (s *Sender) Send(ctx context.Context, a Attempt) (answer Answer) {
	begun := s.cfg.Now()
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limit)
	defer cancel()
	defer func() {
		answer.Took = max(0, s.cfg.Now().Sub(begun))
		answer.Cut = answer.Err != "" && parent.Err() != nil
	}()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) { answer.Addr = c.Conn.RemoteAddr().String() },
	})
	r, err := s.request(ctx, a, begun)
	if err != nil {
		answer.Err = err.Error()
		return answer
	}
	transport := s.secure
	if r.URL.Scheme == "http" {
		transport = s.plain
	}
	resp, err := transport.RoundTrip(r) // follows no redirect, and keeps no cookie
	if err != nil {
		answer.Err = sendFault(err)
		return answer
	}
	defer resp.Body.Close()
	answer.Status = resp.StatusCode
	answer.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), begun)
	kept, err := io.ReadAll(io.LimitReader(resp.Body, KeptBody))
	answer.Body = printable(kept)
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, readBody-KeptBody)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		answer.Err = "the response began with " + statusText(resp.StatusCode) + ", and " + bodyFault(err)
	}
	return answer
}

// request is a delivery as it travels.
func (s *Sender) request(ctx context.Context, a Attempt, at time.Time) (*http.Request, error) {
	u, _, err := parseURL(a.URL)
	if err != nil {
		return nil, err
	}
	m := signature.Message{ID: a.EventID, At: at, Body: a.Body}
	signed, err := m.Sign(a.Secrets...)
	if err != nil {
		return nil, err
	}
	// one header has room for one signature: from a rotation on it is by the new secret
	vendor, err := signature.Vendor(a.Body, a.Secrets[0])
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(a.Body))
	if err != nil {
		return nil, errors.New("the address of the endpoint cannot be called")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", s.cfg.Agent)
	r.Header.Set(signature.HeaderID, a.EventID)
	r.Header.Set(signature.HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	r.Header.Set(signature.HeaderSignature, signed)
	r.Header.Set(signature.HeaderVendorEvent, a.Type)
	r.Header.Set(signature.HeaderVendorSignature, vendor)
	// the transport may send it again on another connection when its receiver had closed this one;
	// an empty list travels as no header
	r.Header["Idempotency-Key"] = nil
	return r, nil
}

// sendFault is why there was no response, without the address of the endpoint.
func sendFault(err error) string {
	var guarded notAllowed
	var name *net.DNSError
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	switch {
	case errors.As(err, &guarded):
		return "not sent: " + guarded.Error()
	case errors.As(err, &name):
		return "not sent: the name of the receiver: " + lookupFault(err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no response within %s", AttemptTime)
	case errors.Is(err, context.Canceled):
		return "the service stopped meanwhile"
	}
	return printable([]byte("no response: " + err.Error()))
}

func bodyFault(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("did not end within %s", AttemptTime)
	case errors.Is(err, context.Canceled):
		return "the service stopped meanwhile"
	}
	return "ended early"
}

// printable is what a receiver said as a text that can be stored and shown: in UTF-8, without
// control characters other than line ends and tabs, and without what looks like a secret.
func printable(b []byte) string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
	return opaque.HideSecrets(text)
}
