package audit_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/audit"
)

var update = flag.Bool("update", false, "rewrite testdata")

// eventsOf are the events of an act, as lines.
func eventsOf(a audit.Act) (list []string) {
	for _, e := range a.Events() {
		list = append(list, fmt.Sprintf("%s %s %s", e.Type, e.Account, e.Data))
	}
	return list
}

const anAccount = "user_0123456789abcdef"

// The golden file has what each act is told as. It is a promise to those who receive webhooks.
func TestWhatEachActIsToldAs(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	told := map[audit.EventType]bool{}
	for _, c := range []struct {
		action          audit.Action
		account, object string
		details         string
	}{
		{audit.TokenRevoked, anAccount, "JTI", `{}`},
		{audit.FamilyRevoked, anAccount, "FAMILY", `{"by_token":"JTI"}`},
		{audit.FamilyRevoked, anAccount, "FAMILY", `{"leaked":true}`},
		{audit.IssuesRevoked, anAccount, "at_0123456789abcdef", `{}`},
		{audit.MachineDeactivated, anAccount, "mac_0123456789abcdef", `{"family":"FAMILY"}`},
		{audit.MachineEnded, anAccount, "mac_0123456789abcdef", `{"family":"FAMILY"}`},
		{audit.LicenseExpiring, anAccount, anAccount, `{"valid_until":"2027-03-12T00:00:00Z","days":30}`},
		{audit.LicenseExpired, anAccount, anAccount, `{"valid_until":"2027-03-12T00:00:00Z"}`},
		{audit.AccountCreated, anAccount, anAccount, `{"tier":"pro","features":["b","a"],"valid_until":"2027-03-12T00:00:00Z"}`},
		{audit.AccountUpdated, anAccount, anAccount, `{"email":"changed"}`},
		{audit.AccountUpdated, anAccount, anAccount, `{"tier":"team","features":[]}`},
		{audit.AccountUpdated, anAccount, anAccount, `{"email":"changed","valid_until":"2027-03-12T00:00:00Z"}`},
		{audit.AccountSuspended, anAccount, anAccount, `{}`},
		{audit.AccountRestored, anAccount, anAccount, `{}`},
		{audit.AccountDeleted, anAccount, anAccount, `{}`},
		{audit.PlanChanged, anAccount, anAccount, `{"tier":"pro","features":["a"],"valid_until":"2027-03-12T00:00:00.5+01:00","purchase":"changed"}`},
		{audit.SecretRotated, anAccount, "rot_0123456789abcdef", `{"target":"repository","secret":"PAGEFLARE_TOKEN","repository":"acme/site","repository_id":7,"jti":"JTI","expires_at":1893456000}`},
		{audit.SecretNotRotated, anAccount, "rot_0123456789abcdef", `{"target":"environment:production","secret":"PAGEFLARE_TOKEN","code":"forbidden","message":"no"}`},
		{audit.TokenLeaked, anAccount, "JTI", `{"kind":"license_token","door":"partner_alert","source":"commit","url":"https://github.com/acme/site"}`},
		{audit.KeyAdded, "", "k_0123456789abcdef", `{"alg":"HS256","signs_from":1893456000}`},
		{audit.PolicyAdded, anAccount, "pol_0123456789abcdef", `{"repository_id":"7","repository_owner_id":"8","issuer":"https://issuer.example","ref":["refs/heads/main"]}`},
		{audit.PolicyRemoved, anAccount, "pol_0123456789abcdef", `{}`},
		{audit.EndpointDisabled, anAccount, "wh_0123456789abcdef", `{"reason":"its receiver answered 410 Gone"}`},
		{audit.DeliveryReplayed, anAccount, "wh_0123456789abcdef", `{"replay":"rpl_0123456789abcdef","events":2,"after":0,"to":7,"undelivered":true}`},
	} {
		act := audit.Act{Action: c.action, Account: c.account, Object: c.object, Details: c.details}
		fmt.Fprintf(&b, "# %s %s\n", c.action, c.details)
		for _, e := range act.Events() {
			told[e.Type] = true
			fmt.Fprintf(&b, "%s %s\n", e.Type, e.Data)
		}
	}
	facts := audit.TokenFacts{Family: "FAMILY", ExpiresAt: time.Unix(1893456000, 0)}
	for _, did := range []audit.Action{audit.TokenIssued, audit.TokenRefreshed, audit.TokenExchanged} {
		act, of := audit.Act{Action: did, Account: anAccount, Object: "JTI"}, facts
		switch did {
		case audit.TokenIssued:
			of.IssuedBy = "at_0123456789abcdef"
		case audit.TokenRefreshed:
			of.Parent = "PARENT"
		case audit.TokenExchanged:
			of.IssuedBy = "pol_0123456789abcdef"
			act.Details = `{"policy":"pol_0123456789abcdef","policy_version":2,"repository_id":"7","repository":"acme/site","ref":"x","run_id":"9","identity_sha256":"y"}`
		}
		e, ok := act.TokenEvent(of)
		if !ok {
			t.Errorf("%s is not told", did)
		}
		told[e.Type] = true
		fmt.Fprintf(&b, "# %s\n%s %s\n", did, e.Type, e.Data)
	}
	for _, kind := range audit.EventTypes {
		act := audit.Act{Action: audit.EndpointTested, Account: anAccount, Object: "wh_0123456789abcdef", Details: fmt.Sprintf(`{"type":%q}`, kind)}
		list := act.Events()
		if len(list) != 1 || list[0].Type != kind || list[0].Endpoint != act.Object || !strings.Contains(list[0].Data, `"test":true`) {
			t.Fatalf("a test of %s = %v", kind, list)
		}
		if kind != audit.EventPing && !told[kind] {
			t.Errorf("no act above is told as %s", kind)
		}
		fmt.Fprintf(&b, "# %s %s\n%s %s\n", audit.EndpointTested, kind, kind, list[0].Data)
	}
	file := filepath.Join("testdata", "events.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("%s: run `make update-golden` if it is meant (-want +got)\n%s", file, diff)
	}
}

func TestMostActsAreToldToNobody(t *testing.T) {
	t.Parallel()
	for _, a := range audit.Actions {
		act := audit.Act{Action: a, Account: anAccount, Object: "x", Details: `{"type":"ping"}`}
		if got := len(act.Events()) > 0; got != a.Published() {
			t.Errorf("%s: told = %t, Published = %t", a, got, a.Published())
		}
	}
	for _, a := range []audit.Action{
		audit.APITokenCreated, audit.SignedIn, audit.EndpointAdded, audit.EndpointRotated, audit.ExchangeRefused, audit.RecordsPruned, audit.LeaseIssued, audit.KeyRetired,
	} {
		if a.Published() {
			t.Errorf("%s is told to everybody", a)
		}
	}
	if got := eventsOf(audit.Act{Action: audit.EndpointTested, Object: "wh_1", Details: `{"type":"no.such"}`}); got != nil {
		t.Errorf("a test of no type = %v", got)
	}
}

// What an act says may come from anybody: an event is small all the same, and JSON.
func TestNoEventIsLarge(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\x01<é", 400)
	many := slices.Repeat([]string{long[:300]}, 110)
	details := map[string]any{}
	for _, name := range []string{
		"tier", "url", "message", "code", "target", "secret", "repository", "repository_id", "repository_owner_id", "issuer", "reason", "kind", "source",
		"door", "jti", "family", "policy", "run_id", "purchase", "parent", "by_token", "machine", "alg",
	} {
		details[name] = long
	}
	details["features"], details["changed"] = many, many
	text, err := json.Marshal(details)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range audit.Actions {
		act := audit.Act{Action: a, Account: long, Object: long, Details: string(text)}
		list := act.Events()
		if e, ok := act.TokenEvent(audit.TokenFacts{Family: long, Parent: long, IssuedBy: long}); ok {
			list = append(list, e)
		}
		for _, e := range list {
			if len(e.Data) >= audit.MaxData || !json.Valid([]byte(e.Data)) {
				t.Errorf("%s: %d bytes of %s, valid JSON = %t", a, len(e.Data), e.Type, json.Valid([]byte(e.Data)))
			}
		}
	}
	features := make([]string, 50) // as many, and as long, as an account can have
	for i := range features {
		features[i] = fmt.Sprintf("%064d", i)
	}
	text, err = json.Marshal(map[string]any{"features": features, "tier": "pro"})
	if err != nil {
		t.Fatal(err)
	}
	e := audit.Act{Action: audit.AccountCreated, Account: anAccount, Details: string(text)}.Events()[0]
	if !strings.Contains(e.Data, features[49]) {
		t.Errorf("account.created = %s, want all features", e.Data)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add("account.update", `{"tier":1,"features":"x","valid_until":[]}`)
	f.Add("token.leak", `{"kind":null}`)
	f.Add("license.expiring", `{"days":1e99,"valid_until":-1}`)
	f.Add("policy.add", `[]`)
	f.Fuzz(func(t *testing.T, action, details string) {
		for _, e := range (audit.Act{Action: audit.Action(action), Account: "a", Object: "o", Details: details}).Events() {
			if len(e.Data) >= audit.MaxData || !json.Valid([]byte(e.Data)) {
				t.Errorf("data = %q", e.Data)
			}
		}
	})
}

// An id cannot be foreseen, and no two events have the same.
func TestTheSeedsOfEventsDiffer(t *testing.T) {
	t.Parallel()
	a := audit.Act{}
	seen := map[[32]byte]bool{}
	for _, seq := range []int64{1, 2} {
		for _, hash := range []string{"a", "b"} {
			for _, kind := range []audit.EventType{audit.EventPing, audit.EventPlanChanged} {
				seen[a.EventSeed(seq, hash, kind)] = true
			}
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d seeds of 8 events", len(seen))
	}
	if act(t, "key").EventSeed(1, "a", audit.EventPing) == act(t, "yek").EventSeed(1, "a", audit.EventPing) {
		t.Error("the seed does not depend on the key")
	}
}
