package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

const actionRounds = 15

// actionBench compares the optimizer alone with the Action around it, in turn, on the same site.
type actionBench struct {
	action, optimizer, site string

	temp   string
	api    string // base path of the License API
	github *githubtest.Server
	issue  func(ttl string) (string, error)
}

// start measures the Action, against a service that it starts.
func (b actionBench) start(ctx context.Context, service string) (err error) {
	for _, p := range []*string{&b.action, &b.optimizer, &b.site} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if b.temp, err = os.MkdirTemp("", "pageflare-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.temp)) }()
	d, err := newDatabase(ctx, sqlite{b.temp}, "action", "none")
	if err != nil {
		return err
	}
	made, err := d.seedAccounts(ctx, 1)
	if err != nil {
		return err
	}
	server, err := start(ctx, d.env(), service, "serve")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	b.api = "http://" + server.addr + "/_api"
	b.issue = func(ttl string) (string, error) {
		out, err := command(ctx, d.env(), service, "token", "issue", "--account", made[0].account.ID, "--ttl", ttl)
		return strings.TrimSpace(string(out)), err
	}
	return b.run(ctx)
}

const benchPAT = "github_pat_of_the_bench"

func (b *actionBench) run(ctx context.Context) error {
	hub, err := githubtest.NewServer(githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 1, Owner: "acme", Name: "site"}},
		Tokens:       []githubtest.Token{{Value: benchPAT, Permissions: map[string]string{"secrets": "write", "metadata": "read"}}},
	})
	if err != nil {
		return err
	}
	defer hub.Close()
	b.github = hub
	workspace := filepath.Join(b.temp, "workspace")
	if err := os.CopyFS(filepath.Join(workspace, "dist"), os.DirFS(b.site)); err != nil {
		return err
	}
	fresh, err := b.issue("2000h")
	if err != nil {
		return err
	}
	var alone, kept, refreshed []time.Duration
	for range actionRounds {
		d, err := b.optimizerAlone(ctx, workspace)
		if err != nil {
			return err
		}
		alone = append(alone, d)
		if d, err = b.withAction(ctx, workspace, fresh); err != nil {
			return err
		}
		kept = append(kept, d)
		old, err := b.issue("48h")
		if err != nil {
			return err
		}
		if d, err = b.withAction(ctx, workspace, old); err != nil {
			return err
		}
		refreshed = append(refreshed, d)
	}
	base := middle(alone)
	fmt.Printf("\n%d rounds on %s, medians\n\n%-34s %12s %8s %12s\n", actionRounds, filepath.Base(b.site), "", "time", "ratio", "added")
	for _, row := range []struct {
		name string
		d    time.Duration
	}{{"the optimizer alone", base}, {"the Action, fresh token", middle(kept)}, {"the Action, refresh and write", middle(refreshed)}} {
		fmt.Printf("%-34s %12s %8.2f %12s\n", row.name, row.d.Round(100*time.Microsecond), float64(row.d)/float64(base), (row.d - base).Round(100*time.Microsecond))
	}
	fmt.Printf("\nimage of the Action: %s\n", imageSize(ctx))
	return nil
}

// imageSize is the size of the image that make e2e builds, where a container engine has it.
func imageSize(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", "{{.Size}}", "pageflare-action:e2e").Output()
	if err != nil {
		return "there is no container engine here that has it; make e2e builds it and holds it to 75 MB"
	}
	bytes, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%.1f MB, of 75", bytes/1e6)
}

// optimizerAlone is what a workflow without the Action would do: a fresh HOME, an output folder of
// its own.
func (b *actionBench) optimizerAlone(ctx context.Context, workspace string) (time.Duration, error) {
	home, err := os.MkdirTemp(b.temp, "home-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(home)
	cmd := exec.CommandContext(ctx, b.optimizer, "optimize", filepath.Join(workspace, "dist"), "--output", filepath.Join(home, "out"), "--json", "--no-browser")
	cmd.Env = []string{"HOME=" + home, "PAGEFLARE_TELEMETRY=0", "CI=true", "PATH=" + os.Getenv("PATH")}
	cmd.Stdout = io.Discard
	begun := time.Now()
	err = cmd.Run()
	return time.Since(begun), err
}

func (b *actionBench) withAction(ctx context.Context, workspace, token string) (time.Duration, error) {
	temp, err := os.MkdirTemp(b.temp, "run-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(temp)
	for _, f := range []string{"output", "summary"} {
		if err := os.WriteFile(filepath.Join(temp, f), nil, 0o600); err != nil {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, b.action)
	cmd.Dir = workspace
	cmd.Env = []string{
		"HOME=" + temp, "PATH=" + os.Getenv("PATH"), "CI=true", "GITHUB_ACTIONS=true", "GITHUB_WORKSPACE=" + workspace, "GITHUB_REPOSITORY=acme/site",
		"GITHUB_API_URL=" + b.github.URL(), "GITHUB_OUTPUT=" + filepath.Join(temp, "output"), "GITHUB_STEP_SUMMARY=" + filepath.Join(temp, "summary"),
		"PAGEFLARE_TOKEN=" + token, "INPUT_API-URL=" + b.api, "INPUT_GITHUB-TOKEN=" + benchPAT, "INPUT_OPTIMIZER-PATH=" + b.optimizer,
		"INPUT_OUTPUT=public", "INPUT_JOB-TOTAL=1",
	}
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	d := time.Since(begun)
	if err != nil {
		return 0, fmt.Errorf("the Action: %w: %s", err, lastLine(out))
	}
	return d, os.RemoveAll(filepath.Join(workspace, "public"))
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

func middle(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
