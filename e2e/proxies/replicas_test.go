//go:build e2e

package proxies_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// The processes of deploy/compose.postgres.yaml, with its settings and its configuration of the
// proxy: only addresses, certificate and database are those of this test.
func TestARollingRestartLosesNoRequest(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	load := d.load(4, issuing)
	for _, r := range d.replicas {
		load.answers(t, 50)
		r.restart(t)
		for r.served() == 0 { // the proxy has it back
			load.answers(t, 50)
		}
	}
	load.end(t)
	d.verify()
}

// A refresh may be done twice, so the proxy sends it to another replica when the first one dies over it.
func TestAReplicaThatDiesLosesNoRefresh(t *testing.T) {
	t.Parallel()
	d := newDeployment(t)
	load := d.load(16, refreshing)
	load.answers(t, 50)
	if err := d.replicas[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.replicas[0].cmd.Wait() // it was killed
	load.answers(t, 200)
	load.end(t)
	d.verify()
}

// deployment is PostgreSQL, three replicas and the proxy in front of them.
type deployment struct {
	t        *testing.T
	proxy    *proxyTest
	replicas []*replica
	program  string
	env      []string // of commands, and of replicas but for their address
	account  string
	key      string // an API token of the account
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	database, err := postgrestest.Start(t.Context(), postgrestest.Options{})
	must(t, err)
	t.Cleanup(func() {
		if err := database.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	d := &deployment{t: t, program: filepath.Join(t.TempDir(), "pageflare-license")}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", d.program, "../../service").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var addresses []string
	for name, settings := range composed(t) {
		r := &replica{name: name, addr: fmt.Sprintf("127.0.0.1:%d", postgrestest.FreePort(t)), program: d.program}
		settings["LICENSE_DATABASE_URL"] = database.URL("postgres")
		settings["LICENSE_TRUSTED_PROXIES"] = "127.0.0.1/32"
		settings["LICENSE_METRICS_LISTEN"] = "127.0.0.1:0"
		settings["LICENSE_RATE_LIMITS"] = "free=0,pro=0,team=0"
		for k, v := range settings {
			r.env = append(r.env, k+"="+v)
		}
		d.env = r.env
		d.replicas = append(d.replicas, r)
	}
	slices.SortFunc(d.replicas, func(a, b *replica) int { return strings.Compare(a.name, b.name) })
	for i, r := range d.replicas {
		addresses = append(addresses, fmt.Sprintf("10.213.8.1%d:8080", i+1), r.addr)
		r.start(t)
		t.Cleanup(r.kill)
	}
	for _, r := range d.replicas {
		r.wait(t, http.StatusOK)
	}
	var made struct {
		ID       string
		APIToken string `json:"api_token"`
	}
	must(t, json.Unmarshal(d.run("account", "create", "--email", "a@example.com", "--tier", "team", "--valid-until", "2099-12-31", "--json"), &made))
	d.account, d.key = made.ID, made.APIToken
	d.proxy = newProxyTest(t, addresses...)
	d.proxy.start(d.proxy.haproxy("haproxy-replicas.cfg", ":8443"))
	d.proxy.wait()
	return d
}

// composed is the environment of each replica, as the compose file sets it.
func composed(t *testing.T) map[string]map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "compose.postgres.yaml"))
	must(t, err)
	var file struct {
		Services map[string]struct {
			Environment map[string]string
		}
	}
	must(t, yaml.Unmarshal(text, &file))
	given := map[string]string{
		"LICENSE_PUBLIC_URL": "https://" + name, "LICENSE_KEY": strings.Repeat("A", 43) + "=", "DATABASE_PASSWORD": "of nobody",
	}
	variable := regexp.MustCompile(`^\$\{([A-Z_]+):\?.*\}$`)
	out := map[string]map[string]string{}
	for service, s := range file.Services {
		if !strings.HasPrefix(service, "license-") {
			continue
		}
		out[service] = map[string]string{}
		for k, v := range s.Environment {
			if found := variable.FindStringSubmatch(v); found != nil {
				v = given[found[1]]
			}
			out[service][k] = v
		}
	}
	if len(out) != 3 {
		t.Fatalf("the compose file has %d replicas, want 3", len(out))
	}
	return out
}

// run runs a command beside the replicas.
func (d *deployment) run(args ...string) []byte {
	d.t.Helper()
	cmd := exec.CommandContext(d.t.Context(), d.program, args...)
	cmd.Env = d.env
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, log.String())
	}
	return out
}

// verify holds the audit log against itself.
func (d *deployment) verify() {
	d.t.Helper()
	d.run("audit", "verify")
}

// replica is one process of the service, and after a restart another one at the same address.
type replica struct {
	name, addr, program string
	env                 []string
	cmd                 *exec.Cmd
	log                 *locked
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	r.log = &locked{}
	r.cmd = exec.CommandContext(t.Context(), r.program, "serve", "--listen", r.addr)
	r.cmd.Env, r.cmd.Stderr = r.env, r.log
	must(t, r.cmd.Start())
}

func (r *replica) kill() {
	if r.cmd.ProcessState == nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait() // it was killed
	}
}

// restart stops the replica as an orchestrator does and starts it again, when it said that it is
// not ready and ended in good order.
func (r *replica) restart(t *testing.T) {
	t.Helper()
	must(t, r.cmd.Process.Signal(syscall.SIGTERM))
	r.wait(t, http.StatusServiceUnavailable)
	if err := r.cmd.Wait(); err != nil {
		t.Fatalf("%s ends with %v\n%s", r.name, err, r.log)
	}
	r.start(t)
	r.wait(t, http.StatusOK)
}

// wait returns when the replica itself answers /readyz so.
func (r *replica) wait(t *testing.T, status int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+r.addr+"/readyz", nil)
		must(t, err)
		res, err := client.Do(req)
		if err != nil {
			if status == http.StatusServiceUnavailable {
				t.Fatalf("%s ended before it said that it is not ready: %v", r.name, err)
			}
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == status {
			return
		}
	}
	t.Fatalf("%s does not answer /readyz with %d\n%s", r.name, status, r.log)
}

// served is how many license requests this process answered.
func (r *replica) served() int { return strings.Count(r.log.String(), `"route":"/_api/license/`) }

// locked is a text that a process writes while a test reads it.
type locked struct {
	mutex sync.Mutex
	text  bytes.Buffer
}

// Write adds to the text.
func (l *locked) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.Write(p)
}

// String is the text up to now.
func (l *locked) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// load is clients that call through the proxy until end, each on one connection.
type load struct {
	stop     context.CancelFunc
	callers  sync.WaitGroup
	answered chan struct{}
	count    atomic.Int64
	mutex    sync.Mutex
	faults   []error
}

// issuing and refreshing are what a caller does again and again with a token of before; each returns the newest token.
type act func(c *caller, token string) (string, error)

func issuing(c *caller, _ string) (string, error) {
	token, err := c.token("POST", "/_api/license/issue", c.key)
	if err != nil {
		return "", err
	}
	return refreshing(c, token)
}

// refreshing asks twice, most likely two replicas, and wants the same.
func refreshing(c *caller, token string) (string, error) {
	first, err := c.token("GET", "/_api/license/refresh", token)
	if err != nil {
		return "", err
	}
	second, err := c.token("GET", "/_api/license/refresh", token)
	if err == nil && first != second {
		err = errors.New("the same token refreshed twice gives two tokens")
	}
	return first, err
}

type caller struct {
	ctx    context.Context
	client *http.Client
	key    string
	dials  atomic.Int64
	load   *load
}

// load begins to call, many times a second and not as often as the machine can.
func (d *deployment) load(callers int, do act) *load {
	d.t.Helper()
	ctx, stop := context.WithCancel(d.t.Context())
	l := &load{stop: stop, answered: make(chan struct{}, 1)}
	d.t.Cleanup(func() { stop(); l.callers.Wait() })
	for range callers {
		c := &caller{ctx: d.t.Context(), client: d.proxy.newClient(), key: d.key, load: l}
		transport := c.client.Transport.(*http.Transport)
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c.dials.Add(1)
			return dial(ctx, network, addr)
		}
		l.callers.Go(func() { l.call(ctx, c, do) })
	}
	return l
}

func (l *load) call(ctx context.Context, c *caller, do act) {
	token, err := c.token("POST", "/_api/license/issue", c.key)
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for err == nil && ctx.Err() == nil {
		if token, err = do(c, token); err == nil {
			select {
			case <-pace.C:
			case <-ctx.Done():
			}
		}
	}
	// the client of net/http tries again what a connection that ended did not answer: then it has another connection
	if n := c.dials.Load(); err == nil && n != 1 {
		err = fmt.Errorf("it needed %d connections to the proxy: one was cut", n)
	}
	if err != nil {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.faults = append(l.faults, err)
	}
}

// token is a token that is asked for.
func (c *caller) token(method, path, bearer string) (string, error) {
	req, err := http.NewRequestWithContext(c.ctx, method, "https://"+name+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := c.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, path, err)
	}
	var answer struct{ Token string }
	if res.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || strings.Count(answer.Token, ".") != 2 {
		return "", fmt.Errorf("%s %s = %s %s, want a token", method, path, res.Status, body)
	}
	c.load.count.Add(1)
	select {
	case c.load.answered <- struct{}{}:
	default:
	}
	return answer.Token, nil
}

// answers waits for n more answers.
func (l *load) answers(t *testing.T, n int64) {
	t.Helper()
	late := time.NewTimer(time.Minute) // a bound: nothing waits for it
	defer late.Stop()
	for until := l.count.Load() + n; l.count.Load() < until; {
		select {
		case <-l.answered:
		case <-late.C:
			l.end(t)
			t.Fatalf("only %d answers", l.count.Load())
		}
	}
}

// end ends the load. Every request must have got its answer.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.callers.Wait()
	for _, err := range l.faults {
		t.Error(err)
	}
	t.Logf("%d requests were answered", l.count.Load())
}
