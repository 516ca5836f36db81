package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/service/webhook/signature"
)

// The whole way by the program: an endpoint is made, something happens, it is delivered, verified by
// hand, refused, found by doctor, and replayed.
func TestAnEventReachesItsReceiver(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var mu sync.Mutex
	status := http.StatusOK
	got := make(chan *http.Request, 100)
	bodies := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
		got <- r
		bodies <- string(body)
	}))
	defer receiver.Close()
	answer := func(with int) {
		mu.Lock()
		defer mu.Unlock()
		status = with
	}
	b.env["LICENSE_WEBHOOK_ALLOW"] = "127.0.0.0/8"
	b.ok("account", "create", "--email", "first@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	made := b.ok("webhook", "add", "--url", receiver.URL+"/hook", "--event", "account.created")
	id, secret := field(made, "id"), field(made, "secret")
	b.serve()

	b.ok("account", "create", "--email", "second@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	first, body := <-got, <-bodies
	b.env["PAGEFLARE_WEBHOOK_SECRET"] = secret
	verify := []string{
		"webhook", "verify", "--id", first.Header.Get(signature.HeaderID), "--timestamp", first.Header.Get(signature.HeaderTimestamp),
		"--signature", first.Header.Get(signature.HeaderSignature),
	}
	if r := b.runWith(body, verify...); r.exit != exitOK || !strings.Contains(r.out, "verified") {
		t.Errorf("verify = exit %d, %s%s", r.exit, r.out, r.err)
	}
	if r := b.runWith(body+" ", verify...); r.exit != exitFailure || !strings.Contains(r.err, "not verified: webhook signature: none is right") || strings.Contains(r.err, secret) {
		t.Errorf("verify of a changed body = exit %d, %s", r.exit, r.err)
	}
	if r := b.runWith(body, "webhook", "verify", "--vendor-signature", first.Header.Get(signature.HeaderVendorSignature)); r.exit != exitOK {
		t.Errorf("verify of the vendor's header = exit %d, %s", r.exit, r.err)
	}
	b.env["PAGEFLARE_WEBHOOK_SECRET"] = ""
	if r := b.runWith(body, verify...); r.exit != exitUsage || !strings.Contains(r.err, "set PAGEFLARE_WEBHOOK_SECRET") {
		t.Errorf("verify without a secret = exit %d, %s", r.exit, r.err)
	}

	answer(http.StatusGone)
	b.ok("account", "create", "--email", "third@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	<-got
	<-bodies
	for !strings.Contains(b.ok("webhook", "show", id), "disabled") { // it is noted a moment later
		if t.Context().Err() != nil {
			t.Fatal("it is not disabled")
		}
	}
	if list := b.ok("webhook", "deliveries", id); !strings.Contains(list, "held") || !strings.Contains(list, "410 Gone") || !strings.Contains(list, "delivered") {
		t.Errorf("deliveries:\n%s", list)
	}
	if r := b.run("doctor"); !strings.Contains(r.out, "was disabled: its receiver answered 410 Gone; when its receiver is back, run pageflare-license webhook update "+id+" --enable") {
		t.Errorf("doctor says nothing of it:\n%s", r.out)
	}
	answer(http.StatusOK)
	b.ok("webhook", "update", id, "--enable")
	<-got
	<-bodies
	if count := b.ok("webhook", "replay", id, "--since", "24h", "--count"); field(count, "events") != "3" {
		t.Errorf("count:\n%s", count) // with the one of before there was an endpoint
	}
	b.ok("webhook", "replay", id, "--since", "24h", "--yes")
	for range 3 {
		<-got
		<-bodies
	}
	if list := b.ok("webhook", "replay", id, "--list"); !strings.Contains(list, "queued") {
		t.Errorf("replays:\n%s", list)
	}
	if r := b.run("webhook", "add", "--url", "https://nowhere.invalid/hook"); r.exit != exitUsage || !strings.Contains(r.err, "nowhere.invalid cannot be resolved here (there is no such name)") {
		t.Errorf("add of a name that leads nowhere = exit %d, %s", r.exit, r.err)
	}
}

// field is the value of a row that a command prints for people.
func field(printed, name string) string {
	for line := range strings.Lines(printed) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			return words[1]
		}
	}
	return ""
}
