package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// The tests run the real program: this test binary, under the name of the program, which testscript
// puts on the PATH.
const program = "pageflare-license"

func TestMain(m *testing.M) {
	testscript.Main(beforePostgres{m}, map[string]func(){program: func() {
		net.DefaultResolver = servicetest.Names() // of this process alone, which is the program
		main()
	}})
}

// beforePostgres are the tests, and after them the end of the PostgreSQL server that they used.
type beforePostgres struct{ *testing.M }

// Run runs the tests.
func (m beforePostgres) Run() int { return postgrestest.Run(m.M) }

const issuersSetting = "LICENSE_OIDC_ISSUERS"

// quickExit keeps the race detector from holding each process for a second longer.
const quickExit = "GORACE=atexit_sleep_ms=0"

// box is a folder of its own to run the program in.
type box struct {
	t    *testing.T
	dir  string
	env  map[string]string
	user *syscall.Credential // who runs it; we when nil
}

func newBox(t *testing.T) *box {
	t.Helper()
	return &box{t: t, dir: t.TempDir(), env: map[string]string{}}
}

// result is what a run left behind.
type result struct {
	exit     int
	out, err string
}

func (b *box) command(args ...string) *exec.Cmd {
	b.t.Helper()
	path, err := exec.LookPath(program)
	must(b.t, err)
	cmd := exec.CommandContext(b.t.Context(), path, args...)
	cmd.Dir = b.dir
	cmd.Env = []string{quickExit}
	for k, v := range b.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if _, set := b.env[issuersSetting]; args[0] == "doctor" && !set {
		cmd.Env = append(cmd.Env, issuersSetting+"=") // it asks the issuers, and no test asks GitHub
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.user}
	return cmd
}

// run runs the program to its end.
func (b *box) run(args ...string) result { b.t.Helper(); return b.runWith("", args...) }

// runWith is run with a text on standard input.
func (b *box) runWith(stdin string, args ...string) result {
	b.t.Helper()
	cmd := b.command(args...)
	var out, log bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &log
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		b.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), log.String()}
}

// ok runs the program, which must end well, and returns what it printed.
func (b *box) ok(args ...string) string {
	b.t.Helper()
	r := b.run(args...)
	if r.exit != exitOK {
		b.t.Fatalf("%s = exit %d, want 0; it says:\n%s", strings.Join(args, " "), r.exit, r.err)
	}
	return strings.TrimSuffix(r.out, "\n")
}

// serve starts the service at a free port. It ends with the test.
func (b *box) serve(args ...string) *running {
	b.t.Helper()
	r, err := start(b.command(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...))
	must(b.t, err)
	b.t.Cleanup(r.kill)
	return r
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(name, text string) {
	b.t.Helper()
	must(b.t, os.WriteFile(b.path(name), []byte(text), 0o600))
}

func (b *box) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	must(b.t, err)
	return string(text)
}

// wantFiles fails unless the folder holds exactly these files and folders.
func (b *box) wantFiles(want ...string) {
	b.t.Helper()
	var got []string
	entries, err := os.ReadDir(b.dir)
	must(b.t, err)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("files in the folder (-want +got):\n%s", diff)
	}
}

// wantFaults fails unless the program ended with status 2, printed nothing, and wrote one line for
// each fault, which begins so.
func (r result) wantFaults(t *testing.T, begins ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	if r.exit != exitUsage || r.out != "" || len(lines) != len(begins) {
		t.Fatalf("exit %d with %q on stdout and on stderr\n%s\nwant exit 2, nothing, and %d lines", r.exit, r.out, r.err, len(begins))
	}
	for i, want := range begins {
		if !strings.HasPrefix(lines[i], "error: "+want) {
			t.Errorf("line %d = %q, want error: %s…", i+1, lines[i], want)
		}
	}
}

// running is a service that listens.
type running struct {
	cmd     *exec.Cmd
	addr    string
	metrics string        // address of the metrics; empty when they are off
	ended   chan struct{} // closed when its log has ended
	log     bytes.Buffer  // may be read once ended is closed
}

var (
	addrInLog    = regexp.MustCompile(`"?addr"?[=:]"?([^" ]+)`)
	metricsInLog = regexp.MustCompile(`"?metrics"?[=:]"?([^" ]+)`)
)

// start starts a service and returns when its log says where it listens.
func start(cmd *exec.Cmd) (*running, error) {
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{cmd: cmd, ended: make(chan struct{})}
	listening := make(chan string, 1)
	go r.follow(pipe, listening)
	select {
	case line := <-listening:
		r.addr = addrInLog.FindStringSubmatch(line)[1]
		if m := metricsInLog.FindStringSubmatch(line); m != nil {
			r.metrics = m[1]
		}
		return r, nil
	case <-r.ended:
		return nil, fmt.Errorf("%s ended before it listened: %w\n%s", strings.Join(cmd.Args, " "), cmd.Wait(), r.log.String())
	}
}

func (r *running) follow(pipe io.Reader, listening chan<- string) {
	defer close(r.ended)
	lines := bufio.NewScanner(pipe)
	for said := false; lines.Scan(); {
		r.log.WriteString(lines.Text() + "\n")
		if addrInLog.MatchString(lines.Text()) && !said {
			listening <- lines.Text()
			said = true
		}
	}
}

// stop sends a signal and returns the exit status and the log.
func (r *running) stop(s os.Signal) (int, string, error) {
	if err := r.cmd.Process.Signal(s); err != nil {
		return 0, "", err
	}
	<-r.ended
	if err := r.cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return 0, "", err
	}
	return r.cmd.ProcessState.ExitCode(), r.log.String(), nil
}

// kill ends what a test left running.
func (r *running) kill() {
	if r.cmd.ProcessState == nil {
		_ = r.cmd.Process.Kill()
		<-r.ended
		_ = r.cmd.Wait()
	}
}

// call sends a request with a bearer token ("" for none) and returns status and body.
func (r *running) call(ctx context.Context, method, path, token string) (int, string, error) {
	return r.send(ctx, method, path, token, "")
}

// send is call with a JSON body ("" for none).
func (r *running) send(ctx context.Context, method, path, token, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, string(answer), err
}

// wantCall fails unless a request is answered with a status; it returns the body.
func (r *running) wantCall(t *testing.T, method, path, token string, want int) string {
	t.Helper()
	status, body, err := r.call(t.Context(), method, path, token)
	must(t, err)
	if status != want {
		t.Fatalf("%s %s = %d %s, want %d", method, path, status, body, want)
	}
	return body
}

// member finds a value in a JSON document by its path: 0.id is the id of the first element.
func member(document, path string) (string, error) {
	var v any
	if err := json.Unmarshal([]byte(document), &v); err != nil {
		return "", err
	}
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			found, ok := in[step]
			if !ok {
				return "", fmt.Errorf("no %s among %q", step, slices.Sorted(maps.Keys(in)))
			}
			v = found
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i < 0 || i >= len(in) {
				return "", fmt.Errorf("no element %s of %d", step, len(in))
			}
			v = in[i]
		default:
			return "", fmt.Errorf("%v has no %s", v, step)
		}
	}
	return fmt.Sprint(v), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustMember(t testing.TB, document, path string) string {
	t.Helper()
	s, err := member(document, path)
	must(t, err)
	return s
}

// anotherProgram answers every request with 200 and a body; it returns its address.
func anotherProgram(t *testing.T, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// oneSpaced is a text with one space wherever there is room: how wide the columns of a table are is
// nobody's promise.
func oneSpaced(s string) string { return strings.Join(strings.Fields(s), " ") }

// refusing is an address on loopback that refuses connections, and that nobody else gets meanwhile: a
// socket that is bound, and does not listen.
func refusing(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	must(t, err)
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}
