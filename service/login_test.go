package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/servicetest"
)

// cli is the real pageflare CLI, with a home of its own.
type cli struct {
	t    *testing.T
	home string
	url  string // base path of the API
}

func newCLI(t *testing.T, url string) *cli { t.Helper(); return &cli{t, t.TempDir(), url} }

func (c *cli) command(args ...string) *exec.Cmd {
	c.t.Helper()
	binary, err := filepath.Abs("../action/optimize/cli/node_modules/@pageflare/cli-linux-x64/bin/pageflare")
	must(c.t, err)
	if _, err := os.Stat(binary); err != nil {
		c.t.Fatalf("%v: run make optimizer", err)
	}
	cmd := exec.CommandContext(c.t.Context(), binary, args...)
	cmd.Dir, cmd.Env = c.home, []string{"HOME=" + c.home, "PATH=" + c.home, "PAGEFLARE_API_URL=" + c.url}
	return cmd
}

// run runs the CLI to its end and returns its exit status and all it said.
func (c *cli) run(args ...string) (int, string) {
	c.t.Helper()
	cmd := c.command(args...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		c.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// login is a `pageflare login` that runs.
type login struct {
	t         *testing.T
	cmd       *exec.Cmd
	said      bytes.Buffer // without what it says in answer
	rest      io.Reader
	url, code string
}

var pageInOutput = regexp.MustCompile(`(http\S+/device\?user_code=(\S+))`)

// login begins a login and returns when the CLI has shown the code.
func (c *cli) login() *login {
	c.t.Helper()
	l := &login{t: c.t, cmd: c.command("login")}
	pipe, err := l.cmd.StdoutPipe()
	must(c.t, err)
	l.cmd.Stderr = l.cmd.Stdout
	must(c.t, l.cmd.Start())
	out := bufio.NewReader(pipe)
	l.rest = out
	for l.code == "" {
		line, err := out.ReadString('\n')
		l.said.WriteString(line)
		if err != nil {
			c.t.Fatalf("login ended before it showed a code: %v\n%s", err, l.said.String())
		}
		if m := pageInOutput.FindStringSubmatch(line); m != nil {
			l.url, l.code = m[1], m[2]
		}
	}
	return l
}

// end waits for the end of the login and returns its exit status and what it said.
func (l *login) end() (int, string) {
	l.t.Helper()
	_, err := io.Copy(&l.said, l.rest)
	must(l.t, err)
	if err := l.cmd.Wait(); err != nil && l.cmd.ProcessState == nil {
		l.t.Fatal(err)
	}
	return l.cmd.ProcessState.ExitCode(), l.said.String()
}

// The whole story, with the real service, the real CLI and a real browser that is used by its
// keyboard alone.
func TestTheRealCLILogsInThroughTheDevicePage(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	box.env["LICENSE_LOG_FORMAT"], box.env["LICENSE_METRICS_LISTEN"] = "json", "127.0.0.1:0"
	r := box.serve()
	box.env["LICENSE_LISTEN"] = r.addr
	account := mustMember(t, box.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	link := box.ok("account", "sign-in", account)
	cli := newCLI(t, "http://"+r.addr+"/_api")
	login := cli.login()

	b := newBrowser(t)
	b.open(login.url)
	b.wantHeading("Sign in") // and the code is not forgotten
	b.usable()
	b.tabTo("link")
	b.keys(link)
	b.enter("Connect a program")
	b.usable()
	b.tabTo("user_code")
	b.enter("Approve this login?")
	b.usable()
	for _, want := range []string{"pageflare CLI", "127.0.0.1", login.code, "dev@example.com", time.Now().UTC().Format("2 January 2006")} {
		if !strings.Contains(b.text(), want) {
			t.Errorf("the page does not show %q:\n%s", want, b.text())
		}
	}
	b.tabTo("Approve")
	b.enter("Approved")
	b.usable()

	if exit, said := login.end(); exit != 0 || !strings.Contains(said, login.code) {
		t.Fatalf("login = %d\n%s", exit, said)
	}
	var saved struct{ Token string }
	text, err := os.ReadFile(filepath.Join(cli.home, ".config/pageflare/license.json"))
	must(t, err)
	must(t, json.Unmarshal(text, &saved))
	r.wantCall(t, "POST", "/_api/license/validate-ci", saved.Token, 200)

	site := filepath.Join(cli.home, "site")
	must(t, os.CopyFS(site, os.DirFS("../e2e/site")))
	reported := regexp.MustCompile(`(?m)^pageflare_license_http_requests_total\{[^}]*route="/_api/cli/telemetry",status="200"\} `)
	metrics := &running{addr: r.metrics}
	for tries := 0; !reported.MatchString(metrics.wantCall(t, "GET", "/metrics", "", 200)); tries++ {
		if tries == 20 { // the CLI leaves without its report now and then: one run in six, with a server that answers at once
			t.Fatalf("no report of the CLI in %d runs", tries)
		}
		if exit, said := cli.run("optimize", site, "--output", filepath.Join(cli.home, "out"), "--no-browser"); exit != 0 {
			t.Errorf("optimize = %d\n%s", exit, said)
		}
	}
	if _, err := os.Stat(filepath.Join(cli.home, "out", "index.html")); err != nil {
		t.Error(err)
	}
	if exit, said := cli.run("logout"); exit != 0 || !strings.Contains(said, "Logged out and machine deactivated") {
		t.Errorf("logout = %d\n%s", exit, said)
	}
	r.wantCall(t, "POST", "/_api/license/validate-ci", saved.Token, 403)

	b.open("http://" + r.addr + "/device")
	b.tabTo("Sign out")
	b.enter("Sign in")
	b.quiet()
	_, log, err := r.stop(syscall.SIGTERM)
	must(t, err)
	for route, status := range map[string]int{"/_api/cli/check-version": 200, "/_api/cli/telemetry": 200, "/_api/license/machine/:machine_id": 200} {
		if !regexp.MustCompile(regexp.QuoteMeta(route) + `","status":` + fmt.Sprint(status)).MatchString(log) {
			t.Errorf("the CLI did not call %s, or not well", route)
		}
	}
	for _, secret := range []string{saved.Token, login.code, link[strings.Index(link, "=")+1:], "pf_"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds a secret: %.8s…", secret)
		}
	}
}

// The pages beside the straight way: a link that is opened, a wrong code, a login that is denied, a
// link that was used.
func TestThePagesInABrowser(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "somebody.with.a.very.long.name.indeed@subdomain.of.a.long.domain.example.com")
	link, _, err := s.CreateSignInLink(t.Context(), a.ID)
	must(t, err)
	codes, err := s.BeginDevice(t.Context(), "cl_pageflare_cli", "2001:db8:1234:5678:9abc:def0:1234:5678")
	must(t, err)

	b := newBrowser(t)
	b.open(link.Reveal())
	b.usable()
	b.tabTo("Sign in")
	b.enter("Connect a program")
	if got := evaluate[string](b, `document.cookie`); got != "" {
		t.Errorf("a script can read the cookie: %s", got)
	}
	b.quiet()
	b.tabTo("user_code")
	b.keys("bcdf ghjk")
	b.keys(kb.Enter)
	b.wantText("This code is not known, was used already, or has expired.")
	b.usable()
	b.tabTo("user_code") // what was typed is selected
	b.keys(strings.ToLower(codes.UserCode.Reveal()))
	b.enter("Approve this login?")
	b.usable()
	b.tabTo("Deny")
	b.enter("Denied")
	b.usable()
	if _, err := s.PollDevice(t.Context(), "cl_pageflare_cli", codes.DeviceCode.Reveal()); !errors.Is(err, auth.ErrDenied) {
		t.Errorf("poll = %v, want denied", err)
	}
	b.open(link.Reveal())
	b.wantText("this sign-in link is not known, was used already, or has expired")
	b.usable()
}

// What the real CLI says of each refusal.
func TestTheRealCLIShowsWhyALoginFailed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, s *servicetest.Service, by auth.Caller, code string, ahead *atomic.Int64)
		want  string
	}{
		"denied": {func(t *testing.T, s *servicetest.Service, by auth.Caller, code string, _ *atomic.Int64) {
			_, err := s.DenyDevice(t.Context(), by, code)
			must(t, err)
		}, "Login was denied by the user."},
		"expired": {func(_ *testing.T, _ *servicetest.Service, _ auth.Caller, _ string, ahead *atomic.Int64) {
			ahead.Store(int64(auth.DeviceCodeTTL))
		}, "Login timed out"},
		"forgotten": {func(t *testing.T, s *servicetest.Service, _ auth.Caller, _ string, ahead *atomic.Int64) {
			ahead.Store(int64(24 * time.Hour))
			_, err := s.BeginDevice(t.Context(), "cl_pageflare_cli", "") // purges the old one
			must(t, err)
		}, "Login failed: invalid_grant"},
		"suspended": {func(t *testing.T, s *servicetest.Service, by auth.Caller, code string, _ *atomic.Int64) {
			_, err := s.ApproveDevice(t.Context(), by, code)
			must(t, err)
			_, err = s.SuspendAccount(t.Context(), by.Account.ID)
			must(t, err)
		}, "Activation failed: the account is suspended: ask the operator of this License service to restore it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ahead atomic.Int64
			s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			a, _ := s.Account(t, "dev@example.com")
			l := newCLI(t, s.URL).login()
			c.spoil(t, s, auth.Caller{Kind: auth.BySession, Account: a, Session: &auth.Session{ID: "ses_test"}}, l.code, &ahead)
			if exit, said := l.end(); exit != 1 || !strings.Contains(unfolded(said), c.want) {
				t.Errorf("login = %d, want 1 and %q\n%s", exit, c.want, said)
			}
		})
	}
	t.Run("too many logins", func(t *testing.T) {
		t.Parallel()
		s := servicetest.Start(t, servicetest.Options{})
		var exit int
		var said string
		for range 40 { // at the latest; a login that begins well is given up
			cmd := newCLI(t, s.URL).command("login")
			var out bytes.Buffer
			pipe, err := cmd.StdoutPipe()
			must(t, err)
			cmd.Stderr = &out
			must(t, cmd.Start())
			line, _ := bufio.NewReader(pipe).ReadString(':')
			if !strings.Contains(line, "Your login code") {
				_ = cmd.Wait()
				exit, said = cmd.ProcessState.ExitCode(), line+out.String()
				break
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if exit != 1 || !strings.Contains(unfolded(said), "Device authorization failed (HTTP 400): {\"error\":\"slow_down\",\"error_description\":\"too many requests for a login from this address: try again in") {
			t.Errorf("login = %d\n%s", exit, said)
		}
	})
}

var fold = regexp.MustCompile(`\n\s*(│\s*)?`)

// unfolded is what the CLI said before it was folded to the width of a terminal.
func unfolded(said string) string { return fold.ReplaceAllString(said, " ") }
