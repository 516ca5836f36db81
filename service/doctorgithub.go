package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/parts"
)

// What the doctor says of the GitHub App.

// githubTime is how long GitHub may take to tell about the App.
const githubTime = 20 * time.Second

// checkGitHubApp asks GitHub about the App. Nothing is said where none is set up and none is asked for.
func (a *app) checkGitHubApp(ctx context.Context, in inside) (out []finding) {
	if in.err != nil {
		return nil
	}
	err := a.commands.WithNew(ctx, func(ctx context.Context, l *parts.Parts) error {
		ctx, cancel := context.WithTimeout(ctx, githubTime)
		defer cancel()
		out = githubFindings(ctx, l)
		return nil
	})
	if err != nil {
		out = append(out, wrong("github app", oneLine(err.Error())))
	}
	return out
}

func githubFindings(ctx context.Context, l *parts.Parts) []finding {
	const what = "github app"
	secrets, err := l.App.WebhookSecrets(ctx)
	if err != nil {
		return []finding{wrong(what, err.Error())}
	}
	s, err := l.App.Ask(ctx)
	var fault *github.Error
	switch {
	case errors.Is(err, failure.ErrNotFound) && len(secrets) > 0:
		return []finding{warned(what, "LICENSE_GITHUB_WEBHOOK_SECRET is set and no App: webhooks are heard, and GitHub cannot be asked for those that were lost; set LICENSE_GITHUB_APP_ID and LICENSE_GITHUB_APP_KEY_FILE")}
	case errors.Is(err, failure.ErrNotFound):
		return nil // nobody asked for one
	case errors.As(err, &fault) && fault.Silent():
		return []finding{warned(what, "GitHub does not tell about the App now: "+fault.Message)}
	case errors.As(err, &fault) && fault.Kind == github.AppUnknown:
		return []finding{wrong(what, fault.Message+": its key was revoked or is of another App: make a new key on the page of the App and set LICENSE_GITHUB_APP_KEY_FILE, or run github-app create --replace")}
	case err != nil:
		return []finding{wrong(what, err.Error())}
	}
	var out []finding
	if len(secrets) == 0 {
		out = append(out, wrong("github webhook", "no secret is known, so POST /_api/webhooks/github answers 404: set LICENSE_GITHUB_WEBHOOK_SECRET to the secret of the App's webhook"))
	}
	problems := l.App.Problems(s)
	for _, p := range problems {
		out = append(out, wrong(what, s.Slug+": "+p))
	}
	if len(problems) == 0 {
		out = append(out, well(what, fmt.Sprintf("%s of %s is as it should be, and is installed in %s", s.Slug, s.Owner, times(len(s.Installations)))))
	}
	return out
}

func times(n int) string {
	if n == 1 {
		return "1 account"
	}
	return fmt.Sprintf("%d accounts", n)
}
