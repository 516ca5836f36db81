package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/webhook/deliver"
)

// attempt claims what is due for an endpoint and notes that it was answered so.
func (a *admin) attempt(t *testing.T, id string, limit int, answer deliver.Answer) {
	t.Helper()
	sealed, err := a.Store.Endpoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	got, err := a.Store.ClaimSends(t.Context(), deliver.Claim{
		Owner: "test", Now: now, Until: now.Add(time.Minute), Of: []deliver.ClaimOf{{Receiver: deliver.Receiver{Sealed: sealed}, Limit: limit, Changed: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var notes []deliver.Note
	for _, send := range got[0].Sends {
		notes = append(notes, deliver.Note{Endpoint: id, Owner: "test", Send: send, Answer: answer})
	}
	if _, err := a.Store.NoteSends(t.Context(), notes, now); err != nil {
		t.Fatal(err)
	}
}

func TestDeliveriesThroughTheAdminAPI(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	e := into[api.Webhook](t, a.do("POST", "webhooks", `{"url":"https://example.com/hooks","events":["account.created"]}`))
	for _, email := range []string{"a@example.com", "b@example.com", "c@example.com"} {
		a.Account(t, email)
	}
	path := "webhooks/" + e.ID
	a.attempt(t, e.ID, 1, deliver.Answer{Status: 200, Body: "thanks", Addr: "192.0.2.7:443"})
	a.attempt(t, e.ID, 1, deliver.Answer{Status: 500, Body: "oh"})
	page := into[api.WebhookDeliveryPage](t, a.do("GET", path+"/deliveries", ""))
	if len(page.Items) != 3 || page.Items[0].State != "pending" || page.Items[1].Status != 500 || page.Items[1].Reason != "the receiver answered 500 Internal Server Error" ||
		page.Items[1].Response != "oh" || page.Items[1].NextAt == "" || page.Items[2].State != "delivered" || page.Items[2].Address != "192.0.2.7:443" {
		t.Errorf("deliveries = %+v", page.Items)
	}
	if q := page.Queue; q.Pending != 2 || q.FailingSince == "" {
		t.Errorf("queue = %+v", q)
	}
	first := into[api.WebhookDeliveryPage](t, a.do("GET", path+"/deliveries?limit=2", ""))
	rest := into[api.WebhookDeliveryPage](t, a.do("GET", path+"/deliveries?limit=2&cursor="+first.NextCursor, ""))
	if len(first.Items) != 2 || len(rest.Items) != 1 || rest.NextCursor != "" || rest.Items[0].Event != page.Items[2].Event {
		t.Errorf("pages = %+v, %+v", first, rest)
	}
	if of := into[api.WebhookDeliveryPage](t, a.do("GET", path+"/deliveries?state=delivered&event="+page.Items[2].Event, "")); len(of.Items) != 1 {
		t.Errorf("that one = %+v", of)
	}

	counted := into[api.WebhookReplay](t, a.do("POST", path+"/replays", `{"count":true,"undelivered":true}`))
	if counted.Events != 2 || counted.State != "counted" || counted.ID != "" {
		t.Errorf("counted = %+v", counted)
	}
	made := into[api.WebhookReplay](t, a.do("POST", path+"/replays", `{"event":"`+page.Items[2].Event+`"}`))
	if made.Events != 1 || made.State != "running" || !strings.HasPrefix(made.ID, "rpl_") {
		t.Errorf("replay = %+v", made)
	}
	a.attempt(t, e.ID, 9, deliver.Answer{Status: 200})
	list := into[api.WebhookReplayPage](t, a.do("GET", path+"/replays", ""))
	if len(list.Items) != 1 || list.Items[0].Queued != 1 || list.Items[0].State != "queued" || list.Items[0].EndedAt == "" {
		t.Errorf("replays = %+v", list)
	}
	none := into[api.WebhookReplay](t, a.do("POST", path+"/replays", `{"since":"2020-01-01","until":"2020-01-02T00:00:00Z"}`))
	if none.Events != 0 || none.State != "queued" {
		t.Errorf("a replay of nothing = %+v", none)
	}
	if page := into[api.WebhookReplayPage](t, a.do("GET", path+"/replays?limit=1", "")); len(page.Items) != 1 || page.NextCursor == "" {
		t.Errorf("the first page of replays = %+v", page)
	}
	a.Account(t, "d@example.com")
	if skipped := into[api.SkippedWebhook](t, a.do("POST", path+"/skip", "")); skipped.Events < 1 || skipped.ID != e.ID {
		t.Errorf("skipped = %+v", skipped)
	}

	for asked, want := range map[string]string{
		"GET " + path + "/deliveries?state=sent":                                    "is none of pending, sending, held, delivered, failed, skipped",
		"GET " + path + "/deliveries?cursor=x":                                      "is not the place of a delivery",
		"GET " + path + "/replays?cursor=x":                                         "is not an id such as rpl_",
		"POST " + path + `/replays {"since":"yesterday"}`:                           "since: ",
		"POST " + path + `/replays {"event":"e","count":true,"since":"2026-01-01"}`: "not both",
		"POST " + path + `/replays {"since":"2026-01-02","until":"2026-01-01"}`:     "is not after its beginning",
	} {
		words := strings.SplitN(asked, " ", 3)
		body := ""
		if len(words) == 3 {
			body = words[2]
		}
		if got := a.do(words[0], words[1], body); got.status != http.StatusBadRequest || !strings.Contains(got.body, want) {
			t.Errorf("%s = %d %s, want %q", asked, got.status, got.body, want)
		}
	}
	a.do("PATCH", path, `{"status":"disabled"}`)
	if got := a.do("POST", path+"/replays", `{"undelivered":true}`); got.status != http.StatusBadRequest || !strings.Contains(got.body, "enable it first") {
		t.Errorf("a replay to a disabled endpoint = %d %s", got.status, got.body)
	}
	for asked, body := range map[string]string{
		"GET webhooks/wh_0000000000000000/deliveries": "", "GET webhooks/wh_0000000000000000/replays": "", "POST webhooks/wh_0000000000000000/replays": "{}",
		"POST webhooks/wh_0000000000000000/skip": "", "GET " + path + "/deliveries?event=evt_0000000000000000": "",
	} {
		method, at, _ := strings.Cut(asked, " ")
		if got := a.do(method, at, body); got.status != http.StatusNotFound {
			t.Errorf("%s = %d %s, want 404", asked, got.status, got.body)
		}
	}
}

func TestAReplayIsMadeOnceUnderAName(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	e := into[api.Webhook](t, a.do("POST", "webhooks", `{"url":"https://example.com/hooks","events":["account.created"]}`))
	for _, email := range []string{"a@example.com", "b@example.com"} {
		a.Account(t, email)
	}
	a.attempt(t, e.ID, 9, deliver.Answer{Status: 200})
	path := "/_api/admin/webhooks/" + e.ID + "/replays"
	sent := into[api.WebhookDeliveryPage](t, a.do("GET", "webhooks/"+e.ID+"/deliveries", "")).Items
	newest, oldest := `{"event":"`+sent[0].Event+`"}`, `{"event":"`+sent[1].Event+`"}`
	send := func(name, body string) answer {
		t.Helper()
		return call(t, a.Service, "POST", path, body, named(a.token, name)...)
	}
	first := into[api.WebhookReplay](t, send("event", oldest))
	ranged := into[api.WebhookReplay](t, send("time", `{"since":"2020-01-01"}`))
	a.Account(t, "c@example.com") // the time has no end, and is longer now
	a.attempt(t, e.ID, 9, deliver.Answer{Status: 200})
	for name, again := range map[string]api.WebhookReplay{
		first.ID: into[api.WebhookReplay](t, send("event", oldest)), ranged.ID: into[api.WebhookReplay](t, send("time", `{"since":"2020-01-01"}`)),
	} {
		if again.ID != name {
			t.Errorf("sent again, it is %s, want %s", again.ID, name)
		}
	}
	for body, name := range map[string]string{
		newest: "event", `{"since":"2020-01-01","undelivered":true}`: "time", `{"until":"2020-01-01"}`: "time", oldest: "time",
	} {
		send(name, body).wantCode(t, http.StatusConflict, api.CodeConflict)
	}
	if list := into[api.WebhookReplayPage](t, a.do("GET", "webhooks/"+e.ID+"/replays", "")).Items; len(list) != 2 {
		t.Errorf("there are %d replays, want 2", len(list))
	}
}
