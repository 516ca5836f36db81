package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

// laptop is a receiver that is reached by `webhook listen` alone.
type laptop struct {
	*box
	service *servicetest.Service
	url     string

	mu     sync.Mutex
	secret string   // whsec_…; empty: nothing is verified
	refuse int      // how many of the next events it does not accept
	first  int      // how many it accepts before it refuses any
	got    []string // types of the events that it accepted
	faults []string
}

func newLaptop(t *testing.T) *laptop {
	t.Helper()
	l := &laptop{box: newBox(t), service: servicetest.Start(t, servicetest.Options{})}
	h := httptest.NewServer(l)
	t.Cleanup(h.Close)
	l.url = h.URL + "/hooks"
	l.env["HOME"], l.env["PAGEFLARE_API_URL"] = l.dir, l.service.URL
	l.env["PAGEFLARE_ADMIN_TOKEN"] = l.service.AdminToken(t, auth.ScopeEventsRead)
	return l
}

func (l *laptop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse > 0 && len(l.got) >= l.first {
		l.refuse--
		w.WriteHeader(http.StatusTeapot)
		return
	}
	if l.secret != "" {
		verifier, err := client.NewWebhooks(nil, l.secret)
		var e client.WebhookEvent
		if err == nil {
			e, err = verifier.Read(r)
		}
		if err != nil || r.Header.Get("X-Pageflare-Event") != e.Type {
			l.faults = append(l.faults, fmt.Sprint(err, r.Header))
		}
	}
	l.got = append(l.got, r.Header.Get("X-Pageflare-Event"))
}

// listen runs `webhook listen` until there is nothing more.
func (l *laptop) listen(args ...string) result {
	l.t.Helper()
	return l.run(append([]string{"webhook", "listen", "--once"}, args...)...)
}

func (l *laptop) wantGot(want ...string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.got); diff != "" || len(l.faults) > 0 {
		l.t.Errorf("forwarded (-want +got)\n%s\nfaults: %q", diff, l.faults)
	}
	l.got = nil
}

func TestListenForwardsWhatHappensAndGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.service.Account(t, "before@example.com")
	first := l.listen("--forward", l.url) // it begins with what happens next
	if first.exit != exitOK || !strings.Contains(first.err, "heartbeat: ") {
		t.Fatalf("the first run = exit %d: %s", first.exit, first.err)
	}
	_, secret, ok := strings.Cut(first.err, "secret: ")
	if l.secret, _, _ = strings.Cut(secret, " "); !ok {
		t.Fatalf("the first run names no secret: %s", first.err)
	}
	l.wantGot()
	made, _ := l.service.Account(t, "dev@example.com")
	_, err := l.service.UpdateAccount(t.Context(), made.ID, account.Change{Tier: new(account.Team)})
	must(t, err)
	second := l.listen("--forward", l.url)
	if second.exit != exitOK || strings.Contains(second.err, "secret:") || !strings.Contains(second.out, " account.created evt_") {
		t.Errorf("the second run = exit %d: %s%s", second.exit, second.out, second.err)
	}
	l.wantGot("account.created", "account.updated", "plan.changed")
	l.listen("--forward", l.url)
	l.wantGot()
	l.listen("--forward", l.url, "--event", "plan.changed", "--after", "0") // a replay
	l.wantGot("plan.changed")

	files, err := filepath.Glob(filepath.Join(l.dir, ".local", "state", "pageflare", "webhook-listen", "*.json"))
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("it keeps how far it came in %v, want one file", files)
	}
	info, err := os.Stat(files[0])
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("%s is %s, and holds a secret", files[0], info.Mode())
	}
	out := l.listen("--json", "--after", "0", "--account", made.ID)
	for line := range strings.Lines(out.out) {
		var e struct{ Data struct{ Account string } }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Data.Account != made.ID {
			t.Errorf("--json of one account printed %q, %v", line, err)
		}
	}
	if n := strings.Count(out.out, "\n"); n != 3 {
		t.Errorf("--json printed %d events, want 3", n)
	}
}

// What is not accepted is not lost: it is what the next run begins with.
func TestListenEndsWhenAnEventIsNotAccepted(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.listen()
	l.service.Account(t, "dev@example.com")
	l.refuse = 3
	r := l.listen("--forward", l.url)
	if r.exit != exitFailure || !strings.Contains(r.err, "was not accepted: it answered 418") || !strings.Contains(r.err, "run this again") {
		t.Errorf("exit %d: %s, want 1 and why", r.exit, r.err)
	}
	l.wantGot()
	l.listen("--forward", l.url)
	l.wantGot("account.created")

	l.service.Account(t, "two@example.com")
	l.refuse = 3
	if r := l.listen("--forward", l.url, "--keep-going"); r.exit != exitOK || !strings.Contains(r.err, "warning: event") {
		t.Errorf("--keep-going = exit %d: %s, want 0 and a warning", r.exit, r.err)
	}
	l.listen("--forward", l.url)
	l.wantGot()
}

// A replay to an endpoint reaches a laptop as well, once, and goes on where it was interrupted.
func TestListenTakesPartInReplays(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	made, _ := l.service.Account(t, "dev@example.com")
	ctx := audit.WithActor(t.Context(), audit.Actor{Kind: audit.ActorCommand, ID: "test"})
	e, err := l.service.Parts.Endpoints.Add(ctx, out.NewEndpoint{URL: "https://192.0.2.1/", AccountID: made.ID})
	must(t, err)
	for _, tier := range []account.Tier{account.Team, account.Pro} {
		_, err := l.service.UpdateAccount(t.Context(), made.ID, account.Change{Tier: &tier})
		must(t, err)
	}
	_, err = l.service.Parts.Sent.Skip(ctx, e.ID)
	must(t, err)
	l.listen("--forward", l.url) // it begins behind all of that
	replay := func() {
		t.Helper()
		r, err := l.service.Parts.Sent.Replay(ctx, e.ID, deliver.Scope{Undelivered: true})
		must(t, err)
		if r.Total != 5 {
			t.Fatalf("the replay has %d events, want 5", r.Total)
		}
	}
	replay()
	l.refuse = 3 // all tries of the first one
	if r := l.listen("--forward", l.url); r.exit != exitFailure || !strings.Contains(r.err, "replay: rpl_") || !strings.Contains(r.err, "was not accepted") {
		t.Errorf("exit %d: %s, want 1, and of which replay", r.exit, r.err)
	}
	want := []string{"account.created", "account.updated", "plan.changed", "account.updated", "plan.changed"}
	second := l.listen("--forward", l.url)
	if second.exit != exitOK || !strings.Contains(second.err, "replay: rpl_") || strings.Contains(second.out, "webhook.replayed") {
		t.Errorf("exit %d: %s%s", second.exit, second.out, second.err)
	}
	l.wantGot(want...)
	l.listen("--forward", l.url)
	l.wantGot()

	replay()
	l.service.Account(t, "new@example.com")
	l.first, l.refuse = 2, 3
	if r := l.listen("--forward", l.url); r.exit != exitFailure {
		t.Errorf("exit %d: %s, want 1", r.exit, r.err)
	}
	l.wantGot(want[:2]...)
	l.first = 0
	l.listen("--forward", l.url, "--event", "account.updated")
	l.wantGot(want[3])
	l.listen("--forward", l.url)
	l.wantGot()

	replay()
	l.listen("--forward", l.url, "--account", made.ID, "--after", "0", "--new-secret")
	l.wantGot(slices.Repeat(want, 4)...)
	l.listen("--forward", l.url)
	l.wantGot(want...)
}

// Two that note how far they came in one file would show events again, or never.
func TestListenRunsOnceForAServiceAndAnAccount(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	made, _ := l.service.Account(t, "dev@example.com")
	cmd := l.command("webhook", "listen")
	log, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(log)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "listening: ") {
		t.Fatalf("the first one says %q", lines.Text())
	}
	second := l.listen()
	if second.exit != exitFailure || !strings.Contains(second.err, "another `webhook listen` of "+l.service.URL) ||
		!strings.Contains(second.err, fmt.Sprintf("(process %q)", strconv.Itoa(cmd.Process.Pid))) {
		t.Errorf("the second one = exit %d: %s, want 1 and who runs", second.exit, second.err)
	}
	if r := l.listen("--account", made.ID, "--after", "0"); r.exit != exitOK || !strings.Contains(r.out, "account.created") {
		t.Errorf("one of an account beside it = exit %d: %s%s", r.exit, r.out, r.err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed, and its lock ends with it
	if r := l.listen(); r.exit != exitOK {
		t.Errorf("one after it = exit %d: %s", r.exit, r.err)
	}
}

// It never goes on quietly when it cannot.
func TestListenSaysWhyItCannotGoOn(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	wrong := map[string]string{"PAGEFLARE_ADMIN_TOKEN": l.service.AdminToken(t, auth.ScopeAuditRead)}
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		exit int
		want string
	}{
		"no token":           {map[string]string{"PAGEFLARE_ADMIN_TOKEN": ""}, nil, exitUsage, "PAGEFLARE_ADMIN_TOKEN is not set"},
		"a token without":    {wrong, nil, exitFailure, "lacks the scope events:read"},
		"no such token":      {map[string]string{"PAGEFLARE_ADMIN_TOKEN": "pf_adm_x"}, nil, exitFailure, "give another admin token"},
		"a number too large": {nil, []string{"--after", "999"}, exitFailure, "go on with after="},
		"no folder":          {map[string]string{"HOME": ""}, nil, exitUsage, "set HOME or XDG_STATE_HOME"},
		"no address":         {nil, []string{"--forward", "localhost:3000"}, exitUsage, "--forward"},
		"no type":            {nil, []string{"--event", "x"}, exitUsage, "is none of license.issued"},
		"an unknown account": {nil, []string{"--account", "user_0000000000000000"}, exitFailure, "not found"},
	} {
		b := newBox(t)
		for k, v := range l.env {
			b.env[k] = v
		}
		b.env["HOME"] = b.dir
		for k, v := range c.env {
			b.env[k] = v
		}
		r := b.run(append([]string{"webhook", "listen", "--once"}, c.args...)...)
		if r.exit != c.exit || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: exit %d: %s, want %d and %q", name, r.exit, r.err, c.exit, c.want)
		}
	}
}
