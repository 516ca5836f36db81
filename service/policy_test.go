package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/server/admin"
)

const audienceOfBox = "http://127.0.0.1:8080"

// trusting is a box that trusts a fake issuer, with an account and a policy for acme/site.
func trusting(t *testing.T) (*box, *githubtest.Issuer) {
	t.Helper()
	b := newBox(t)
	jobs, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	must(t, err)
	t.Cleanup(jobs.Close)
	b.env["LICENSE_OIDC_ISSUERS"] = jobs.URL()
	account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	b.ok("policy", "add", "--account", account, "--repository-id", "1296269", "--repository-owner-id", "1")
	return b, jobs
}

func TestPolicyExplainOfTokens(t *testing.T) {
	t.Parallel()
	b, jobs := trusting(t)
	sign := func(claims map[string]any) string {
		t.Helper()
		if claims["aud"] == nil {
			claims["aud"] = audienceOfBox
		}
		raw, err := jobs.Sign(claims)
		must(t, err)
		return raw
	}
	good := sign(map[string]any{})
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(good, ".")[1])
	must(t, err)
	late := time.Now().Add(-time.Hour).Unix()
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"a good token":            {good, []string{`^this job is allowed$`, `(?m)^signature +ok `, `(?m)^license +ok +active, valid until 2099`}},
		"a token out of a header": {"Bearer " + good, []string{`^this job is allowed$`}},
		"its claims":              {string(payload), []string{`^this job is allowed if what was not checked is good$`, `(?m)^signature +not checked `}},
		"an expired token": {sign(map[string]any{"exp": late, "iat": late - 300, "nbf": late - 300}),
			[]string{`^this job is refused$`, `(?m)^not expired +no `, `(?m)^-> not expired: request a new identity token`, `(?m)^recent +no `, `(?m)^signature +ok `, `(?m)^repository_id +ok `}},
		"a token for another audience": {sign(map[string]any{"aud": "https://github.com/acme"}),
			[]string{`^this job is refused$`, `(?m)^audience +no +https://github.com/acme +` + audienceOfBox}},
		"a token of another owner": {sign(map[string]any{"repository_owner_id": "9"}), []string{`^this job is refused$`, `(?m)^repository_owner_id +no +9 +1$`, `(?m)^-> repository_owner_id: the repository has another owner`}},
		"a dangerous event": {sign(map[string]any{"event_name": "pull_request_target"}),
			[]string{`^this job is refused$`, `(?m)^event +no +pull_request_target +one of deployment, `, `(?m)^-> event: add a policy for the event pull_request_target`}},
		"a token of a foreign key": {good[:strings.LastIndex(good, ".")+1] + base64.RawURLEncoding.EncodeToString(make([]byte, 256)),
			[]string{`^this job is refused$`, `(?m)^signature +no `, `(?m)^-> signature: the token was changed`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := b.runWith(test.text+"\n", "policy", "explain")
			wantExit := exitOK // also when something was not checked
			if strings.Contains(test.want[0], "refused") {
				wantExit = exitFailure
			}
			if r.exit != wantExit || r.err != "" {
				t.Fatalf("exit %d, want %d; %s", r.exit, wantExit, r.err)
			}
			first, _, _ := strings.Cut(r.out, "\n")
			for i, want := range test.want {
				text := r.out
				if i == 0 {
					text = strings.TrimSpace(first)
				}
				if !regexp.MustCompile(want).MatchString(text) {
					t.Errorf("it lacks %s:\n%s", want, r.out)
				}
			}
			if strings.Contains(r.out, good[len(good)-24:]) {
				t.Error("it quotes the token")
			}
		})
	}
	for name, text := range map[string]string{
		"nothing": "", "no token": "hello", "no object": "{", "a claim too few": `{"iss":"x"}`, "a claim twice": `{"iss":"x","iss":"y"}`, "a token and more": good + " " + good,
	} {
		t.Run(name, func(t *testing.T) { b.runWith(text, "policy", "explain").wantFaults(t, "") })
	}
}

// An issuer that cannot be asked is no reason to say that the token is bad.
func TestPolicyExplainWithoutItsIssuer(t *testing.T) {
	t.Parallel()
	b, jobs := trusting(t)
	raw, err := jobs.Sign(map[string]any{"aud": audienceOfBox})
	must(t, err)
	jobs.Close()
	r := b.runWith(raw, "policy", "explain")
	if r.exit != exitOK || !strings.HasPrefix(r.out, "this job is allowed if what was not checked is good") || !strings.Contains(r.out, "could not be read") {
		t.Errorf("exit %d, %s%s", r.exit, r.out, r.err)
	}
}

// fakeGitHub knows one repository, which only a good token sees, and counts who asks.
func fakeGitHub(t *testing.T) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	elsewhere := anotherProgram(t, `{"id":7,"full_name":"acme/elsewhere","owner":{"id":8}}`)
	elsewhere = "http://" + elsewhere + "/repos/acme/elsewhere"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/repos/acme/proxied" { // as every answer of GitHub has
			w.Header().Set("X-GitHub-Request-Id", "1")
		}
		answer := func(status int, body string) { w.WriteHeader(status); fmt.Fprint(w, body) }
		switch token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); {
		case r.Method != http.MethodGet:
			answer(http.StatusMethodNotAllowed, `{}`)
		case r.URL.Path == "/repos/acme/limited":
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", "4102444800")
			answer(http.StatusForbidden, `{"message":"API rate limit exceeded"}`)
		case r.URL.Path == "/repos/acme/slower":
			w.Header().Set("Retry-After", "60")
			answer(http.StatusForbidden, `{"message":"You have exceeded a secondary rate limit","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
		case r.URL.Path == "/repos/acme/moved":
			http.Redirect(w, r, "/repositories/1296269", http.StatusMovedPermanently)
		case r.URL.Path == "/repositories/1296269":
			answer(http.StatusOK, `{"id":1296269,"name":"site","full_name":"evil/site","owner":{"id":666,"login":"evil"}}`)
		case r.URL.Path == "/repos/acme/elsewhere":
			http.Redirect(w, r, elsewhere, http.StatusMovedPermanently)
		case r.URL.Path == "/repos/acme/sso":
			w.Header().Set("X-GitHub-SSO", "required; url=https://github.com/orgs/acme/sso?authorization_request=x")
			answer(http.StatusForbidden, `{"message":"Resource protected by organization SAML enforcement."}`)
		case r.URL.Path == "/repos/acme/walled":
			answer(http.StatusForbidden, `{"message":"the acme organization has an IP allow list enabled"}`)
		case r.URL.Path == "/repos/acme/proxied":
			answer(http.StatusForbidden, `<html>`)
		case r.URL.Path == "/repos/acme/broken":
			answer(http.StatusBadGateway, `<html>`)
		case strings.HasPrefix(r.URL.Path, "/repos/fleet/"): // 60 are told, as without a token
			if asked.Load() > 60 {
				w.Header().Set("X-RateLimit-Remaining", "0")
				w.Header().Set("X-RateLimit-Reset", "4102444800")
				answer(http.StatusForbidden, `{"message":"API rate limit exceeded"}`)
				return
			}
			name := strings.TrimPrefix(r.URL.Path, "/repos/")
			answer(http.StatusOK, fmt.Sprintf(`{"id":%d,"full_name":%q,"owner":{"id":583231,"login":"fleet"}}`, asked.Load(), name))
		case r.URL.Path == "/users/acme":
			answer(http.StatusOK, `{"id":583231,"login":"Acme","type":"Organization"}`)
		case r.URL.Path == "/users/renamed":
			answer(http.StatusOK, `{"id":666,"login":"evil","type":"Organization"}`)
		case r.URL.Path == "/users/octocat":
			answer(http.StatusOK, `{"id":1,"login":"octocat","type":"User"}`)
		case r.URL.Path == "/users/empty":
			answer(http.StatusOK, `{}`)
		case r.URL.Path == "/users/limited":
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", "4102444800")
			answer(http.StatusForbidden, `{"message":"API rate limit exceeded"}`)
		case r.URL.Path == "/users/elsewhere":
			http.Redirect(w, r, elsewhere, http.StatusMovedPermanently)
		case r.URL.Path == "/repos/acme/empty":
			answer(http.StatusOK, `{}`)
		case token == "wrong-secret" || r.URL.Path == "/repos/acme/enterprise":
			answer(http.StatusUnauthorized, `{"message":"Bad credentials"}`)
		case r.URL.Path == "/repos/acme/site" && token == "good-secret":
			answer(http.StatusOK, `{"id":1296269,"name":"site","full_name":"acme/site","owner":{"id":583231,"login":"acme"}}`)
		default:
			answer(http.StatusNotFound, `{"message":"Not Found"}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestPolicyAddByName(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var asked *atomic.Int64
	b.env["LICENSE_GITHUB_API_URL"], asked = fakeGitHub(t)
	account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	for _, test := range []struct {
		name, token string
		exit        int
		want        string
	}{
		{"acme/site", "", exitUsage, "error: ask GitHub for repository acme/site: no such repository can be seen at 127.0.0.1:"},
		{"acme/site", "wrong-secret", exitUsage, "error: ask GitHub for repository acme/site: GITHUB_TOKEN is not accepted by 127.0.0.1:"},
		{"acme/enterprise", "", exitUsage, "error: ask GitHub for repository acme/enterprise: 127.0.0.1:"},
		{"acme/limited", "", exitFailure, "error: ask GitHub for repository acme/limited: GitHub refused: the 60 requests an hour that it allows without a token are used up until 2100-01-01T00:00:00Z: set GITHUB_TOKEN; or give --repository-id and --repository-owner-id"},
		{"acme/limited", "good-secret", exitFailure, "error: ask GitHub for repository acme/limited: GitHub does not answer: its limit for requests is used up until 2100-01-01T00:00:00Z; or give --repository-id and --repository-owner-id"},
		{"acme/moved", "good-secret", exitUsage, `error: ask GitHub for repository acme/moved: it is called "evil/site" now: if its owner of today is to be trusted, give that name`},
		{"acme/elsewhere", "good-secret", exitFailure, "error: ask GitHub for repository acme/elsewhere: GitHub does not answer: "},
		{"acme/sso", "good-secret", exitUsage, `error: ask GitHub for repository acme/sso: GitHub refused (403): authorize the token in GITHUB_TOKEN for the organization at "https://github.com/orgs/acme/sso`},
		{"acme/walled", "good-secret", exitUsage, `error: ask GitHub for repository acme/walled: GitHub refused (403): "the acme organization has an IP allow list enabled"; or give`},
		{"acme/proxied", "good-secret", exitFailure, "error: ask GitHub for repository acme/proxied: GitHub does not answer: a proxy between here and 127.0.0.1:"},
		{"acme/broken", "", exitFailure, "error: ask GitHub for repository acme/broken: GitHub does not answer: "},
		{"acme/empty", "", exitFailure, "error: ask GitHub for repository acme/empty: GitHub does not answer: the answer lacks ids"},
		{"acme/../site", "good-secret", exitUsage, `error: repository "acme/../site" is not OWNER/NAME`},
		{"acme/site?x", "good-secret", exitUsage, `error: repository "acme/site?x" is not OWNER/NAME`},
	} {
		b.env["GITHUB_TOKEN"] = test.token
		r := b.run("policy", "add", "--account", account, "--repository", test.name)
		if r.exit != test.exit || !strings.HasPrefix(r.err, test.want) || r.out != "" || strings.Contains(r.err, "secret") {
			t.Errorf("policy add --repository %s with token %q = exit %d, %q%q, want %d, %q", test.name, test.token, r.exit, r.out, r.err, test.exit, test.want)
		}
	}
	b.env["GITHUB_TOKEN"] = "good-secret"
	before := asked.Load()
	var made struct {
		Repository   string `json:"repository"`
		RepositoryID string `json:"repository_id"`
		OwnerID      string `json:"repository_owner_id"`
	}
	must(t, json.Unmarshal([]byte(b.ok("policy", "add", "--account", account, "--repository", "acme/site", "--json")), &made))
	if made.Repository != "acme/site" || made.RepositoryID != "1296269" || made.OwnerID != "583231" || asked.Load() != before+1 {
		t.Errorf("made %+v after %d requests", made, asked.Load()-before)
	}
	b.ok("policy", "list")
	if asked.Load() != before+1 {
		t.Error("GitHub was asked again")
	}
}

// An organization is one by its name of today, and not a person who took the name over.
func TestPolicyAddOfAnOrganization(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_GITHUB_API_URL"], _ = fakeGitHub(t)
	account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	for _, test := range []struct {
		name string
		exit int
		want string
	}{
		{"renamed", exitUsage, `error: ask GitHub for organization renamed: it is called "evil" now: if that one is to be trusted, give that name; or give --repository-owner-id alone`},
		{"octocat", exitUsage, `error: ask GitHub for organization octocat: it is not an organization ("User"): if every repository of that owner is to be trusted, give its id, 1, as that of the owner`},
		{"none", exitUsage, "error: ask GitHub for organization none: there is no organization of that name at 127.0.0.1:"},
		{"empty", exitFailure, "error: ask GitHub for organization empty: GitHub does not answer: the answer lacks id or name"},
		{"limited", exitFailure, "error: ask GitHub for organization limited: GitHub refused: the 60 requests an hour that it allows without a token are used up until 2100-01-01T00:00:00Z: set GITHUB_TOKEN; or give"},
		{"elsewhere", exitFailure, "error: ask GitHub for organization elsewhere: GitHub does not answer: "},
		{"acme/site", exitUsage, `error: repository "acme/site/*" is not OWNER/NAME`},
		{"..", exitUsage, `error: repository "../*" is not OWNER/NAME`},
	} {
		r := b.run("policy", "add", "--account", account, "--organization", test.name)
		if r.exit != test.exit || !strings.HasPrefix(r.err, test.want) || r.out != "" {
			t.Errorf("policy add --organization %s = exit %d, %q%q, want %d, %q", test.name, r.exit, r.out, r.err, test.exit, test.want)
		}
	}
	r := b.run("policy", "add", "--account", account, "--organization", "acme", "--json")
	made := mustMember(t, r.out, "id")
	want := "warning: policy " + made + " trusts every repository of acme (owner 583231), also one that is made later by anyone who may create repositories there: " +
		"all get license tokens of account " + account + "; narrow it with --job-workflow-ref, for who makes a repository chooses its refs and environments\n"
	if r.exit != exitOK || r.err != want || mustMember(t, r.out, "repository_id") != "*" || mustMember(t, r.out, "repository_owner_id") != "583231" || mustMember(t, r.out, "repository") != "acme/*" {
		t.Errorf("policy add --organization acme = exit %d, %s%s, want %s", r.exit, r.out, r.err, want)
	}
}

// A fleet that is added without a token meets GitHub's limit: one line says what to do, GitHub is
// not asked for the rest, and nothing is added.
func TestPoliciesOfAFleetWithoutAToken(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	var asked *atomic.Int64
	b.env["LICENSE_GITHUB_API_URL"], asked = fakeGitHub(t)
	account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	var fleet strings.Builder
	for i := range 300 {
		fmt.Fprintf(&fleet, "fleet/r%d\n", i+1)
	}
	r := b.runWith(fleet.String(), "policy", "add", "--account", account, "--from-file", "-")
	const want = "error: --from-file: line 61: ask GitHub for repository fleet/r61: GitHub refused: the 60 requests an hour that it allows without a token are used up until 2100-01-01T00:00:00Z: set GITHUB_TOKEN\n" +
		"error: no policy was added\n"
	if r.exit != exitFailure || r.err != want || asked.Load() != 61 {
		t.Errorf("policy add of 300 = exit %d after %d requests, %s, want %s", r.exit, asked.Load(), r.err, want)
	}
	if out := b.ok("policy", "list", "--json"); !strings.Contains(out, `"items": []`) {
		t.Errorf("policies = %s, want none", out)
	}
}

// GITHUB_TOKEN goes to GitHub alone: neither to another host that it redirects to, nor to another
// port of it.
func TestGitHubTokenStaysWithGitHub(t *testing.T) {
	t.Parallel()
	var heard atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		heard.Add(1)
		fmt.Fprint(w, `{"id":7,"full_name":"acme/site","owner":{"id":8}}`)
	}))
	t.Cleanup(other.Close)
	github := httptest.NewServer(http.RedirectHandler(other.URL+"/repos/acme/site", http.StatusTemporaryRedirect))
	t.Cleanup(github.Close)
	b := newBox(t)
	b.env["LICENSE_GITHUB_API_URL"], b.env["GITHUB_TOKEN"] = github.URL, "good-secret"
	account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	r := b.run("policy", "add", "--account", account, "--repository", "acme/site")
	if heard.Load() != 0 || r.exit != exitFailure || !strings.Contains(r.err, "it redirects to another host") {
		t.Errorf("the other host was asked %d times; exit %d, %s", heard.Load(), r.exit, r.err)
	}
}

// By the Admin API: what GitHub cannot tell now is neither a fault of the service nor of the
// request.
func TestPoliciesByNameWhenGitHubDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, github := range []string{"", "http://" + refusing(t)} {
		b := newBox(t)
		names := []string{"acme/site"} // of a GitHub that is out of reach
		b.env["LICENSE_GITHUB_API_URL"] = github
		if github == "" {
			names = []string{"acme/limited", "acme/slower", "acme/broken", "acme/empty"}
			b.env["LICENSE_GITHUB_API_URL"], _ = fakeGitHub(t)
		}
		r := b.serve()
		account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
		admin := b.ok("admin-token", "create", "--scope", "policies:write")
		for _, name := range names {
			status, body, err := r.send(t.Context(), "POST", "/_api/admin/policies", admin, `{"account":"`+account+`","repository":"`+name+`"}`)
			must(t, err)
			message := "GitHub does not answer: try again later, or give repository_id and repository_owner_id"
			if name == "acme/limited" {
				message = "GitHub answers no more questions of a service without a token for now: set GITHUB_TOKEN for the service, give repository_id and repository_owner_id, or try again in an hour"
			}
			want := `{"code":"unavailable","error":"Service Unavailable","message":"` + message + `"}`
			if status != http.StatusServiceUnavailable || body != want {
				t.Errorf("a policy for %s at %q = %d %s, want 503 %s", name, github, status, body, want)
			}
		}
		if github == "" {
			status, body, err := r.send(t.Context(), "POST", "/_api/admin/policies", admin, `{"account":"`+account+`","repository":"acme/none"}`)
			must(t, err)
			if status != http.StatusBadRequest || !strings.Contains(body, "no such repository can be seen") || strings.Contains(body, "--") {
				t.Errorf("a policy for a repository that is not there = %d %s, want 400 that says so without flags", status, body)
			}
		}
		_, log, err := r.stop(syscall.SIGTERM)
		must(t, err)
		if strings.Contains(log, "level=ERROR") || !strings.Contains(log, "reason=\"GitHub does not answer") {
			t.Errorf("the log has an error, or no reason:\n%s", log)
		}
	}
}

func TestTheUsualEventsAreInTheDocument(t *testing.T) {
	t.Parallel()
	_, text, _ := strings.Cut(document(t, "service.md"), "\n`--event`, only events are allowed")
	text, _, _ = strings.Cut(text, "All others must be named")
	for _, event := range oidc.UsualEvents {
		if !strings.Contains(text, code(event)) {
			t.Errorf("docs/service.md does not name the usual event %s", event)
		}
	}
	if n := strings.Count(text, "`"); n != 2*len(oidc.UsualEvents) {
		t.Errorf("docs/service.md names %d events, and %d are usual", n/2, len(oidc.UsualEvents))
	}
}

// The Admin API says what to do about it, which for those who have set a token is something else.
func TestALimitWithoutATokenIsToldApart(t *testing.T) {
	t.Parallel()
	if err := error(limitReached("used up")); !errors.Is(err, admin.ErrAnonymousLimit) || !errors.Is(err, admin.ErrNoAnswer) {
		t.Error("a limit that a token raises is not an ErrAnonymousLimit and ErrNoAnswer")
	}
}
