// Command bench measures the License service against the limit of its stack: a bare Gin handler that only verifies and signs. Both are
// programs of their own, measured in turn within one run by the same load from this machine, so that only ratios count. `make bench` calls it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

func main() {
	service := flag.String("service", "", "the License service")
	var around actionBench
	flag.StringVar(&around.action, "action", "", "the Action")
	flag.StringVar(&around.optimizer, "optimizer", "", "the pageflare CLI")
	flag.StringVar(&around.site, "site", "", "the site to optimize")
	connections := flag.Int("connections", 64, "connections at once")
	length := flag.Duration("time", 3*time.Second, "how long each round takes")
	rounds := flag.Int("rounds", 3, "rounds; the median counts")
	bare := flag.Bool("bare", false, "be the bare handler, on a free port")
	sites := flag.String("sites", "", "measure the guard instead, on the sites in this folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	switch {
	case *bare:
		err = serveBare(ctx)
	case *sites != "":
		err = guardBench{optimizer: around.optimizer, sites: *sites}.run(ctx)
	default:
		err = bench(ctx, *service, around, *connections, *length, *rounds)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// figures are one round.
type figures struct {
	perSecond float64
	p99       time.Duration
}

func bench(ctx context.Context, service string, around actionBench, connections int, length time.Duration, rounds int) (err error) {
	temp, err := os.MkdirTemp("", "pageflare-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	jobs, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	if err != nil {
		return err
	}
	defer jobs.Close()
	env := environment(temp, jobs.URL())
	plain, err := start(ctx, env, self, "-bare")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	licensed, err := start(ctx, env, service, "serve")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, licensed.stop()) }()
	account, key, err := createAccount(ctx, env, service)
	if err != nil {
		return err
	}

	others, err := newOthers(ctx, env, service, jobs, licensed.addr, account, key)
	if err != nil {
		return err
	}
	var bare, issue, refresh, introspect, exchange, poll []figures
	for range rounds {
		// each token is refreshed once, as in life: a repeated refresh would find its record in place
		f, tokens, err := load(ctx, licensed.addr, route{method: "POST", path: "/_api/license/issue"}, repeat(key), connections, length)
		if err != nil {
			return fmt.Errorf("issue: %w", err)
		}
		issue = append(issue, f)
		if f, _, err = load(ctx, licensed.addr, route{method: "GET", path: "/_api/license/refresh"}, once(tokens), connections, length); err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
		refresh = append(refresh, f)
		if f, _, err = load(ctx, plain.addr, route{method: "GET", path: "/_api/license/refresh"}, repeat(plain.token), connections, length); err != nil {
			return fmt.Errorf("bare handler: %w", err)
		}
		bare = append(bare, f)
		if f, err = others.introspect(ctx, tokens[0], connections, length); err != nil {
			return fmt.Errorf("introspection: %w", err)
		}
		introspect = append(introspect, f)
		if f, err = others.exchange(ctx, connections, length); err != nil {
			return fmt.Errorf("exchange of identities: %w", err)
		}
		exchange = append(exchange, f)
		if f, err = others.poll(ctx, connections, length); err != nil {
			return fmt.Errorf("device poll: %w", err)
		}
		poll = append(poll, f)
	}
	limit := median(bare)
	fmt.Printf("\n%d rounds of %s, %d connections, SQLite with synchronous=FULL, the load on the same %d cores\n\n", rounds, length, connections, runtime.NumCPU())
	fmt.Printf("%-34s %12s %8s %12s %8s\n", "", "requests/s", "ratio", "p99", "ratio")
	for _, row := range []struct {
		name string
		f    figures
	}{{"bare handler: verify and sign", limit}, {"refresh, each token recorded", median(refresh)}, {"issue, each token recorded", median(issue)}, {"introspection", median(introspect)},
		{"exchange of an identity, recorded", median(exchange)}, {"device poll, its time recorded", median(poll)}} {
		fmt.Printf("%-34s %12.0f %8.2f %12s %8.2f\n", row.name, row.f.perSecond, row.f.perSecond/limit.perSecond,
			row.f.p99.Round(10*time.Microsecond), float64(row.f.p99)/float64(limit.p99))
	}
	memory, err := residentMemory(licensed.cmd.Process.Pid)
	if err != nil {
		return err
	}
	before, with, err := idleMemory(ctx, temp, jobs.URL(), service)
	if err != nil {
		return fmt.Errorf("idle connections: %w", err)
	}
	fmt.Printf("\nmemory of the service after the load: %d MiB\n", memory>>20)
	fmt.Printf("memory of a service that was just started: %d MiB; with %d idle connections: %d MiB, %.1f KiB for each\n",
		before>>20, idleConnections, with>>20, float64(with-before)/idleConnections/(1<<10))
	if err := drillKeys(ctx, env, service, licensed.addr, key); err != nil {
		return fmt.Errorf("key rotation under load: %w", err)
	}
	return around.start(ctx, temp, env, service, account, licensed.addr)
}

// drillKeys starts a second server on the same database for the drill.
func drillKeys(ctx context.Context, env []string, service, addr, apiToken string) (err error) {
	second, err := start(ctx, env, service, "serve")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, second.stop()) }()
	d := keyDrill{service: service, env: env, servers: []string{addr, second.addr}, apiToken: apiToken}
	return d.run(ctx)
}

func median(f []figures) figures {
	slices.SortFunc(f, func(a, b figures) int { return int(a.perSecond - b.perSecond) })
	return f[len(f)/2]
}

// program is a server that was started.
type program struct {
	cmd   *exec.Cmd
	addr  string
	token string // of the bare handler
}

func environment(temp, issuer string) []string {
	return []string{
		"LICENSE_LISTEN=127.0.0.1:0", "LICENSE_DATABASE_URL=sqlite:" + filepath.Join(temp, "license.db"), "LICENSE_LOG_FORMAT=json",
		"LICENSE_RATE_LIMITS=pro=0", "LICENSE_OIDC_ISSUERS=" + issuer, "HOME=" + temp, "GIN_MODE=release",
	}
}

// start starts a server and waits for the line of its log that says where it listens.
func start(ctx context.Context, env []string, name string, args ...string) (*program, error) {
	p := &program{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Env = env
	log, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Addr, Token string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" {
			p.addr, p.token = line.Addr, line.Token
			go func() { _, _ = io.Copy(io.Discard, log) }() // its access log; ends with the process
			return p, nil
		}
		fmt.Fprintln(os.Stderr, lines.Text())
	}
	return nil, errors.Join(fmt.Errorf("%s did not start", name), p.cmd.Wait())
}

func (p *program) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

func createAccount(ctx context.Context, env []string, service string) (id, apiToken string, err error) {
	cmd := exec.CommandContext(ctx, service, "account", "create", "--email", "bench@example.com", "--tier", "pro", "--valid-until", "2099-01-01", "--json")
	cmd.Env = env
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", "", err
	}
	var a struct {
		ID       string `json:"id"`
		APIToken string `json:"api_token"`
	}
	err = json.Unmarshal(out, &a)
	return a.ID, a.APIToken, err
}

// start measures the Action, against the service that is running.
func (b actionBench) start(ctx context.Context, temp string, env []string, service, account, addr string) (err error) {
	for _, p := range []*string{&b.action, &b.optimizer, &b.site} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	b.temp, b.api = temp, "http://"+addr+"/_api"
	b.issue = func(ttl string) (string, error) {
		cmd := exec.CommandContext(ctx, service, "token", "issue", "--account", account, "--ttl", ttl)
		cmd.Env = env
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	return b.run(ctx)
}

// residentMemory is the resident set of a process in bytes.
func residentMemory(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10, nil
		}
	}
	return 0, errors.New("no VmRSS in /proc")
}
