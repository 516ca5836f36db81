// Command demo shows the whole product on this machine: a License service on a temporary database,
// a fake GitHub, and the Action started exactly as a runner starts it, on the site in e2e/site.
// `make demo` calls it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/token"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var d demo
	flag.StringVar(&d.action, "action", "", "the Action")
	flag.StringVar(&d.service, "service", "", "the License service")
	flag.StringVar(&d.optimizer, "optimizer", "", "the pageflare CLI")
	flag.StringVar(&d.site, "site", "", "the site to optimize")
	flag.StringVar(&d.out, "out", "", "folder for the results; emptied first")
	flag.Parse()
	err := d.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

const (
	repository = "acme/observatory"
	secretName = "PAGEFLARE_TOKEN"
	pat        = "github_pat_of_the_demo"
)

// demo is one run of it.
type demo struct {
	action, service, optimizer, site, out string

	temp string // removed at the end
	api  string // base path of the License API
}

func (d *demo) run(ctx context.Context) (err error) {
	for _, p := range []*string{&d.action, &d.service, &d.optimizer, &d.site, &d.out} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if d.temp, err = os.MkdirTemp("", "pageflare-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.temp)) }()
	if err := errors.Join(os.RemoveAll(d.out), os.MkdirAll(d.out, 0o755)); err != nil {
		return err
	}

	say("1. Start the License service on a temporary SQLite file")
	stop, err := d.startService(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	say("2. Make an account and issue a token that expires in two days")
	old, err := d.issue(ctx)
	if err != nil {
		return err
	}

	say("3. Start a fake GitHub and store the token in the secret %s of %s", secretName, repository)
	hub, err := startGitHub(ctx, old)
	if err != nil {
		return err
	}
	defer hub.Close()

	say("4. Run the Action as a runner does, on a copy of the site")
	outputs, err := d.runAction(ctx, hub.URL(), old)
	if err != nil {
		return err
	}

	say("5. Look at the secret: open it with the private key of the fake GitHub")
	if err := d.checkSecret(ctx, hub, old); err != nil {
		return err
	}

	say("6. Results")
	fmt.Printf("   sizes:    %s bytes before, %s after, %s saved (%s %%), %s files\n",
		outputs["bytes-before"], outputs["bytes-after"], outputs["bytes-saved"], outputs["saved-percent"], outputs["files"])
	fmt.Printf("   guard:    %s files published as they were, since the optimizer changed more than it should\n", outputs["files-restored"])
	fmt.Printf("   site:     %s\n", filepath.Join(d.out, "workspace", "dist"))
	fmt.Printf("   report:   %s\n", filepath.Join(d.out, "workspace", outputs["report-path"]))
	fmt.Printf("   summary:  %s\n", filepath.Join(d.out, "summary.md"))
	summary, err := os.ReadFile(filepath.Join(d.out, "summary.md"))
	if err != nil {
		return err
	}
	fmt.Printf("\nThe job summary, as GitHub gets it:\n\n%s", summary)
	return nil
}

func say(format string, args ...any) { fmt.Printf("\n"+format+"\n", args...) }

// startService starts the service and waits until it says where it listens. stop ends it and
// removes nothing.
func (d *demo) startService(ctx context.Context) (stop func() error, err error) {
	cmd := exec.CommandContext(ctx, d.service, "serve")
	cmd.Env = append(d.serviceEnv(), "LICENSE_LISTEN=127.0.0.1:0", "LICENSE_LOG_FORMAT=json")
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(log)
	for d.api == "" && lines.Scan() {
		var line struct {
			Addr string `json:"addr"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" {
			d.api = "http://" + line.Addr + "/_api"
		} else {
			fmt.Println("  ", lines.Text())
		}
	}
	if d.api == "" {
		return nil, errors.Join(errors.New("the License service did not start"), cmd.Wait())
	}
	fmt.Println("   it listens at", d.api)
	go func() { _, _ = io.Copy(io.Discard, log) }() // its access log; ends with the process
	return func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return cmd.Wait()
	}, nil
}

func (d *demo) serviceEnv() []string {
	return []string{"LICENSE_DATABASE_URL=sqlite:" + filepath.Join(d.temp, "license.db"), "HOME=" + d.temp}
}

// license runs a command of the service, beside the running server.
func (d *demo) license(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.service, args...)
	cmd.Env = d.serviceEnv()
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("pageflare-license %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

func (d *demo) issue(ctx context.Context) (string, error) {
	until := time.Now().AddDate(2, 0, 0).Format(time.DateOnly)
	out, err := d.license(ctx, "account", "create", "--email", "team@observatory.example", "--tier", "pro", "--valid-until", until,
		"--feature", "critical_css", "--feature", "adaptive_sizing", "--json")
	if err != nil {
		return "", err
	}
	var account struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(out), &account); err != nil {
		return "", err
	}
	old, err := d.license(ctx, "token", "issue", "--account", account.ID, "--ttl", "48h")
	if err != nil {
		return "", err
	}
	fmt.Printf("   account %s, token %s\n", account.ID, fingerprint(old))
	return old, nil
}

// fingerprint tells tokens apart without showing them.
func fingerprint(token string) string {
	return fmt.Sprintf("sha256:%x…", sha256.Sum256([]byte(token)))[:23] + "…"
}

func startGitHub(ctx context.Context, old string) (*githubtest.Server, error) {
	owner, name, _ := strings.Cut(repository, "/")
	hub, err := githubtest.NewServer(githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 1296269, Owner: owner, Name: name}},
		Tokens:       []githubtest.Token{{Value: pat, Permissions: map[string]string{"secrets": "write", "metadata": "read"}}},
	})
	if err != nil {
		return nil, err
	}
	w, err := secret.NewWriter(secret.WriterConfig{
		API:  github.Config{APIURL: hub.URL(), Token: pat, Transport: http.DefaultTransport, UserAgent: "demo", Now: time.Now, Rand: rand.Reader},
		Repo: github.Repo{Owner: owner, Name: name}, Rand: rand.Reader,
	})
	if err != nil {
		return nil, err
	}
	targets, err := secret.ParseTargets("repository")
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(ctx, targets[0], secretName, old); err != nil {
		return nil, err
	}
	fmt.Println("   it listens at", hub.URL())
	return hub, nil
}

// runAction starts the Action with nothing but what a runner gives it, and returns its outputs.
func (d *demo) runAction(ctx context.Context, github, old string) (map[string]string, error) {
	workspace := filepath.Join(d.out, "workspace")
	if err := os.CopyFS(filepath.Join(workspace, "dist"), os.DirFS(d.site)); err != nil {
		return nil, err
	}
	outputFile, summaryFile := filepath.Join(d.temp, "output"), filepath.Join(d.out, "summary.md")
	for _, f := range []string{outputFile, summaryFile} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, d.action)
	cmd.Dir = workspace
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.temp, "CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE=" + workspace,
		"GITHUB_REPOSITORY=" + repository, "GITHUB_REPOSITORY_ID=1296269", "GITHUB_EVENT_NAME=push", "GITHUB_ACTOR=octocat",
		"GITHUB_API_URL=" + github, "GITHUB_OUTPUT=" + outputFile, "GITHUB_STEP_SUMMARY=" + summaryFile,
		"PAGEFLARE_TOKEN=" + old, "INPUT_API-URL=" + d.api, "INPUT_GITHUB-TOKEN=" + pat, "INPUT_OPTIMIZER-PATH=" + d.optimizer,
		"INPUT_REFRESH-BEFORE=7d", "INPUT_SECRET-NAME=" + secretName, "INPUT_SECRET-TARGETS=repository", "INPUT_SOURCE=dist", "INPUT_MODE=optimize", "INPUT_JOB-TOTAL=1",
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	begun := time.Now()
	err := cmd.Run()
	printLog(log.String())
	if err != nil {
		return nil, fmt.Errorf("the Action failed: %w", err)
	}
	fmt.Printf("   (%s)\n", time.Since(begun).Round(time.Millisecond))
	b, err := os.ReadFile(outputFile)
	if err != nil {
		return nil, err
	}
	outputs := map[string]string{}
	for _, m := range outputForm.FindAllStringSubmatch(string(b), -1) {
		outputs[m[1]] = m[3]
	}
	return outputs, nil
}

// outputForm is one output in the file GITHUB_OUTPUT: name<<word, value, word.
var outputForm = regexp.MustCompile(`(?m)^([a-z-]+)<<(\S+)\n(.*)\n\S+$`)

// printLog prints the log as a runner shows it: masked, and without the commands that are meant for
// the runner.
func printLog(log string) {
	var hide []string
	for line := range strings.SplitSeq(strings.TrimSpace(log), "\n") {
		if s, ok := strings.CutPrefix(line, "::add-mask::"); ok {
			hide = append(hide, s)
			continue
		}
		for _, s := range hide {
			line = strings.ReplaceAll(line, s, "***")
		}
		if name, ok := strings.CutPrefix(line, "::group::"); ok {
			line = name + ":"
		}
		if !strings.HasPrefix(line, "::") || strings.HasPrefix(line, "::notice::") || strings.HasPrefix(line, "::warning::") || strings.HasPrefix(line, "::error::") {
			fmt.Println("   |", line)
		}
	}
}

// checkSecret proves that the secret holds the token that the service made from the old one.
func (d *demo) checkSecret(ctx context.Context, hub *githubtest.Server, old string) error {
	stored, _, ok := hub.Secret(repository, secretName)
	if !ok || stored == old {
		return errors.New("the secret was not updated")
	}
	was, err := token.Decode(old)
	if err != nil {
		return err
	}
	is, err := token.Decode(stored)
	if err != nil {
		return fmt.Errorf("the secret holds no token: %w", err)
	}
	out, err := d.license(ctx, "token", "show", "--json", is.ID)
	if err != nil {
		return err
	}
	var record struct {
		Parent string `json:"parent"`
		Status string `json:"status"`
	}
	if err := json.Unmarshal([]byte(out), &record); err != nil {
		return err
	}
	if record.Parent != was.ID || record.Status != "live" || !is.ExpiresAt.After(was.ExpiresAt) {
		return fmt.Errorf("the secret holds token %s, which is not the successor of the old one", is.ID)
	}
	fmt.Printf("   it holds token %s: live, made from the old one, good until %s (the old one: %s)\n",
		fingerprint(stored), is.ExpiresAt.Format(time.DateTime), was.ExpiresAt.Format(time.DateTime))
	return nil
}
