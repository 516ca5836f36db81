package leak_test

import (
	"cmp"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/servicetest"
)

const keysPath = "GET /meta/public_keys/secret_scanning"

// asked counts how often GitHub was asked for its keys.
func (w *world) asked() (n int) {
	for _, r := range w.github.Requests() {
		if r.Method+" "+r.Path == keysPath {
			n++
		}
	}
	return n
}

// alertOf is the body of an alert about tokens.
func alertOf(t *testing.T, tokens ...string) string {
	t.Helper()
	type entry struct {
		Token  string `json:"token"`
		Type   string `json:"type"`
		URL    string `json:"url"`
		Source string `json:"source"`
	}
	var all []entry
	for _, token := range tokens {
		all = append(all, entry{token, "pageflare_token", "", "commit"})
	}
	text, err := json.Marshal(all)
	must(t, err)
	return string(text)
}

// signed sends a body that is signed by a key.
func (w *world) signed(t *testing.T, id, body string) (status int, answer string) {
	t.Helper()
	signature := w.github.SignAlert(id, []byte(body))
	return w.alert(t, id, cmp.Or(signature, "AAAA"), body)
}

func TestAnAlertOfGitHubEndsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.github.AddAlertKey(elliptic.P256())
	license := w.IssueToken(t, w.account.ID, 0)
	other := w.IssueToken(t, w.account.ID, 0)
	body := `[{"token":"` + license + `","type":"pageflare_license_token","url":"","source":"CONTENT"},
		{"token":"hunter2","type":"a","url":"https://github.com/x/y","source":"commit"},
		{"token":7}, null, "text", {"type":"x"}, {"token":""}, [], {"token":"x","type":{}},
		{"token":"` + w.key + `","type":"pageflare_api_token","url":"https://github.com/acme/site/blob/main/.env","source":"commit","new":true},
		{"token":"` + license + `","type":"pageflare_license_token","url":"https://elsewhere.example","source":"gist"}]`
	status, answer := w.signed(t, id, body)
	var got []api.LeakLabel
	if status != 200 {
		t.Fatalf("= %d %s", status, answer)
	}
	must(t, json.Unmarshal([]byte(answer), &got))
	want := []api.LeakLabel{
		{TokenHash: leak.HashOf(license), TokenType: "pageflare_license_token", Label: "true_positive"},
		{TokenHash: leak.HashOf("hunter2"), TokenType: "a", Label: "false_positive"},
		{TokenHash: leak.HashOf(w.key), TokenType: "pageflare_api_token", Label: "true_positive"},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
	if !w.refused(t, license) || !w.refused(t, w.key) || w.refused(t, other) {
		t.Error("the tokens of the alert have to end, and no other")
	}
	if strings.Contains(answer, license) || strings.Contains(answer, w.key) || strings.Contains(answer, "hunter2") {
		t.Error("the answer repeats a token")
	}
	lines := w.lines(t)
	if len(lines) != 2 || lines[0].Actor.Kind != audit.ActorGitHub || lines[0].Actor.RequestID == "" {
		t.Errorf("audit log: %+v", lines)
	}
	status, again := w.signed(t, id, body) // as GitHub may, and as anybody who kept it
	if status != 200 || again != answer || len(w.lines(t)) != 2 {
		t.Errorf("sent again = %d %s, %d lines", status, again, len(w.lines(t)))
	}
	if n := w.asked(); n != 1 {
		t.Errorf("GitHub was asked for its keys %d times, want once", n)
	}
	metrics := w.Metrics(t)
	for _, line := range []string{
		`leaks_total{door="partner_alert",kind="license_token",outcome="ended"} 1`, `leaks_total{door="partner_alert",kind="license_token",outcome="over"} 1`,
		`leaks_total{door="partner_alert",kind="api_token",outcome="ended"} 1`, `leaks_total{door="partner_alert",kind="none",outcome="not_ours"} 16`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

func TestWhatGitHubDidNotSignIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	foreign := newWorld(t, nil)
	id, strange := w.github.AddAlertKey(elliptic.P256()), w.github.AddAlertKey(elliptic.P384())
	body := alertOf(t, w.key)
	good := w.github.SignAlert(id, []byte(body))
	other := foreign.github.AddAlertKey(elliptic.P256())
	for name, c := range map[string]struct{ id, signature, body string }{
		"no headers":             {"", "", body},
		"no signature":           {id, "", body},
		"no key":                 {"", good, body},
		"another body":           {id, good, body + " "},
		"signed by another key":  {id, foreign.github.SignAlert(other, []byte(body)), body},
		"a key of nobody":        {other, foreign.github.SignAlert(other, []byte(body)), body},
		"a key on another curve": {strange, w.github.SignAlert(strange, []byte(body)), body},
		"a signature not base64": {id, "!" + good[1:], body},
		"not DER":                {id, "AAAA", body},
		"an id with a path":      {"../../x", good, body},
		"a test of nobody":       {"test-abc", good, body},
		"a long id":              {strings.Repeat("a", 1000), good, body},
	} {
		status, answer := w.alert(t, c.id, c.signature, c.body)
		if status != 401 || answer != `{"error":"Unauthorized"}` {
			t.Errorf("%s = %d %s, want 401", name, status, answer)
		}
	}
	if w.refused(t, w.key) || len(w.lines(t)) != 0 {
		t.Error("a token ended")
	}
	if n := w.asked(); n > 1 {
		t.Errorf("GitHub was asked %d times, want once", n)
	}
	if status, answer := w.alert(t, id, good, body, "Content-Type", "application/x-www-form-urlencoded"); status != 415 {
		t.Errorf("a form = %d %s, want 415", status, answer)
	}
	for name, body := range map[string]string{
		"an object": `{"token":"x"}`, "nothing": ``, "half": `[{"token":"x"}`, "more behind": `[] []`, "not JSON": `[{"token":}]`, "a form": `payload=x`,
	} {
		if status, answer := w.signed(t, id, body); status != 400 {
			t.Errorf("%s = %d %s, want 400", name, status, answer)
		}
	}
	if status, answer := w.signed(t, id, `[]`); status != 200 || answer != `[]` {
		t.Errorf("no alert = %d %s", status, answer)
	}
	if status, _ := w.signed(t, id, `[`+strings.Repeat(" ", leak.MaxBody)+`]`); status != 413 {
		t.Errorf("more than 25 MB = %d, want 413", status)
	}
	if status, _ := w.signed(t, id, `[`+strings.Repeat(" ", 3<<20)+`{"token":"`+w.key+`"}]`); status != 200 || !w.refused(t, w.key) {
		t.Errorf("3 MB = %d", status)
	}
}

func TestTheKeysOfGitHubAreFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.github.AddAlertKey(elliptic.P256())
	send := func(id string, want int, asked int) {
		t.Helper()
		if status, answer := w.signed(t, id, `[]`); status != want {
			t.Errorf("= %d %s, want %d", status, answer, want)
		}
		if n := w.asked(); n != asked {
			t.Errorf("GitHub was asked %d times, want %d", n, asked)
		}
	}
	send(first, 200, 1)
	second := w.github.AddAlertKey(elliptic.P256())
	send(second, 401, 1) // it was asked a moment ago
	w.ahead.Add(int64(31 * time.Second))
	send(second, 200, 2)
	send(first, 200, 2) // one that is not current any more
	w.ahead.Add(int64(31 * time.Second))
	for range 3 {
		send("unknown", 401, 3)
	}
	w.ahead.Add(int64(time.Hour))
	send(first, 200, 4) // nothing has changed
	last := w.github.Requests()
	if status := last[len(last)-1].Status; status != http.StatusNotModified {
		t.Errorf("the last answer of GitHub = %d, want 304", status)
	}
	// GitHub is down: what is known goes on, and of the rest nobody can tell
	w.MayFail()
	for _, fault := range []githubtest.Fault{
		{Status: 503}, {Status: 429, Header: map[string]string{"Retry-After": "60"}}, {Status: 403, Body: `{"message":"API rate limit exceeded"}`},
		{CloseConnection: true, Status: 500}, {Status: 200, Body: `{"public_keys":[]}`}, {Status: 200, Body: `<html>`},
	} {
		before := w.asked()
		w.github.FailNext(keysPath, fault)
		w.ahead.Add(int64(time.Hour))
		send("unknown", 503, before+1)
		send(first, 200, before+1)
		send("unknown", 503, before+1)
	}
	third := w.github.AddAlertKey(elliptic.P256())
	w.ahead.Add(int64(31 * time.Second))
	send(third, 200, w.asked()+1)
}

func TestWithoutTheKeysNobodyCanTell(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.github.AddAlertKey(elliptic.P256())
	w.MayFail()
	w.github.FailNext(keysPath, githubtest.Fault{Status: 500})
	status, answer := w.signed(t, id, alertOf(t, w.key))
	if status != 503 || !strings.Contains(answer, "send the alert again later") {
		t.Errorf("= %d %s, want 503", status, answer)
	}
}

// Ten thousand entries in one alert, one of which is real.
func TestATokenAmongTenThousand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.github.AddAlertKey(elliptic.P256())
	tokens := make([]string, 10_000)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("pf_at_%036d", i)
		if i%3 == 0 {
			tokens[i] = fmt.Sprintf("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImtfMDEyMzQ1Njc4OWFiY2RlZiJ9.e30.%043d", i)
		}
	}
	tokens[7777] = w.key
	begun := time.Now()
	status, answer := w.signed(t, id, alertOf(t, tokens...))
	t.Logf("10,000 entries took %s", time.Since(begun))
	if status != 200 || strings.Count(answer, "true_positive") != 1 || strings.Count(answer, "false_positive") != 9999 || !w.refused(t, w.key) {
		t.Errorf("= %d, %d true", status, strings.Count(answer, "true_positive"))
	}
}

// The database fails for one token: it is not called false, the rest is done, and the alert can come
// again.
func TestAFaultOfTheDatabaseIsNotAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	id := w.github.AddAlertKey(elliptic.P256())
	token := w.IssueToken(t, w.account.ID, 0)
	w.Alter(t, `ALTER TABLE api_tokens RENAME TO away`)
	status, answer := w.signed(t, id, alertOf(t, w.key, token))
	if status < 500 || strings.Contains(answer, "false_positive") {
		t.Errorf("= %d %s, want a fault", status, answer)
	}
	if !w.refused(t, token) {
		t.Error("the token behind the one that failed did not end")
	}
	w.Alter(t, `ALTER TABLE away RENAME TO api_tokens`)
	if status, answer := w.signed(t, id, alertOf(t, w.key, token)); status != 200 || strings.Count(answer, "true_positive") != 2 {
		t.Errorf("sent again = %d %s", status, answer)
	}
}

func TestOtherScannersReportByTheAdminAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	call := func(token, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+"/admin/leaks", strings.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		return servicetest.Send(t, req)
	}
	report := func(text string) string {
		out, err := json.Marshal(map[string]string{"token": text, "source": "gitleaks", "url": "https://git.example/acme/site"})
		must(t, err)
		return string(out)
	}
	status, answer := call(w.admin, report(w.key))
	if status != 200 || !strings.Contains(answer, `"label":"true_positive","outcome":"ended"`) || !strings.Contains(answer, `"account":"`+w.account.ID) || strings.Contains(answer, w.key) {
		t.Errorf("= %d %s", status, answer)
	}
	if status, answer := call(w.admin, report("hunter2")); status != 200 || answer != `{"label":"false_positive","outcome":"not_ours"}` {
		t.Errorf("not ours = %d %s", status, answer)
	}
	if lines := w.lines(t); len(lines) != 1 || lines[0].Actor.Kind != audit.ActorAdmin {
		t.Errorf("audit log: %+v", lines)
	}
	if status, _ := call(w.admin, `{"source":"x"}`); status != 400 {
		t.Errorf("without a token = %d", status)
	}
	weak := w.AdminToken(t, "tokens:read")
	if status, _ := call(weak, report(w.admin)); status != 403 || w.refused(t, w.admin) {
		t.Errorf("without the scope = %d", status)
	}
}

// A test of alerts is good for its own token, once, and for a minute.
func TestATestOfAlertsEndsItsOwnTokenAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	made := w.AdminToken(t, "keys:read")
	test, err := w.leaks.SignTest(t.Context(), made)
	must(t, err)
	// who sees the key of a test, or gets hold of what it signed, ends nothing else with it
	if status, _ := w.alert(t, test.KeyID, test.Signature, alertOf(t, w.key)); status != 401 || w.refused(t, w.key) {
		t.Errorf("another body = %d", status)
	}
	if status, _ := w.alert(t, test.KeyID, test.Signature, string(test.Body)); status != 401 || w.refused(t, made) {
		t.Errorf("a test that was used up = %d", status)
	}
	test, err = w.leaks.SignTest(t.Context(), made)
	must(t, err)
	status, answer := w.alert(t, test.KeyID, test.Signature, string(test.Body))
	if status != 200 || !strings.Contains(answer, "true_positive") || !w.refused(t, made) {
		t.Errorf("= %d %s", status, answer)
	}
	if lines := w.lines(t); len(lines) != 1 || !strings.Contains(lines[0].Details, `"test":true`) {
		t.Errorf("audit log: %+v, want that it was a test", lines)
	}
	late, err := w.leaks.SignTest(t.Context(), w.admin)
	must(t, err)
	w.ahead.Add(int64(time.Minute))
	if status, _ := w.alert(t, late.KeyID, late.Signature, string(late.Body)); status != 401 || w.refused(t, w.admin) {
		t.Errorf("a test of a minute ago = %d", status)
	}
}
