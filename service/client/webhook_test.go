package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/webhook/signature"
)

const webhookSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"

// shown in docs/webhooks.md
func receive(webhooks *client.Webhooks, seen map[string]bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		event, err := webhooks.Read(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		if !seen[event.ID] { // in a database: several receivers may run
			seen[event.ID] = true
			fmt.Println(event.Type, event.Sequence)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// delivery is a request as the service sends it.
func delivery(t interface{ Fatal(...any) }, body string, at time.Time) *http.Request {
	m := signature.Message{ID: "evt_0123456789abcdef", At: at, Body: []byte(body)}
	list, err := m.Sign(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("webhook-id", m.ID)
	r.Header.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	r.Header.Set("webhook-signature", list)
	return r
}

type fatal struct{}

func (fatal) Fatal(v ...any) { panic(fmt.Sprint(v...)) }

func ExampleWebhooks() {
	now := time.Now() // nil in a program
	webhooks, err := client.NewWebhooks(func() time.Time { return now }, webhookSecret)
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := receive(webhooks, map[string]bool{})
	const body = `{"id":"evt_0123456789abcdef","type":"token.leaked","timestamp":"2026-03-01T12:00:00Z","sequence":7,"data":{}}`
	for range 2 { // the second time it was sent again
		answer := httptest.NewRecorder()
		handler(answer, delivery(fatal{}, body, now))
		fmt.Println(answer.Code)
	}
	// Output:
	// token.leaked 7
	// 204
	// 204
}

func TestADeliveryThatIsNotOursIsRefused(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_772_000_000, 0)
	webhooks, err := client.NewWebhooks(func() time.Time { return now }, webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"id":"evt_0123456789abcdef","type":"ping"}`
	for name, c := range map[string]struct {
		body   string
		at     time.Time
		change func(*http.Request)
		want   error
	}{
		"old":             {good, now.Add(-6 * time.Minute), nil, client.ErrWebhookTimestamp},
		"unsigned":        {good, now, func(r *http.Request) { r.Header.Del("webhook-signature") }, client.ErrWebhookHeaders},
		"another event":   {`{"id":"evt_other","type":"ping"}`, now, nil, client.ErrWebhookBody},
		"without a type":  {`{"id":"evt_0123456789abcdef"}`, now, nil, client.ErrWebhookBody},
		"not JSON":        {`{"id":`, now, nil, client.ErrWebhookBody},
		"too large":       {good + strings.Repeat(" ", 64<<10), now, nil, client.ErrWebhookBody},
		"for another key": {good, now, func(r *http.Request) { r.Header.Set("webhook-id", "evt_1") }, client.ErrWebhookSignature},
	} {
		r := delivery(t, c.body, c.at)
		if c.change != nil {
			c.change(r)
		}
		if e, err := webhooks.Read(r); !errors.Is(err, c.want) || e.ID != "" {
			t.Errorf("%s: Read = %v, %v, want %v", name, e, err, c.want)
		}
	}
	if e, err := webhooks.Read(delivery(t, good, now)); err != nil || e.Type != "ping" {
		t.Errorf("Read of a good one = %v, %v", e, err)
	}
	for _, secrets := range [][]string{nil, {""}, {webhookSecret, "x"}} {
		if _, err := client.NewWebhooks(nil, secrets...); !errors.Is(err, client.ErrWebhookSecret) {
			t.Errorf("NewWebhooks(%q) = %v, want ErrWebhookSecret", secrets, err)
		}
	}
}
