package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/action/secret"
)

// write is what became of the secret in one place.
type write struct {
	target  string
	outcome string // created or updated; empty when it failed
	err     error
}

// writeSecret stores a refreshed token in every target. It says nothing while the optimizer may be running: problems are reported later. One target
// that fails does not stop the others, and the old token stays valid whatever happens here.
func (r *run) writeSecret(ctx context.Context) {
	if r.state != StateRefreshed {
		return
	}
	w, err := r.writer()
	if err != nil {
		r.writeFailed(err)
		return
	}
	var failed []error
	for _, t := range r.cfg.Targets {
		outcome, err := w.Write(ctx, t, r.cfg.SecretName, r.token)
		if err != nil {
			failed = append(failed, err)
			r.writes = append(r.writes, write{target: t.String(), err: err})
			continue
		}
		r.writes = append(r.writes, write{target: t.String(), outcome: outcome.String()})
	}
	r.writeFailed(errors.Join(failed...))
}

var errNoGitHubToken = errors.New("there is no github-token: give a fine-grained personal access token with the repository permission " +
	`"Secrets: read and write" (the job's own GITHUB_TOKEN can never write secrets)`)

func (r *run) writer() (*secret.Writer, error) {
	if r.cfg.GitHubToken == "" {
		return nil, errNoGitHubToken
	}
	if r.cfg.Repo == (secret.Repo{}) {
		return nil, errors.New("GITHUB_REPOSITORY is not set: run this in a workflow")
	}
	api, err := secret.NewClient(secret.Config{
		APIURL: r.cfg.GitHubAPI, Token: r.cfg.GitHubToken, HTTP: r.cfg.HTTP, UserAgent: userAgent(), Now: r.now, Rand: rand.Reader,
	})
	if err != nil {
		return nil, err
	}
	return secret.NewWriter(api, r.cfg.Repo, r.rand), nil
}

func (r *run) writeFailed(err error) {
	if err == nil {
		return
	}
	text := fmt.Sprintf("the new token was not stored: %v; this run uses it, and the old one in the secret stays valid until it expires", err)
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
	for _, t := range r.cfg.Targets {
		updated, found, err := w.UpdatedAt(ctx, t, r.cfg.SecretName)
		switch {
		case err != nil:
			r.warn(fmt.Sprintf("a refreshed token could not be stored: %v", err))
		case found:
			r.gha.Infof("Secret %s, %s: was last written on %s.", r.cfg.SecretName, t, day(updated))
		default:
			r.gha.Infof("Secret %s, %s: is not there, or github-token cannot see it.", r.cfg.SecretName, t)
		}
	}
}

// stopCommands makes the runner take nothing for a command until the word it returns.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
func (r *run) stopCommands() string {
	word := "pageflare-" + rand.Text()
	r.gha.IssueCommand(&githubactions.Command{Name: "stop-commands", Message: word})
	return word
}
