package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pageflare/ci/action/optimize"
	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/action/remedy"
	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Mode is what a run does.
type Mode string

// The modes.
const (
	ModeOptimize    Mode = "optimize"     // refresh when due, optimize
	ModeRefreshOnly Mode = "refresh-only" // refresh when due
	ModeCheck       Mode = "check"        // say what would be done, change nothing
)

// FailOn is which trouble with the license fails the job.
type FailOn string

// The choices, from patient to strict.
const (
	FailNever   FailOn = "never"   // none: the optimizer then runs unlicensed
	FailExpired FailOn = "expired" // no usable token: it has expired, or the License API refuses it
	FailAny     FailOn = "any"     // also a refresh or a write of the secret that did not work
)

// Config is the inputs and what the runner says about the job, checked.
type Config struct {
	Token         opaque.Secret
	Claims        token.Claims // of Token
	APIURL        string
	EmptyAPIURL   bool // the input was given without a value, as by a variable that is not set
	Keyless       Keyless
	RefreshBefore refresh.Policy
	SecretName    string
	Targets       []secret.Target
	GitHubToken   opaque.Secret
	Audience      string      // of the job's identity token
	App           *github.App // instead of GitHubToken; nil without
	Mode          Mode
	FailOn        FailOn
	MaxSize       int64 // bytes; 0: no limit
	Summary       bool
	ExportToken   bool
	HTTP          *http.Client // trusts the extra certificate authorities
	Guard         optimize.Guard
	Plan          *optimize.Plan // nil unless Mode is optimize

	Started   time.Time // when the job was given its secrets
	Jobs      int       // in the matrix; 0: unknown
	Workspace string
	GitHubAPI string
	Repo      github.Repo // zero outside of a workflow
	RepoID    int64       // 0 when the runner does not say it
	Guest     string      // why the job has no secrets, if it runs for a guest; empty otherwise
	Untrusted string      // why the job must not write secrets; empty otherwise
	Notices   []string    // what is wrong with the inputs and does no harm to this run
}

// Inputs is one reader of inputs and environment: nothing else in this program looks there.
type Inputs struct {
	Input   func(name string) string // trimmed
	Getenv  func(name string) string
	Environ []string
	HTTP    *http.Client
	Now     time.Time // when the program started
	Self    string    // path of this program; the optimizer is looked for beside it
}

// defaults are what an input is when it is missing or empty. action.yml says the same; a test holds
// the two equal.
var defaults = map[string]string{
	"api-url": vendorAPI, "refresh-before": "7d", "secret-name": "PAGEFLARE_TOKEN", "secret-targets": "repository",
	"keyless": "auto", "mode": "optimize", "source": "dist", "fail-on": "expired", "summary": "true", "export-token": "false",
	"guard": "restore", "optimizer-profile": "safe",
}

func (in Inputs) get(name string) string {
	if v := in.Input(name); v != "" {
		return v
	}
	return defaults[name]
}

// Secrets returns what must be masked before anything else is done.
func (in Inputs) Secrets() []string {
	var out []string
	for _, s := range []string{
		in.token(), in.get("github-token"), in.get("job-token"), in.get("app-private-key"), in.Getenv("PAGEFLARE_LICENSE"), in.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
	} {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// token is the license token: the input, else the environment.
func (in Inputs) token() string {
	if t := in.get("token"); t != "" {
		return t
	}
	return strings.TrimSpace(in.Getenv("PAGEFLARE_TOKEN"))
}

// Config checks everything and touches nothing. The error has a line for each fault.
func (in Inputs) Config(log io.Writer) (Config, error) {
	var f faults
	by := readTrigger(in.Getenv)
	c := Config{
		Token: opaque.Secret(in.token()), APIURL: in.get("api-url"), EmptyAPIURL: in.empty("api-url"), Keyless: Keyless(in.get("keyless")), SecretName: in.get("secret-name"),
		Mode: Mode(in.get("mode")), FailOn: FailOn(in.get("fail-on")), Workspace: in.Getenv("GITHUB_WORKSPACE"),
		GitHubAPI: orElse(in.Getenv("GITHUB_API_URL"), "https://api.github.com"), Guest: by.guest(), Untrusted: by.untrusted(), Started: jobStart(in.Getenv, in.Now),
	}
	var err error
	if c.Token != "" {
		c.Claims, err = token.Decode(c.Token.Reveal())
		f.input("token", remedy.Token(c.Token.Reveal(), err))
	}
	_, err = client.New(client.Config{BaseURL: c.APIURL})
	f.named(err)
	c.RefreshBefore, err = refresh.ParsePolicy(in.get("refresh-before"))
	f.named(err)
	f.input("secret-name", cmp.Or(in.misplaced("secret-name"), checkLength(c.SecretName), secret.CheckName(c.SecretName)))
	c.Targets, err = secret.ParseTargets(in.get("secret-targets"))
	f.input("secret-targets", cmp.Or(in.misplaced("secret-targets"), err))
	c.GitHubToken, err = in.githubToken()
	if err != nil && (c.Guest != "" || c.Untrusted != "") { // it is not needed there, and such a run must not begin to fail
		c.Notices, err = append(c.Notices, "input "+err.Error()), nil
	}
	f.named(err)
	c.App, err = in.app(c.GitHubToken, c.Guest)
	f.named(err)
	f.input("app-id", in.misplaced("app-id"))
	f.input("keyless", in.checkKeyless(c))
	f.input("mode", oneOf(c.Mode, ModeOptimize, ModeRefreshOnly, ModeCheck))
	f.input("fail-on", oneOf(c.FailOn, FailNever, FailExpired, FailAny))
	f.input("summary", oneOf(in.get("summary"), "true", "false"))
	c.Summary = in.get("summary") == "true"
	f.input("export-token", oneOf(in.get("export-token"), "true", "false"))
	c.ExportToken = in.get("export-token") == "true"
	c.Guard = optimize.Guard(in.get("guard"))
	f.input("guard", oneOf(c.Guard, optimize.GuardRestore, optimize.GuardFail, optimize.GuardOff))
	f.input("optimizer-profile", oneOf(optimize.Profile(in.get("optimizer-profile")), optimize.ProfileSafe, optimize.ProfileFull))
	f.environment("SOURCE_DATE_EPOCH", checkEpoch(in.Getenv("SOURCE_DATE_EPOCH")))
	c.MaxSize, err = parseSize(in.get("max-size"))
	f.input("max-size", err)
	c.Jobs, err = parseJobs(in.get("job-total"))
	f.input("job-total", err)
	c.Audience = orElse(in.get("oidc-audience"), audience(c.APIURL))
	f.input("oidc-audience", cmp.Or(in.misplaced("oidc-audience"), checkLength(in.get("oidc-audience")), checkAudience(in.get("oidc-audience"))))
	f.input("output", in.misplaced("output"))
	if repo := in.Getenv("GITHUB_REPOSITORY"); repo != "" {
		c.Repo, err = github.ParseRepo(repo)
		f.environment("GITHUB_REPOSITORY", err)
	}
	f.environment("GITHUB_API_URL", github.CheckAPIURL(c.GitHubAPI))
	c.RepoID, _ = strconv.ParseInt(in.Getenv("GITHUB_REPOSITORY_ID"), 10, 64) // GitHub tells it too
	if c.Workspace == "" {
		c.Workspace, err = os.Getwd()
		f.environment("GITHUB_WORKSPACE", err)
	}
	if real, err := filepath.EvalSymlinks(c.Workspace); err == nil {
		c.Workspace = real
	}
	c.HTTP, err = in.http(c.Workspace)
	f.input("ca-certificates", err)
	if c.Mode == ModeOptimize {
		// an unusable api-url has been named already; the folders are checked all the same
		c.Plan, err = optimize.Check(in.optimizer(c, log))
		f.named(err)
	}
	return c, f.err()
}

// misplaced is the fault of an input that holds what looks like a token or a key, where any such
// text would pass: the input is shown in logs and reports.
func (in Inputs) misplaced(name string) error {
	if !looksSecret(in.get(name)) {
		return nil
	}
	return errors.New("holds what looks like a token or a private key, and is shown in logs and reports: put that into a secret, and give here a name or an address (https://github.com/pageflare/ci/blob/main/docs/action.md#inputs)")
}

// checkLength refuses what is longer than any name or address that somebody uses.
func checkLength(s string) error {
	if len(s) > maxLength {
		return fmt.Errorf("%q has %d letters; give at most %d", s, len(s), maxLength)
	}
	return nil
}

const maxLength = 255

// checkAudience refuses what is no audience of anything: it is most likely a slip.
func checkAudience(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || !unicode.IsPrint(r) }) {
		return fmt.Errorf("%q is not an audience; give the public URL of the License service, or leave this input out", s)
	}
	return nil
}

// githubToken is the token that writes the secret, if there is one. A useless one is found here,
// and not on the day it is needed. The token of the job is known by its text: another token of that
// form, as of a GitHub App, may have the right.
func (in Inputs) githubToken() (opaque.Secret, error) {
	t := opaque.Secret(in.get("github-token"))
	switch {
	case t == "":
		return "", nil
	case t.Reveal() == in.get("job-token"):
		return "", errors.New("github-token: this is the job's own GITHUB_TOKEN, which can never write secrets: give a fine-grained personal access " +
			`token with the repository permission "Secrets: read and write", or app-id and app-private-key of a GitHub App that has it`)
	}
	if err := github.CheckToken(t); err != nil {
		return "", fmt.Errorf("github-token: %w; paste it again", err)
	}
	return t, nil
}

// app is the GitHub App that writes the secret, if there is one. A job that runs for a guest gets
// its id, which is no secret, and not its key.
func (in Inputs) app(token opaque.Secret, guest string) (*github.App, error) {
	id, key := in.get("app-id"), opaque.Secret(in.get("app-private-key"))
	switch {
	case id == "" && key == "", guest != "" && key == "":
		return nil, nil
	case token != "":
		return nil, errors.New("github-token: a GitHub App is given as well: leave out either github-token, or app-id and app-private-key")
	}
	app, err := github.ParseApp(id, key)
	return app, remedy.App(err)
}

// optimizer is the step of the optimizer; log is where it and the CLI write their lines.
func (in Inputs) optimizer(c Config, log io.Writer) optimize.Config {
	return optimize.Config{
		Binary: in.binary(c.Workspace), Workspace: c.Workspace, Source: in.get("source"), Output: in.get("output"), Args: in.get("optimizer-args"),
		APIURL: c.APIURL, License: opaque.Secret(in.Getenv("PAGEFLARE_LICENSE")), Environ: in.Environ, Log: log,
		Profile: optimize.Profile(in.get("optimizer-profile")), Guard: c.Guard, SourceDate: epoch(in.Getenv("SOURCE_DATE_EPOCH")),
	}
}

// epoch is the time of SOURCE_DATE_EPOCH, in seconds since 1970; zero without one.
// https://reproducible-builds.org/specs/source-date-epoch/
func epoch(s string) time.Time {
	seconds, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// lastEpoch is the end of the year 9999: later ones have no form in a page.
const lastEpoch = 253402300799

func checkEpoch(s string) error {
	if seconds, err := strconv.ParseInt(s, 10, 64); s == "" || err == nil && seconds >= 0 && seconds <= lastEpoch {
		return nil
	}
	return fmt.Errorf("%q is not a time; give seconds since 1970, or leave it out", s)
}

// binary is the optimizer: the input, relative to the workspace, or the program of the name
// pageflare beside this one or on PATH.
func (in Inputs) binary(workspace string) string {
	if p := in.get("optimizer-path"); p != "" {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(workspace, p)
	}
	beside := filepath.Join(filepath.Dir(in.Self), "pageflare")
	for _, dir := range filepath.SplitList(in.Getenv("PATH")) {
		if _, err := os.Stat(beside); err == nil {
			break
		}
		if p := filepath.Join(dir, "pageflare"); filepath.IsAbs(p) && isFile(p) {
			return p
		}
	}
	return beside
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

func oneOf[T ~string](v T, allowed ...T) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, a := range allowed {
		words[i] = string(a)
	}
	return fmt.Errorf("%q is not known; give %s or %s", v, strings.Join(words[:len(words)-1], ", "), words[len(words)-1])
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
