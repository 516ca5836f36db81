package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// The test of a leak goes through a real service, and leaves nothing that works.
func TestLeakTestSeesTheTokenRefused(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.ok("account", "create", "--email", "dev@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	b.run("leak", "test", "--url", "http://127.0.0.1:1").wantExit(t, exitFailure, "start the service, or give its address with --url")
	s := b.serve()
	text := b.ok("leak", "test", "--url", "http://"+s.addr)
	for _, step := range []string{"is accepted", "true positive", "is refused", "audit log has it", "from the alert to the refusal"} {
		if !strings.Contains(text, step) {
			t.Errorf("leak test does not say %q:\n%s", step, text)
		}
	}
	var got struct {
		Token     string
		Steps     []struct{ MS float64 }
		RefusedMS float64 `json:"refused_after_ms"`
	}
	must(t, json.Unmarshal([]byte(b.ok("leak", "test", "--json", "--url", "http://"+s.addr)), &got))
	if len(got.Steps) != 5 || got.RefusedMS <= 0 || got.Token == "" {
		t.Errorf("leak test --json = %+v", got)
	}
	var list struct {
		Items []struct {
			Name      string
			RevokedAt *string `json:"revoked_at"`
		}
	}
	must(t, json.Unmarshal([]byte(b.ok("admin-token", "list", "--json")), &list))
	for _, made := range list.Items {
		if made.Name != "leak test" || made.RevokedAt == nil {
			t.Errorf("a token of a test still works: %+v", made)
		}
	}
	other := newBox(t)
	other.ok("account", "create", "--email", "dev@example.com", "--tier", "pro", "--valid-until", "2099-01-01")
	other.run("leak", "test", "--url", "http://"+s.addr).wantExit(t, exitFailure, "it works on another database than this command")
}

// wantExit fails unless the program ended with the status and says something on stderr.
func (r result) wantExit(t *testing.T, exit int, says string) {
	t.Helper()
	if r.exit != exit || !strings.Contains(r.err, says) {
		t.Errorf("exit %d and %q, want %d and %q", r.exit, r.err, exit, says)
	}
}

// The body is the one that GitHub's API takes.
func TestLeakPatternsAreReadyForGitHub(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var got struct {
		Patterns []struct {
			Name, Pattern string
			Start         string `json:"start_delimiter"`
			End           string `json:"end_delimiter"`
		}
	}
	must(t, json.Unmarshal([]byte(b.ok("leak", "patterns", "--json")), &got))
	if len(got.Patterns) != 4 {
		t.Fatalf("%d patterns", len(got.Patterns))
	}
	text := document(t, "webhooks.md")
	for _, p := range got.Patterns {
		if p.Name == "" || p.Start == "" || p.End == "" || !strings.Contains(text, p.Pattern) {
			t.Errorf("docs/webhooks.md does not have the expression of %s: %s", p.Name, p.Pattern)
		}
	}
	b.wantFiles()
	if out := b.ok("leak", "patterns"); !strings.Contains(out, `secret format  pf_at_[0-9A-Za-z]{36}`) {
		t.Errorf("leak patterns:\n%s", out)
	}
}
