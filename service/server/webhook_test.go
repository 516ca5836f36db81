package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/webhook/out"
	"github.com/pageflare/ci/service/webhook/signature"
)

func TestAWebhookEndpointLivesThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	account, _ := a.Account(t, "dev@example.com")
	made := into[api.Webhook](t, a.do("POST", "webhooks", `{"account":"`+account.ID+`","url":"https://example.com/hooks?key=1","events":["plan.changed","account.updated","plan.changed"]}`))
	if diff := cmp.Diff([]string{"account.updated", "plan.changed"}, made.Events); diff != "" || made.Status != "active" || made.Account != account.ID {
		t.Errorf("added %+v (-want +got)\n%s", made, diff)
	}
	if err := signature.CheckSecret(made.Secret); err != nil {
		t.Error(err)
	}
	all := into[api.Webhook](t, a.do("POST", "webhooks", `{"url":"https://example.com/all"}`))
	if all.Account != "" || all.Events == nil || len(all.Events) != 0 {
		t.Errorf("an endpoint for all = %+v", all)
	}
	path := "webhooks/" + made.ID
	got := a.do("GET", path, "")
	if strings.Contains(got.body, "whsec_") || into[api.Webhook](t, got).URL != made.URL {
		t.Errorf("the endpoint is shown as %s", got.body)
	}
	if page := into[api.WebhookPage](t, a.do("GET", "webhooks?account="+account.ID, "")); len(page.Items) != 1 || page.Items[0].ID != made.ID || page.Items[0].Secret != "" {
		t.Errorf("the endpoints of the account = %+v", page)
	}
	if page := into[api.WebhookPage](t, a.do("GET", "webhooks?limit=1", "")); len(page.Items) != 1 || page.NextCursor != page.Items[0].ID {
		t.Errorf("the first page = %+v", page)
	}
	if changed := into[api.Webhook](t, a.do("PATCH", path, `{"events":[],"status":"disabled"}`)); len(changed.Events) != 0 || changed.Status != "disabled" || changed.URL != made.URL {
		t.Errorf("changed to %+v", changed)
	}
	for body, want := range map[string]string{
		`{"url":"http://example.com"}`:          "url is not https",
		`{"url":"https://10.0.0.7/x"}`:          "not public",
		`{"url":"https://a:b@example.com/"}`:    "has a user or a password",
		`{"url":"https://example.com/#x"}`:      "behind #",
		`{"url":"ftp://example.com"}`:           "give https://",
		`{"events":["account.update"]}`:         "is none of license.issued",
		`{"status":"removed"}`:                  "is not active or disabled",
		`{"url":"https://example.com/ü?a b"}`:   "not ASCII",
		`{"url":"https://[fe80::1]:8443/hook"}`: "not public",
	} {
		refused := a.do("PATCH", path, body)
		refused.wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
		if !strings.Contains(refused.body, want) {
			t.Errorf("%s = %s, want %q", body, refused.body, want)
		}
	}
	rotated := into[api.Webhook](t, a.do("POST", path+"/rotate-secret", `{"overlap":"2h"}`))
	if rotated.Secret == made.Secret || rotated.Secret == "" || rotated.PreviousSecretUntil == "" {
		t.Errorf("rotated to %+v", rotated)
	}
	a.do("POST", path+"/rotate-secret", `{"overlap":"169h"}`).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	a.do("POST", path+"/rotate-secret", `{"overlap":"soon"}`).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)

	test := into[map[string]any](t, a.do("POST", path+"/test", `{"type":"plan.changed"}`))
	if data, _ := test["data"].(map[string]any); test["type"] != "plan.changed" || data["test"] != true || data["account"] != account.ID {
		t.Errorf("the test event = %v", test)
	}
	a.do("POST", path+"/test", `{"type":"plan"}`).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)

	if removed := into[api.RemovedWebhook](t, a.do("DELETE", path, "")); removed.ID != made.ID || removed.Status != "removed" {
		t.Errorf("removed %+v", removed)
	}
	a.do("GET", path, "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	a.do("DELETE", path, "").wantCode(t, http.StatusNotFound, api.CodeNotFound)
	for i := range out.MaxOfAccount {
		into[api.Webhook](t, a.do("POST", "webhooks", fmt.Sprintf(`{"account":%q,"url":"https://example.com/%d"}`, account.ID, i)))
	}
	a.do("POST", "webhooks", `{"account":"`+account.ID+`","url":"https://example.com/more"}`).wantCode(t, http.StatusConflict, api.CodeConflict)

	for _, did := range []audit.Action{audit.EndpointAdded, audit.EndpointUpdated, audit.EndpointRotated, audit.EndpointTested, audit.EndpointRemoved} {
		lines, err := a.Lines(t.Context(), audit.Query{Action: did, Limit: 99})
		if err != nil || len(lines) == 0 {
			t.Errorf("%s: %d lines, %v", did, len(lines), err)
		}
		for _, l := range lines {
			if strings.Contains(l.Details, "whsec_") || strings.Contains(l.Details, "key=1") {
				t.Errorf("line %d has what is a secret, or as good as one: %s", l.Seq, l.Details)
			}
		}
	}
}

// A request for another secret that is sent again, because its answer was lost, does not change it
// twice, and never back.
func TestASecretIsRotatedOnceUnderAName(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	token := s.AdminToken(t, auth.Scopes...)
	made := into[api.Webhook](t, call(t, s, "POST", "/_api/admin/webhooks", `{"url":"https://example.com"}`, named(token, "a")...))
	if again := into[api.Webhook](t, call(t, s, "POST", "/_api/admin/webhooks", `{"url":"https://example.com"}`, named(token, "a")...)); cmp.Diff(made, again) != "" {
		t.Errorf("added again = %+v, want %+v", again, made)
	}
	call(t, s, "POST", "/_api/admin/webhooks", `{"url":"https://example.org"}`, named(token, "a")...).wantCode(t, http.StatusConflict, api.CodeConflict)
	path := "/_api/admin/webhooks/" + made.ID + "/rotate-secret"
	first := call(t, s, "POST", path, `{"overlap":"1h"}`, named(token, "n-1")...)
	call(t, s, "POST", path, `{"overlap":"1h"}`, named(token, "n-1")...).want(t, http.StatusOK, first.body)
	second := into[api.Webhook](t, call(t, s, "POST", path, `{"overlap":"1h"}`, named(token, "n-2")...))
	if second.Secret == into[api.Webhook](t, first).Secret {
		t.Error("another request gave the same secret")
	}
	n1 := func(body string) {
		t.Helper()
		call(t, s, "POST", path, body, named(token, "n-1")...).wantCode(t, http.StatusConflict, api.CodeConflict)
	}
	n1(`{"overlap":"1h"}`)
	call(t, s, "POST", path, `{}`, named(token, "n-3")...) // nothing tells now of the secret of n-1
	n1(`{"overlap":"1h"}`)
	call(t, s, "POST", path, `{"overlap":"1h"}`, named(token, "n-3")...).wantCode(t, http.StatusConflict, api.CodeConflict)
	if n := s.Acts(t, audit.EndpointRotated); n != 3 {
		t.Errorf("rotated %d times, want 3", n)
	}
}

// feedPage is an answer of the feed.
type feedPage struct {
	Events []struct {
		ID, Type string
		Sequence int64
		Data     map[string]any
	}
	Next, Latest int64
}

func (p feedPage) types() (list []string) {
	for _, e := range p.Events {
		list = append(list, e.Type)
	}
	return list
}

func TestTheFeedTellsWhatHappened(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	before := into[feedPage](t, a.do("GET", "events", ""))
	one, _ := a.Account(t, "one@example.com")
	two, _ := a.Account(t, "two@example.com")
	w := into[api.Webhook](t, a.do("POST", "webhooks", `{"url":"https://example.com","events":["license.issued"]}`))
	a.IssueToken(t, two.ID, 0)
	into[map[string]any](t, a.do("POST", "webhooks/"+w.ID+"/test", `{"type":"ping"}`))
	after := fmt.Sprintf("events?after=%d", before.Latest)
	for query, want := range map[string][]string{
		"":                     {"account.created", "account.created", "license.issued"},
		"&tests=true":          {"account.created", "account.created", "license.issued", "ping"},
		"&account=" + two.ID:   {"account.created", "license.issued"},
		"&account=" + one.ID:   {"account.created"},
		"&type=license.issued": {"license.issued"},
		"&type=ping":           nil,
		"&limit=2":             {"account.created", "account.created"},
		"&type=ping&tests=true&account=" + one.ID: nil,
	} {
		page := into[feedPage](t, a.do("GET", after+query, ""))
		if diff := cmp.Diff(want, page.types()); diff != "" || page.Latest != before.Latest+4 || page.Next > page.Latest || page.Next < before.Latest+2 {
			t.Errorf("%s: next %d, latest %d (-want +got)\n%s", query, page.Next, page.Latest, diff)
		}
	}
	answer := a.do("GET", after, "")
	events, err := a.Parts.Feed.Read(t.Context(), out.FeedQuery{After: before.Latest, Limit: 1}, 0)
	if err != nil || !strings.Contains(answer.body, string(events.Events[0].Body())) {
		t.Errorf("the feed answers %s, want the body %s that webhooks get", answer.body, events.Events[0].Body())
	}
	for query, status := range map[string]int{
		"after=-1": 400, "after=x": 400, "wait=61": 400, "limit=0": 400, "type=plan": 400, "tests=1": 400, "account=user_0000000000000000": 404,
	} {
		if got := a.do("GET", "events?"+query, ""); got.status != status {
			t.Errorf("%s = %d, want %d", query, got.status, status)
		}
	}
	call(t, a.Service, "GET", "/_api/admin/events", "", bearer(a.AdminToken(t, auth.ScopeAuditRead))...).wantCode(t, http.StatusForbidden, api.CodeInsufficientScope)
}

// Who missed something is told so, and where to go on.
func TestTheFeedSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	for i := range 3 {
		a.Account(t, fmt.Sprintf("dev%d@example.com", i))
	}
	latest := into[feedPage](t, a.do("GET", "events", "")).Latest
	gone := func(query, want string) {
		t.Helper()
		got := a.do("GET", "events?"+query, "")
		got.wantCode(t, http.StatusGone, api.CodeEventsMissing)
		if !strings.Contains(got.body, want) {
			t.Errorf("%s = %s, want %q", query, got.body, want)
		}
	}
	gone(fmt.Sprintf("after=%d", latest+1), fmt.Sprintf("go on with after=%d", latest))
	a.Alter(t, `DELETE FROM events WHERE seq <= 3`)
	gone("after=2", "those from 3 to 3 were pruned")
	if page := into[feedPage](t, a.do("GET", "events?after=3", "")); len(page.Events) != int(latest-3) {
		t.Errorf("behind what was pruned there are %v", page.types())
	}
	if page := into[feedPage](t, a.do("GET", "events", "")); page.Events[0].Sequence != 4 {
		t.Errorf("it begins with %+v, want the oldest that is kept", page.Events[0])
	}
	a.Alter(t, `DELETE FROM events`)
	gone("after=3", fmt.Sprintf("go on with after=%d", latest))
	if page := into[feedPage](t, a.do("GET", fmt.Sprintf("events?after=%d", latest), "")); len(page.Events) != 0 || page.Next != latest {
		t.Errorf("behind all = %+v", page)
	}
}

// waiting asks the feed of a service at an address, and tells when it waits; the answer comes later.
func waiting(t *testing.T, s *servicetest.Service, addr, token string, after int64) <-chan string {
	t.Helper()
	before := s.Parts.Feed.Waiters()
	answer := make(chan string, 1)
	go func() {
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), "GET", fmt.Sprintf("http://%s/_api/admin/events?after=%d&wait=60", addr, after), nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		var page feedPage
		if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
			answer <- err.Error()
			return
		}
		answer <- fmt.Sprint(res.StatusCode, page.types(), res.Close)
	}()
	for s.Parts.Feed.Waiters() == before {
		select {
		case got := <-answer:
			t.Fatalf("the feed answered %s, want it to wait", got)
		default:
		}
	}
	return answer
}

// looks tells each time that somebody who waits looks for what other processes published.
type looks struct {
	out.FeedStore
	looked chan struct{}
}

func (l looks) NewestEvent(ctx context.Context) (int64, error) {
	select {
	case l.looked <- struct{}{}:
	default:
	}
	return l.FeedStore.NewestEvent(ctx)
}

// Who waits hears at once, also of what another replica did, and for longer than a request may take
// to be read.
func TestWhoWaitsForEventsHearsThem(t *testing.T) {
	t.Parallel()
	looked := make(chan struct{})
	s := servicetest.Start(t, servicetest.Options{Between: func(st *parts.Stores) { st.Feed = looks{st.Feed, looked} }})
	replica := s.Replica(t, nil)
	token := s.AdminToken(t, auth.ScopeEventsRead)
	addr := serveShortened(t, s, long, short)
	latest := func() int64 {
		n, err := s.Store.NewestEvent(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, do := range map[string]func(){
		"own":       func() { s.Account(t, "own@example.com") },
		"replica's": func() { replica.Account(t, "other@example.com") },
	} {
		answer := waiting(t, s, addr, token, latest())
		for range 2 { // half a second lies between them, which is beyond the time limit of reading a request
			<-looked
		}
		do()
		if got, want := <-answer, "200 [account.created] true"; got != want {
			t.Errorf("%s: who waits is answered %s, want %s", name, got, want)
		}
	}
}

// A server that drains sends those away who wait, so that they ask another one.
func TestWhoWaitsIsSentAwayByADrain(t *testing.T) {
	t.Parallel()
	asked, over := make(chan time.Duration), make(chan time.Time)
	s := servicetest.Start(t, servicetest.Options{Drain: 7 * time.Second, After: func(d time.Duration) <-chan time.Time {
		asked <- d
		return over
	}})
	s.ServesBeside()
	token := s.AdminToken(t, auth.ScopeEventsRead)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.Server.Serve(ctx, l) }()
	newest, err := s.Store.NewestEvent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	answer := waiting(t, s, l.Addr().String(), token, newest)
	stop()
	<-asked
	if got, want := <-answer, "200 [] true"; got != want {
		t.Errorf("who waits is answered %s, want %s", got, want)
	}
	close(over)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The end of a license is told by whichever replica looks after it, once, also after it was down.
func TestTheEndOfALicenseIsTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	replica := s.Replica(t, nil)
	a := &admin{t, s, s.AdminToken(t, auth.Scopes...)}
	made := into[api.Account](t, a.do("POST", "accounts", `{"email":"dev@example.com","valid_until":"2026-05-01"}`))
	tell := func(after string, want ...string) {
		t.Helper()
		at, err := time.Parse(time.DateOnly, after)
		if err != nil {
			t.Fatal(err)
		}
		now = at
		latest := into[feedPage](t, a.do("GET", "events?limit=1", "")).Latest
		for _, who := range []*servicetest.Service{s, replica, s} {
			if err := who.Parts.Notices.Give(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, e := range into[feedPage](t, a.do("GET", fmt.Sprintf("events?after=%d", latest), "")).Events {
			if e.Data["account"] != made.ID || e.Data["valid_until"] != "2026-05-01T00:00:00.000Z" {
				t.Errorf("%s says %v", e.Type, e.Data)
			}
			got = append(got, fmt.Sprint(e.Type, " ", e.Data["days"]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("told on %s (-want +got)\n%s", after, diff)
		}
	}
	tell("2026-03-13")
	tell("2026-04-02", "license.expiring 30")
	tell("2026-04-30", "license.expiring 1")
	tell("2026-05-03", "license.expired <nil>")
	tell("2026-05-04")
	lines, err := s.Lines(t.Context(), audit.Query{Account: made.ID, Action: audit.LicenseExpired, Limit: 9})
	if err != nil || len(lines) != 1 {
		t.Errorf("%d lines say that the license has ended, %v", len(lines), err)
	}
}
