package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Delivery is an attempt of GitHub's to deliver an event to the webhook of an App.
type Delivery struct {
	ID     int64
	GUID   string
	At     time.Time
	Status int // that the receiver answered with; 0: it did not answer
}

// Plan is a plan of the Marketplace listing of the App, with who has it.
type Plan struct {
	ID       int64
	Name     string
	Cents    int64 // a month
	Accounts []Subscriber
}

// Subscriber is an account of GitHub that has bought a plan.
type Subscriber struct {
	ID          int64
	Login       string
	Email       string // for bills
	NextBilling string // as GitHub writes it; empty: null
	TrialEnds   string // empty: no trial
	Units       int64
}

// Sponsor is an active sponsorship.
type Sponsor struct {
	NodeID    string
	ID        int64 // of the account; 0: GitHub does not tell
	Login     string
	CreatedAt string
	Cents     int64
	Once      bool
}

// shop is what Apps and maintainers see beside repositories.
type shop struct {
	deliveries []Delivery // oldest first
	redelivers func(Delivery)
	plans      []Plan // nil: there is no listing
	sponsors   map[string][]Sponsor
}

// SetDeliveries sets what the App's webhook was sent, oldest first, and what happens when one is to be
// delivered again.
func (s *Server) SetDeliveries(list []Delivery, again func(Delivery)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shop.deliveries, s.shop.redelivers = slices.Clone(list), again
}

// SetListing sets the plans of the App's Marketplace listing; nil: it has none.
func (s *Server) SetListing(plans []Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shop.plans = plans
}

// SetSponsors sets the sponsorships of a maintainer.
func (s *Server) SetSponsors(maintainer string, list []Sponsor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shop.sponsors == nil {
		s.shop.sponsors = map[string][]Sponsor{}
	}
	s.shop.sponsors[maintainer] = list
}

// hookDeliveriesPath takes a cursor in place of a page.
const hookDeliveriesPath = "/app/hook/deliveries"

func billingRoutes() []route {
	return []route{
		{"GET", hookDeliveriesPath, byApp, "", "", false, (*Server).listDeliveries},
		{"POST", hookDeliveriesPath + "/{delivery}/attempts", byApp, "", "", false, (*Server).redeliver},
		{"GET", "/marketplace_listing/plans", byApp, "", "", true, (*Server).listPlans},
		{"GET", "/marketplace_listing/plans/{plan}/accounts", byApp, "", "", true, (*Server).listSubscribers},
		{"GET", "/marketplace_listing/accounts/{account}", byApp, "", "", false, (*Server).subscriber},
		{"POST", "/graphql", byToken, "", "", false, (*Server).graphQL},
		{"GET", "/user", byToken, "", "", false, (*Server).user},
	}
}

// listDeliveries answers with the newest first, and a cursor:
//
//	[{"id":12,"guid":"0b98…","delivered_at":"2026-03-01T12:00:00Z","redelivery":false,"duration":0.27,"status":"OK","status_code":202,…}]
//	Link: <http://127.0.0.1:1/app/hook/deliveries?cursor=v1_11&per_page=100>; rel="next"
//
// https://docs.github.com/en/rest/apps/webhooks#list-deliveries-for-an-app-webhook
func (s *Server) listDeliveries(req *request) answer {
	query := req.URL.Query()
	size := 30
	if text := query.Get("per_page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return invalid("per_page must be a positive number")
		}
		size = min(n, 100)
	}
	s.mu.Lock()
	list := slices.Clone(s.shop.deliveries)
	s.mu.Unlock()
	slices.Reverse(list)
	if cursor := query.Get("cursor"); cursor != "" {
		id, err := strconv.ParseInt(strings.TrimPrefix(cursor, "v1_"), 10, 64)
		if err != nil || !strings.HasPrefix(cursor, "v1_") {
			return invalid("cursor is not one")
		}
		list = slices.DeleteFunc(list, func(d Delivery) bool { return d.ID >= id })
	}
	header := http.Header{}
	if len(list) > size {
		list = list[:size]
		header.Set("Link", fmt.Sprintf(`<%s%s?cursor=v1_%d&per_page=%d>; rel="next"`, s.URL(), hookDeliveriesPath, list[size-1].ID, size))
	}
	type item struct {
		ID     int64     `json:"id"`
		GUID   string    `json:"guid"`
		At     time.Time `json:"delivered_at"`
		Status string    `json:"status"`
		Code   int       `json:"status_code"`
	}
	items := make([]item, 0, len(list))
	for _, d := range list {
		status := "OK"
		if d.Status < 200 || d.Status > 299 {
			status = "failed"
		}
		items = append(items, item{d.ID, d.GUID, d.At, status, d.Status})
	}
	return answerJSON(http.StatusOK, items).with(header)
}

// redeliver answers 202 and delivers.
func (s *Server) redeliver(req *request) answer {
	s.mu.Lock()
	i := slices.IndexFunc(s.shop.deliveries, func(d Delivery) bool { return strconv.FormatInt(d.ID, 10) == req.values["delivery"] })
	var d Delivery
	again := s.shop.redelivers
	if i >= 0 {
		d = s.shop.deliveries[i]
	}
	s.mu.Unlock()
	if i < 0 {
		return notFound()
	}
	if again != nil {
		again(d)
	}
	return answerJSON(http.StatusAccepted, struct{}{})
}

type planAnswer struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Monthly int64  `json:"monthly_price_in_cents"`
	Yearly  int64  `json:"yearly_price_in_cents"`
	Price   string `json:"price_model"`
}

func (p Plan) answer() planAnswer {
	return planAnswer{p.ID, p.Name, p.Cents, 10 * p.Cents, "FLAT_RATE"}
}

func (s *Server) listing() []Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shop.plans
}

// listPlans answers as
// https://docs.github.com/en/rest/apps/marketplace#list-plans says; 404 without a listing.
func (s *Server) listPlans(req *request) answer {
	plans := s.listing()
	if plans == nil {
		return notFound()
	}
	all := make([]planAnswer, 0, len(plans))
	for _, p := range plans {
		all = append(all, p.answer())
	}
	return paged(s, req, all)
}

func paged[T any](s *Server, req *request, all []T) answer {
	shown, header, err := s.page(req, len(all))
	if err != nil {
		return invalid(err.Error())
	}
	return answerJSON(http.StatusOK, all[shown.from:shown.to]).with(header)
}

type subscriberAnswer struct {
	ID       int64  `json:"id"`
	Login    string `json:"login"`
	Type     string `json:"type"`
	Email    string `json:"organization_billing_email"`
	Purchase struct {
		Cycle       string     `json:"billing_cycle"`
		NextBilling *string    `json:"next_billing_date"`
		Units       int64      `json:"unit_count"`
		OnTrial     bool       `json:"on_free_trial"`
		TrialEnds   *string    `json:"free_trial_ends_on"`
		Plan        planAnswer `json:"plan"`
	} `json:"marketplace_purchase"`
}

func (a Subscriber) answer(p Plan) subscriberAnswer {
	out := subscriberAnswer{ID: a.ID, Login: a.Login, Type: "Organization", Email: a.Email}
	out.Purchase.Cycle, out.Purchase.Units, out.Purchase.Plan = "monthly", a.Units, p.answer()
	if a.NextBilling != "" {
		out.Purchase.NextBilling = &a.NextBilling
	}
	if a.TrialEnds != "" {
		out.Purchase.OnTrial, out.Purchase.TrialEnds = true, &a.TrialEnds
	}
	return out
}

func (s *Server) listSubscribers(req *request) answer {
	for _, p := range s.listing() {
		if strconv.FormatInt(p.ID, 10) == req.values["plan"] {
			all := make([]subscriberAnswer, 0, len(p.Accounts))
			for _, a := range p.Accounts {
				all = append(all, a.answer(p))
			}
			return paged(s, req, all)
		}
	}
	return notFound()
}

func (s *Server) subscriber(req *request) answer {
	for _, p := range s.listing() {
		for _, a := range p.Accounts {
			if strconv.FormatInt(a.ID, 10) == req.values["account"] {
				return answerJSON(http.StatusOK, a.answer(p))
			}
		}
	}
	return notFound()
}

// user answers who the token is of.
func (s *Server) user(*request) answer { return answerJSON(http.StatusOK, owner{"maintainer", 77}) }

// graphQL answers the one query that is known, of the sponsorships of a maintainer. Refusals are in
// the body of a 200, as GraphQL has them.
func (s *Server) graphQL(req *request) answer {
	var in struct {
		Query     string `json:"query"`
		Variables struct {
			Login string  `json:"login"`
			After *string `json:"after"`
		} `json:"variables"`
	}
	if err := decodeStrictly(req.body, &in); err != nil || !strings.Contains(in.Query, "sponsorshipsAsMaintainer(first: 100, after: $after") {
		s.fault("unknown query of GraphQL: %s", req.body)
		return invalid("the query is not known")
	}
	s.mu.Lock()
	list, known := s.shop.sponsors[in.Variables.Login]
	s.mu.Unlock()
	type object = map[string]any
	if !known {
		return answerJSON(http.StatusOK, object{"data": object{"repositoryOwner": nil}, "errors": []object{
			{"type": "NOT_FOUND", "message": "Could not resolve to a RepositoryOwner with the login of '" + in.Variables.Login + "'."},
		}})
	}
	from := 0
	if in.Variables.After != nil {
		from, _ = strconv.Atoi(*in.Variables.After)
	}
	to := min(from+100, len(list))
	nodes := []object{}
	for _, one := range list[min(from, to):to] {
		var sponsor any
		if one.ID != 0 {
			sponsor = object{"databaseId": one.ID, "login": one.Login}
		}
		nodes = append(nodes, object{"id": one.NodeID, "createdAt": one.CreatedAt, "isOneTimePayment": one.Once, "sponsorEntity": sponsor,
			"tier": object{"name": fmt.Sprintf("$%d", one.Cents/100), "monthlyPriceInCents": one.Cents}})
	}
	return answerJSON(http.StatusOK, object{"data": object{"repositoryOwner": object{"sponsorshipsAsMaintainer": object{
		"pageInfo": object{"hasNextPage": to < len(list), "endCursor": strconv.Itoa(to)}, "nodes": nodes,
	}}}})
}

// takesCursor tells a query of the one route that pages by a cursor.
func takesCursor(query url.Values) bool {
	for name := range query {
		if name != "cursor" && name != "per_page" {
			return false
		}
	}
	return true
}
