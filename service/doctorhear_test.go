package main

import (
	"strings"
	"testing"
)

// Who sells through GitHub is told which webhooks are set up by hand.
func TestDoctorNamesTheWebhooksThatAreSetUpByHand(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.ok("account", "create", "--email", "dev@example.com", "--tier", "pro", "--valid-until", "2099-12-31")
	const text = "a Marketplace listing and a sponsored account have webhooks of their own"
	if out := oneSpaced(b.ok("doctor")); strings.Contains(out, text) {
		t.Errorf("doctor where nothing is sold:\n%s", out)
	}
	b.ok("plan", "add", "--plan-id", "435", "--tier", "pro")
	if out := oneSpaced(b.ok("doctor")); !strings.Contains(out, text) {
		t.Errorf("doctor does not say: %s\n%s", text, out)
	}
	b.env["LICENSE_GITHUB_WEBHOOK_SECRET"] = "a secret that only this test has"
	if out := oneSpaced(b.ok("doctor")); strings.Contains(out, text) {
		t.Errorf("doctor with the secret:\n%s", out)
	}
}
