// Command pageflare-action is the GitHub Action: it refreshes the license token when its expiry is
// close, writes it back to the secret it came from, and runs the pageflare optimizer with it. The
// same program is a client of the License API: see `pageflare-action --help`.
//
// This package is the order of a run (run.go), its inputs (inputs.go) and what it reports
// (report.go). When a token is refreshed is decided in refresh, where a secret goes in
// github/secret, what a user can do about a refusal in remedy, how the optimizer is run in
// optimize, how a result reads in summary; the commands for people are in command.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/action/command"
)

// version and commit are set by the linker in releases.
var (
	version = "dev"
	commit  = ""
)

func main() { os.Exit(newWorld().start()) }

// start runs the program until it ends or a signal ends it.
func (w world) start() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // a run is short: the first collection at 16 MB instead of 4 spares a small site some milliseconds
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		// the first signal ends the run in good order within seconds; the runner sends more of
		// them, which change nothing
		cancel(signalled{(<-signals).(syscall.Signal)})
	}()
	return w.main(ctx, os.Args[1:])
}

// newWorld is the real one.
func newWorld() world {
	self, _ := os.Executable() // "" is as good as a folder without an optimizer
	return world{
		getenv: os.Getenv, environ: os.Environ(), self: self, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		http: &http.Client{}, now: time.Now, rand: rand.Reader, spread: spread, wait: sleep,
	}
}

// world is all that a run needs of the outside.
type world struct {
	getenv  func(string) string
	environ []string
	self    string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	http    *http.Client
	now     func() time.Time
	rand    io.Reader
	spread  time.Duration                              // the longest random wait before a write
	wait    func(context.Context, time.Duration) error // between the polls of a login
}

// Exit statuses. The optimizer's own status is passed on as it is.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128 // plus the number of the signal
)

// signalled is why a run was cancelled.
type signalled struct{ signal syscall.Signal }

func (s signalled) Error() string { return "cancelled by " + s.signal.String() }

// main runs a command, or the Action when there is none and a workflow started us. A panic is
// reported like any other failure.
func (w world) main(ctx context.Context, args []string) (code int) {
	if len(args) > 0 || !w.inWorkflow() {
		return w.command(ctx, args)
	}
	gha := githubactions.New(githubactions.WithWriter(w.stdout), githubactions.WithGetenv(w.getenv), githubactions.WithHTTPClient(w.http))
	defer func() {
		if p := recover(); p != nil {
			gha.Errorf("%v", w.crashed(p))
			code = exitFailure
		}
	}()
	return newRun(w, gha).do(ctx)
}

// vendorAPI is the License API of the vendor.
const vendorAPI = "https://pageflare.dev/_api"

const outsideOfWorkflow = `this is the pageflare GitHub Action: use it as a step of a workflow, or give a command: see pageflare-action --help`

// command runs a command and returns its exit status.
func (w world) command(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(w.stderr, "error: "+outsideOfWorkflow)
		return exitUsage
	}
	err := command.Run(ctx, command.Config{
		Getenv: w.getenv, Stdout: w.stdout, Stderr: w.stderr, HTTP: w.http, Now: w.now, Wait: w.wait,
		Trusting:  func(c *http.Client, file string) (*http.Client, error) { return trusting(c, file, "") },
		VendorAPI: vendorAPI, UserAgent: userAgent(), Version: versionText(),
	}, args)
	if err == nil {
		return exitOK
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w.stderr, "error: %s\n", line)
	}
	if errors.As(err, new(command.UsageError)) {
		return exitUsage
	}
	return exitFailure
}

// crashed makes an error of a panic that was just recovered, and leaves the stack in the log.
func (w world) crashed(p any) error {
	fmt.Fprintf(w.stderr, "%s\n", debug.Stack())
	return fmt.Errorf("internal error: %v: please report this with the stack in the log", p)
}

// inWorkflow tells a step of a workflow from a call by hand.
func (w world) inWorkflow() bool {
	for _, e := range w.environ {
		if strings.HasPrefix(e, "INPUT_") {
			return true
		}
	}
	return w.getenv("GITHUB_ACTIONS") == "true"
}

// versionText is version, commit and Go version in one line.
func versionText() string {
	rev := commit
	if info, ok := debug.ReadBuildInfo(); ok && rev == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				rev = s.Value
			}
		}
	}
	return fmt.Sprintf("pageflare-action %s (commit %s, %s)", version, orElse(rev, "unknown"), runtime.Version())
}

// userAgent names us to GitHub and to the License API.
func userAgent() string { return "pageflare-action/" + version }

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
