//go:build e2e

package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pageflare/ci/service/store/postgrestest"
)

var rounds = flag.Int("rounds", 10, "how often a process is killed on each engine")

// program is the built service.
var program string

var given = flag.String("service", "", "the `program` to test, pageflare-license; empty: it is built")

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	flag.Parse()
	if program = *given; program != "" {
		return postgrestest.Run(m)
	}
	dir, err := os.MkdirTemp("", "pageflare-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "pageflare-license")
	build := exec.Command("go", "build", "-o", program, "github.com/pageflare/ci/service")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the service: %v\n%s", err, said)
		return 1
	}
	return postgrestest.Run(m)
}

// patience is how long anything may take before a test gives up on it.
const patience = 60 * time.Second

// installation is a database with the settings of those who serve it, and the account that the tests
// call for.
type installation struct {
	t        *testing.T
	dir      string
	database string
	account  string
	apiToken string
	admin    string   // an admin token that may do everything
	issuers  string   // of identities
	settings []string // what else, as NAME=VALUE
}

// install makes an account in a database, which is new.
func install(t *testing.T, database string) *installation {
	t.Helper()
	in := &installation{t: t, dir: t.TempDir(), database: database}
	in.fill()
	return in
}

// fill makes the account and the admin token.
func (in *installation) fill() {
	in.t.Helper()
	var made struct {
		ID  string `json:"id"`
		Key string `json:"api_token"`
	}
	decode(in.t, in.ok("account", "create", "--email", "a@example.com", "--tier", "team", "--valid-until", "2099-01-01", "--json"), &made)
	in.account, in.apiToken = made.ID, made.Key
	var admin struct {
		Text string `json:"admin_token"`
	}
	decode(in.t, in.ok("admin-token", "create", "--scope", "all", "--json"), &admin)
	in.admin = admin.Text
}

// sqliteFile is the URL of a database in a folder of its own.
func sqliteFile(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "license.db")
}

func (in *installation) command(ctx context.Context, database string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = in.dir
	cmd.Env = []string{
		"LICENSE_DATABASE_URL=" + database, "LICENSE_OIDC_ISSUERS=" + in.issuers, "LICENSE_RATE_LIMITS=free=0,pro=0,team=0",
		"LICENSE_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", // of databases that end with the test
		"LICENSE_PUBLIC_URL=http://license.example",
	}
	cmd.Env = append(cmd.Env, in.settings...)
	return cmd
}

// ok runs a command, which must end well, and returns what it printed.
func (in *installation) ok(args ...string) string {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), patience)
	defer cancel()
	cmd := in.command(ctx, in.database, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		in.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, log.String())
	}
	return strings.TrimSpace(out.String())
}

// replica is a service that runs.
type replica struct {
	t     *testing.T
	cmd   *exec.Cmd
	addr  string
	http  *http.Client
	ended chan struct{} // closed when its log has ended

	mu  sync.Mutex
	log bytes.Buffer
}

// serve starts a service on the database of the installation. It ends with the test.
func (in *installation) serve() *replica { in.t.Helper(); return in.serveOn(in.database) }

// serveOn starts a service that reaches the database by another URL.
func (in *installation) serveOn(database string) *replica {
	in.t.Helper()
	r := &replica{t: in.t, ended: make(chan struct{}), http: &http.Client{
		Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	r.cmd = in.command(context.Background(), database, "serve", "--listen", "127.0.0.1:0")
	pipe, err := r.cmd.StderrPipe()
	must(in.t, err)
	must(in.t, r.cmd.Start())
	in.t.Cleanup(r.kill)
	listening := make(chan string, 1)
	go r.follow(pipe, listening)
	select {
	case r.addr = <-listening:
	case <-r.ended:
		in.t.Fatalf("the service ended before it listened:\n%s", r.said())
	}
	return r
}

func (r *replica) follow(pipe io.Reader, listening chan<- string) {
	defer close(r.ended)
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		r.mu.Lock()
		r.log.WriteString(lines.Text() + "\n")
		r.mu.Unlock()
		if _, rest, found := strings.Cut(lines.Text(), "msg=listening addr="); found {
			addr, _, _ := strings.Cut(rest, " ")
			listening <- addr
		}
	}
}

// said is the log up to now.
func (r *replica) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.String()
}

// wantSaid fails unless the log has a line with all of these texts. What it has may still be on its
// way here.
func (r *replica) wantSaid(texts ...string) {
	r.t.Helper()
	for begun := time.Now(); !r.hasSaid(texts); runtime.Gosched() {
		if time.Since(begun) > patience/6 {
			r.t.Errorf("the log has no line with %q; its end:\n%s", texts, tail(r.said()))
			return
		}
	}
}

func (r *replica) hasSaid(texts []string) bool {
	for line := range strings.Lines(r.said()) {
		all := true
		for _, text := range texts {
			all = all && strings.Contains(line, text)
		}
		if all {
			return true
		}
	}
	return false
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// kill ends the service as a power cut does, unless it has ended.
func (r *replica) kill() {
	if r.cmd.ProcessState == nil {
		_ = r.cmd.Process.Kill()
		<-r.ended
		_ = r.cmd.Wait()
	}
}

// halt stops a process, and returns when it has stopped: the signal takes effect when one of its
// threads gets to run, and the others go on until then.
func halt(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGSTOP))
	until(t, "the process has stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		must(t, err)
		return len(threads) > 0 && !slices.ContainsFunc(threads, func(thread string) bool {
			text, err := os.ReadFile(thread)
			_, state, found := strings.Cut(string(text), ") ")                         // behind the name
			return err != nil || !found || !strings.ContainsRune("TZ", rune(state[0])) // Z: it has ended
		})
	})
}

// signal sends a signal to the process.
func (r *replica) signal(s os.Signal) { r.t.Helper(); must(r.t, r.cmd.Process.Signal(s)) }

// answer is what a service said.
type answer struct {
	status int
	body   string
	took   time.Duration
}

// Token is the token in the answer, and its id.
func (a answer) Token(t *testing.T) (text, id string) {
	t.Helper()
	var in struct {
		Token string `json:"token"`
	}
	decode(t, a.body, &in)
	return in.Token, idOf(t, in.Token)
}

// send sends a request; an error means that no answer came.
func (r *replica) send(ctx context.Context, method, path, bearer string, header http.Header, body io.Reader) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.addr+path, body)
	if err != nil {
		return answer{}, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	begun := time.Now()
	res, err := r.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, string(text), time.Since(begun)}, err
}

// call sends a request that must be answered, whatever the answer is.
func (r *replica) call(method, path, bearer string) answer {
	r.t.Helper()
	a, err := r.send(r.t.Context(), method, path, bearer, nil, nil)
	must(r.t, err)
	return a
}

// want is call for an answer with a status.
func (r *replica) want(status int, method, path, bearer string) answer {
	r.t.Helper()
	a := r.call(method, path, bearer)
	if a.status != status {
		r.t.Fatalf("%s %s = %d %s, want %d; the end of its log:\n%s", method, path, a.status, a.body, status, tail(r.said()))
	}
	return a
}

func (r *replica) issue(bearer string) answer { return r.call("POST", issuePath, bearer) }

func (r *replica) refresh(bearer string) answer { return r.call("GET", refreshPath, bearer) }

// validate asks whether a license token is good, which writes nothing.
func (r *replica) validate(bearer string) answer { return r.call("POST", validatePath, bearer) }

const (
	issuePath    = "/_api/license/issue"
	refreshPath  = "/_api/license/refresh"
	validatePath = "/_api/license/validate-ci"
	revokePath   = "/_api/oauth/revoke"
)

var formType = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}

// revoke ends a token with its family.
func (r *replica) revoke(ctx context.Context, bearer, token string) (answer, error) {
	return r.send(ctx, "POST", revokePath, bearer, formType, strings.NewReader(url.Values{"token": {token}}.Encode()))
}

// mustRevoke is revoke that must be acknowledged.
func (r *replica) mustRevoke(bearer, token string) {
	r.t.Helper()
	a, err := r.revoke(r.t.Context(), bearer, token)
	must(r.t, err)
	if a.status != http.StatusOK {
		r.t.Fatalf("revoke = %d %s, want 200", a.status, a.body)
	}
}

// until calls f until it says that it is done, and returns how long that took. There is a bound.
func until(t *testing.T, what string, f func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !f() {
		if time.Since(begun) > patience {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
	return time.Since(begun)
}

// recovers waits until a replica issues tokens again, and returns how long that took.
func (r *replica) recovers(bearer string) time.Duration {
	r.t.Helper()
	return until(r.t, "recovery", func() bool { return r.issue(bearer).status == http.StatusOK })
}

// record is what the service has on record of a token.
type record struct {
	ID     string `json:"jti"`
	Parent string `json:"parent"`
	Status string `json:"status"`
}

// records are the records of all license tokens of the account, by their ids.
func (in *installation) records(r *replica) map[string]record {
	in.t.Helper()
	return in.recordsUntil(r, func(map[string]record) bool { return false })
}

// recordsUntil reads the records of the account, the newest first, until there is enough.
func (in *installation) recordsUntil(r *replica, enough func(map[string]record) bool) map[string]record {
	in.t.Helper()
	out := map[string]record{}
	cursor := ""
	for {
		a := r.want(http.StatusOK, "GET", "/_api/admin/accounts/"+in.account+"/tokens?limit=200&cursor="+cursor, in.admin)
		var page struct {
			Items []record `json:"items"`
			Next  string   `json:"next_cursor"`
		}
		decode(in.t, a.body, &page)
		for _, item := range page.Items {
			out[item.ID] = item
		}
		if page.Next == "" || enough(out) {
			return out
		}
		cursor = page.Next
	}
}

// wantWhole fails unless the chain of the audit log verifies.
func (in *installation) wantWhole() { in.t.Helper(); in.ok("audit", "verify") }

// idOf reads the id of a license token.
func idOf(t *testing.T, token string) string {
	t.Helper()
	var claims struct {
		ID string `json:"jti"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("the answer has no license token")
	}
	decode(t, unbase64(t, parts[1]), &claims)
	return claims.ID
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server starts a PostgreSQL server of the test's own, which it may harm.
func server(t *testing.T, o postgrestest.Options) *postgrestest.Server {
	t.Helper()
	s, err := postgrestest.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop(context.Background())) })
	return s
}

// gone says that a connection could not be opened or broke.
func gone(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, io.EOF)
}
