package main

import (
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

	"github.com/pageflare/ci/action/optimize"
	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/action/secret"
	"github.com/pageflare/ci/service/client"
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
	Token         optimize.Secret
	Claims        token.Claims // of Token
	APIURL        string
	RefreshBefore refresh.Policy
	SecretName    string
	Targets       []secret.Target
	GitHubToken   secret.Token
	Audience      string      // of the job's identity token
	App           *secret.App // instead of GitHubToken; nil without
	Mode          Mode
	FailOn        FailOn
	MaxSize       int64 // bytes; 0: no limit
	Summary       bool
	ExportToken   bool
	HTTP          *http.Client   // trusts the extra certificate authorities
	Plan          *optimize.Plan // nil unless Mode is optimize

	Started   time.Time // when the job was given its secrets
	Jobs      int       // in the matrix; 0: unknown
	Workspace string
	GitHubAPI string
	Repo      secret.Repo // zero outside of a workflow
	RepoID    int64       // 0 when the runner does not say it
	Guest     string      // why the job has no secrets, if it runs for a guest; empty otherwise
	Untrusted string      // why the job must not write secrets; empty otherwise
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

// defaults are what an input is when it is missing or empty. action.yml says the same; a test holds the two equal.
var defaults = map[string]string{
	"api-url": vendorAPI, "refresh-before": "7d", "secret-name": "PAGEFLARE_TOKEN", "secret-targets": "repository",
	"mode": "optimize", "source": "dist", "fail-on": "expired", "summary": "true", "export-token": "false",
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
		in.token(), in.get("github-token"), in.get("app-private-key"), in.Getenv("PAGEFLARE_LICENSE"), in.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
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
	var faults []error
	fault := func(name string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("input %s: %w", name, err))
		}
	}
	named := func(err error) { // of a package that names the input by itself
		if err != nil {
			faults = append(faults, fmt.Errorf("input %w", err))
		}
	}
	c := Config{
		Token: optimize.Secret(in.token()), APIURL: in.get("api-url"), SecretName: in.get("secret-name"), GitHubToken: secret.Token(in.get("github-token")),
		Mode: Mode(in.get("mode")), FailOn: FailOn(in.get("fail-on")), Workspace: in.Getenv("GITHUB_WORKSPACE"),
		GitHubAPI: orElse(in.Getenv("GITHUB_API_URL"), "https://api.github.com"), Guest: guest(in.Getenv), Untrusted: untrusted(in.Getenv), Started: jobStart(in.Getenv, in.Now),
	}
	var err error
	if c.Token != "" {
		c.Claims, err = token.Decode(string(c.Token))
		fault("token", explainToken(string(c.Token), err))
	}
	_, err = client.New(client.Config{BaseURL: c.APIURL})
	named(err)
	c.RefreshBefore, err = refresh.ParsePolicy(in.get("refresh-before"))
	named(err)
	fault("secret-name", secret.CheckName(c.SecretName))
	c.Targets, err = secret.ParseTargets(in.get("secret-targets"))
	fault("secret-targets", err)
	c.App, err = in.app(c.GitHubToken, c.Guest)
	named(err)
	fault("mode", oneOf(c.Mode, ModeOptimize, ModeRefreshOnly, ModeCheck))
	fault("fail-on", oneOf(c.FailOn, FailNever, FailExpired, FailAny))
	fault("summary", oneOf(in.get("summary"), "true", "false"))
	c.Summary = in.get("summary") == "true"
	fault("export-token", oneOf(in.get("export-token"), "true", "false"))
	c.ExportToken = in.get("export-token") == "true"
	c.MaxSize, err = parseSize(in.get("max-size"))
	fault("max-size", err)
	c.Jobs, err = parseJobs(in.get("job-total"))
	fault("job-total", err)
	c.Audience = orElse(in.get("oidc-audience"), audience(c.APIURL))
	if repo := in.Getenv("GITHUB_REPOSITORY"); repo != "" {
		c.Repo, err = secret.ParseRepo(repo)
		fault("GITHUB_REPOSITORY", err)
	}
	c.RepoID, _ = strconv.ParseInt(in.Getenv("GITHUB_REPOSITORY_ID"), 10, 64) // GitHub tells it too
	if c.Workspace == "" {
		c.Workspace, err = os.Getwd()
		fault("GITHUB_WORKSPACE", err)
	}
	if real, err := filepath.EvalSymlinks(c.Workspace); err == nil {
		c.Workspace = real
	}
	c.HTTP, err = in.http(c.Workspace)
	fault("ca-certificates", err)
	if c.Mode == ModeOptimize {
		// an unusable api-url has been named already; the folders are checked all the same
		c.Plan, err = optimize.Check(in.optimizer(c, log))
		faults = append(faults, err)
	}
	return c, errors.Join(faults...)
}

// app is the GitHub App that writes the secret, if there is one. A job that runs for a guest gets its id, which is no secret, and
// not its key.
func (in Inputs) app(token secret.Token, guest string) (*secret.App, error) {
	id, key := in.get("app-id"), in.get("app-private-key")
	switch {
	case id == "" && key == "", guest != "" && key == "":
		return nil, nil
	case token != "":
		return nil, errors.New("github-token: a GitHub App is given as well: leave out either github-token, or app-id and app-private-key")
	}
	return secret.ParseApp(id, key)
}

// optimizer is the step of the optimizer; log is where it and the CLI write their lines.
func (in Inputs) optimizer(c Config, log io.Writer) optimize.Config {
	return optimize.Config{
		Binary: in.binary(c.Workspace), Workspace: c.Workspace, Source: in.get("source"), Output: in.get("output"), Args: in.get("optimizer-args"),
		APIURL: c.APIURL, License: optimize.Secret(in.Getenv("PAGEFLARE_LICENSE")), Environ: in.Environ, Log: log,
	}
}

// binary is the optimizer: the input, relative to the workspace, or the program of the name pageflare beside this one or on PATH.
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

// explainToken says what to do about a token that cannot be read, and never quotes it.
func explainToken(raw string, err error) error {
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(raw, "pf_at_"):
		return errors.New("this is an API token, not a license token: run `pageflare-action token issue` with it, and store what that prints")
	default:
		return fmt.Errorf("%w: give the license token that `pageflare-action token issue` prints, whole and without quotes", err)
	}
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
