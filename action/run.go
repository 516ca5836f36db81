package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/action/optimize"
	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/origin"
	"github.com/pageflare/ci/service/token"
)

// State is the output token-state.
type State string

// The states of the token that the optimizer ran with.
const (
	StateFresh     State = "fresh"     // kept, its expiry is far away
	StateRefreshed State = "refreshed" // a new one
	StateKept      State = "kept"      // close to its expiry, but no newer one could be had
	StateExpired   State = "expired"   // it has expired, or the License API refuses it
	StateExchanged State = "exchanged" // a short-lived one, for the identity of the job
	StateMissing   State = "missing"   // there is none
)

// run is one run of the Action, in the order of do.
type run struct {
	world
	gha      *githubactions.Action
	cfg      Config
	shutdown *github.Shutdown // begins with a cancellation

	token    string       // what the optimizer gets; empty: unlicensed
	claims   token.Claims // of the token in hand, usable or not
	state    State
	reason   string // what was decided and why
	problems []problem
	writes   []write
	findings []secret.Finding // of a check, one for each target
	site     *optimize.Report
	guarded  optimize.Guarded // also of a site that was left alone
	exit     int

	suggested *suggestion // after a refusal that a trust policy would lift
}

// problem is something that somebody should know. There is one of a kind at most.
type problem struct {
	fails bool
	text  string
}

func newRun(w world, gha *githubactions.Action) *run {
	return &run{world: w, gha: gha, shutdown: github.NewShutdown(), exit: exitOK}
}

// grace is how long a refresh and a write that have begun may go on after a cancellation. The
// runner sends SIGINT, after 7.5 s SIGTERM, and 2.5 s later it kills; a token that was issued is
// stored within this time.
const grace = 5 * time.Second

// do is the story of a run: inputs, decision, refresh, then the optimizer while the secret is
// written, then the report.
func (r *run) do(ctx context.Context) int {
	in := Inputs{Input: r.gha.GetInput, Getenv: r.getenv, Environ: r.environ, HTTP: r.http, Now: r.now(), Self: r.self}
	for _, s := range in.Secrets() {
		r.mask(s)
	}
	var err error
	if r.cfg, err = in.Config(r.stdout); err != nil {
		r.annotateFaults(err)
		r.summarizeFaults(err, in.get("summary"))
		return exitUsage
	}
	for _, n := range r.cfg.Notices {
		r.gha.Noticef("%s", n)
	}
	finish, cancel := withGrace(ctx, grace)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		r.shutdown.Begin(r.now().Add(grace))
		fmt.Fprintf(r.stdout, "%s: finishing what must not be lost, at most %s\n", titled(context.Cause(ctx).Error()), grace)
	})()
	r.obtainToken(finish)
	switch {
	case ctx.Err() == nil && r.cfg.Mode == ModeCheck:
		r.check(finish) // whatever is wrong with the token: a new one has to be stored, too
	case ctx.Err() == nil && r.exit == exitOK:
		r.use(ctx, finish)
	default:
		r.writeSecret(ctx, finish)
	}
	r.cancelled(ctx)
	r.report()
	return r.exit
}

// withGrace returns a context that ends some time after its parent was cancelled.
func withGrace(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		select {
		case <-time.After(d):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { stop(); cancel() }
}

// obtainToken decides about the token in hand and refreshes it when that is due.
func (r *run) obtainToken(ctx context.Context) {
	switch {
	case r.cfg.Token != "":
	case r.keyless() && r.cfg.Mode == ModeCheck:
		r.checkIdentity(ctx)
		return
	case r.keyless() && r.exchanges():
		r.exchange(ctx)
		return
	default:
		r.noToken()
		return
	}
	r.token, r.claims = r.cfg.Token.Reveal(), r.cfg.Claims
	d := refresh.Decide(r.claims, r.cfg.RefreshBefore, r.now())
	r.reason = fmt.Sprintf("%s: %s", d.Action, d.Reason)
	r.gha.Infof("License token: %s", r.reason)
	switch {
	case d.Action == refresh.Keep:
		r.state = StateFresh
	case d.Action == refresh.Stop:
		r.unusable("the license token " + d.Reason + " with `pageflare-action token issue` and store it in the secret " + r.cfg.SecretName)
	case r.cfg.Untrusted != "":
		r.state = StateKept
		r.gha.Noticef("The token is not refreshed: %s, and such a run must not write secrets.", r.cfg.Untrusted)
	case r.cfg.Mode == ModeCheck:
		r.state = StateKept
		r.reason += "; a run would refresh it now"
		r.gha.Infof("A run would refresh the token now.")
	default:
		r.refresh(ctx)
	}
}

// refresh asks the License API for the next token, and takes it only after a look at it: a bad
// answer never replaces a good token.
func (r *run) refresh(ctx context.Context) {
	issued, err := r.callRefresh(ctx)
	switch {
	case errors.Is(err, client.ErrRefused):
		r.unusable("the License API refuses the token: " + r.apiText(err))
		return
	case err != nil:
		r.keep("the license token could not be refreshed: " + r.apiText(err))
		return
	}
	r.mask(issued)
	fresh, err := token.Decode(issued)
	if err == nil {
		err = refresh.Verify(r.claims, fresh, r.now())
	}
	switch {
	case err != nil:
		r.keep(fmt.Sprintf("the answer of the License API at %s is not a token to replace the old one with: %v", r.cfg.APIURL, err))
	case !fresh.ExpiresAt.After(r.claims.ExpiresAt) && !refresh.EndsWithLicense(r.claims):
		r.state = StateKept
		r.gha.Infof("The token in hand is as new as it gets: the License API gives one that ends at the same time.")
	case !fresh.ExpiresAt.After(r.claims.ExpiresAt):
		r.keep("a refresh does not extend the license token: the license itself ends on " + day(r.claims.ExpiresAt) + ": renew the subscription")
	default:
		r.token, r.claims, r.state = issued, fresh, StateRefreshed
		r.gha.Infof("The License API issued a new token, good until %s.", day(fresh.ExpiresAt))
	}
}

func (r *run) callRefresh(ctx context.Context) (string, error) {
	api, err := r.licenseAPI()
	if err != nil {
		return "", err
	}
	issued, err := api.Refresh(ctx, r.token)
	return issued.Token, err
}

// licenseAPI is the client of the License API, for a call that carries a token.
func (r *run) licenseAPI() (*client.Client, error) {
	if readableOnTheWay(r.cfg.APIURL) {
		r.warn("api-url is " + r.cfg.APIURL + ": tokens travel there unencrypted, and anyone who sees them can use them; put TLS in front of the License service and use https://")
	}
	return client.New(client.Config{BaseURL: r.cfg.APIURL, HTTP: r.cfg.HTTP, UserAgent: userAgent(), Budget: refreshBudget, Now: r.now})
}

// readableOnTheWay says whether what is sent to the address crosses a network without TLS.
func readableOnTheWay(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && !origin.Loopback(u.Hostname())
}

// refreshBudget is how long a refresh may take with all its tries: the site waits for it.
const refreshBudget = 30 * time.Second

// keep goes on with the old token while it lasts.
func (r *run) keep(text string) {
	if !r.now().Before(r.claims.ExpiresAt) {
		r.unusable(text + "; and the old token has expired")
		return
	}
	r.state = StateKept
	if r.cfg.FailOn == FailAny {
		r.fail(text)
		return
	}
	r.warn(text + "; the old token, which expires on " + day(r.claims.ExpiresAt) + ", is used")
}

// unusable ends the run, or goes on without a license when the user wants that.
func (r *run) unusable(text string) {
	r.state, r.token = StateExpired, ""
	if r.cfg.FailOn == FailNever {
		r.warn(text + r.unlicensed())
		return
	}
	r.fail(text)
}

// unlicensed is what a run without a license does, for the end of a sentence.
func (r *run) unlicensed() string {
	if r.cfg.Mode == ModeOptimize {
		return "; the optimizer runs unlicensed"
	}
	return ""
}

// use does what the mode asks for with the token.
func (r *run) use(ctx, finish context.Context) {
	r.exportToken()
	switch r.cfg.Mode {
	case ModeRefreshOnly:
		r.writeSecret(ctx, finish)
	default:
		written := make(chan struct{})
		go func() { defer close(written); r.writeSecret(ctx, finish) }()
		err := func() error {
			defer func() { <-written }() // also after a panic: a token that was issued is stored
			return r.optimize(ctx)
		}()
		r.judge(err)
	}
}

// optimize runs the CLI. While it runs, nothing that it prints can be a command to the runner.
func (r *run) optimize(ctx context.Context) error {
	r.gha.Group("Pageflare optimizer")
	defer r.gha.EndGroup()
	defer r.stopCommands()() // also after a panic, whose message is a command again
	report, err := r.cfg.Plan.Run(ctx, r.token)
	r.guarded = report.Guard
	if err == nil {
		r.site = &report
	}
	return err
}

// judge makes the exit status of what the optimizer did.
func (r *run) judge(err error) {
	var exit *optimize.ExitError
	switch {
	case errors.As(err, &exit):
		r.fail(fmt.Sprintf("the optimizer failed with exit status %d: %s; the site is as it was", exit.Code, strings.TrimRight(exit.Message, ".")))
		r.exit = exit.Code
	case errors.Is(err, context.Canceled):
		// cancelled says so
	case errors.Is(err, optimize.ErrGuard):
		r.fail(r.refused() + ": the site is as it was, as input guard asks; see the summary for what differed")
	case err != nil:
		r.fail(fmt.Sprintf("the site could not be optimized: %v; it is as it was", err))
	default:
		r.judgeSite(*r.site)
	}
}

// refused says how many results are not published, and what mostly differed.
func (r *run) refused() string {
	costs := r.guarded.Costs()
	most := fmt.Sprintf("mostly %s", costs[0].Kind)
	if len(costs) == 1 {
		most = string(costs[0].Kind)
	}
	if costs[0].Key != "" {
		most += fmt.Sprintf(", by %s", costs[0].Key)
	}
	n := len(r.guarded.Rejected)
	if n == 1 {
		return fmt.Sprintf("the optimizer changed 1 file more than it should (%s)", most)
	}
	return fmt.Sprintf("the optimizer changed %d files more than it should (%s)", n, most)
}

// judgeSite holds what was asked of the optimized site against it, all of it.
func (r *run) judgeSite(s optimize.Report) {
	if s.OptimizedBefore != "" {
		r.warn(fmt.Sprintf("the source was optimized before, as its page %q says, and pages grow when they are optimized again: build the site again before each run, or set input output",
			s.OptimizedBefore))
	}
	if len(s.Guard.Rejected) > 0 {
		published := "they are published as they were"
		if len(s.Guard.Rejected) == 1 {
			published = "it is published as it was"
		}
		r.warn(r.refused() + ": " + published + "; see the summary")
	}
	if s.BrokenRefsFailed {
		r.fail(fmt.Sprintf("the site has %d broken references, and optimizer-args asks to fail then; see the summary", len(s.BrokenRefs)))
		r.exit = s.ExitCode
	}
	if r.overBudget(s) {
		r.fail(fmt.Sprintf("the optimized site has %d bytes, %d more than max-size allows (%d): see the summary for the largest files",
			s.After.Bytes, s.After.Bytes-r.cfg.MaxSize, r.cfg.MaxSize))
	}
}

// exportToken gives the token to the steps that follow, when the user asks for it: masked, and
// never to a run that others can steer.
func (r *run) exportToken() {
	switch {
	case !r.cfg.ExportToken || r.token == "":
	case r.cfg.Untrusted != "":
		r.warn("the token is not exported: " + r.cfg.Untrusted + ", and its later steps may run code of others")
	default:
		r.attempt("the environment", func() error { r.gha.SetEnv("PAGEFLARE_TOKEN", r.token); return nil })
	}
}

// cancelled sets the exit status of a run that a signal ended.
func (r *run) cancelled(ctx context.Context) {
	var s signalled
	if errors.As(context.Cause(ctx), &s) {
		r.problems = append(r.problems, problem{true, s.Error() + ": the site is as it was unless the optimizer had finished"})
		r.exit = exitSignal + int(s.signal)
	}
}

func (r *run) fail(text string) {
	r.problems = append(r.problems, problem{true, text})
	if r.exit == exitOK {
		r.exit = exitFailure
	}
}

// trouble fails the job where any trouble does, and is a warning otherwise.
func (r *run) trouble(text string) {
	if r.cfg.FailOn == FailAny {
		r.fail(text)
		return
	}
	r.warn(text)
}

func (r *run) warn(text string) { r.problems = append(r.problems, problem{false, text}) }

// minMask is the shortest line that is masked by itself: a shorter one is no secret, and hiding it
// everywhere would spoil the log.
const minMask = 4

// mask hides a secret in everything the runner prints from now on, line by line, and the signature
// of a JWT by itself.
func (r *run) mask(s string) {
	for line := range strings.SplitSeq(s, "\n") {
		if line = strings.TrimSpace(line); len(line) >= minMask {
			r.gha.AddMask(line)
		}
	}
	if parts := strings.Split(s, "."); len(parts) == 3 && parts[2] != "" {
		r.gha.AddMask(parts[2])
	}
}

// titled begins with a capital, as lines of a log do.
func titled(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
