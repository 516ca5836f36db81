package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
)

// write is what became of the secret in one place.
type write struct {
	target  string
	outcome string // of secret.Outcome; empty when it failed
	err     error
}

// writeSecret stores a refreshed token in every target. It says nothing while the optimizer may be
// running: problems are reported later. One target that fails does not stop the others, and the old
// token stays valid whatever happens here. finish ends some time after ctx. A panic ends here: this
// may be a goroutine of its own, where it would end the program without a report.
func (r *run) writeSecret(ctx, finish context.Context) {
	if r.state != StateRefreshed {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.fail(r.crashed(p).Error())
		}
	}()
	w, err := r.writer()
	if err != nil {
		r.writeFailed([]error{err})
		return
	}
	defer r.closeWriter(finish, w)
	r.takeTurn(ctx, finish)
	r.writes = r.writeAll(finish, w)
	var failed []error
	var written []secret.Target
	for i, done := range r.writes {
		switch {
		case done.err != nil:
			failed = append(failed, done.err)
		case done.outcome != secret.Elsewhere.String():
			written = append(written, r.cfg.Targets[i])
		}
	}
	r.writeFailed(failed)
	r.warnOfTokenExpiry(w)
	if ctx.Err() == nil {
		r.warnOfShadows(w.Shadows(finish, written, r.cfg.Targets, r.cfg.SecretName))
	}
}

// writeAll writes to the targets concurrently, each within a time of its own, so that one that
// hangs holds up no other. They come back in order.
func (r *run) writeAll(ctx context.Context, w *secret.Writer) []write {
	writes := make([]write, len(r.cfg.Targets))
	var all sync.WaitGroup
	for i, t := range r.cfg.Targets {
		all.Go(func() {
			once, cancel := context.WithTimeout(ctx, writeBudget)
			defer cancel()
			writes[i] = r.writeTo(once, w, t)
		})
	}
	all.Wait()
	return writes
}

// writeTo writes to one target, unless another job of the matrix did (see matrix.go). A panic is
// that target's error.
func (r *run) writeTo(ctx context.Context, w *secret.Writer, t secret.Target) (done write) {
	defer func() {
		if p := recover(); p != nil {
			done = write{target: t.String(), err: r.crashed(p)}
		}
	}()
	outcome, err := w.WriteUnless(ctx, t, r.cfg.SecretName, r.token, r.cfg.Started)
	if err != nil {
		return write{target: t.String(), err: r.advise(err)}
	}
	return write{target: t.String(), outcome: outcome.String()}
}

// writeBudget is how long writing to a target may take. GitHub may ask to wait for an hour: that is
// longer than a job should be held for a token that the next run can store as well.
const writeBudget = 60 * time.Second

// closeWriter revokes what was made for a GitHub App. Those tokens are in memory only and are never
// printed; they are not masked, since a mask is a line in the log, and while the optimizer runs the
// runner takes no commands from there and would print it.
func (r *run) closeWriter(ctx context.Context, w *secret.Writer) {
	if err := w.Close(ctx); err != nil {
		r.warn(err.Error())
	}
}

// warnOfShadows names all that is hidden in one warning.
func (r *run) warnOfShadows(shadows []secret.Shadow) {
	if len(shadows) == 0 {
		return
	}
	var hidden, inside []string
	var outside secret.Target // what those of environments hide
	for _, s := range shadows {
		if s.Environment != "" {
			outside = s.Target
			inside = append(inside, strconv.Quote(s.Environment))
			continue
		}
		hidden = append(hidden, fmt.Sprintf("the secret %s of %s is not what jobs of this repository see, since the one of %s takes precedence",
			r.cfg.SecretName, s.Target, s.By))
	}
	if len(inside) > 0 {
		hidden = append(hidden, fmt.Sprintf("the secret %s of %s is not what jobs see that name one of these environments, since it has its own: %s",
			r.cfg.SecretName, outside, strings.Join(inside, ", ")))
	}
	r.warn(strings.Join(hidden, "; ") + "; remove the one that takes precedence, or name it in secret-targets")
}

var errNoCredential = errors.New("there is no github-token: give a fine-grained personal access token with the repository permission " +
	`"Secrets: read and write", or app-id and app-private-key of a GitHub App that has it (the job's own GITHUB_TOKEN can never write secrets)`)

// credential tells whether there is anything to write the secret with.
func (r *run) credential() bool { return r.cfg.GitHubToken != "" || r.cfg.App != nil }

func (r *run) writer() (*secret.Writer, error) {
	switch {
	case r.credential():
	case r.cfg.Guest != "":
		return nil, fmt.Errorf("there is no github-token: %s: other runs of the workflow store the token, or give this one a github-token from the "+
			"Dependabot secrets", r.cfg.Guest)
	default:
		return nil, errNoCredential
	}
	if r.cfg.Repo == (github.Repo{}) {
		return nil, errors.New("environment GITHUB_REPOSITORY is not set: run this in a workflow")
	}
	return secret.NewWriter(secret.WriterConfig{
		API: github.Config{
			APIURL: r.cfg.GitHubAPI, Token: r.cfg.GitHubToken, Transport: transportOf(r.cfg.HTTP),
			UserAgent: userAgent(), Now: r.now, Rand: rand.Reader, Shutdown: r.shutdown,
		},
		App: r.cfg.App, Repo: r.cfg.Repo, RepoID: r.cfg.RepoID, Rand: r.rand,
	})
}

func (r *run) writeFailed(failed []error) {
	if len(failed) > 0 {
		r.trouble("the new token was not stored" + reasons(failed, len(r.writes)) + "; this run uses it, and the old one in the secret stays valid until it expires")
	}
}

// reasons says why targets failed, for the end of "not stored": one text for all, and that others
// of those tried did not.
func reasons(failed []error, tried int) string {
	texts := make([]string, len(failed))
	for i, err := range failed {
		texts[i] = err.Error()
	}
	everywhere := ""
	if len(failed) < tried {
		everywhere = " everywhere"
	}
	return everywhere + ": " + strings.Join(texts, "; and ")
}

// stopCommands makes the runner take nothing for a command until what it returns is called, at the
// begin of a line.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
func (r *run) stopCommands() (resume func()) {
	word := "pageflare-" + rand.Text()
	r.gha.IssueCommand(&githubactions.Command{Name: "stop-commands", Message: word})
	return func() { r.gha.IssueCommand(&githubactions.Command{Name: word}) }
}
