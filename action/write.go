package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/action/secret"
)

// write is what became of the secret in one place.
type write struct {
	target  string
	outcome string // created, updated or outcomeElsewhere; empty when it failed
	err     error
}

// writeSecret stores a refreshed token in every target. It says nothing while the optimizer may be running: problems are reported later. One target
// that fails does not stop the others, and the old token stays valid whatever happens here. finish ends some time after ctx.
func (r *run) writeSecret(ctx, finish context.Context) {
	if r.state != StateRefreshed {
		return
	}
	w, err := r.writer()
	if err != nil {
		r.writeFailed([]error{err})
		return
	}
	finish, cancel := context.WithTimeout(finish, writeBudget)
	defer cancel()
	defer r.closeWriter(finish, w)
	r.takeTurn(ctx, finish)
	var failed []error
	var written []secret.Target
	for _, t := range r.cfg.Targets {
		if r.writtenElsewhere(finish, w, t) {
			r.writes = append(r.writes, write{target: t.String(), outcome: outcomeElsewhere})
			continue
		}
		outcome, err := w.Write(finish, t, r.cfg.SecretName, r.token)
		if err != nil {
			failed = append(failed, err)
			r.writes = append(r.writes, write{target: t.String(), err: err})
			continue
		}
		written = append(written, t)
		r.writes = append(r.writes, write{target: t.String(), outcome: outcome.String()})
	}
	r.writeFailed(failed)
	r.warnOfShadows(w.Shadows(finish, written, r.cfg.SecretName))
}

// writeBudget is how long writing to all targets may take. GitHub may ask to wait for an hour: that is longer than a job should be held for a
// token that the next run can store as well.
const writeBudget = 60 * time.Second

// closeWriter revokes what was made for a GitHub App. Those tokens are in memory only and are never printed; they are not masked,
// since a mask is a line in the log, and while the optimizer runs the runner takes no commands from there and would print it.
func (r *run) closeWriter(ctx context.Context, w *secret.Writer) {
	if err := w.Close(ctx); err != nil {
		r.warn(err.Error())
	}
}

func (r *run) warnOfShadows(shadows []secret.Shadow) {
	for _, s := range shadows {
		r.warn(fmt.Sprintf("the secret %s of %s is not what jobs of this repository see: the one of %s is nearer; remove that, or name it in secret-targets",
			r.cfg.SecretName, s.Target, s.By))
	}
}

var errNoCredential = errors.New("there is no github-token: give a fine-grained personal access token with the repository permission " +
	`"Secrets: read and write", or app-id and app-private-key of a GitHub App that has it (the job's own GITHUB_TOKEN can never write secrets)`)

func (r *run) writer() (*secret.Writer, error) {
	if r.cfg.GitHubToken == "" && r.cfg.App == nil {
		return nil, errNoCredential
	}
	if r.cfg.Repo == (secret.Repo{}) {
		return nil, errors.New("GITHUB_REPOSITORY is not set: run this in a workflow")
	}
	return secret.NewWriter(secret.WriterConfig{
		API: secret.Config{
			APIURL: r.cfg.GitHubAPI, Token: r.cfg.GitHubToken, HTTP: r.cfg.HTTP, UserAgent: userAgent(), Now: r.now, Rand: rand.Reader,
		},
		App: r.cfg.App, Repo: r.cfg.Repo, RepoID: r.cfg.RepoID, Rand: r.rand,
	})
}

func (r *run) writeFailed(failed []error) {
	if len(failed) == 0 {
		return
	}
	where := ""
	if len(failed) < len(r.writes) {
		where = " everywhere"
	}
	reasons := make([]string, len(failed))
	for i, err := range failed {
		reasons[i] = err.Error()
	}
	text := fmt.Sprintf("the new token was not stored%s: %s; this run uses it, and the old one in the secret stays valid until it expires",
		where, strings.Join(reasons, "; and "))
	if r.cfg.FailOn == FailAny {
		r.fail(text)
		return
	}
	r.warn(text)
}

// check says what a run would do, and proves by reading alone that it could.
func (r *run) check(ctx context.Context) {
	w, err := r.writer()
	if err != nil {
		r.warn("a refreshed token could not be stored: " + err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeBudget)
	defer cancel()
	defer r.closeWriter(ctx, w)
	for _, f := range w.Check(ctx, r.cfg.Targets, r.cfg.SecretName) {
		if f.Err != nil {
			r.warn(fmt.Sprintf("a refreshed token could not be stored: %v", f.Err))
			continue
		}
		r.gha.Infof("Secret %s, %s: %s.", r.cfg.SecretName, f.Target, finding(f))
	}
	r.warnOfShadows(w.CheckShadows(ctx, r.cfg.Targets, r.cfg.SecretName))
}

// finding says in words what a check found out about a target.
func finding(f secret.Finding) string {
	text := "may be written"
	if !f.Proven {
		text = "may be read; whether it may be written shows only when it is"
	}
	switch {
	case f.Exists && f.Access != "":
		text += fmt.Sprintf("; was last written on %s; who may read it: %s", day(f.UpdatedAt), f.Access)
	case f.Exists:
		text += "; was last written on " + day(f.UpdatedAt)
	case f.Known:
		text += "; is not there yet"
	}
	return text
}

// stopCommands makes the runner take nothing for a command until what it returns is called, at the begin of a line.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
func (r *run) stopCommands() (resume func()) {
	word := "pageflare-" + rand.Text()
	r.gha.IssueCommand(&githubactions.Command{Name: "stop-commands", Message: word})
	return func() { r.gha.IssueCommand(&githubactions.Command{Name: word}) }
}
