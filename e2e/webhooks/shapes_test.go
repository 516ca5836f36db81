//go:build e2e

package webhooks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/githubapp"
)

// payloads calls f with the payload of each event that tests send.
func payloads(f func(event, action string)) {
	events := githubtest.Events()
	for _, event := range slices.Sorted(maps.Keys(events)) {
		for _, action := range events[event] {
			f(event, action)
		}
	}
}

// What the tests send in GitHub's name has the shape that GitHub describes, also where a member is
// null.
func TestPayloadsOfTestsHaveTheShapeThatGitHubDescribes(t *testing.T) {
	t.Parallel()
	o := startOthers(t)
	payloads(func(event, action string) {
		sets := map[string]githubtest.Set{"": nil}
		for _, path := range githubtest.Nullable(event, action) {
			sets[path] = githubtest.Set{path: nil}
		}
		for path, set := range sets {
			var v verdict
			body := githubtest.Payload(t, event, action, set)
			if o.ask("shaped", map[string]any{"of": "now", "event": event, "action": action, "body": body}, &v); !v.OK {
				t.Errorf("%s %s %s: %s", event, action, path, v.Why)
			}
		}
	})
}

// variant is a payload of the same shape as another one.
type variant struct{ What, Body, Signature string }

// Whatever of a payload may be null or left out: the delivery is taken, and processed, or kept with
// the reason why it cannot be.
func TestWhatGitHubMayLeaveOutIsNoFault(t *testing.T) {
	t.Parallel()
	gh := githubtest.Start(t, githubtest.Config{
		Repositories:  []githubtest.Repository{{ID: 7, Owner: "acme", Name: "site", OwnerID: 1}},
		Organizations: []string{"acme"},
		Apps: []githubtest.App{{
			ID: 4711, Key: &githubtest.AppKey().PublicKey, Installations: []githubtest.Installation{{
				ID: 5, Account: "acme", Permissions: githubapp.Permissions(githubapp.Ask{Organization: "acme"}),
			}},
		}},
	})
	gh.AddAlert("acme/site", githubtest.Alert{Number: 1, Secret: "of another program"})
	key := filepath.Join(t.TempDir(), "app.pem")
	must(t, os.WriteFile(key, []byte(githubtest.PEM(githubtest.AppKey())), 0o600))
	s := start(t, "LICENSE_GITHUB_WEBHOOK_SECRET="+hookSecret, "LICENSE_GITHUB_API_URL="+gh.URL(),
		"LICENSE_GITHUB_APP_ID=4711", "LICENSE_GITHUB_APP_KEY_FILE="+key)
	s.run(nil, "plan", "add", "--plan-id", "435", "--tier", "pro")
	s.run(nil, "plan", "add", "--sponsor-monthly", "5", "--tier", "pro")

	all := s.sendVariants(startOthers(t))
	if len(all) < 1000 {
		t.Errorf("%d deliveries: the shapes allow more", len(all))
	}
	s.waitUntilSettled()
	got := map[string][]string{}
	for _, d := range s.received("failed") {
		at := all[d.ID]
		if d.DueAt != nil {
			t.Errorf("%s is tried again, for %s", at, d.Error)
		}
		got[d.Error] = append(got[d.Error], at)
	}
	for _, list := range got {
		slices.Sort(list)
	}
	// without its number an alert cannot be read
	want := map[string][]string{"secret_scanning_alert: the event names no alert or no repository": {
		"secret_scanning_alert created, alert.number left out",
		"secret_scanning_alert created, all left out",
		"secret_scanning_alert publicly_leaked, alert.number left out",
		"secret_scanning_alert publicly_leaked, all left out",
		"secret_scanning_alert reopened, alert.number left out",
		"secret_scanning_alert reopened, all left out",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failed (-want +got)\n%s", diff)
	}
	t.Logf("%d deliveries", len(all))
}

// sendVariants sends everything that has the shape of what tests send, and of GitHub's examples, and
// returns what was sent under which id.
func (s *service) sendVariants(o *others) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	send := func(of, event, action string, body []byte) {
		var list []variant
		o.ask("variants", map[string]any{
			"of": of, "secret": hookSecret, "event": event, "action": action, "body": body,
		}, &list)
		if len(list) == 0 && of == "now" {
			s.t.Fatalf("%s %s has not the shape that GitHub describes", event, action)
		}
		for _, v := range list {
			id := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(all))
			all[id] = fmt.Sprintf("%s %s, %s", event, action, v.What)
			if status := s.post(id, event, v.Signature, []byte(v.Body)); status != http.StatusAccepted {
				s.t.Fatalf("%s: status %d", all[id], status)
			}
		}
	}
	payloads(func(event, action string) {
		send("now", event, action, githubtest.Payload(s.t, event, action, nil))
	})
	var examples []struct{ Event, Body string }
	o.ask("examples", map[string]any{"events": heard}, &examples)
	seen := map[string]bool{}
	for _, e := range examples {
		var body struct{ Action string }
		must(s.t, json.Unmarshal([]byte(e.Body), &body))
		if kind := e.Event + " " + body.Action; !seen[kind] {
			seen[kind] = true
			send("seen", e.Event, body.Action, []byte(e.Body))
		}
	}
	return all
}

// heardDelivery is a delivery as the service lists it.
type heardDelivery struct {
	ID, Error string
	DueAt     *string `json:"due_at"`
}

func (s *service) received(state string) (list []heardDelivery) {
	s.t.Helper()
	var page struct{ Items []heardDelivery }
	s.run(&page, "received", "list", "--state", state, "--limit", "1000")
	return page.Items
}

// waitUntilSettled waits until nothing is left to be processed.
func (s *service) waitUntilSettled() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		left := s.received("received")
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d are left, such as %+v", len(left), left[0])
		}
	}
}
