package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/servicetest"
)

func load(t testing.TB) *openapi3.T {
	t.Helper()
	loader := openapi3.NewLoader()
	loader.Context = t.Context()
	doc, err := loader.LoadFromData(api.Document())
	if err != nil {
		t.Fatalf("load the document: %v", err)
	}
	return doc
}

func TestDocumentAndItsExamplesAreValid(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for range 2 {
		err := doc.Validate(t.Context(),
			openapi3.EnableExamplesValidation(), openapi3.EnableSchemaFormatValidation(), openapi3.EnableSchemaPatternValidation())
		if err != nil {
			t.Error(err)
		}
		servicetest.Strict(doc) // an example has nothing that is not described
	}
}

// An operation that anybody may call says so, so that no client waits for a credential.
func TestOpenOperationsSaySo(t *testing.T) {
	t.Parallel()
	for _, o := range operations(load(t)) {
		if o.Security == nil {
			t.Errorf("%s does not say who may call it: give it security: []", o.name)
		}
	}
}

// Answers may gain fields and values, so the published document closes none of them: a client that
// is generated from it would refuse what comes.
func TestAnswersAreOpenAndRequestsClosed(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for name, r := range answers(doc) {
		for kind, media := range r.Content {
			if media.Schema.Ref == "#/components/schemas/Unauthorized" { // exactly the contract
				continue
			}
			eachSchema(media.Schema, func(s *openapi3.Schema) {
				if s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has {
					t.Errorf("%s as %s is closed: %v", name, kind, s.Required)
				}
				if len(s.Enum) > 0 {
					t.Errorf("%s as %s has the closed list %v: use x-extensible-enum", name, kind, s.Enum)
				}
			})
		}
	}
	for _, o := range operations(doc) {
		if o.RequestBody == nil || !strings.Contains(o.name, "/_api/admin/") {
			continue
		}
		s := o.RequestBody.Value.Content["application/json"].Schema.Value
		if s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has {
			t.Errorf("the request of %s is open: a field that is mistyped would be ignored", o.name)
		}
	}
}

func TestTimesHaveTheirFormat(t *testing.T) {
	t.Parallel()
	for name, r := range answers(load(t)) {
		for _, media := range r.Content {
			eachSchema(media.Schema, func(s *openapi3.Schema) {
				for field, p := range s.Properties {
					if at := strings.HasSuffix(field, "_at") || slices.Contains([]string{"at", "valid_until", "grace_until", "signs_from", "refresh_after"}, field); at && p.Value.Format != "date-time" {
						t.Errorf("%s: %s has format %q, want date-time", name, field, p.Value.Format)
					}
				}
			})
		}
	}
}

// eachSchema calls f for a schema and all within it.
func eachSchema(ref *openapi3.SchemaRef, f func(*openapi3.Schema)) {
	if ref == nil {
		return
	}
	f(ref.Value)
	eachSchema(ref.Value.Items, f)
	for _, p := range ref.Value.Properties {
		eachSchema(p, f)
	}
}

func TestDocumentBelongsToTheCaller(t *testing.T) {
	t.Parallel()
	clear(api.Document())
	if got := api.Document(); !bytes.HasPrefix(got, []byte("openapi: 3.0.3\n")) {
		t.Errorf("Document() after a caller cleared its copy starts with %.20q", got)
	}
}

// Whatever can be wrong with a kind of request has its answer. Which routes there are is held
// against the server, in service/server.
func TestEveryOperationHasTheAnswersOfItsKind(t *testing.T) {
	t.Parallel()
	all := operations(load(t))
	if len(all) < 20 {
		t.Fatalf("operations = %d", len(all))
	}
	for _, o := range all {
		want := []string{"500"}
		guarded := o.Security != nil && len(*o.Security) == 1 && (*o.Security)[0]["bearer"] != nil
		if guarded {
			want = append(want, "401", "429", "503")
		}
		switch {
		case strings.Contains(o.name, "/_api/auth/device/"): // every refusal is 400 there (RFC 8628, 3.5)
			want = append(want, "400", "503")
		case o.RequestBody != nil:
			want = append(want, "400", "408", "413", "415")
		}
		if strings.Contains(o.name, "/_api/admin/") {
			want = append(want, "403")
		}
		if strings.Contains(o.name, "{") {
			want = append(want, "404")
		}
		for _, status := range want {
			if o.Responses.Value(status) == nil {
				t.Errorf("%s has no answer %s", o.name, status)
			}
		}
	}
}

func TestEveryOperationIsDescribed(t *testing.T) {
	t.Parallel()
	for _, o := range operations(load(t)) {
		if o.Summary == "" || o.Description == "" {
			t.Errorf("%s has no summary or no description", o.name)
		}
	}
}

// What the route says it takes is explained where the explorer asks for it.
func TestTheSecuritySchemeNamesEveryKindOfToken(t *testing.T) {
	t.Parallel()
	text := load(t).Components.SecuritySchemes["bearer"].Value.Description
	for _, kind := range []string{"license token", "`pf_at_", "`pf_lt_", "`pf_adm_", "identity token"} {
		if !strings.Contains(text, kind) {
			t.Errorf("the scheme bearer does not name %s", kind)
		}
	}
}

// Each answer is shown by an example, has the headers that all have, and those that its status asks for.
func TestAnswersHaveTheirHeadersAndExamples(t *testing.T) {
	t.Parallel()
	extra := map[string]string{"303": "Location", "401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After", "503": "Retry-After"}
	for name, r := range answers(load(t)) {
		want := []string{"X-Request-Id", "Cache-Control"}
		if h := extra[r.status]; h != "" {
			want = append(want, h)
		}
		if r.status == "400" && strings.Contains(name, "/_api/auth/device/") { // its slow_down is the 429 of other routes
			want = append(want, "Retry-After")
		}
		for _, h := range want {
			if r.Headers[h] == nil {
				t.Errorf("%s has no header %s", name, h)
			}
		}
		if strings.HasPrefix(name, "GET /docs/bundle.js ") && r.status != "500" {
			want = append(want, "ETag")
		}
		if len(r.Headers) != len(want) {
			t.Errorf("%s has %d headers, want %v", name, len(r.Headers), want)
		}
		for h, header := range r.Headers {
			for _, e := range headerExamples(header.Value) {
				if err := header.Value.Schema.Value.VisitJSON(e); err != nil {
					t.Errorf("%s: example %v of %s: %v", name, e, h, err)
				}
			}
		}
		for kind, media := range r.Content {
			if media.Example == nil && len(media.Examples) == 0 {
				t.Errorf("%s as %s has no example", name, kind)
			}
		}
	}
}

func TestErrorsHaveTheOneShape(t *testing.T) {
	t.Parallel()
	for name, r := range answers(load(t)) {
		want := "#/components/schemas/Error"
		switch {
		case r.status < "400" || r.Content["text/html"] != nil: // 2xx and 3xx are no errors
			continue
		case r.status == "401":
			want = "#/components/schemas/Unauthorized"
		case strings.Contains(name, "/_api/auth/device/"): // RFC 8628
			want = "#/components/schemas/OAuthError"
		case strings.Contains(name, "/_api/oauth/"): // RFC 7662, RFC 7009
			want = "#/components/schemas/OAuthAPIError"
		}
		media := r.Content["application/json"]
		if media == nil || media.Schema.Ref != want {
			t.Errorf("%s is not %s", name, want)
		}
	}
}

// Generated types read and write every example without losing a field: the document and the code are one wire.
func TestExamplesPassThroughTheTypes(t *testing.T) {
	t.Parallel()
	types := map[string]func() any{
		"IssuedToken": func() any { return new(api.IssuedToken) }, "Unauthorized": func() any { return new(api.Unauthorized) },
		"Error": func() any { return new(api.Error) }, "Health": func() any { return new(api.Health) }, "Ready": func() any { return new(api.Ready) },
		"Introspection": func() any { return new(api.Introspection) }, "Revoked": func() any { return new(api.Revoked) },
		"Account": func() any { return new(api.Account) }, "AccountPage": func() any { return new(api.AccountPage) },
		"APIToken": func() any { return new(api.APIToken) }, "APITokenPage": func() any { return new(api.APITokenPage) },
		"RevokedAPIToken": func() any { return new(api.RevokedAPIToken) }, "TokenRecord": func() any { return new(api.TokenRecord) },
		"TokenPage": func() any { return new(api.TokenPage) }, "SigningKey": func() any { return new(api.SigningKey) },
		"KeyPage": func() any { return new(api.KeyPage) }, "RetiredKey": func() any { return new(api.RetiredKey) },
		"AdminToken": func() any { return new(api.AdminToken) }, "AdminTokenPage": func() any { return new(api.AdminTokenPage) },
		"RevokedAdminToken": func() any { return new(api.RevokedAdminToken) }, "AuditPage": func() any { return new(api.AuditPage) },
		"Machine": func() any { return new(api.Machine) }, "MachinePage": func() any { return new(api.MachinePage) },
		"Policy": func() any { return new(api.Policy) }, "PolicyPage": func() any { return new(api.PolicyPage) },
		"Rotation": func() any { return new(api.Rotation) }, "RotationPage": func() any { return new(api.RotationPage) },
		"RemovedRotation": func() any { return new(api.RemovedRotation) },
		"AddedPolicies":   func() any { return new(api.AddedPolicies) }, "RepositoryPage": func() any { return new(api.RepositoryPage) },
		"RemovedPolicy": func() any { return new(api.RemovedPolicy) }, "Explanation": func() any { return new(api.Explanation) },
		"AuditVerdict": func() any { return new(api.AuditVerdict) }, "OAuthError": func() any { return new(api.OAuthError) },
		"OAuthAPIError": func() any { return new(api.OAuthAPIError) },
		"DeviceCode":    func() any { return new(api.DeviceCode) }, "LoginToken": func() any { return new(api.LoginToken) },
		"Activated": func() any { return new(api.Activated) }, "Deactivated": func() any { return new(api.Deactivated) },
		"ValidCI": func() any { return new(api.ValidCI) }, "CLIVersion": func() any { return new(api.CLIVersion) },
		"Counted": func() any { return new(api.Counted) }, "SignInLink": func() any { return new(api.SignInLink) },
		"Webhook": func() any { return new(api.Webhook) }, "WebhookPage": func() any { return new(api.WebhookPage) },
		"RemovedWebhook": func() any { return new(api.RemovedWebhook) }, "Event": func() any { return new(api.Event) },
		"EventPage":           func() any { return new(api.EventPage) },
		"AuthorizationServer": func() any { return new(api.AuthorizationServer) },
		"Lease":               func() any { return new(api.Lease) },
		"PublicKeySet":        func() any { return new(api.PublicKeySet) },
		"Leak":                func() any { return new(api.Leak) },
		"LeakLabels":          func() any { return new(api.LeakLabels) },
		"WebhookDeliveryPage": func() any { return new(api.WebhookDeliveryPage) },
		"WebhookReplay":       func() any { return new(api.WebhookReplay) },
		"WebhookReplayPage":   func() any { return new(api.WebhookReplayPage) },
		"SkippedWebhook":      func() any { return new(api.SkippedWebhook) },
		"Plan":                func() any { return new(api.Plan) },
		"PlanPage":            func() any { return new(api.PlanPage) },
		"RemovedPlan":         func() any { return new(api.RemovedPlan) },
		"Purchase":            func() any { return new(api.Purchase) },
		"PurchasePage":        func() any { return new(api.PurchasePage) },
		"Received":            func() any { return new(api.Received) },
		"DeliveryPage":        func() any { return new(api.DeliveryPage) },
		"GitHubDelivery":      func() any { return new(api.GitHubDelivery) },
	}
	for name, r := range answers(load(t)) {
		media := r.Content["application/json"]
		if media == nil {
			continue
		}
		newValue := types[filepath.Base(media.Schema.Ref)]
		if newValue == nil {
			t.Errorf("%s: no type for %s", name, media.Schema.Ref)
			continue
		}
		for _, example := range examples(media) {
			in, err := json.Marshal(example)
			if err != nil {
				t.Fatal(err)
			}
			v := newValue()
			dec := json.NewDecoder(bytes.NewReader(in))
			dec.DisallowUnknownFields()
			if err := dec.Decode(v); err != nil {
				t.Errorf("%s: %s: %v", name, in, err)
				continue
			}
			out, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var back any
			if err := json.Unmarshal(out, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(example, back); diff != "" {
				t.Errorf("%s through %T (-example +type):\n%s", name, v, diff)
			}
		}
	}
}

func TestUnauthorizedIsExactlyTheContract(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(api.Unauthorized{Error: "Unauthorized"})
	if want := `{"error":"Unauthorized"}`; err != nil || string(got) != want {
		t.Errorf("401 = %s, %v, want %s", got, err, want)
	}
}

func TestIssuedTokenWithNothingElseIsOneField(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(api.IssuedToken{Token: "a.b.c"})
	if want := `{"token":"a.b.c"}`; err != nil || string(got) != want {
		t.Errorf("200 = %s, %v, want %s", got, err, want)
	}
}

// What was just issued has its times in the form in which its record has them, and is read in any.
func TestTimesOfAnIssuedTokenHaveTheFormOfRecords(t *testing.T) {
	t.Parallel()
	end := time.Date(2027, 3, 12, 1, 0, 0, 0, time.FixedZone("", 3600))
	got, err := json.Marshal(api.IssuedToken{Token: "a.b.c", ExpiresAt: api.Time{Time: end}})
	if want := `{"expires_at":"2027-03-12T00:00:00.000Z","token":"a.b.c"}`; err != nil || string(got) != want {
		t.Errorf("200 = %s, %v, want %s", got, err, want)
	}
	for _, text := range []string{"2027-03-12T00:00:00Z", "2027-03-12T00:00:00.000Z", "2027-03-12T01:00:00+01:00"} {
		var read api.IssuedToken
		if err := json.Unmarshal([]byte(`{"token":"a.b.c","expires_at":"`+text+`"}`), &read); err != nil || !read.ExpiresAt.Equal(end) {
			t.Errorf("%s is read as %v, %v, want %v", text, read.ExpiresAt, err, end)
		}
	}
}

func TestCodesAndDocumentAgree(t *testing.T) {
	t.Parallel()
	doc := load(t)
	constants := codeConstants(t)

	var listed []string
	for _, v := range doc.Components.Schemas["Code"].Value.Extensions["x-extensible-enum"].([]any) {
		listed = append(listed, v.(string))
	}
	if diff := cmp.Diff(constants, slices.Sorted(slices.Values(listed))); diff != "" {
		t.Errorf("codes (-errors.go +list of the document):\n%s", diff)
	}

	shown := map[string]bool{}
	for _, r := range answers(doc) {
		if media := r.Content["application/json"]; media != nil {
			for _, e := range examples(media) {
				for _, code := range codes(e) {
					shown[code] = true
				}
			}
		}
	}
	explained := doc.Components.Schemas["Code"].Value.Description
	for _, c := range constants {
		if !shown[c] {
			t.Errorf("%s: no answer of the document shows it", c)
		}
		if !strings.Contains(explained, "| `"+c+"` |") {
			t.Errorf("%s: the table of the document does not explain it", c)
		}
	}
}

func TestTokensAndLeasesHideThemselves(t *testing.T) {
	t.Parallel()
	const secret = "aaa.bbb.ccc"
	for _, v := range []any{api.IssuedToken{Token: secret, ExpiresAt: api.Time{Time: time.Unix(1e9, 0)}}, api.Lease{Lease: secret, GraceUntil: api.Time{Time: time.Unix(1e9, 0)}}} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("answer", "got", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("answer", "got", v)
		for _, text := range []string{
			fmt.Sprint(v), fmt.Sprint(&v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%v", []any{v}), fmt.Sprintf("%q", v), log.String(),
		} {
			if strings.Contains(text, secret) || strings.Contains(text, "bbb") {
				t.Errorf("printed %s", text)
			}
		}
		if !strings.Contains(log.String(), "2001-09-09") {
			t.Errorf("log %s has no expiry", log.String())
		}
	}
}

type operation struct {
	name string
	*openapi3.Operation
}

// operations returns those of the document, sorted by name.
func operations(doc *openapi3.T) []operation {
	var all []operation
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{method + " " + path, op})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.name, b.name) })
	return all
}

type answer struct {
	status string
	*openapi3.Response
}

// answers returns every answer of every route, and the two that any path may give.
func answers(doc *openapi3.T) map[string]answer {
	all := map[string]answer{
		"any other path":   {"404", doc.Components.Responses["NotFound"].Value},
		"any other method": {"405", doc.Components.Responses["MethodNotAllowed"].Value},
	}
	for _, o := range operations(doc) {
		for status, r := range o.Responses.Map() {
			all[o.name+" "+status] = answer{status, r.Value}
		}
	}
	return all
}

func examples(media *openapi3.MediaType) []any {
	if media.Example != nil {
		return []any{media.Example}
	}
	var all []any
	for _, e := range media.Examples {
		all = append(all, e.Value.Value)
	}
	return all
}

// codes returns the codes that a body shows: its own, or those of its entries when it is an array.
func codes(body any) (all []string) {
	switch body := body.(type) {
	case []any:
		for _, entry := range body {
			all = append(all, codes(entry)...)
		}
	case map[string]any:
		if code, ok := body["code"]; ok {
			all = append(all, code.(string))
		}
	}
	return all
}

func headerExamples(header *openapi3.Header) []any {
	return examples(&openapi3.MediaType{Example: header.Example, Examples: header.Examples})
}

// codeConstants reads the constants of type Code from errors.go, so that none can be forgotten here.
func codeConstants(t testing.TB) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Code" || len(spec.Values) != 1 {
			t.Errorf("%v in errors.go is not a Code with one value", spec.Names)
			return false
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Error(err)
		}
		all = append(all, value)
		return false
	})
	if len(all) == 0 {
		t.Fatal("errors.go has no Code")
	}
	sort.Strings(all)
	return all
}
