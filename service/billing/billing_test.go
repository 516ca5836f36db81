package billing_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
)

// bench is a service, the clock of which the test moves.
type bench struct {
	*servicetest.Service
	*billing.Registry
	t   *testing.T
	now time.Time
}

func newBench(t *testing.T, o servicetest.Options) *bench {
	t.Helper()
	b := &bench{t: t, now: day(10)}
	o.Now = func() time.Time { return b.now }
	b.Service = servicetest.Start(t, o)
	b.Registry = b.Parts.Billing
	return b
}

// Now is the time of the clock.
func (b *bench) Now() time.Time { return b.now }

func (b *bench) transport() *http.Transport {
	tr := &http.Transport{}
	b.t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// zero is randomness that adds nothing to a wait.
type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (b *bench) plan(p billing.Plan) {
	b.t.Helper()
	if _, err := b.AddPlan(b.t.Context(), p); err != nil {
		b.t.Fatal(err)
	}
}

func marketplacePlan(id int64, tier account.Tier, features ...string) billing.Plan {
	return billing.Plan{Source: billing.FromMarketplace, Number: id, Tier: tier, Features: features}
}

func (b *bench) hear(n billing.Notice) {
	b.t.Helper()
	if err := b.Hear(b.t.Context(), n); err != nil {
		b.t.Fatalf("Hear = %v", err)
	}
}

func (b *bench) purchase(ref string) billing.Purchase {
	b.t.Helper()
	list, err := b.Purchases(b.t.Context(), billing.Query{Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range list {
		if p.Ref.String() == ref {
			return p
		}
	}
	b.t.Fatalf("there is no purchase %s", ref)
	return billing.Purchase{}
}

// of is the account that gets a purchase.
func (b *bench) of(ref string) account.Account {
	b.t.Helper()
	p := b.purchase(ref)
	a, err := b.Account_(p.AccountID)
	if err != nil {
		b.t.Fatalf("purchase %+v: %v", p, err)
	}
	return a
}

// Account_ is the account of an id; Account of the service makes one.
func (b *bench) Account_(id string) (account.Account, error) {
	return b.Parts.Accounts.Account(b.t.Context(), id)
}

func (b *bench) want(a account.Account, tier account.Tier, until string, features ...string) {
	b.t.Helper()
	if a.Tier != tier || a.ValidUntil.Format(time.DateOnly) != until || !cmp.Equal(a.Features, append([]string{}, features...)) {
		b.t.Errorf("license = %s until %s with %q, want %s until %s with %q", a.Tier, a.ValidUntil, a.Features, tier, until, features)
	}
}

func first(buyer int64, email string) bought {
	return bought{action: "purchased", effective: "2026-03-01T00:00:00Z", buyer: buyer, login: "acme", email: email, plan: 1, cents: 1000, units: 1, next: "2026-04-01T00:00:00Z"}
}

func TestAPurchaseMakesAnAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.plan(marketplacePlan(1, account.Pro, "critical_css"))
	b.hear(first(7, "Bill@Example.com").notice(t))
	a := b.of("marketplace:7")
	b.want(a, account.Pro, "2026-04-08", "critical_css")
	if a.Email != "bill@example.com" || a.Status != account.Active {
		t.Errorf("account = %+v, want that of the bill", a)
	}
	if tokens, err := b.APITokens(t.Context(), a.ID, "", 9); err != nil || len(tokens) != 0 {
		t.Errorf("API tokens = %v, %v, want none: there is nobody to give one to", tokens, err)
	}
	if p := b.purchase("marketplace:7"); p.Buyer.Email != "" {
		t.Errorf("the purchase remembers the address %q", p.Buyer.Email)
	}
	b.hear(first(7, "Bill@Example.com").notice(t)) // again
	if n := b.Acts(t, audit.PlanChanged); n != 1 || b.Acts(t, audit.AccountCreated) != 1 {
		t.Errorf("%d changes of the plan, want 1", n)
	}
	b.hear(first(8, "").notice(t)) // of a user without an address
	if got := b.of("marketplace:8"); got.Email != "8+acme@users.noreply.github.com" {
		t.Errorf("account = %+v, want GitHub's own address", got)
	}
	b.hear(first(9, "not an address").notice(t))
	if got := b.of("marketplace:9"); got.Email != "9+acme@users.noreply.github.com" {
		t.Errorf("account = %+v, want GitHub's own address", got)
	}
}

// Whoever names another's address as that for bills pays for them, and gets nothing.
func TestAPurchaseOnlyAddsToAnAccountThatWasThere(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.plan(marketplacePlan(1, account.Pro, "critical_css"))
	b.plan(marketplacePlan(2, account.Team))
	made, _, err := b.CreateAccount(t.Context(), account.NewAccount{Email: "bill@example.com", Tier: account.Pro, Features: []string{"spa_mode"}, ValidUntil: day(1).AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	b.hear(first(7, "bill@example.com").notice(t))
	b.want(b.of("marketplace:7"), account.Pro, "2027-03-01", "spa_mode", "critical_css")
	up := first(7, "bill@example.com")
	up.action, up.plan, up.cents, up.effective = "changed", 2, 9000, "2026-03-02T00:00:00Z"
	b.hear(up.notice(t))
	b.want(b.of("marketplace:7"), account.Team, "2026-04-08", "spa_mode")
	up.action, up.effective = "cancelled", "2026-03-03T00:00:00Z"
	b.hear(up.notice(t))
	got, err := b.Account_(made.ID)
	if err != nil {
		t.Fatal(err)
	}
	b.want(got, account.Pro, "2027-03-01", "spa_mode")

	// the operator gives something else meanwhile, and that counts from then on
	if _, err := b.UpdateAccount(t.Context(), made.ID, account.Change{Tier: new(account.Team), ValidUntil: new(day(20))}); err != nil {
		t.Fatal(err)
	}
	again := first(7, "bill@example.com")
	again.effective = "2026-03-04T00:00:00Z"
	b.hear(again.notice(t))
	b.want(b.of("marketplace:7"), account.Team, "2026-03-20", "spa_mode", "critical_css")
	b.now = day(21)
	if err := b.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08", "critical_css")
}

func TestWhoIsBilledByGitHubLosesWhatWasCancelled(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.plan(marketplacePlan(1, account.Pro, "critical_css"))
	b.hear(first(7, "bill@example.com").notice(t))
	end := first(7, "bill@example.com")
	end.action, end.effective = "cancelled", "2026-03-05T00:00:00Z"
	b.hear(end.notice(t))
	a := b.of("marketplace:7")
	b.want(a, account.Free, "2026-03-05")
	if err := account.MayHoldToken(a, b.now); !errors.Is(err, account.ErrExpired) {
		t.Errorf("MayHoldToken after the end = %v, want ErrExpired", err)
	}
}

func TestAnEndThatIsToComeIsHeardThen(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.plan(marketplacePlan(1, account.Pro))
	b.hear(first(7, "bill@example.com").notice(t))
	end := first(7, "bill@example.com")
	end.action, end.effective = "cancelled", "2026-03-20T00:00:00Z"
	var later billing.NotYet
	if err := b.Hear(t.Context(), end.notice(t)); !errors.As(err, &later) || later.Due().Day() != 20 {
		t.Fatalf("Hear(an end in ten days) = %v, want it later", err)
	}
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08")
	b.now = day(20)
	b.hear(end.notice(t))
	b.want(b.of("marketplace:7"), account.Free, "2026-03-20")
}

func TestAPlanThatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.hear(first(7, "bill@example.com").notice(t))
	p := b.purchase("marketplace:7")
	if p.Unmatched != billing.MissingPlan || p.AccountID != "" || b.Acts(t, audit.AccountCreated) != 0 {
		t.Fatalf("purchase = %+v, want it unmatched", p)
	}
	if list, err := b.Purchases(t.Context(), billing.Query{Unmatched: true, Limit: 9}); err != nil || len(list) != 1 {
		t.Errorf("unmatched = %v, %v", list, err)
	}
	b.plan(marketplacePlan(1, account.Pro, "critical_css"))
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08", "critical_css")
	b.plan(marketplacePlan(1, account.Team)) // it gives something else now
	b.want(b.of("marketplace:7"), account.Team, "2026-04-08")
	if err := b.RemovePlan(t.Context(), "marketplace-1"); err != nil {
		t.Fatal(err)
	}
	if err := b.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want(b.of("marketplace:7"), account.Team, "2026-04-08") // to the end of what was paid
	if err := b.RemovePlan(t.Context(), "marketplace-1"); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("RemovePlan twice = %v, want ErrNotFound", err)
	}
}

func TestADeletedAccountGetsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.plan(marketplacePlan(1, account.Pro))
	b.hear(first(7, "bill@example.com").notice(t))
	old := b.of("marketplace:7")
	if _, err := b.DeleteAccount(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	if p := b.purchase("marketplace:7"); p.Buyer.Login != "" {
		t.Errorf("the purchase of a deleted account names %q", p.Buyer.Login)
	}
	next := first(7, "bill@example.com")
	next.action, next.effective, next.next = "changed", "2026-03-05T00:00:00Z", "2026-05-01T00:00:00Z"
	b.hear(next.notice(t))
	if a := b.of("marketplace:7"); a.ID == old.ID || a.Status != account.Active {
		t.Errorf("account = %+v, want another one", a)
	}
}

// GitHub's own address of a buyer may have an account already: what is bought goes there.
func TestABuyerWithoutAnAddressWhoHasAnAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.plan(marketplacePlan(1, account.Pro))
	made, _, err := b.CreateAccount(t.Context(), account.NewAccount{Email: "7+acme@users.noreply.github.com", Tier: account.Free, ValidUntil: day(1)})
	if err != nil {
		t.Fatal(err)
	}
	for i, email := range []string{"", "not an address"} {
		n := first(7, email)
		n.effective = fmt.Sprintf("2026-03-0%dT00:00:00Z", i+1)
		if err := b.Hear(t.Context(), n.notice(t)); err != nil {
			t.Fatalf("Hear(%q) = %v", email, err)
		}
	}
	if got := b.of("marketplace:7"); got.ID != made.ID || got.Tier != account.Pro {
		t.Errorf("account = %+v, want the one that was there, %s", got, made.ID)
	}
}

// A purchase that cannot be given holds up no other.
func TestAFaultHoldsUpNoOtherPurchase(t *testing.T) {
	t.Parallel()
	var broken brokenStore
	b := newBench(t, servicetest.Options{Between: func(s *parts.Stores) { broken.Store = s.Billing; s.Billing = &broken }})
	for buyer := range int64(3) {
		b.hear(first(7+buyer, fmt.Sprintf("bill%d@example.com", buyer)).notice(t))
	}
	broken.at, broken.only = "purchase", "7"
	if _, err := b.AddPlan(t.Context(), marketplacePlan(1, account.Pro)); !errors.Is(err, errCrash) {
		t.Errorf("AddPlan with a purchase that cannot be given = %v, want the fault", err)
	}
	for _, ref := range []string{"marketplace:8", "marketplace:9"} {
		b.want(b.of(ref), account.Pro, "2026-04-08")
	}
	broken.at = ""
	if err := b.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08")
}

// In a database, too, every order comes to the same. An account is made for what lasts, and so the
// clock is before the end.
func TestEveryOrderComesToTheSameLicense(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	b.now = day(1).AddDate(0, 1, 0)
	b.plan(marketplacePlan(1, account.Pro, "critical_css"))
	b.plan(marketplacePlan(2, account.Team))
	buyer := int64(0)
	for _, length := range []int{3, 5} {
		var want *account.Account
		permutations(length, func(order []int) {
			buyer++
			email := fmt.Sprintf("bill%d@example.com", buyer)
			for _, i := range order {
				h := history(buyer)[i]
				h.email = email
				b.hear(h.notice(t))
			}
			got := b.of(fmt.Sprintf("marketplace:%d", buyer))
			got.ID, got.Email, got.CreatedAt = "", "", time.Time{}
			if want == nil {
				want = &got
			}
			if diff := cmp.Diff(*want, got); diff != "" {
				t.Fatalf("order %v (-first +got)\n%s", order, diff)
			}
		})
		b.want(*want, account.Team, "2026-04-22")
	}
}

// sponsorship is what a payload of sponsorship tells. A sponsor is an object with id and login, or
// nil: GitHub does not tell.
func sponsorship(t *testing.T, received time.Time, action, node, created string, sponsor any,
	cents int, once bool) billing.Notice {
	t.Helper()
	const at = "sponsorship."
	set := githubtest.Set{
		at + "node_id": node, at + "created_at": created, at + "maintainer.login": "maintainer",
		at + "sponsorable.login": "maintainer", at + "tier.monthly_price_in_cents": cents,
		at + "tier.name": fmt.Sprintf("$%d", cents/100), at + "tier.is_one_time": once,
	}
	if who, ok := sponsor.(map[string]any); ok {
		set[at+"sponsor.id"], set[at+"sponsor.login"] = who["id"], who["login"]
	} else {
		set[at+"sponsor"], set[at+"privacy_level"] = nil, "private"
	}
	if strings.HasPrefix(action, "pending_") {
		set["effective_date"] = "2026-03-20T00:00:00Z"
	}
	n, known, err := billing.ParseSponsorship(githubtest.Payload(t, "sponsorship", action, set), received)
	if err != nil || !known {
		t.Fatalf("ParseSponsorship = %v, %v", known, err)
	}
	return n
}

func TestSponsorships(t *testing.T) {
	t.Parallel()
	b := newBench(t, servicetest.Options{})
	monalisa := map[string]any{"id": 2, "login": "monalisa"}
	b.plan(billing.Plan{Source: billing.FromSponsorsMonthly, Number: 500, Tier: account.Pro})
	b.plan(billing.Plan{Source: billing.FromSponsorsMonthly, Number: 5000, Tier: account.Team})
	b.plan(billing.Plan{Source: billing.FromSponsorsOnce, Number: 1000, Days: 30, Tier: account.Pro, Features: []string{"critical_css"}})
	const begun = "2026-03-01T00:00:00+00:00"
	b.hear(sponsorship(t, day(1), "created", "S_1", begun, monalisa, 700, false))
	b.want(b.of("sponsors:S_1"), account.Pro, "9999-01-01")
	b.hear(sponsorship(t, day(2), "tier_changed", "S_1", begun, monalisa, 5000, false))
	b.want(b.of("sponsors:S_1"), account.Team, "9999-01-01")
	b.hear(sponsorship(t, day(3), "pending_cancellation", "S_1", begun, monalisa, 5000, false))
	b.want(b.of("sponsors:S_1"), account.Team, "9999-01-01")
	b.hear(sponsorship(t, day(9), "cancelled", "S_1", begun, monalisa, 5000, false))
	b.want(b.of("sponsors:S_1"), account.Free, "2026-03-09")

	b.hear(sponsorship(t, day(1), "created", "S_2", begun, monalisa, 1000, true))
	b.want(b.of("sponsors:S_2"), account.Pro, "2026-03-31", "critical_css")
	b.hear(sponsorship(t, day(2), "cancelled", "S_2", begun, monalisa, 1000, true)) // paid is paid
	b.want(b.of("sponsors:S_2"), account.Pro, "2026-03-31", "critical_css")
	if b.of("sponsors:S_1").ID != b.of("sponsors:S_2").ID {
		t.Error("two sponsorships of one person go to two accounts")
	}

	b.hear(sponsorship(t, day(1), "created", "S_3", begun, nil, 500, false)) // private
	if p := b.purchase("sponsors:S_3"); p.Unmatched != billing.MissingBuyer || p.AccountID != "" {
		t.Errorf("a private sponsorship = %+v, want it held", p)
	}
	b.hear(sponsorship(t, day(4), "edited", "S_3", begun, map[string]any{"id": 3, "login": "hubot"}, 500, false))
	b.want(b.of("sponsors:S_3"), account.Pro, "9999-01-01")

	b.hear(sponsorship(t, day(1), "created", "S_4", begun, nil, 500, false))
	a, _, err := b.CreateAccount(t.Context(), account.NewAccount{Email: "x@example.com", Tier: account.Free, ValidUntil: day(1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Match(t.Context(), billing.Ref{Source: billing.Sponsors, Key: "S_4"}, a.ID); err != nil {
		t.Fatalf("Match = %v", err)
	}
	b.want(b.of("sponsors:S_4"), account.Pro, "9999-01-01")
	if _, err := b.Match(t.Context(), billing.Ref{Source: billing.Sponsors, Key: "S_3"}, a.ID); err != nil { // it went to the wrong one
		t.Fatalf("Match = %v", err)
	}
	if got := b.of("sponsors:S_3"); got.ID != a.ID {
		t.Errorf("S_3 goes to %s, want %s", got.ID, a.ID)
	}
	b.hear(sponsorship(t, day(8), "created", "S_5", "2026-03-08T00:00:00Z", map[string]any{"id": 3, "login": "hubot"}, 900, false))
	if got := b.of("sponsors:S_5"); got.ID != a.ID { // what the same one buys later
		t.Errorf("S_5 goes to %s, want %s", got.ID, a.ID)
	}
}

// Who changes one field of a license that was bought does not give the others.
func TestWhatTheOperatorChangesOfALicenseThatWasBought(t *testing.T) {
	t.Parallel()
	monalisa := map[string]any{"id": 2, "login": "monalisa"}
	for about, tc := range map[string]struct {
		own     *account.NewAccount // what the account had before; nil: nothing
		changes []account.Change
		tier    account.Tier // while the sponsorship lasts
		until   string
		with    []string
		after   account.Tier
		ends    string
		left    []string
	}{
		"a feature": {nil, []account.Change{{Features: new([]string{"critical_css", "x"})}},
			account.Pro, "9999-01-01", []string{"critical_css", "x"}, account.Free, "2026-03-09", nil},
		"a tier": {nil, []account.Change{{Tier: new(account.Team)}},
			account.Team, "9999-01-01", []string{"critical_css"}, account.Free, "2026-03-09", nil},
		"a feature, then a tier": {nil, []account.Change{{Features: new([]string{"x"})}, {Tier: new(account.Team)}},
			account.Team, "9999-01-01", []string{"x", "critical_css"}, account.Free, "2026-03-09", nil},
		"an end": {nil, []account.Change{{ValidUntil: new(day(20))}},
			account.Pro, "9999-01-01", []string{"critical_css"}, account.Pro, "2026-03-20", []string{"critical_css"}},
		"a feature of one who had a license": {
			&account.NewAccount{Tier: account.Free, ValidUntil: day(25), Features: []string{"y"}}, []account.Change{{Features: new([]string{"x"})}},
			account.Pro, "9999-01-01", []string{"critical_css", "x"}, account.Free, "2026-03-25", []string{"x"}},
		"a feature of one whose license is over": {
			&account.NewAccount{Tier: account.Team, ValidUntil: day(5), Features: []string{"y"}}, []account.Change{{Features: new([]string{"x"})}},
			account.Pro, "9999-01-01", []string{"critical_css", "x"}, account.Free, "2026-03-09", nil},
	} {
		b := newBench(t, servicetest.Options{})
		b.plan(billing.Plan{Source: billing.FromSponsorsMonthly, Number: 1000, Tier: account.Pro, Features: []string{"critical_css"}})
		if tc.own != nil {
			tc.own.Email = "2+monalisa@users.noreply.github.com"
			made, _, err := b.CreateAccount(t.Context(), *tc.own)
			if err != nil {
				t.Fatal(err)
			}
			b.hear(sponsorship(t, day(1), "created", "S_1", "2026-03-01T00:00:00Z", nil, 1000, false))
			if _, err := b.Match(t.Context(), billing.Ref{Source: billing.Sponsors, Key: "S_1"}, made.ID); err != nil {
				t.Fatal(err)
			}
		} else {
			b.hear(sponsorship(t, day(1), "created", "S_1", "2026-03-01T00:00:00Z", monalisa, 1000, false))
		}
		for _, c := range tc.changes {
			if _, err := b.UpdateAccount(t.Context(), b.of("sponsors:S_1").ID, c); err != nil {
				t.Fatal(err)
			}
			if err := b.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		t.Log(about)
		b.want(b.of("sponsors:S_1"), tc.tier, tc.until, tc.with...)
		b.hear(sponsorship(t, day(9), "cancelled", "S_1", "2026-03-01T00:00:00Z", monalisa, 1000, false))
		b.want(b.of("sponsors:S_1"), tc.after, tc.ends, tc.left...)
	}
}

// A plan that fits no more leaves what it gave only to what ends it.
func TestWhatNoPlanFitsAnyMoreEnds(t *testing.T) {
	t.Parallel()
	const begun = "2026-03-01T00:00:00Z"
	who := map[string]any{"id": 2, "login": "monalisa"}
	told := func(d int, action string, cents int, once bool) billing.Notice {
		return sponsorship(t, day(d), action, "S_1", begun, who, cents, once)
	}
	sold := func(action, effective string, plan, cents int64) billing.Notice {
		h := first(2, "bill@example.com")
		h.action, h.effective, h.plan, h.cents, h.next = action, effective, plan, cents, ""
		return h.notice(t)
	}
	trial := first(2, "bill@example.com")
	trial.trial = "2026-03-30T00:00:00Z"
	endOfTrial := trial
	endOfTrial.action, endOfTrial.effective = "cancelled", "2026-03-05T00:00:00Z"
	monthly := billing.Plan{Source: billing.FromSponsorsMonthly, Number: 1000, Tier: account.Team}
	once := billing.Plan{Source: billing.FromSponsorsOnce, Number: 1000, Days: 30, Tier: account.Team}
	for about, tc := range map[string]struct {
		plan   billing.Plan
		first  billing.Notice
		remove bool // the plan, before the others are told
		then   []billing.Notice
		tier   account.Tier
		until  string
	}{
		"less is paid": {monthly, told(1, "created", 1000, false), false, []billing.Notice{told(3, "tier_changed", 100, false)}, account.Free, "2026-03-03"},
		"less is paid, then nothing": {monthly, told(1, "created", 1000, false), false,
			[]billing.Notice{told(3, "tier_changed", 100, false), told(5, "cancelled", 100, false)}, account.Free, "2026-03-05"},
		"less is paid, and less again": {monthly, told(1, "created", 1000, false), false,
			[]billing.Notice{told(3, "tier_changed", 500, false), told(5, "tier_changed", 100, false)}, account.Free, "2026-03-05"},
		"the plan was removed":             {monthly, told(1, "created", 1000, false), true, nil, account.Team, "9999-01-01"},
		"the plan was removed, it ended":   {monthly, told(1, "created", 1000, false), true, []billing.Notice{told(5, "cancelled", 1000, false)}, account.Free, "2026-03-05"},
		"a free plan became another one":   {marketplacePlan(1, account.Team), sold("purchased", begun, 1, 0), false, []billing.Notice{sold("changed", "2026-03-04T00:00:00Z", 9, 500)}, account.Free, "2026-03-04"},
		"a plan has another price":         {marketplacePlan(1, account.Team), sold("purchased", begun, 1, 0), true, []billing.Notice{sold("changed", "2026-03-04T00:00:00Z", 1, 500)}, account.Team, "9999-01-01"},
		"a trial of a removed plan":        {marketplacePlan(1, account.Team), trial.notice(t), true, []billing.Notice{endOfTrial.notice(t)}, account.Free, "2026-03-05"},
		"what was paid once keeps its end": {once, told(1, "created", 1000, true), true, []billing.Notice{told(5, "cancelled", 1000, true)}, account.Team, "2026-03-31"},
		"so does it when a month follows":  {once, told(1, "created", 1000, true), false, []billing.Notice{told(5, "tier_changed", 100, false)}, account.Team, "2026-03-31"},
	} {
		permutations(len(tc.then), func(order []int) {
			b := newBench(t, servicetest.Options{})
			b.plan(tc.plan)
			b.hear(tc.first)
			if tc.remove {
				if err := b.RemovePlan(t.Context(), tc.plan.ID()); err != nil {
					t.Fatal(err)
				}
			}
			for _, i := range order {
				b.hear(tc.then[i])
			}
			t.Log(about, order)
			b.want(b.of(tc.first.Ref.String()), tc.tier, tc.until)
			if err := b.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.want(b.of(tc.first.Ref.String()), tc.tier, tc.until)
			if got := b.purchase(tc.first.Ref.String()).Granted.ValidUntil.Format(time.DateOnly); got != tc.until {
				t.Errorf("the purchase is shown as lasting until %s, want %s", got, tc.until)
			}
		})
	}
}

// A crash anywhere in the transaction leaves nothing of it.
func TestAnErrorLeavesNothing(t *testing.T) {
	t.Parallel()
	var broken brokenStore
	b := newBench(t, servicetest.Options{Between: func(s *parts.Stores) { broken.Store = s.Billing; s.Billing = &broken }})
	b.plan(marketplacePlan(1, account.Pro))
	for _, at := range []string{"purchase", "account", "link", "books"} {
		broken.at = at
		if err := b.Hear(t.Context(), first(7, "bill@example.com").notice(t)); !errors.Is(err, errCrash) {
			t.Fatalf("Hear with a crash at %s = %v", at, err)
		}
		if list, err := b.Purchases(t.Context(), billing.Query{Limit: 9}); err != nil || len(list) != 0 || b.Acts(t, audit.AccountCreated) != 0 {
			t.Errorf("after a crash at %s: %v, %v", at, list, err)
		}
	}
	broken.at = ""
	b.hear(first(7, "bill@example.com").notice(t))
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08")
}

var errCrash = errors.New("crash")

type brokenStore struct {
	billing.Store
	at   string
	only string // the key of the purchase; empty: all
}

func (s *brokenStore) Bill(ctx context.Context, f func(billing.Tx) error) error {
	return s.Store.Bill(ctx, func(tx billing.Tx) error { return f(brokenTx{tx, s.at, s.only}) })
}

type brokenTx struct {
	billing.Tx
	at   string
	only string
}

func (t brokenTx) after(at string, err error) error {
	if err == nil && t.at == at {
		err = errCrash
	}
	return err
}

func (t brokenTx) SavePurchase(ctx context.Context, p billing.Purchase) error {
	err := t.Tx.SavePurchase(ctx, p)
	if t.only != "" && t.only != p.Ref.Key {
		return err
	}
	return t.after("purchase", err)
}

func (t brokenTx) SaveAccount(ctx context.Context, a account.Account) error {
	return t.after("account", t.Tx.SaveAccount(ctx, a))
}

func (t brokenTx) SaveLink(ctx context.Context, l billing.Link) error {
	return t.after("link", t.Tx.SaveLink(ctx, l))
}

func (t brokenTx) SaveBooks(ctx context.Context, account string, b billing.Books) error {
	return t.after("books", t.Tx.SaveBooks(ctx, account, b))
}

// newGitHub is a fake GitHub with an App, and a bench whose service has it.
func newGitHub(t *testing.T) (*githubtest.Server, *bench) {
	t.Helper()
	var b *bench
	gh := githubtest.Start(t, githubtest.Config{
		Now:    func() time.Time { return b.now },
		Apps:   []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey}},
		Tokens: []githubtest.Token{{Value: "token-of-the-test"}},
	})
	b = newBench(t, servicetest.Options{
		GitHub: gh.URL(), App: githubapp.Given{ID: "12345", Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))},
	})
	return gh, b
}

func (b *bench) asApp() *github.Client {
	b.t.Helper()
	i, err := b.Parts.App.Installations(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := i.AsApp()
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestWhatIsComparedWithTheMarketplace(t *testing.T) {
	t.Parallel()
	gh, b := newGitHub(t)
	b.plan(marketplacePlan(1, account.Pro))
	b.plan(marketplacePlan(2, account.Team))
	reconcile := func() {
		t.Helper()
		b.now = b.now.Add(time.Hour)
		if err := b.ReconcileMarketplace(t.Context(), b.asApp()); err != nil {
			t.Fatalf("ReconcileMarketplace = %v", err)
		}
	}
	reconcile() // an App without a listing
	b.hear(first(7, "bill@example.com").notice(t))
	b.hear(first(8, "bill8@example.com").notice(t))
	reconcile() // still none: nothing ends
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08")

	many := []githubtest.Subscriber{{ID: 7, Login: "acme", NextBilling: "2026-05-01T00:00:00Z", Units: 1}}
	for n := range 150 { // two pages
		many = append(many, githubtest.Subscriber{ID: int64(100 + n), Login: fmt.Sprintf("org%d", n), Email: fmt.Sprintf("org%d@example.com", n), NextBilling: "2026-04-01T00:00:00Z", Units: 1})
	}
	plans := []githubtest.Plan{{ID: 1, Name: "One", Cents: 1000, Accounts: many}, {ID: 2, Name: "Two", Cents: 5000}}
	gh.SetListing(plans)
	reconcile()
	b.want(b.of("marketplace:7"), account.Pro, "2026-05-08")   // the cycle was paid, which no webhook tells
	b.want(b.of("marketplace:8"), account.Free, "2026-03-10")  // its cancellation was lost
	b.want(b.of("marketplace:249"), account.Pro, "2026-04-08") // its purchase was lost
	acts := b.Acts(t, audit.PlanChanged)
	reconcile()
	if n := b.Acts(t, audit.PlanChanged); n != acts {
		t.Errorf("%d changes where nothing changed", n-acts)
	}
	// what happened since is told by a webhook, which counts
	up := first(7, "bill@example.com")
	up.action, up.plan, up.cents, up.effective, up.next = "changed", 2, 5000, b.now.Add(time.Minute).Format(time.RFC3339), "2026-05-01T00:00:00Z"
	b.hear(up.notice(t))
	b.want(b.of("marketplace:7"), account.Team, "2026-05-08")
}

func TestAnErrorOfGitHubEndsNothing(t *testing.T) {
	t.Parallel()
	gh, b := newGitHub(t)
	b.plan(marketplacePlan(1, account.Pro))
	b.hear(first(7, "bill@example.com").notice(t))
	gh.SetListing([]githubtest.Plan{{ID: 1, Name: "One", Cents: 1000}}) // without the one who bought
	b.now = b.now.Add(time.Hour)
	for at, fault := range map[string]githubtest.Fault{
		"GET /accounts":   {Status: 403, Header: map[string]string{"Retry-After": "3600"}, Body: `{"message":"You have exceeded a secondary rate limit"}`},
		"GET /accounts/7": {Status: 429, Header: map[string]string{"Retry-After": "3600"}},
	} {
		gh.FailNext(at, fault)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if err := b.ReconcileMarketplace(ctx, b.asApp()); err == nil {
			t.Errorf("ReconcileMarketplace with %s failing = nil", at)
		}
		cancel()
		b.want(b.of("marketplace:7"), account.Pro, "2026-04-08")
	}
	gh.FailNext("GET /plans", githubtest.Fault{Status: 401, Body: `{"message":"A JSON web token could not be decoded"}`}) // its key was revoked
	if err := b.ReconcileMarketplace(t.Context(), b.asApp()); err == nil {
		t.Error("ReconcileMarketplace with a revoked key = nil")
	}
	b.want(b.of("marketplace:7"), account.Pro, "2026-04-08")
	if err := b.ReconcileMarketplace(t.Context(), b.asApp()); err != nil {
		t.Fatal(err)
	}
	b.want(b.of("marketplace:7"), account.Free, "2026-03-10")
}

// Who is not in a list may only be missing there.
func TestASponsorWhoIsMissingInAList(t *testing.T) {
	t.Parallel()
	gh, b := newGitHub(t)
	c, err := github.New(github.Config{APIURL: gh.URL(), Token: "token-of-the-test", Transport: b.transport(), UserAgent: "test", Now: b.Now, Rand: zero{}})
	if err != nil {
		t.Fatal(err)
	}
	reconcile := func(after time.Duration) {
		t.Helper()
		b.now = b.now.Add(after)
		if err := b.ReconcileSponsors(t.Context(), c); err != nil {
			t.Fatalf("ReconcileSponsors = %v", err)
		}
	}
	b.plan(billing.Plan{Source: billing.FromSponsorsMonthly, Number: 500, Tier: account.Pro})
	const begun = "2026-03-01T00:00:00Z"
	b.hear(sponsorship(t, b.now, "created", "S_1", begun, map[string]any{"id": 2, "login": "monalisa"}, 500, false))
	other := sponsorship(t, b.now, "created", "S_2", "2026-03-02T00:00:00Z", map[string]any{"id": 3, "login": "hubot"}, 500, false)
	other.Maintainer = "another"
	b.hear(other)
	gh.SetSponsors("maintainer", nil)
	gh.SetSponsors("another", nil)
	reconcile(9 * time.Minute) // the list may lag
	b.want(b.of("sponsors:S_1"), account.Pro, "9999-01-01")
	reconcile(time.Minute)
	b.want(b.of("sponsors:S_1"), account.Free, "2026-03-10")
	b.want(b.of("sponsors:S_2"), account.Pro, "9999-01-01") // the token is not that of the other maintainer
	gh.SetSponsors("maintainer", []githubtest.Sponsor{{NodeID: "S_1", ID: 2, Login: "monalisa", CreatedAt: begun, Cents: 500}})
	reconcile(time.Hour)
	b.want(b.of("sponsors:S_1"), account.Pro, "9999-01-01")
	b.hear(sponsorship(t, b.now, "cancelled", "S_1", begun, map[string]any{"id": 2, "login": "monalisa"}, 500, false))
	b.want(b.of("sponsors:S_1"), account.Free, "2026-03-10")
	reconcile(time.Hour) // the list lags, and GitHub's own word for the end counts
	b.want(b.of("sponsors:S_1"), account.Free, "2026-03-10")
}

func TestWhatIsComparedWithSponsorships(t *testing.T) {
	t.Parallel()
	gh, b := newGitHub(t)
	client := func() *github.Client {
		c, err := github.New(github.Config{APIURL: gh.URL(), Token: "token-of-the-test", Transport: b.transport(), UserAgent: "test", Now: b.Now, Rand: zero{}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	reconcile := func() {
		t.Helper()
		b.now = b.now.Add(time.Hour)
		if err := b.ReconcileSponsors(t.Context(), client()); err != nil {
			t.Fatalf("ReconcileSponsors = %v", err)
		}
	}
	reconcile()
	if n := len(gh.Requests()); n != 0 {
		t.Errorf("%d requests where nobody sponsors", n)
	}
	b.plan(billing.Plan{Source: billing.FromSponsorsMonthly, Number: 500, Tier: account.Pro})
	b.hear(sponsorship(t, day(1), "created", "S_1", "2026-03-01T00:00:00Z", nil, 500, false))                                          // private
	b.hear(sponsorship(t, day(1), "created", "S_2", "2026-03-02T00:00:00Z", map[string]any{"id": 2, "login": "monalisa"}, 500, false)) // over, and nobody told
	list := []githubtest.Sponsor{
		{NodeID: "another form of S_1", ID: 3, Login: "hubot", CreatedAt: "2026-03-01T00:00:00Z", Cents: 500},
		{NodeID: "S_9", ID: 9, Login: "lost", CreatedAt: "2026-03-03T00:00:00Z", Cents: 900},
		{NodeID: "S_10", CreatedAt: "2026-03-03T00:00:00Z", Cents: 900}, // nobody may know who
	}
	for n := range 120 { // two pages
		list = append(list, githubtest.Sponsor{NodeID: fmt.Sprintf("S_%d", 100+n), ID: int64(100 + n), Login: fmt.Sprintf("s%d", n), CreatedAt: "2026-03-04T00:00:00Z", Cents: 500})
	}
	gh.SetSponsors("maintainer", list)
	reconcile()
	b.want(b.of("sponsors:S_1"), account.Pro, "9999-01-01")
	b.want(b.of("sponsors:S_2"), account.Free, "2026-03-10")
	b.want(b.of("sponsors:S_9"), account.Pro, "9999-01-01")
	b.want(b.of("sponsors:S_219"), account.Pro, "9999-01-01")
	if p := b.purchase("sponsors:S_10"); p.Unmatched != billing.MissingBuyer {
		t.Errorf("S_10 = %+v, want it held", p)
	}
	gh.FailNext("POST /graphql", githubtest.Fault{Status: 502, Times: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := b.ReconcileSponsors(ctx, client()); err == nil {
		t.Error("ReconcileSponsors without GitHub = nil")
	}
	b.want(b.of("sponsors:S_9"), account.Pro, "9999-01-01")
}
