package server_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/webhook/in"
)

const (
	hookSecret    = "It's a Secret to Everybody"
	hookOldSecret = "the secret of before"
	hookPath      = "/_api/webhooks/github"
)

// hooked is a service that hears GitHub.
type hooked struct {
	*servicetest.Service
	t *testing.T
	n int
}

func newHooked(t *testing.T, o servicetest.Options) *hooked {
	t.Helper()
	o.App = githubapp.Given{Secrets: []opaque.Secret{hookSecret, hookOldSecret}}
	return &hooked{servicetest.Start(t, o), t, 0}
}

func signedWith(secret, body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func hookHeaders(event, id, signature string) []string {
	return []string{"Content-Type", "application/json", "X-GitHub-Event", event, "X-GitHub-Delivery", id, "X-Hub-Signature-256", signature}
}

// tell sends a delivery of an id of its own and processes it.
func (h *hooked) tell(event, body string) {
	h.t.Helper()
	h.n++
	call(h.t, h.Service, "POST", hookPath, body, hookHeaders(event, fmt.Sprintf("told-%d", h.n), signedWith(hookSecret, body))...).wantStatus(h.t, http.StatusAccepted)
	if _, err := h.Parts.Received.Work(h.t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		h.t.Fatal(err)
	}
}

// payload is a payload as GitHub sends it.
func payload(t *testing.T, event, action string, set githubtest.Set) string {
	t.Helper()
	return string(githubtest.Payload(t, event, action, set))
}

// The vector of GitHub's documents: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func TestGitHubIsHeard(t *testing.T) {
	t.Parallel()
	h := newHooked(t, servicetest.Options{})
	const vector = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	raw := httptest.NewRequestWithContext(t.Context(), http.MethodPost, hookPath, strings.NewReader("Hello, World!")) // no JSON, and signed
	for header := range slices.Chunk(hookHeaders("marketplace_purchase", "g-1", vector), 2) {
		raw.Header.Set(header[0], header[1])
	}
	answered := httptest.NewRecorder()
	h.Server.ServeHTTP(answered, raw)
	if got := answered.Body.String(); answered.Code != http.StatusAccepted || got != `{"id":"g-1","state":"received"}` {
		t.Errorf("answer = %d %s", answered.Code, got)
	}
	for about, headers := range map[string][]string{
		"no signature":   {"Content-Type", "application/json", "X-GitHub-Event", "ping", "X-GitHub-Delivery", "g-2"},
		"SHA-1 alone":    {"Content-Type", "application/json", "X-GitHub-Event", "ping", "X-GitHub-Delivery", "g-2", "X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"},
		"another secret": hookHeaders("ping", "g-2", signedWith("x", "Hello, World!")),
		"malformed":      hookHeaders("ping", "g-2", vector[7:]),
		"doubled":        append(hookHeaders("ping", "g-2", vector), "X-Hub-Signature-256", vector),
		"an admin token": {"Content-Type", "application/json", "Authorization", "Bearer " + h.AdminToken(t, auth.Scopes...)},
	} {
		t.Log(about)
		call(t, h.Service, "POST", hookPath, "Hello, World!", headers...).wantUnauthorized(t)
	}
	call(t, h.Service, "POST", hookPath, "Hello, World!", hookHeaders("ping", "no id!", vector)...).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	form := hookHeaders("ping", "g-2", vector)
	form[1] = "application/x-www-form-urlencoded"
	if got := call(t, h.Service, "POST", hookPath, "payload=%7B%7D", form...); got.status != http.StatusUnsupportedMediaType || !strings.Contains(got.body, "choose application/json") {
		t.Errorf("a form = %d %s, want 415 that says what to choose", got.status, got.body)
	}
	sendHalf(t, strings.TrimPrefix(h.Origin, "http://"), fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n",
		hookPath, vector, in.MaxBody+1), "{").wantCode(t, http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge)
	large := "{" + strings.Repeat(" ", 3<<20) + "}"
	call(t, h.Service, "POST", hookPath, large, hookHeaders("ping", "g-3", signedWith(hookSecret, large))...).wantStatus(t, http.StatusAccepted)
	wantMetrics(t, h.Service, `github_deliveries_total{event="marketplace_purchase",outcome="received"} 1`, `github_deliveries_total{event="ping",outcome="refused"} 5`,
		`github_previous_secret_total 0`)

	silent := servicetest.Start(t, servicetest.Options{})
	call(t, silent, "POST", hookPath, "Hello, World!", hookHeaders("ping", "g-2", vector)...).wantCode(t, http.StatusNotFound, api.CodeNotFound)
	limited := newHooked(t, servicetest.Options{BadCredentials: 1, Now: frozen()})
	call(t, limited.Service, "POST", hookPath, "x", hookHeaders("ping", "g-2", vector)...).wantUnauthorized(t)
	call(t, limited.Service, "POST", hookPath, "x", hookHeaders("ping", "g-2", vector)...).wantStatus(t, http.StatusTooManyRequests)
	call(t, limited.Service, "POST", hookPath, "{}", hookHeaders("ping", "g-2", signedWith(hookSecret, "{}"))...).wantStatus(t, http.StatusAccepted) // GitHub is not held up
}

func TestAHookThatComesTooSlowly(t *testing.T) {
	t.Parallel()
	h := newHooked(t, servicetest.Options{})
	addr := serveShortened(t, h.Service, long, short)
	header := "POST " + hookPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-GitHub-Event: ping\r\nX-GitHub-Delivery: g-1\r\nX-Hub-Signature-256: " +
		signedWith(hookSecret, "{}") + "\r\nContent-Length: 9\r\n\r\n"
	sendHalf(t, addr, header, "{").wantStatus(t, http.StatusRequestTimeout)
}

// Both secrets count during a change; that the old one is used is counted, and logged once in an hour.
func TestTheSecretOfAHookChanges(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var log strings.Builder
	h := newHooked(t, servicetest.Options{Now: func() time.Time { return now }, Log: &log})
	for n := range 3 {
		call(t, h.Service, "POST", hookPath, "{}", hookHeaders("ping", fmt.Sprintf("g-%d", n), signedWith(hookOldSecret, "{}"))...).wantStatus(t, http.StatusAccepted)
	}
	now = now.Add(time.Hour)
	call(t, h.Service, "POST", hookPath, "{}", hookHeaders("ping", "g-9", signedWith(hookOldSecret, "{}"))...).wantStatus(t, http.StatusAccepted)
	wantMetrics(t, h.Service, "github_previous_secret_total 4")
	if n := strings.Count(log.String(), "PREVIOUS_SECRET"); n != 2 {
		t.Errorf("logged %d times, want 2", n)
	}
	if strings.Contains(log.String(), hookSecret) || strings.Contains(log.String(), hookOldSecret) {
		t.Error("a secret is in the log")
	}
}

// From the webhook to the license, and what the operator sees of it.
func TestPlansAndPurchases(t *testing.T) {
	t.Parallel()
	h := newHooked(t, servicetest.Options{})
	a := &admin{t, h.Service, h.AdminToken(t, auth.Scopes...)}
	h.tell("marketplace_purchase", payload(t, "marketplace_purchase", "purchased", githubtest.Set{
		"marketplace_purchase.account.id":                         7,
		"marketplace_purchase.account.organization_billing_email": "bill7@example.com",
		"marketplace_purchase.next_billing_date":                  "2099-04-01T00:00:00Z",
	}))
	page := into[api.PurchasePage](t, a.do("GET", "purchases?unmatched=true", ""))
	if len(page.Items) != 1 || page.Items[0].Unmatched != "plan" || page.Items[0].Account != "" {
		t.Fatalf("purchases = %+v, want one that lacks a plan", page)
	}
	plan := into[api.Plan](t, a.do("POST", "plans", `{"plan_id":435,"tier":"pro","features":["critical_css"]}`))
	if plan.ID != "marketplace-435" {
		t.Errorf("plan = %+v", plan)
	}
	got := into[api.PurchasePage](t, a.do("GET", "purchases", "")).Items[0]
	if got.Account == "" || got.Tier != "pro" || got.ValidUntil != "2099-04-08T00:00:00.000Z" || got.GithubID != 7 {
		t.Errorf("purchase = %+v, want it given", got)
	}
	bought := into[api.Account](t, a.do("GET", "accounts/"+got.Account, ""))
	if bought.Tier != "pro" || bought.Email != "bill7@example.com" {
		t.Errorf("account = %+v", bought)
	}
	other, _ := h.Account(t, "other@example.com")
	if p := into[api.Purchase](t, a.do("POST", "purchases/marketplace:7/match", `{"account":"`+other.ID+`"}`)); p.Account != other.ID {
		t.Errorf("matched = %+v", p)
	}
	if list := into[api.PurchasePage](t, a.do("GET", "purchases?account="+other.ID+"&limit=1&cursor=marketplace:1", "")); len(list.Items) != 1 {
		t.Errorf("purchases of the account = %+v", list)
	}
	into[api.Plan](t, a.do("POST", "plans", `{"sponsor_once_cents":5000,"days":30,"tier":"team"}`))
	if plans := into[api.PlanPage](t, a.do("GET", "plans", "")); len(plans.Items) != 2 {
		t.Errorf("plans = %+v", plans)
	}
	into[api.RemovedPlan](t, a.do("DELETE", "plans/sponsors-once-5000", ""))
	a.do("DELETE", "plans/sponsors-once-5000", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	for path, body := range map[string]string{
		"plans": `{"tier":"pro"}`, "plans?": `{"tier":"gold","plan_id":1}`, "plans#": `{"tier":"pro","plan_id":1,"sponsor_once_cents":1}`, "plans##": `{"tier":"pro","plan_id":-1}`,
		"plans###": `{"tier":"pro","sponsor_once_cents":1}`, "plans####": `{"tier":"pro","plan_id":1,"days":3}`,
	} {
		a.do("POST", strings.TrimRight(path, "?#"), body).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	}
	a.do("GET", "purchases?cursor=x", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	a.do("GET", "purchases?account=user_0123456789abcdef", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	a.do("POST", "purchases/marketplace:99/match", `{"account":"`+other.ID+`"}`).wantCode(t, http.StatusNotFound, api.CodeNotFound)
	if n := h.Acts(t, audit.PlanChanged); n == 0 || h.Acts(t, audit.PurchaseMatched) != 1 {
		t.Errorf("%d lines of changed plans", n)
	}
}

func TestWhatWasReceivedIsListedAndRetried(t *testing.T) {
	t.Parallel()
	h := newHooked(t, servicetest.Options{})
	a := &admin{t, h.Service, h.AdminToken(t, auth.Scopes...)}
	h.tell("marketplace_purchase", "null")
	h.tell("invented", "{}")
	page := into[api.DeliveryPage](t, a.do("GET", "received?limit=1", ""))
	if len(page.Items) != 1 || page.Items[0].State != "ignored" || page.NextCursor != "told-2" {
		t.Fatalf("received = %+v, want the newest", page)
	}
	page = into[api.DeliveryPage](t, a.do("GET", "received?state=failed&event=marketplace_purchase&cursor=told-2", ""))
	if len(page.Items) != 1 || page.Items[0].ID != "told-1" || page.Items[0].Error == "" || page.Items[0].DueAt != nil {
		t.Fatalf("failed = %+v, want the one that is no JSON object", page)
	}
	if got := into[api.GitHubDelivery](t, a.do("POST", "received/told-1/retry", "")); got.State != "received" || got.DueAt == nil {
		t.Errorf("retried = %+v", got)
	}
	a.do("POST", "received/told-9/retry", "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	a.do("GET", "received?state=lost", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	a.do("GET", "received?cursor=told-9", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	if _, err := h.Store.PruneReceived(context.Background(), time.Now().Add(time.Hour), time.Now().Add(-time.Hour), 9); err != nil {
		t.Fatal(err)
	}
	a.do("POST", "received/told-2/retry", "").wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
}

// A body that somebody captured is no news when it is sent again, also under another id.
func TestASponsorshipThatIsReplayedUnderAnotherIDIsNoNews(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := newHooked(t, servicetest.Options{Now: func() time.Time { return now }})
	a := &admin{t, h.Service, h.AdminToken(t, auth.Scopes...)}
	into[api.Plan](t, a.do("POST", "plans", `{"sponsor_monthly_cents":500,"tier":"pro"}`))
	into[api.Plan](t, a.do("POST", "plans", `{"sponsor_monthly_cents":2000,"tier":"team"}`))
	told := func(action string, cents int) {
		t.Helper()
		now = now.Add(time.Minute)
		h.tell("sponsorship", fmt.Sprintf(`{"action":%q,"effective_date":null,"sponsorship":{"node_id":"S_1","created_at":"2026-03-01T00:00:00Z",
			"sponsor":{"id":2,"login":"monalisa"},"sponsorable":{"id":5,"login":"octocat"},"privacy_level":"public",
			"tier":{"node_id":"ST_1","name":"x","monthly_price_in_cents":%d,"is_one_time":false}}}`, action, cents))
	}
	want := func(tier string) {
		t.Helper()
		list := into[api.PurchasePage](t, a.do("GET", "purchases", "")).Items
		if len(list) != 1 || list[0].Tier != tier {
			t.Errorf("purchases = %+v, want one of the tier %s", list, tier)
		}
	}
	told("created", 500)
	told("tier_changed", 2000)
	want("team")
	told("tier_changed", 500)
	want("pro")
	told("tier_changed", 2000) // captured
	want("pro")
}

// Policies follow a repository by its id: a new name is shown, a new owner ends trust.
func TestRepositoriesThatMove(t *testing.T) {
	t.Parallel()
	const github, server = "https://token.actions.githubusercontent.com", "https://ghe.example/_services/token"
	h := newHooked(t, servicetest.Options{GitHub: "https://api.github.com"})
	a, _ := h.Account(t, "a@example.com")
	owner := "70"
	add := func(issuer, repository, name string) license.TrustPolicy {
		t.Helper()
		p, err := h.AddPolicy(t.Context(), license.TrustPolicy{AccountID: a.ID, Repository: name, Policy: oidc.Policy{Issuer: issuer, RepositoryID: repository, OwnerID: owner}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	mine, enterprise := add(github, "7", "acme/site"), add(github+"/acme", "7", "acme/site")
	foreign, other := add(server, "7", "acme/site"), add(github, "8", "acme/other")
	whole := add(github, oidc.AnyRepository, "acme/*")
	told := func(action string, owner int, name, updated string) {
		t.Helper()
		login, short, _ := strings.Cut(name, "/")
		h.tell("repository", payload(t, "repository", action, githubtest.Set{
			"repository.full_name": name, "repository.name": short, "repository.updated_at": updated,
			"repository.owner.id": owner, "repository.owner.login": login,
		}))
	}
	names := func() map[string]string {
		t.Helper()
		list, err := h.Policies(t.Context(), license.PolicyQuery{Limit: 99})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, p := range list {
			out[p.ID] = p.Repository
		}
		return out
	}
	told("renamed", 70, "acme/new", "2026-03-02T00:00:00Z")
	told("renamed", 70, "acme/older", "2026-03-01T00:00:00Z") // late
	told("publicized", 70, "acme/strange", "2026-03-03T00:00:00Z")
	if got := names(); got[mine.ID] != "acme/new" || got[enterprise.ID] != "acme/new" || got[foreign.ID] != "acme/site" || got[other.ID] != "acme/other" {
		t.Errorf("names = %v", got)
	}
	h.tell("organization", payload(t, "organization", "renamed", githubtest.Set{
		"organization.id": 70, "organization.login": "acme-inc",
	}))
	if got := names(); got[mine.ID] != "acme-inc/new" || got[whole.ID] != "acme-inc/*" || got[foreign.ID] != "acme/site" {
		t.Errorf("names after the owner's = %v", got)
	}
	h.tell("installation_target", payload(t, "installation_target", "renamed", githubtest.Set{
		"account.id": 70, "account.login": "acme-ltd",
	}))
	if got := names(); got[mine.ID] != "acme-ltd/new" || got[whole.ID] != "acme-ltd/*" || got[foreign.ID] != "acme/site" {
		t.Errorf("names after the owner's second one = %v", got)
	}
	told("transferred", 71, "evil/new", "2026-03-04T00:00:00Z")
	got := names()
	if _, there := got[mine.ID]; there {
		t.Error("trust in a repository survives its transfer")
	}
	if _, there := got[enterprise.ID]; there || got[foreign.ID] != "acme/site" || got[other.ID] == "" || got[whole.ID] == "" {
		t.Errorf("policies after the transfer = %v, want the others untouched", got)
	}
	if n := h.Acts(t, audit.PolicyRemoved); n != 2 {
		t.Errorf("%d policies were removed, want 2", n)
	}
	lines, err := h.Lines(t.Context(), audit.Query{Action: audit.PolicyRemoved, Limit: 1})
	if err != nil || len(lines) != 1 || lines[0].Actor.Kind != audit.ActorGitHub || !strings.HasPrefix(lines[0].Actor.ID, "told-") {
		t.Errorf("the removal was done by %+v, %v, want GitHub", lines, err)
	}
	owner = "71"
	back := add(github, "7", "evil/new") // trusted again, on purpose
	told("transferred", 72, "third/new", "2026-03-03T12:00:00Z")
	if names()[back.ID] == "" {
		t.Error("an older transfer ends trust that was given since")
	}
	told("renamed", 73, "fourth/new", "2026-03-07T00:00:00Z") // of its owner of now, before it is told how it got there
	if names()[back.ID] == "" {
		t.Error("a new name ends trust")
	}
	owner = "73"
	kept := add(github, "7", "fourth/new")
	told("transferred", 72, "third/new", "2026-03-06T00:00:00Z") // late
	if names()[back.ID] != "" || names()[kept.ID] == "" {
		t.Errorf("after a late transfer: %v, want trust in the newest owner that is known alone", names())
	}
	told("deleted", 73, "fourth/new", "2026-03-05T00:00:00Z") // with a time before that of the new name
	if names()[kept.ID] != "" {
		t.Error("trust in a repository survives its end")
	}
	told("renamed", 73, "fourth/again", "2026-03-08T00:00:00Z")
	told("transferred", 74, "fifth/again", "2026-03-09T00:00:00Z")
	if r, err := h.Parts.Places.GitHubRepository(t.Context(), 7); err != nil || r.Status != in.Deleted {
		t.Errorf("the repository = %+v, %v, want it deleted whatever is told late", r, err)
	}
	h.tell("repository", `{"action":"deleted","repository":{"id":null}}`)
	if d := into[api.DeliveryPage](t, (&admin{t, h.Service, h.AdminToken(t, auth.Scopes...)}).do("GET", "received?state=failed", "")); len(d.Items) != 1 {
		t.Errorf("failed = %+v, want the one without an id", d)
	}
}

func TestInstallationsAreKnown(t *testing.T) {
	t.Parallel()
	h := newHooked(t, servicetest.Options{})
	told := func(event, action, suspended string, updated int) {
		t.Helper()
		var at any // null, or a time
		if err := json.Unmarshal([]byte(suspended), &at); err != nil {
			t.Fatal(err)
		}
		h.tell(event, payload(t, event, action, githubtest.Set{
			"installation.account.login": "octocat",
			"installation.suspended_at":  at, "installation.updated_at": updated,
		}))
	}
	want := func(status string) {
		t.Helper()
		list, err := h.Parts.Places.GitHubInstallations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, i := range list {
			got += i.Login + " " + i.Status
		}
		if got != status {
			t.Errorf("installations = %q, want %q", got, status)
		}
	}
	told("installation", "created", "null", 1525109898)
	want("octocat active")
	told("installation", "suspend", `"2026-03-01T00:00:00Z"`, 1525109900)
	want("octocat suspended")
	told("installation", "new_permissions_accepted", "null", 1525109899) // late
	want("octocat suspended")
	told("installation_repositories", "added", "null", 1525109901)
	want("octocat active")
	told("installation_repositories", "added", `"2026-03-01T00:00:00Z"`, 1525109904)
	want("octocat suspended")
	told("installation", "suspend", `"2026-03-01T00:00:00Z"`, 1525109903) // late
	want("octocat suspended")
	told("installation", "deleted", "null", 1525109902) // late, and it never comes back
	want("")
	told("installation_repositories", "added", "null", 1525109905)
	want("")
}
