package oidc_test

import (
	"strings"
	"testing"

	"github.com/pageflare/ci/service/oidc"
)

func TestAPolicyNamesEventsThatThereAre(t *testing.T) {
	t.Parallel()
	policy := func(event string) oidc.Policy {
		return oidc.Policy{Issuer: "https://token.actions.githubusercontent.com", RepositoryID: "1", OwnerID: "2", Events: []string{event}}
	}
	for event, want := range map[string]string{
		"pushh": `event "pushh" is none of GitHub's: the nearest is push`, "pull_requests": "the nearest is pull_request", "pr_target": "the nearest is ",
		"issue": "the nearest is issues", "workflow_dispach": "the nearest is workflow_dispatch", "x": "the nearest is ",
		"workflow_call": "a reusable workflow has the event of its caller",
	} {
		if err := policy(event).Check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Check(event %s) = %v, want %s", event, err, want)
		}
	}
	for _, event := range append([]string{"pull_request_target", "issue_comment", "workflow_run", "gollum"}, oidc.UsualEvents...) {
		if err := policy(event).Check(); err != nil {
			t.Errorf("Check(event %s) = %v, want nil", event, err)
		}
	}
}
