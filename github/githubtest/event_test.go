package githubtest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

func TestPayloadsAreChangedByPath(t *testing.T) {
	t.Parallel()
	text := githubtest.Payload(t, "marketplace_purchase", "changed", githubtest.Set{
		"marketplace_purchase.account.id":        7,
		"marketplace_purchase.next_billing_date": nil,
	})
	var got struct {
		Action   string
		Purchase struct {
			Account struct{ ID int64 }
			Next    any `json:"next_billing_date"`
		} `json:"marketplace_purchase"`
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Action != "changed" || got.Purchase.Account.ID != 7 || got.Purchase.Next != nil {
		t.Errorf("payload = %s", text)
	}
	again := githubtest.Payload(t, "marketplace_purchase", "changed", nil)
	if strings.Contains(string(again), `"next_billing_date":null`) {
		t.Error("a change is there also in the next payload")
	}
}

func TestPayloadsThatGitHubWouldNotSend(t *testing.T) {
	t.Parallel()
	for want, tc := range map[string]struct {
		event, action string
		set           githubtest.Set
	}{
		"no invented created":   {"invented", "created", nil},
		"no repository painted": {"repository", "painted", nil},
		"there is no member ow": {"repository", "renamed", githubtest.Set{"repository.ow": 1}},
		"name is not an object": {"repository", "renamed", githubtest.Set{"repository.name.x": 1}},
		"id is never null":      {"repository", "renamed", githubtest.Set{"repository.id": nil}},
		"number, not string":    {"repository", "renamed", githubtest.Set{"repository.id": "7"}},
		"string, not boolean":   {"repository", "renamed", githubtest.Set{"repository.description": true}},
	} {
		_, err := githubtest.EventPayload(tc.event, tc.action, tc.set)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
}
