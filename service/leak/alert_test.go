package leak_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/servicetest"
)

// event is the webhook of an alert, in the names of its time.
func event(t *testing.T, action, owner, name string, number int) []byte {
	t.Helper()
	return githubtest.Payload(t, "secret_scanning_alert", action, githubtest.Set{
		"alert.number": number, "repository.name": name, "repository.full_name": owner + "/" + name,
		"repository.owner.login": owner, "installation.id": installation,
	})
}

func TestAnAlertInARepositoryEndsTheTokenAndIsResolved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for i, action := range []string{"created", "reopened", "publicly_leaked"} {
		token := w.IssueToken(t, w.account.ID, 0)
		w.github.AddAlert("acme/site", githubtest.Alert{Number: int64(i + 1), Secret: token})
		must(t, w.leaks.Alert(t.Context(), "delivery-1", event(t, action, "acme", "site", i+1)))
		got := w.github.Alert("acme/site", int64(i+1))
		if !w.refused(t, token) || got.State != "resolved" || got.Resolution != "revoked" || !strings.Contains(got.Comment, "license_token") || strings.Contains(got.Comment, token) {
			t.Errorf("%s: ended = %t, alert %s %s %q", action, w.refused(t, token), got.State, got.Resolution, got.Comment)
		}
		must(t, w.leaks.Alert(t.Context(), "delivery-1", event(t, action, "acme", "site", i+1))) // the same once more
	}
	lines := w.lines(t)
	if len(lines) != 3 || lines[0].Actor.Kind != audit.ActorGitHub || lines[0].Actor.ID != "delivery-1" || !strings.Contains(lines[0].Details, `"repository":"acme/site","repository_id":"7"`) {
		t.Errorf("audit log: %+v", lines)
	}
	for _, action := range []string{"resolved", "validated", "assigned"} {
		must(t, w.leaks.Alert(t.Context(), "d", event(t, action, "acme", "site", 99)))
	}
	for _, m := range w.github.Mints() {
		if len(m.Permissions) != 1 || m.Permissions["secret_scanning_alerts"] != "write" || len(m.Repositories) != 1 {
			t.Errorf("a token of the App has %v in %v, want what it is for alone", m.Permissions, m.Repositories)
		}
	}
}

func TestAnAlertOfSomethingElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.github.AddAlert("acme/site", githubtest.Alert{Number: 1, Secret: "ghp_of_another_program"})
	must(t, w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1)))
	if got := w.github.Alert("acme/site", 1); got.State != "open" {
		t.Errorf("the alert is %s, want it as it was", got.State)
	}
	// a person called it a false positive; it is none
	token := w.IssueToken(t, w.account.ID, 0)
	w.github.AddAlert("acme/site", githubtest.Alert{Number: 2, Secret: token, State: "resolved", Resolution: "wont_fix"})
	must(t, w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 2)))
	if got := w.github.Alert("acme/site", 2); got.Resolution != "wont_fix" || !w.refused(t, token) {
		t.Errorf("the alert is %s, ended = %t", got.Resolution, w.refused(t, token))
	}
	// the alert is gone, or the repository
	must(t, w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 3)))
	w.github.FailNext("GET /secret-scanning/alerts/1", githubtest.Fault{Status: http.StatusGone})
	must(t, w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1)))
}

// The event has the name of its time; the repository was renamed since.
func TestAnAlertInARepositoryThatWasRenamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.IssueToken(t, w.account.ID, 0)
	w.github.AddAlert("acme/site", githubtest.Alert{Number: 1, Secret: token})
	must(t, w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "old-site", 1)))
	if got := w.github.Alert("acme/site", 1); got.State != "resolved" || !w.refused(t, token) {
		t.Errorf("the alert is %s, ended = %t", got.State, w.refused(t, token))
	}
}

func TestAnAlertThatCannotBeWorkedOnIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	token := w.IssueToken(t, w.account.ID, 0)
	w.github.AddAlert("acme/site", githubtest.Alert{Number: 1, Secret: token})
	again := func(name string, want string) {
		t.Helper()
		if err := w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: Alert = %v, want %q", name, err, want)
		}
	}
	for name, fault := range map[string]githubtest.Fault{
		"down": {Status: 502}, "limited": {Status: 429, Header: map[string]string{"Retry-After": "60"}}, "cut": {CloseConnection: true, Status: 500},
		"refused": {Status: 403}, "without the secret": {Body: `{"number":1,"state":"open"}`},
	} {
		w.github.FailNext("GET /secret-scanning/alerts/1", fault)
		again(name, "secret_scanning_alert: ")
	}
	w.github.FailNext("PATCH /secret-scanning/alerts/1", githubtest.Fault{Status: 500})
	again("resolve fails", "resolve alert 1 of repository 7")
	if !w.refused(t, token) {
		t.Error("the token has to end before the alert is resolved")
	}
	must(t, w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1)))
	if got := w.github.Alert("acme/site", 1); got.State != "resolved" || len(w.lines(t)) != 1 {
		t.Errorf("the alert is %s, %d lines", got.State, len(w.lines(t)))
	}
	for name, body := range map[string]string{"no JSON": `payload=x`, "no alert": `{"action":"created"}`, "null": `{"action":"created","alert":null,"repository":null,"installation":null}`} {
		if err := w.leaks.Alert(t.Context(), "d", []byte(body)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The token ends also where the App may only read alerts, and who has to do what is said.
func TestAnAppWithoutTheRightPermission(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"secret_scanning_alerts": "read"})
	token := w.IssueToken(t, w.account.ID, 0)
	w.github.AddAlert("acme/site", githubtest.Alert{Number: 1, Secret: token})
	err := w.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1))
	if err == nil || !strings.Contains(err.Error(), "secret_scanning_alerts=write") || !strings.Contains(err.Error(), `"acme"`) || !w.refused(t, token) {
		t.Errorf("Alert = %v, ended = %t", err, w.refused(t, token))
	}
	none := newWorld(t, map[string]string{"secrets": "write"})
	none.github.AddAlert("acme/site", githubtest.Alert{Number: 1, Secret: none.key})
	if err := none.leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1)); err == nil || !strings.Contains(err.Error(), "secret_scanning_alerts=write") {
		t.Errorf("Alert(no permission) = %v", err)
	}
	bare := servicetest.Start(t, servicetest.Options{})
	if err := bare.Parts.Leaks.Alert(t.Context(), "d", event(t, "created", "acme", "site", 1)); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("Alert(no App) = %v", err)
	}
}
