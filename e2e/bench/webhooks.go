package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

// hookBench measures webhooks: how fast what happens is told, also while others do not listen, what
// it costs those who make it happen, and how fast GitHub is heard.
type hookBench struct {
	*serviceBench
	queued  int           // events that wait for a receiver that is dead, and for one that is slow
	drained int           // events that are delivered as fast as possible
	acts    int           // whose way is timed
	pace    time.Duration // between two of them
}

// slowReceiver is how long the slow receiver takes for its 200.
const slowReceiver = 5 * time.Second

// hookSecret signs what is sent as GitHub.
const hookSecret = "only the bench knows this secret"

// run prints a table.
func (b hookBench) run(ctx context.Context) (err error) {
	end, err := b.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	names := []string{
		"", fmt.Sprintf("deliveries/s, %d events, one replica", b.drained), "the same, three replicas", "memory at its peak meanwhile, one replica",
		"act to first attempt, p50", "p99", fmt.Sprintf("beside %d for a dead and %[1]d for a slow receiver, p50", b.queued), "p99",
		"webhooks of GitHub, answers/s", "p99", "refresh, one receiver of each: ratio to none", "ten receivers of each: ratio to none",
	}
	text := make([][]string, len(names))
	for i, name := range names {
		text[i] = []string{name}
	}
	for _, name := range b.engines {
		e, err := newEngine(ctx, name, b.temp)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.stop(context.WithoutCancel(ctx))) }()
		cells, err := b.on(ctx, e)
		if err != nil {
			return fmt.Errorf("webhooks on %s: %w", e.name(), err)
		}
		for i, cell := range append([]string{e.name()}, cells...) {
			text[i] = append(text[i], cell)
		}
	}
	fmt.Fprintln(b.out)
	printTable(b.out, text)
	return nil
}

// on measures on an engine; a cell for each row.
func (b hookBench) on(ctx context.Context, e engine) (cells []string, err error) {
	for _, replicas := range []int{1, 3} {
		b.say("%s: %d events to deliver, %d replica(s) …", e.name(), b.drained, replicas)
		rate, peak, err := b.drain(ctx, e, replicas)
		if err != nil {
			return nil, fmt.Errorf("deliver: %w", err)
		}
		cells = append(cells, fmt.Sprintf("%.0f", rate))
		if replicas == 1 {
			defer func() { cells = slices.Insert(cells, 2, mib(peak)) }()
		}
	}
	for _, queued := range []int{0, b.queued} {
		b.say("%s: from act to attempt, %d queued for others …", e.name(), 2*queued)
		took, err := b.ways(ctx, e, queued)
		if err != nil {
			return nil, fmt.Errorf("from act to attempt: %w", err)
		}
		cells = append(cells, milliseconds(float64(took[len(took)/2])), milliseconds(float64(took[len(took)*99/100])))
	}
	b.say("%s: webhooks of GitHub …", e.name())
	heard, err := b.hear(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("webhooks of GitHub: %w", err)
	}
	cells = append(cells, fmt.Sprintf("%.0f", heard.perSecond), milliseconds(float64(heard.p99)))
	b.say("%s: refresh while others listen …", e.name())
	ratios, err := b.cost(ctx, e)
	if err != nil {
		return nil, fmt.Errorf("refresh while others listen: %w", err)
	}
	return append(cells, ratios...), nil
}

// database makes one with an account and its first token.
func (b hookBench) database(ctx context.Context, e engine, name string) (d database, owner licensee, err error) {
	if d, err = newDatabase(ctx, e, name, b.jobs.URL()); err != nil {
		return d, owner, err
	}
	made, err := d.seedAccounts(ctx, 1)
	if err != nil {
		return d, owner, err
	}
	return d, made[0], nil
}

func (b hookBench) env(d database) []string {
	return append(d.env(), "LICENSE_WEBHOOK_ALLOW=127.0.0.0/8", "LICENSE_GITHUB_WEBHOOK_SECRET="+hookSecret)
}

// subscribe makes an endpoint; no account: it hears all.
func (b hookBench) subscribe(ctx context.Context, d database, account, to string, events ...string) error {
	args := []string{"webhook", "add", "--json", "--url", to}
	if account != "" {
		args = append(args, "--account", account)
	}
	for _, e := range events {
		args = append(args, "--event", e)
	}
	_, err := command(ctx, b.env(d), b.service, args...)
	return err
}

// listener is a receiver that notes when it was told of which token.
type listener struct {
	*httptest.Server
	wait time.Duration

	mu    sync.Mutex
	at    map[string]time.Time
	first time.Time
	last  time.Time
	more  chan struct{}
}

func listen(wait time.Duration) *listener {
	l := &listener{wait: wait, at: map[string]time.Time{}, more: make(chan struct{}, 1)}
	l.Server = httptest.NewServer(l)
	return l
}

// ServeHTTP takes a delivery.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(r.Body)
	var event struct {
		Data struct {
			JTI string `json:"jti"`
		} `json:"data"`
	}
	if err != nil || json.Unmarshal(body, &event) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if l.wait > 0 {
		select {
		case <-time.After(l.wait):
		case <-r.Context().Done():
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at[event.Data.JTI].IsZero() {
		l.at[event.Data.JTI] = now
	}
	if l.first.IsZero() {
		l.first = now
	}
	l.last = now
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// until waits until the listener was told of so many tokens.
func (l *listener) until(ctx context.Context, n int) error {
	late := time.After(5 * time.Minute)
	for {
		l.mu.Lock()
		got := len(l.at)
		l.mu.Unlock()
		if got >= n {
			return nil
		}
		select {
		case <-l.more:
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("%d of %d events came", got, n)
		}
	}
}

// drain is how many deliveries a second so many replicas make of events that wait for them.
func (b hookBench) drain(ctx context.Context, e engine, replicas int) (rate float64, peak int64, err error) {
	d, owner, err := b.database(ctx, e, fmt.Sprintf("drain%d", replicas))
	if err != nil {
		return 0, 0, err
	}
	l := listen(0)
	defer l.Close()
	if err := b.subscribe(ctx, d, "", l.URL, "license.issued"); err != nil {
		return 0, 0, err
	}
	if _, err := d.moreTokens(ctx, owner.account.ID, b.drained); err != nil {
		return 0, 0, err
	}
	servers := make([]*program, replicas)
	for i := range servers {
		if servers[i], err = start(ctx, b.env(d), b.service, "serve"); err != nil {
			return 0, 0, err
		}
		defer func() { err = errors.Join(err, servers[i].stop()) }()
	}
	if err := l.until(ctx, b.drained); err != nil {
		return 0, 0, err
	}
	used, err := memoryOf(servers[0].cmd.Process.Pid)
	return float64(b.drained) / l.last.Sub(l.first).Seconds(), used.peak, err
}

// ways is how long it takes from a request to the attempt to tell of it, each sorted, while so many
// events wait for a receiver that is dead and for one that is slow.
func (b hookBench) ways(ctx context.Context, e engine, queued int) (took []time.Duration, err error) {
	d, owner, err := b.database(ctx, e, fmt.Sprintf("ways%d", queued))
	if err != nil {
		return nil, err
	}
	l, slow := listen(0), listen(slowReceiver)
	defer l.Close()
	defer slow.Close()
	defer slow.CloseClientConnections()
	if err := b.subscribe(ctx, d, owner.account.ID, l.URL, "license.issued"); err != nil {
		return nil, err
	}
	if queued > 0 {
		dead, err := deadAddress()
		if err != nil {
			return nil, err
		}
		out, err := command(ctx, b.env(d), b.service, "account", "create", "--email", "bulk@example.com", "--tier", "pro", "--valid-until", "2099-01-01", "--json")
		if err != nil {
			return nil, err
		}
		var bulk struct{ ID string }
		if err := json.Unmarshal(out, &bulk); err != nil {
			return nil, err
		}
		if err := errors.Join(b.subscribe(ctx, d, bulk.ID, dead, "license.issued"), b.subscribe(ctx, d, bulk.ID, slow.URL, "license.issued")); err != nil {
			return nil, err
		}
		if _, err := d.moreTokens(ctx, bulk.ID, queued); err != nil {
			return nil, err
		}
	}
	server, err := start(ctx, b.env(d), b.service, "serve")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	begun := make(map[string]time.Time, b.acts)
	client := &http.Client{Timeout: 30 * time.Second}
	paced := time.NewTicker(b.pace)
	defer paced.Stop()
	for range b.acts {
		<-paced.C
		at := time.Now()
		jti, err := issueOne(ctx, client, server.addr, owner.apiToken)
		if err != nil {
			return nil, err
		}
		begun[jti] = at
	}
	if err := l.until(ctx, b.acts); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for jti, at := range begun {
		if l.at[jti].IsZero() {
			return nil, fmt.Errorf("nobody was told of %s", jti)
		}
		took = append(took, l.at[jti].Sub(at))
	}
	slices.Sort(took)
	return took, nil
}

// deadAddress is one that nobody listens at.
func deadAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return "http://" + l.Addr().String(), l.Close()
}

// issueOne issues a token and returns its id.
func issueOne(ctx context.Context, client *http.Client, addr, bearer string) (jti string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+issuePath, http.NoBody)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return "", errors.Join(err, fmt.Errorf("status %d: %s", res.StatusCode, body))
	}
	var issued struct{ Token string }
	if err := json.Unmarshal(body, &issued); err != nil {
		return "", err
	}
	return tokenID(issued.Token)
}

// deliveries gives each request an id of its own, as GitHub gives its deliveries.
type deliveries struct{ n atomic.Int64 }

func (d *deliveries) next() []byte {
	return fmt.Appendf(nil, "00000000-0000-4000-8000-%012d", d.n.Add(1))
}
func (*deliveries) answered([]byte) error { return nil }

// hear is how fast webhooks of GitHub are taken: verified, and stored before the answer.
func (b hookBench) hear(ctx context.Context, e engine) (f figures, err error) {
	d, _, err := b.database(ctx, e, "hear")
	if err != nil {
		return f, err
	}
	server, err := start(ctx, b.env(d), b.service, "serve")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	body, err := githubtest.EventPayload("repository", "edited", nil)
	if err != nil {
		return f, err
	}
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write(body)
	what := target{
		addr: server.addr, method: "POST", path: "/_api/webhooks/github", kind: "application/json", body: string(body), status: "202", cpu: server.cpu,
		credential: "X-GitHub-Delivery: ", header: "X-GitHub-Event: repository\r\nX-Hub-Signature-256: sha256=" + hex.EncodeToString(mac.Sum(nil)) + "\r\n",
	}
	each := slices.Repeat([]bearers{&deliveries{}}, slices.Min(b.connections))
	return load(ctx, what, each, b.length)
}

// cost is how fast refreshes are answered while one and while ten receivers are told of each, as a
// ratio to nobody: what is sent meanwhile is sent by the same process, to this one.
func (b hookBench) cost(ctx context.Context, e engine) (ratios []string, err error) {
	connections := slices.Max(b.connections)
	l := listen(0)
	defer l.Close()
	var all []*hosted
	for _, n := range []int{0, 1, 10} {
		d, owner, err := b.database(ctx, e, fmt.Sprintf("cost%d", n))
		if err != nil {
			return nil, err
		}
		tokens, err := d.moreTokens(ctx, owner.account.ID, connections)
		if err != nil {
			return nil, err
		}
		for range n {
			if err := b.subscribe(ctx, d, "", l.URL, "license.refreshed"); err != nil {
				return nil, err
			}
		}
		h := &hosted{database: d, sessions: newSessions(tokens, false)}
		if h.server, err = start(ctx, b.env(d), b.service, "serve"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, h.server.stop()) }()
		all = append(all, h)
	}
	samples := make([][]sample, len(all))
	for range b.rounds {
		var none figures
		for i, h := range all {
			f, err := load(ctx, target{addr: h.server.addr, method: "GET", path: refreshPath, cpu: h.cpu}, share(h.sessions, connections), b.length)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				none = f
			}
			samples[i] = append(samples[i], sample{f, none})
		}
	}
	for _, s := range samples[1:] {
		ratios = append(ratios, spreadOf(s, ratio(rate)).String())
	}
	return ratios, nil
}

// tokenID is the id in a license token.
func tokenID(text string) (string, error) {
	_, rest, _ := strings.Cut(text, ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", err
	}
	var claims struct {
		JTI string `json:"jti"`
	}
	err = json.Unmarshal(raw, &claims)
	return claims.JTI, err
}
