package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A hostile pull request must not get a secret written, refreshed or exported, whatever the
// workflow says.
func TestAnUntrustedRunWritesNothing(t *testing.T) {
	t.Parallel()
	fork := `"head":{"repo":{"full_name":"mallory/site"}},"user":{"login":"mallory"}`
	for name, c := range map[string]struct {
		name, event string
		untrusted   bool
	}{
		"pull_request_target of a fork":            {"pull_request_target", `{"pull_request":{` + fork + `}}`, true},
		"pull_request_target of the same repo":     {"pull_request_target", `{"pull_request":{"head":{"repo":{"full_name":"acme/site"}}}}`, true},
		"pull_request_target without an event":     {"pull_request_target", ``, true},
		"workflow_run of a fork":                   {"workflow_run", `{"workflow_run":{"head_repository":{"full_name":"mallory/site"}}}`, true},
		"workflow_run that does not say":           {"workflow_run", `{}`, true},
		"workflow_run of the same repo":            {"workflow_run", `{"workflow_run":{"head_repository":{"full_name":"acme/site"}}}`, false},
		"a fork's pull request that has the token": {"pull_request", `{"pull_request":{` + fork + `}}`, true},
		"a pull request whose fork was deleted":    {"pull_request", `{"pull_request":{"head":{"repo":null},"user":{"login":"mallory"}}}`, true},
		"a pull request of this repository":        {"pull_request", `{"pull_request":{"head":{"repo":{"full_name":"Acme/site"}},"user":{"login":"octocat"}}}`, false},
		"a pull request without an event":          {"pull_request", ``, true},
		"a pull request in an event cut short":     {"pull_request", `{"pull_request":{"head":{"repo":{"full_name":"acme/site"}}`, true},
		"a pull request of another form":           {"pull_request", `{"pull_request":"acme/site"}`, true},
		"a review of a fork's pull request":        {"pull_request_review", `{"pull_request":{` + fork + `}}`, true},
		"a comment on a pull request":              {"issue_comment", `{"issue":{"number":1,"pull_request":{"url":"https://api.github.com/x"}}}`, true},
		"a comment on an issue":                    {"issue_comment", `{"issue":{"number":1}}`, false},
		"a comment in an event that has no form":   {"issue_comment", `no json`, true},
		"workflow_run without an event":            {"workflow_run", ``, true},
		"a push without an event":                  {"push", ``, false},
		"a push":                                   {"push", `{}`, false},
		"a schedule":                               {"schedule", `{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			j.env["GITHUB_EVENT_NAME"], j.env["GITHUB_EVENT_PATH"] = c.name, j.write("event.json", c.event)
			before := tokenCount(j)
			r := j.input("export-token", "true").run()
			r.wantExit(t, 0)
			j.wantWhole(true)
			exported := strings.Contains(j.read("env"), "PAGEFLARE_TOKEN")
			if written := j.stored() != ""; written == c.untrusted || exported == c.untrusted || (tokenCount(j) > before) == c.untrusted {
				t.Errorf("written %t, exported %t, refreshed %t; untrusted %t:\n%s", written, exported, tokenCount(j) > before, c.untrusted, r.log)
			}
			if c.untrusted {
				r.wantOutputs(t, map[string]string{"token-state": "kept"})
				r.wantLog(t, "must not write secrets", "not exported")
			}
		})
	}
}

func TestExportToken(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"optimize", "refresh-only"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			r := j.input("export-token", "true").input("mode", mode).run()
			r.wantExit(t, 0)
			if j.stored() == "" || !strings.Contains(j.read("env"), j.stored()) {
				t.Error("the environment of the next steps does not hold the new token")
			}
			if first := strings.Index(r.log, "::add-mask::"+j.stored()); first < 0 {
				t.Error("the exported token is not masked")
			}
		})
	}
}

func TestACheckExportsNothing(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.licensed(30 * dayLong)
	j.input("export-token", "true").input("mode", "check").run().wantExit(t, 0)
	if got := j.read("env"); got != "" {
		t.Errorf("the environment of the next steps holds %q", got)
	}
}

// There is a reason to get a token without a site: the steps that follow.
func TestAKeylessRefreshOnlyExchangesWhatItExports(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.keyless()
	r := j.input("mode", "refresh-only").input("export-token", "true").run()
	r.wantExit(t, 0)
	r.wantOutputs(t, map[string]string{"token-state": "exchanged"})
	if !strings.Contains(j.read("env"), "PAGEFLARE_TOKEN") || len(j.github.Requests()) != 0 {
		t.Errorf("want the token exported and not stored:\n%s", r.log)
	}

	j = newJob(t)
	j.keyless()
	j.api(http.NotFound)
	j.input("mode", "refresh-only").input("export-token", "true").run().wantExit(t, 1)
}

func TestMaxSizeFailsTheJobAfterTheSiteIsDone(t *testing.T) {
	t.Parallel()
	for size, exit := range map[string]int{"100": 1, "0.1KB": 1, "1MB": 0, "2 MiB": 0, "": 0} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			r := j.input("max-size", size).run()
			r.wantExit(t, exit)
			j.wantWhole(true)
			if exit != 0 {
				r.wantLog(t, "more than max-size allows (100)")
			}
			if shown := strings.Contains(r.summary, "Largest files"); shown != (exit != 0) {
				t.Errorf("the summary lists the largest files: %t, want it when there are too many bytes", shown)
			}
		})
	}
}

func TestExtraCertificateAuthorities(t *testing.T) {
	t.Parallel()
	for name, asFile := range map[string]bool{"as text": false, "as a file": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			j.licensed(2 * dayLong)
			s := httptest.NewTLSServer(http.HandlerFunc(j.service.ServeHTTP))
			t.Cleanup(s.Close)
			j.input("api-url", s.URL+"/_api")
			text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
			j.run().wantOutputs(t, map[string]string{"token-state": "kept"}) // nobody trusts it yet
			must(t, os.Truncate(filepath.Join(j.dir, "output"), 0))
			if asFile {
				must(t, os.WriteFile(filepath.Join(j.ws, "ca.pem"), []byte(text), 0o644))
				text = "ca.pem"
			}
			r := j.input("ca-certificates", text).run()
			r.wantExit(t, 0)
			r.wantOutputs(t, map[string]string{"token-state": "refreshed", "secret-updated": "true"})
		})
	}
}
