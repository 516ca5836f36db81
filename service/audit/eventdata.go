package audit

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What an event says is taken from its act by a rule for each type, and by nothing else: a detail
// that no rule names is not told. A rule names the object of the act, and the details that are
// copied, each of a kind. A text that is longer than an id or a name has to be is cut, so that no
// event is large whatever an act says. docs/webhooks.md has the rules as a table.

// kind is how a detail is shown.
type kind int

const (
	text   kind = iota // also a whole number, which becomes one: an id is a text whoever noted it
	number             // a whole number
	texts
	date // a Unix time, or a time of RFC 3339: shown as the latter, with milliseconds
)

// dataRule is what an event of a type says beside whose it is (account).
type dataRule struct {
	object string          // the name under which the object of the act stands; empty: it does not
	facts  map[string]kind // the details that are copied, where the act has them
}

var dataRules = map[EventType]dataRule{
	EventLicenseIssued:    {"jti", map[string]kind{"family": text, "parent": text, "issued_by": text, "expires_at": date}},
	EventLicenseRefreshed: {"jti", map[string]kind{"family": text, "parent": text, "expires_at": date}},
	EventLicenseExchanged: {"jti", map[string]kind{
		"family": text, "expires_at": date, "policy": text, "policy_version": number, "repository_id": text, "run_id": text,
	}},
	EventLicenseRevoked:  {"", map[string]kind{"jti": text, "family": text, "issued_by": text, "machine": text}},
	EventLicenseExpiring: {"", map[string]kind{"valid_until": date, "days": number}},
	EventLicenseExpired:  {"", map[string]kind{"valid_until": date}},

	EventAccountCreated:   {"", plan},
	EventAccountUpdated:   {"", map[string]kind{"changed": texts, "tier": text, "features": texts, "valid_until": date}},
	EventAccountSuspended: {},
	EventAccountRestored:  {},
	EventAccountDeleted:   {},
	EventPlanChanged: {"", map[string]kind{
		"tier": text, "features": texts, "valid_until": date, "purchase": text,
	}},

	EventSecretRotated: {"rotation", map[string]kind{
		"target": text, "secret": text, "repository_id": text, "repository": text, "jti": text, "expires_at": date,
	}},
	EventSecretRotationFailed: {"rotation", map[string]kind{
		"target": text, "secret": text, "repository_id": text, "repository": text, "code": text, "message": text,
	}},
	EventTokenLeaked: {"id", map[string]kind{
		"kind": text, "door": text, "source": text, "url": text, "repository": text, "repository_id": text,
	}},
	EventKeyRotated: {"kid", map[string]kind{"alg": text, "signs_from": date}},
	EventPolicyAdded: {"policy", map[string]kind{
		"repository_id": text, "repository_owner_id": text, "issuer": text,
	}},
	EventPolicyRemoved: {"policy", nil},

	EventWebhookDisabled: {"endpoint", map[string]kind{"reason": text}},
	EventPing:            {"endpoint", map[string]kind{}},
	EventReplayed: {"endpoint", map[string]kind{
		"replay": text, "events": number, "after": number, "to": number,
	}},
}

var plan = map[string]kind{"tier": text, "features": texts, "valid_until": date}

const (
	maxText  = 512 // bytes of a text
	maxTexts = 100 // of a list
)

// data is what an event of a type says of the act, given its details.
func (a Act) data(t EventType, facts map[string]any) string {
	rule := dataRules[t]
	out := map[string]any{}
	for name, k := range rule.facts {
		if v := shown(k, facts[name]); v != nil {
			out[name] = v
		}
	}
	if a.Account != "" {
		out["account"] = cut(a.Account, maxText)
	}
	if rule.object != "" {
		out[rule.object] = cut(a.Object, maxText)
	}
	if facts["test"] == true {
		out["test"] = true
	}
	switch a.Action {
	case TokenRevoked:
		out["jti"] = cut(a.Object, maxText)
	case FamilyRevoked:
		out["family"] = cut(a.Object, maxText)
		if by := shown(text, facts["by_token"]); by != nil {
			out["jti"] = by
		}
	case IssuesRevoked:
		out["issued_by"] = cut(a.Object, maxText)
	case MachineDeactivated, MachineEnded:
		out["machine"] = cut(a.Object, maxText)
	case AccountUpdated:
		if t == EventAccountUpdated {
			out["changed"] = changed(facts)
		}
	}
	return encode(out)
}

// changed are the particulars of an account that an update was about.
func changed(facts map[string]any) []string {
	list := []string{}
	for _, name := range []string{"email", "tier", "features", "valid_until"} {
		if facts[name] != nil {
			list = append(list, name)
		}
	}
	return list
}

// encode is the JSON of data: its members are in the order of their names, so that the same data
// have the same bytes. What is too large all the same says only whose it is.
func encode(data map[string]any) string {
	out, err := json.Marshal(data)
	if err != nil {
		panic(err) // texts, numbers and lists of texts
	}
	if len(out) >= MaxData {
		return encode(map[string]any{"account": data["account"]})
	}
	return string(out)
}

// shown is a detail as an event shows it; nil when it is not there or of another kind.
func shown(k kind, v any) any {
	switch v := v.(type) {
	case string:
		switch {
		case k == text && v != "":
			return cut(v, maxText)
		case k == date:
			if at, err := time.Parse(time.RFC3339, v); err == nil {
				return moment(at)
			}
		}
	case float64:
		switch {
		case k == text && v == float64(int64(v)):
			return strconv.FormatInt(int64(v), 10)
		case k == number && v == float64(int64(v)):
			return int64(v)
		case k == date:
			return moment(time.Unix(int64(v), 0))
		}
	case []any:
		if k == texts {
			return list(v)
		}
	}
	return nil
}

func list(of []any) []string {
	out := []string{}
	for _, v := range of[:min(len(of), maxTexts)] {
		if s, ok := v.(string); ok {
			out = append(out, cut(s, 64)) // names of features are no longer
		}
	}
	return out
}

func moment(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// cut is a text of n bytes at most, in UTF-8.
func cut(s string, n int) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// test is the one event of an act EndpointTested: what an event of the type that its details name
// looks like, with "test" in it. What it says was made up; only the account and the endpoint are
// those of the act.
func (a Act) test() []Event {
	name, _ := a.facts()["type"].(string)
	did, known := examples[EventType(name)]
	if !known {
		return nil
	}
	example := Act{Action: did.action, Account: a.Account, Object: did.object, Details: did.details}
	switch {
	case did.action == KeyAdded: // it is nobody's
		example.Account = ""
	case example.Account == "" && did.action != EndpointTested:
		example.Account = "user_0123456789abcdef"
	}
	if did.object == "" {
		example.Object = a.Object
	}
	facts := example.facts()
	facts["test"] = true
	return []Event{{Type: EventType(name), Account: a.Account, Endpoint: a.Object, Data: example.data(EventType(name), facts)}}
}

// examples are an act for each type of events. One without an object is of the endpoint that is
// tried.
var examples = map[EventType]struct {
	action  Action
	object  string
	details string
}{
	EventLicenseIssued:    {TokenIssued, exampleJTI, `{"family":"f0g5h2j4k6n8p0q2","issued_by":"at_0123456789abcdef","expires_at":1893456000}`},
	EventLicenseRefreshed: {TokenRefreshed, exampleJTI, `{"family":"f0g5h2j4k6n8p0q2","parent":"0k1b9c3kf0g5h2j4k6n8p0q20a1b2c3d4e5f6g7h","expires_at":1893456000}`},
	EventLicenseExchanged: {TokenExchanged, exampleJTI,
		`{"family":"f0g5h2j4k6n8p0q2","expires_at":1893456000,"policy":"pol_0123456789abcdef","policy_version":1,"repository_id":"1296269","run_id":"1"}`},
	EventLicenseRevoked:  {FamilyRevoked, "f0g5h2j4k6n8p0q2", `{"by_token":"` + exampleJTI + `"}`},
	EventLicenseExpiring: {LicenseExpiring, "user_0123456789abcdef", `{"valid_until":"2030-01-01T00:00:00Z","days":7}`},
	EventLicenseExpired:  {LicenseExpired, "user_0123456789abcdef", `{"valid_until":"2030-01-01T00:00:00Z"}`},

	EventAccountCreated:   {AccountCreated, "user_0123456789abcdef", examplePlan},
	EventAccountUpdated:   {AccountUpdated, "user_0123456789abcdef", examplePlan},
	EventAccountSuspended: {AccountSuspended, "user_0123456789abcdef", `{}`},
	EventAccountRestored:  {AccountRestored, "user_0123456789abcdef", `{}`},
	EventAccountDeleted:   {AccountDeleted, "user_0123456789abcdef", `{}`},
	EventPlanChanged:      {PlanChanged, "user_0123456789abcdef", examplePlan},

	EventSecretRotated: {SecretRotated, "rot_0123456789abcdef",
		`{"target":"repository","secret":"PAGEFLARE_TOKEN","repository_id":1296269,"repository":"acme/site","jti":"` + exampleJTI + `","expires_at":1893456000}`},
	EventSecretRotationFailed: {SecretNotRotated, "rot_0123456789abcdef",
		`{"target":"repository","secret":"PAGEFLARE_TOKEN","repository_id":1296269,"repository":"acme/site","code":"not_installed","message":"the App is not installed there"}`},
	EventTokenLeaked:   {TokenLeaked, "at_0123456789abcdef", `{"kind":"api_token","door":"partner_alert","source":"commit","url":"https://github.com/acme/site/blob/main/config.yml"}`},
	EventKeyRotated:    {KeyAdded, "k_0123456789abcdef", `{"alg":"HS256","signs_from":1893456000}`},
	EventPolicyAdded:   {PolicyAdded, "pol_0123456789abcdef", `{"repository_id":"1296269","repository_owner_id":"583231","issuer":"https://token.actions.githubusercontent.com"}`},
	EventPolicyRemoved: {PolicyRemoved, "pol_0123456789abcdef", `{}`},

	EventWebhookDisabled: {EndpointDisabled, "", `{"reason":"its receiver answered 410 Gone"}`},
	EventPing:            {EndpointTested, "", `{}`},
}

const (
	exampleJTI  = "0k1b9c3mf0g5h2j4k6n8p0q2r4s6t8v0w2x4y6z8"
	examplePlan = `{"tier":"pro","features":["critical_css"],"valid_until":"2030-01-01T00:00:00Z"}`
)

// Members are the names of what the data of an event of this type can have, in their order; not all
// acts have all of them.
func (t EventType) Members() []string {
	rule := dataRules[t]
	names := slices.Collect(maps.Keys(rule.facts))
	if rule.object != "" {
		names = append(names, rule.object)
	}
	if t != EventKeyRotated { // it is nobody's
		names = append(names, "account")
	}
	slices.Sort(names)
	return names
}
