//go:build e2e

package faults_test

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/store/postgrestest"
)

// A token that leaks is refused by every replica within a second after GitHub's alert was sent,
// through either door. What is measured begins before the alert is sent.
func TestATokenThatLeaksIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	const webhookSecret = "a-secret-of-the-webhook-for-tests"
	repository := githubtest.Repository{ID: 7, Owner: "acme", Name: "site", OwnerID: 1}
	github := githubtest.Start(t, githubtest.Config{
		Repositories: []githubtest.Repository{repository}, Organizations: []string{"acme"},
		Apps: []githubtest.App{{ID: 4711, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 5, Account: "acme", Permissions: map[string]string{"secret_scanning_alerts": "write"}},
		}}},
	})
	keyID := github.AddAlertKey(elliptic.P256())
	in := install(t, postgrestest.New(t))
	file := filepath.Join(in.dir, "app.pem")
	must(t, os.WriteFile(file, []byte(githubtest.PEM(githubtest.AppKey())), 0o600))
	in.settings = []string{
		"LICENSE_GITHUB_API_URL=" + github.URL(), "LICENSE_GITHUB_APP_ID=4711", "LICENSE_GITHUB_APP_KEY_FILE=" + file,
		"LICENSE_GITHUB_WEBHOOK_SECRET=" + webhookSecret,
	}
	e := &ending{in: in, delays: map[string][]time.Duration{}}
	for range 3 {
		e.replicas = append(e.replicas, in.serve())
	}
	send := func(r *replica, path string, body []byte, want int, header http.Header) {
		t.Helper()
		header.Set("Content-Type", "application/json")
		a, err := r.send(t.Context(), "POST", path, "", header, strings.NewReader(string(body)))
		if err != nil || a.status != want {
			t.Fatalf("%s = %d %s, %v, want %d", path, a.status, a.body, err, want)
		}
	}
	alert := func(r *replica, token string) {
		body, err := json.Marshal([]map[string]string{{"token": token, "type": "pageflare_token", "url": "", "source": "commit"}})
		must(t, err)
		send(r, "/_api/webhooks/github/secret-scanning", body, http.StatusOK, http.Header{
			"Github-Public-Key-Identifier": {keyID}, "Github-Public-Key-Signature": {github.SignAlert(keyID, body)},
		})
	}
	number := 0
	hook := func(r *replica, token string) {
		number++
		github.AddAlert("acme/site", githubtest.Alert{Number: int64(number), Secret: token})
		body := githubtest.Payload(t, "secret_scanning_alert", "created", githubtest.Set{"alert.number": number})
		mac := hmac.New(sha256.New, []byte(webhookSecret))
		mac.Write(body)
		send(r, "/_api/webhooks/github", body, http.StatusAccepted, http.Header{
			"X-Github-Event": {"secret_scanning_alert"}, "X-Github-Delivery": {rand.Text()}, "X-Hub-Signature-256": {fmt.Sprintf("sha256=%x", mac.Sum(nil))},
		})
	}
	for i := range 3 * *rounds {
		r := e.replicas[i%3]
		for what, door := range map[string]func(*replica, string){"an alert to a provider": alert, "an alert of the organization's own pattern": hook} {
			token := e.good()
			e.leaks(what, func() { door(r, token) }, func(r *replica) answer { return r.validate(token) })
		}
	}
	for _, what := range slices.Sorted(maps.Keys(e.delays)) {
		all := e.delays[what]
		slices.Sort(all)
		t.Logf("from %s to the refusal on three replicas: p50 %s, p99 %s, the longest %s, %d times", what,
			all[len(all)/2].Round(time.Millisecond), all[len(all)*99/100].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond), len(all))
	}
	until(t, "all alerts are resolved", func() bool { return github.Alert("acme/site", int64(number)).State == "resolved" })
	in.wantWhole()
}

// The secret of a managed repository that held the token gets a fresh one, also when the process that
// took the alert is killed right after its answer.
func TestAManagedSecretIsFreshAfterALeak(t *testing.T) {
	t.Parallel()
	github := githubtest.Start(t, githubtest.Config{
		Repositories: []githubtest.Repository{{ID: 7, Owner: "acme", Name: "site", OwnerID: 1}}, Organizations: []string{"acme"},
		Apps: []githubtest.App{{ID: 4711, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{
			{ID: 5, Account: "acme", Permissions: githubapp.Permissions(githubapp.Ask{Organization: "acme"})},
		}}},
	})
	in := install(t, sqliteFile(t))
	file := filepath.Join(in.dir, "app.pem")
	must(t, os.WriteFile(file, []byte(githubtest.PEM(githubtest.AppKey())), 0o600))
	in.settings = []string{"LICENSE_GITHUB_API_URL=" + github.URL(), "LICENSE_GITHUB_APP_ID=4711", "LICENSE_GITHUB_APP_KEY_FILE=" + file}
	in.ok("rotation", "add", "--account", in.account, "--repository", "acme/site")
	r := in.serve()
	secret := func() string {
		value, _, _ := github.Secret("acme/site", "PAGEFLARE_TOKEN")
		return value
	}
	until(t, "the secret is written", func() bool { return secret() != "" })
	for _, killed := range []bool{false, true} {
		leaked := secret()
		body, err := json.Marshal(map[string]string{"token": leaked, "source": "test"})
		must(t, err)
		a, err := r.send(t.Context(), "POST", "/_api/admin/leaks", in.admin, http.Header{"Content-Type": {"application/json"}}, strings.NewReader(string(body)))
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("the report = %d %s, %v", a.status, a.body, err)
		}
		if killed { // the next one waits until the lease of upkeep has ended
			r.kill()
			r = in.serve()
		}
		took := until(t, "the secret is fresh", func() bool { return secret() != leaked })
		t.Logf("the secret is fresh after %s; the process was killed: %t", took.Round(time.Millisecond), killed)
		if a := r.validate(leaked); a.status != http.StatusForbidden {
			t.Errorf("the leaked token = %d %s", a.status, a.body)
		}
		if a := r.validate(secret()); a.status != http.StatusOK {
			t.Errorf("the fresh token = %d %s", a.status, a.body)
		}
	}
	in.wantWhole()
}

// leaks sends an alert, and asks the replicas in turn until each of them refuses the token.
func (e *ending) leaks(what string, alert func(), ask func(*replica) answer) {
	e.in.t.Helper()
	sent := time.Now()
	alert()
	waiting := slices.Clone(e.replicas)
	for len(waiting) > 0 {
		r := waiting[0]
		waiting = waiting[1:]
		switch a := ask(r); {
		case a.status == http.StatusForbidden:
			e.delays[what] = append(e.delays[what], time.Since(sent))
		case time.Since(sent) > patience || a.status >= http.StatusInternalServerError:
			e.in.t.Fatalf("%s: a replica answers %d %s after %s, want 403", what, a.status, a.body, time.Since(sent))
		default:
			waiting = append(waiting, r)
		}
	}
}
