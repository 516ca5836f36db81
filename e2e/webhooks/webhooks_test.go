//go:build e2e

// Package webhooks_test holds the webhooks of the service against programs of others: what it sends
// against the library of Standard Webhooks, what it hears against GitHub's own library and its
// examples.
package webhooks_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
)

var given = flag.String("service", "../../bin/pageflare-license", "the `program` to test")

// program is where it is, from any folder.
var program = sync.OnceValue(func() string {
	path, err := filepath.Abs(*given)
	if err != nil {
		panic(err)
	}
	return path
})

// patience is how long anything may take before a test gives up on it.
const patience = time.Minute

// service is a running service with a database of its own.
type service struct {
	t   *testing.T
	dir string
	env []string
	url string
}

func start(t *testing.T, settings ...string) *service {
	t.Helper()
	s := &service{t: t, dir: t.TempDir(), env: append([]string{
		"LICENSE_LISTEN=127.0.0.1:0", "LICENSE_WEBHOOK_ALLOW=127.0.0.0/8", "LICENSE_OIDC_ISSUERS=", "LICENSE_LOG_FORMAT=json",
	}, settings...)}
	serve := exec.Command(program(), "serve")
	serve.Dir, serve.Env = s.dir, s.env
	said, err := serve.StderrPipe()
	must(t, err)
	must(t, serve.Start())
	var log bytes.Buffer
	listens, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			var line struct{ Msg, Addr, Level string }
			known := json.Unmarshal(lines.Bytes(), &line) == nil
			if known && line.Msg == "listening" {
				listens <- "http://" + line.Addr
			}
			if !known || line.Msg != "request" || line.Level != "INFO" { // those that went well are many
				log.WriteString(lines.Text() + "\n")
			}
		}
	}()
	t.Cleanup(func() {
		must(t, serve.Process.Signal(syscall.SIGTERM))
		<-ended
		if err := serve.Wait(); err != nil {
			t.Errorf("serve ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the log:\n%s", log.String())
		}
	})
	select {
	case s.url = <-listens:
	case <-ended:
		t.Fatalf("serve ended:\n%s", log.String())
	case <-time.After(patience):
		t.Fatal("serve does not listen")
	}
	return s
}

// run runs a command, which must end well, and reads what it prints.
func (s *service) run(into any, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(), append(args, "--json")...)
	cmd.Dir, cmd.Env = s.dir, s.env
	var said bytes.Buffer
	cmd.Stderr = &said
	printed, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, said.String())
	}
	if into != nil {
		must(s.t, json.Unmarshal(printed, into))
	}
}

// others is the programs of others, in a process of Node.js.
type others struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

func startOthers(t *testing.T) *others {
	t.Helper()
	cmd := exec.Command("node", "tool.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, in.Close())
		must(t, cmd.Wait())
	})
	return &others{t, in, bufio.NewReader(out)}
}

func (o *others) ask(what string, with map[string]any, into any) {
	o.t.Helper()
	question := map[string]any{"ask": what}
	maps.Copy(question, with)
	must(o.t, json.NewEncoder(o.in).Encode(question))
	line, err := o.out.ReadBytes('\n')
	must(o.t, err)
	must(o.t, json.Unmarshal(line, into))
}

type verdict struct {
	OK        bool
	Why       string
	Signature string
}

// delivery is what a receiver got.
type delivery struct {
	header http.Header
	body   []byte
}

// receiver keeps what is sent to it.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	got  []delivery
	more chan struct{}
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{more: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.got = append(r.got, delivery{req.Header.Clone(), body})
		r.mu.Unlock()
		select {
		case r.more <- struct{}{}:
		default:
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

// until waits until what came is enough.
func (r *receiver) until(t *testing.T, what string, enough func([]delivery) bool) []delivery {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		got := slices.Clone(r.got)
		r.mu.Unlock()
		if enough(got) {
			return got
		}
		select {
		case <-r.more:
		case <-late:
			t.Fatalf("%s: %d deliveries came", what, len(got))
		}
	}
}

// verify asks the library of Standard Webhooks.
func (o *others) verify(d delivery, secret string, body []byte) verdict {
	o.t.Helper()
	headers := map[string]string{}
	for name := range d.header {
		headers[strings.ToLower(name)] = d.header.Get(name)
	}
	var v verdict
	o.ask("verify", map[string]any{"secret": secret, "headers": headers, "body": body}, &v)
	return v
}

// Whatever type it is, a receiver that uses the library of the standard takes it, one that was
// written for the vendor's API too, and neither takes what was changed.
func TestReceiversOfOthersTakeWhatIsSent(t *testing.T) {
	t.Parallel()
	s, r, o := start(t), receive(t), startOthers(t)
	var made struct{ ID, Secret string }
	s.run(&made, "webhook", "add", "--url", r.URL+"/hook")
	for _, name := range audit.EventTypes {
		s.run(nil, "webhook", "test", made.ID, string(name))
	}
	s.run(nil, "account", "create", "--email", "dev@example.com", "--tier", "pro", "--valid-until", "2099-12-31")
	seen := map[string]bool{}
	got := r.until(t, "one of each type", func(all []delivery) bool {
		for _, d := range all {
			seen[d.header.Get("X-Pageflare-Event")] = true
		}
		return len(seen) == len(audit.EventTypes) && len(all) > len(audit.EventTypes)
	})
	for _, d := range got {
		if v := o.verify(d, made.Secret, d.body); !v.OK {
			t.Errorf("%s is refused: %s\n%s", d.header.Get("X-Pageflare-Event"), v.Why, d.body)
		}
		if v := o.verify(d, made.Secret, bytes.Replace(d.body, []byte(`{`), []byte(`{ `), 1)); v.OK {
			t.Errorf("%s is taken also when it was changed", d.header.Get("X-Pageflare-Event"))
		}
		mac := hmac.New(sha256.New, []byte(made.Secret))
		mac.Write(d.body)
		if want := hex.EncodeToString(mac.Sum(nil)); d.header.Get("X-Pageflare-Signature") != want {
			t.Errorf("X-Pageflare-Signature = %s, want %s", d.header.Get("X-Pageflare-Signature"), want)
		}
		var body struct {
			ID, Type, Timestamp string
			CreatedAt           string `json:"created_at"`
			Sequence            int64
			Data                map[string]any
		}
		must(t, json.Unmarshal(d.body, &body))
		if body.ID != d.header.Get("Webhook-Id") || body.Type != d.header.Get("X-Pageflare-Event") || body.Sequence == 0 || body.Data == nil ||
			body.Timestamp == "" || body.CreatedAt == "" || len(d.body) > 20_000 {
			t.Errorf("body = %s", d.body)
		}
	}
	// while a secret is changed both count
	var again struct{ Secret string }
	s.run(&again, "webhook", "rotate-secret", made.ID, "--overlap", "1h")
	before := len(got)
	s.run(nil, "webhook", "test", made.ID, "ping")
	got = r.until(t, "the delivery under two secrets", func(all []delivery) bool { return len(all) > before })
	for _, secret := range []string{made.Secret, again.Secret} {
		if v := o.verify(got[len(got)-1], secret, got[len(got)-1].body); !v.OK {
			t.Errorf("during the change of the secret: %s", v.Why)
		}
	}
}

const hookSecret = "a secret that only this test has"

// heard are the events that mean something here.
var heard = []string{"marketplace_purchase", "sponsorship", "installation", "installation_repositories", "repository"}

// What GitHub's library signs is taken; each of GitHub's own examples is processed.
func TestGitHubsOwnExamplesAreProcessed(t *testing.T) {
	t.Parallel()
	s, o := start(t, "LICENSE_GITHUB_WEBHOOK_SECRET="+hookSecret), startOthers(t)
	var examples []struct{ Event, Body string }
	o.ask("examples", map[string]any{"events": heard}, &examples)
	if len(examples) < 2*len(heard) {
		t.Fatalf("%d examples", len(examples))
	}
	sent := map[string]bool{}
	for i, e := range examples {
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		if status := s.hook(o, id, e.Event, []byte(e.Body)); status != http.StatusAccepted {
			t.Errorf("%s: status %d\n%.300s", e.Event, status, e.Body)
		}
		sent[id] = true
	}
	var page struct {
		Items []struct{ ID, Event, Action, State, Error string }
	}
	deadline := time.Now().Add(patience)
	for done := 0; done < len(sent); {
		if time.Now().After(deadline) {
			t.Fatalf("not processed: %+v", page.Items)
		}
		done = 0
		s.run(&page, "received", "list")
		for _, d := range page.Items {
			if d.State == "failed" {
				t.Fatalf("%s %s: %s", d.Event, d.Action, d.Error)
			}
			if d.State == "processed" || d.State == "ignored" {
				done++
			}
		}
	}
	if status := s.hook(o, "00000000-0000-4000-8000-999999999999", "repository", []byte(`{`)); status != http.StatusAccepted {
		t.Errorf("an authentic body that is not JSON: status %d", status)
	}
}

// hook sends a webhook as GitHub does, signed by GitHub's library.
func (s *service) hook(o *others, id, event string, body []byte) int {
	s.t.Helper()
	var v verdict
	o.ask("sign", map[string]any{"secret": hookSecret, "body": body}, &v)
	return s.post(id, event, v.Signature, body)
}

// post sends a webhook with a signature.
func (s *service) post(id, event, signature string, body []byte) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/_api/webhooks/github", bytes.NewReader(body))
	must(s.t, err)
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {event}, "X-Github-Delivery": {id}, "X-Hub-Signature-256": {signature},
	}
	res, err := (&http.Client{Timeout: patience}).Do(req)
	must(s.t, err)
	return statusOf(s.t, res)
}

func statusOf(t *testing.T, res *http.Response) int {
	t.Helper()
	_, err := io.Copy(io.Discard, res.Body)
	must(t, errors.Join(err, res.Body.Close()))
	return res.StatusCode
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
