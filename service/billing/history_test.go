package billing_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/billing"
)

// day is noon of a day in March 2026.
func day(n int) time.Time { return time.Date(2026, 3, n, 12, 0, 0, 0, time.UTC) }

// bought is what a payload of marketplace_purchase tells.
type bought struct {
	action    string
	effective string // RFC 3339
	buyer     int64
	login     string
	email     string // empty: null
	plan      int64
	cents     int64
	units     int64
	next      string // empty: null
	trial     string // empty: no trial
}

func (b bought) notice(t githubtest.TB) billing.Notice {
	t.Helper()
	orNull := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	const at = "marketplace_purchase."
	text := githubtest.Payload(t, "marketplace_purchase", b.action, githubtest.Set{
		"effective_date":                          b.effective,
		at + "account.id":                         b.buyer,
		at + "account.login":                      b.login,
		at + "account.organization_billing_email": orNull(b.email),
		at + "unit_count":                         b.units,
		at + "on_free_trial":                      b.trial != "",
		at + "free_trial_ends_on":                 orNull(b.trial),
		at + "next_billing_date":                  orNull(b.next),
		at + "plan.id":                            b.plan,
		at + "plan.name":                          fmt.Sprintf("Plan %d", b.plan),
		at + "plan.monthly_price_in_cents":        b.cents,
		at + "plan.yearly_price_in_cents":         10 * b.cents,
		at + "plan.price_model":                   "PER_UNIT",
	})
	n, known, err := billing.ParseMarketplace(text)
	if err != nil || !known {
		t.Fatalf("ParseMarketplace(%s) = %v, %v", text, known, err)
	}
	return n
}

// history is what a buyer does: a trial, a purchase, an upgrade on the day of another change, a
// downgrade that was announced and taken back and announced again, the end.
func history(buyer int64) []bought {
	at := func(d int) string { return fmt.Sprintf("2026-03-%02dT00:00:00+00:00", d) }
	return []bought{
		{action: "purchased", effective: at(1), buyer: buyer, login: "acme", email: "bill@example.com", plan: 1, cents: 1000, units: 1, next: at(15), trial: at(15)},
		{action: "changed", effective: at(15), buyer: buyer, login: "acme", email: "bill@example.com", plan: 1, cents: 1000, units: 1, next: "2026-04-15T00:00:00Z"},
		{action: "changed", effective: at(15), buyer: buyer, login: "acme-inc", email: "bill@example.com", plan: 2, cents: 5000, units: 3, next: "2026-04-15T00:00:00Z"},
		{action: "pending_change", effective: "2026-04-15T00:00:00Z", buyer: buyer, login: "acme-inc", plan: 1, cents: 1000, units: 1},
		{action: "pending_change_cancelled", effective: "2026-04-15T00:00:00Z", buyer: buyer, login: "acme-inc", plan: 1, cents: 1000, units: 1},
		{action: "cancelled", effective: "2026-04-15T00:00:00Z", buyer: buyer, login: "acme-inc", plan: 2, cents: 5000, units: 3, next: "2026-04-15T00:00:00Z"},
	}
}

// permutations yields every order of n things.
func permutations(n int, yield func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(int)
	rec = func(k int) {
		if k == n {
			yield(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			rec(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	rec(0)
}

func TestEveryOrderOfAHistoryComesToTheSame(t *testing.T) {
	t.Parallel()
	var notices []billing.Notice
	for _, b := range history(7) {
		notices = append(notices, b.notice(t))
	}
	for length := 1; length <= len(notices); length++ {
		some := notices[:length]
		want := billing.Fold(some...)
		permutations(length, func(order []int) {
			var told []billing.Notice
			for _, i := range order {
				told = append(told, some[i], some[order[0]]) // the first again and again
			}
			if diff := cmp.Diff(want, billing.Fold(told...)); diff != "" {
				t.Fatalf("order %v (-in order +got)\n%s", order, diff)
			}
		})
	}
	if got := billing.Fold(notices[:3]...); got.Terms.Offer.PlanID != 2 || !got.Terms.Active || got.Buyer.Login != "acme-inc" {
		t.Errorf("after the upgrade = %+v, want plan 2", got)
	}
	if got := billing.Fold(notices...); got.Status() != "ended" || !got.Pending.Taken {
		t.Errorf("at the end = %+v, want it ended", got)
	}
}

// The orders in which sponsorships are processed do not matter either; when they were received is
// part of them.
func TestEveryOrderOfASponsorshipComesToTheSame(t *testing.T) {
	t.Parallel()
	sponsor := map[string]any{"id": 2, "login": "monalisa"}
	told := func(n int, action string, who any, cents int) billing.Notice {
		t.Helper()
		return sponsorship(t, day(n), action, "S_1", "2026-03-01T00:00:00+00:00", who, cents, false)
	}
	notices := []billing.Notice{
		told(1, "created", nil, 500), told(3, "tier_changed", nil, 2000), told(4, "pending_tier_change", nil, 500), told(5, "edited", sponsor, 2000),
		told(8, "tier_changed", sponsor, 500), told(20, "cancelled", sponsor, 500),
	}
	want := billing.Fold(notices...)
	permutations(len(notices), func(order []int) {
		var list []billing.Notice
		for _, i := range order {
			list = append(list, notices[i])
		}
		if diff := cmp.Diff(want, billing.Fold(list...)); diff != "" {
			t.Fatalf("order %v (-in order +got)\n%s", order, diff)
		}
	})
	if got := billing.Fold(notices[:5]...); got.Terms.Offer.Cents != 500 || got.Buyer.ID != 2 || got.Maintainer != "maintainer" {
		t.Errorf("before the end = %+v, want the lower tier of monalisa", got)
	}
	if want.Status() != "ended" {
		t.Errorf("at the end = %+v", want)
	}
}

// Whatever GitHub says of a buyer, the order does not matter, and saying it twice does not either.
func TestAnyHistoryComesToTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var notices []billing.Notice
		for range rapid.IntRange(1, 7).Draw(t, "number") {
			b := bought{
				action:    rapid.SampledFrom([]string{"purchased", "changed", "cancelled", "pending_change", "pending_change_cancelled"}).Draw(t, "action"),
				effective: fmt.Sprintf("2026-03-%02dT00:00:00Z", rapid.IntRange(1, 3).Draw(t, "day")),
				buyer:     7, login: "acme", plan: rapid.Int64Range(1, 3).Draw(t, "plan"), units: rapid.Int64Range(0, 2).Draw(t, "units"),
				next: rapid.SampledFrom([]string{"", "2026-04-01", "2026-05-01"}).Draw(t, "next"),
			}
			b.cents = b.plan * 1000
			notices = append(notices, b.notice(t))
		}
		want := billing.Fold(notices...)
		shuffled := rapid.Permutation(notices).Draw(t, "order")
		if diff := cmp.Diff(want, billing.Fold(append(shuffled, notices...)...)); diff != "" {
			t.Fatalf("(-in order +shuffled)\n%s", diff)
		}
	})
}

func TestWhatAPurchaseGives(t *testing.T) {
	t.Parallel()
	pro := billing.Plan{Source: billing.FromMarketplace, Number: 1, Tier: account.Pro, Features: []string{"critical_css"}}
	free := billing.Plan{Source: billing.FromMarketplace, Number: 3, Tier: account.Free, Features: []string{}}
	base := bought{action: "purchased", effective: "2026-03-01T00:00:00Z", buyer: 7, plan: 1, cents: 1000, units: 1, next: "2026-04-01T00:00:00Z"}
	for about, tc := range map[string]struct {
		change func(*bought)
		until  string // "": no plan says
	}{
		"a paid cycle has a week of grace":                     {func(*bought) {}, "2026-04-08T00:00:00Z"},
		"a trial ends with itself":                             {func(b *bought) { b.trial = "2026-03-15T00:00:00Z" }, "2026-03-15T02:00:00Z"},
		"a trial is a day where GitHub says a day":             {func(b *bought) { b.trial = "2026-03-15" }, "2026-03-15T02:00:00Z"},
		"a free plan has no end":                               {func(b *bought) { b.plan, b.cents, b.next = 3, 0, "" }, "9999-01-01T00:00:00Z"},
		"a paid plan without a date lasts a month":             {func(b *bought) { b.next = "" }, "2026-04-08T00:00:00Z"},
		"an end is the end":                                    {func(b *bought) { b.action, b.effective = "cancelled", "2026-03-20T00:00:00Z" }, "2026-03-20T00:00:00Z"},
		"a plan that nobody described gives what nobody knows": {func(b *bought) { b.plan = 99 }, ""},
	} {
		b := base
		tc.change(&b)
		got, ok := billing.Grant(billing.Fold(b.notice(t)), pro, free)
		if ok != (tc.until != "") || ok && got.ValidUntil.Format(time.RFC3339) != tc.until {
			t.Errorf("%s: %+v, %v, want until %s", about, got, ok, tc.until)
		}
	}
}

func TestTheLicenseOfAnAccountThatBuys(t *testing.T) {
	t.Parallel()
	now := day(10)
	l := func(tier account.Tier, until int, features ...string) billing.License {
		return billing.License{Tier: tier, Features: append([]string{}, features...), ValidUntil: day(1).AddDate(0, 0, until-1)}
	}
	base := func(l billing.License) *billing.License { return &l }
	for about, tc := range map[string]struct {
		base   *billing.License
		grants []billing.License
		want   billing.License
	}{
		"what was bought":                             {nil, []billing.License{l("pro", 40, "a")}, l("pro", 40, "a")},
		"the operator's lasts longer":                 {base(l("pro", 90, "x")), []billing.License{l("pro", 40, "a")}, l("pro", 90, "x", "a")},
		"the operator's is higher":                    {base(l("team", 20, "x")), []billing.License{l("pro", 40, "a")}, l("team", 20, "x", "a")},
		"what was bought is higher":                   {base(l("pro", 90, "x")), []billing.License{l("team", 40)}, l("team", 40, "x")},
		"the operator's is over":                      {base(l("team", 5, "x")), []billing.License{l("pro", 40, "a")}, l("pro", 40, "a")},
		"what was bought is over":                     {base(l("pro", 90, "x")), []billing.License{l("team", 9)}, l("pro", 90, "x")},
		"both are over":                               {base(l("pro", 5, "x")), []billing.License{l("team", 9)}, l("pro", 5, "x")},
		"only purchases, over":                        {nil, []billing.License{l("team", 9, "a"), l("pro", 8)}, l("free", 9)},
		"two purchases":                               {nil, []billing.License{l("pro", 50, "a"), l("team", 30, "b")}, l("team", 30, "b", "a")},
		"one that ends in an hour gives way already":  {base(billing.License{Tier: "team", ValidUntil: now.Add(time.Hour)}), []billing.License{l("pro", 40)}, l("pro", 40)},
		"unless there is nothing that it can give to": {base(billing.License{Tier: "team", Features: []string{}, ValidUntil: now.Add(time.Hour)}), nil, billing.License{Tier: "team", Features: []string{}, ValidUntil: now.Add(time.Hour)}},
	} {
		if diff := cmp.Diff(tc.want, billing.SettleLicenses(tc.base, tc.grants, now)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", about, diff)
		}
	}
}

func TestPayloadsThatLackWhatTheyMustHave(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null`, `[]`, `{}`, `"x"`, `{"action":"purchased"}`, `{"action":"purchased","effective_date":"soon","marketplace_purchase":{"account":{"id":1},"plan":{"id":1}}}`,
		`{"action":"purchased","effective_date":"2026-03-01T00:00:00Z","marketplace_purchase":{"account":null,"plan":{"id":1}}}`,
		`{"action":"purchased","effective_date":"2026-03-01T00:00:00Z","marketplace_purchase":{"account":{"id":1},"plan":null}}`,
		`{"action":"purchased","effective_date":"2026-03-01T00:00:00Z","marketplace_purchase":{"account":{"id":"1"},"plan":{"id":1}}}`,
		`{"action":"purchased","effective_date":"9999-12-31T00:00:00Z","marketplace_purchase":{"account":{"id":1},"plan":{"id":1}}}`,
		`{"action":"created","sponsorship":{"node_id":"S_1","created_at":null,"tier":{}}}`, `{"action":"created","sponsorship":{"node_id":"a b","created_at":"2026-03-01T00:00:00Z","tier":{}}}`,
	} {
		if _, _, err := billing.ParseMarketplace([]byte(text)); err == nil {
			t.Errorf("ParseMarketplace(%s) = nil, want an error", text)
		}
		if _, _, err := billing.ParseSponsorship([]byte(text), day(1)); err == nil {
			t.Errorf("ParseSponsorship(%s) = nil, want an error", text)
		}
	}
	for _, text := range []string{
		`{"action":"invented","effective_date":"2026-03-01T00:00:00Z","marketplace_purchase":{"account":{"id":1},"plan":{"id":1}}}`,
	} {
		if _, known, err := billing.ParseMarketplace([]byte(text)); err != nil || known {
			t.Errorf("ParseMarketplace(%s) = %v, %v, want no error and an action that is not known", text, known, err)
		}
	}
	all := `{"action":"changed","effective_date":"2026-03-01T00:00:00Z","sender":null,"marketplace_purchase":{"account":{"id":1,"login":null,"organization_billing_email":null},
		"billing_cycle":null,"unit_count":null,"on_free_trial":null,"free_trial_ends_on":null,"next_billing_date":null,
		"plan":{"id":1,"name":null,"monthly_price_in_cents":null,"yearly_price_in_cents":null}}}`
	if n, known, err := billing.ParseMarketplace([]byte(all)); err != nil || !known || !n.Terms.Active {
		t.Errorf("ParseMarketplace(nulls) = %+v, %v, %v", n, known, err)
	}
}
