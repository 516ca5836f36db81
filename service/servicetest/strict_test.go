package servicetest_test

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/servicetest"
)

func TestStrictFindsWhatTheDocumentLeavesOpen(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]any{"error": "Not Found", "code": "not_found", "message": "no"}
	more := map[string]any{"error": "Not Found", "code": "not_found", "message": "no", "more": true}
	unknown := map[string]any{"error": "Not Found", "code": "lost", "message": "no"}
	schema := doc.Components.Schemas["Error"].Value
	for name, v := range map[string]any{"as it is": good, "with a field more": more, "with a new code": unknown} {
		if err := schema.VisitJSON(v); err != nil {
			t.Errorf("the published document refuses an error %s: %v", name, err)
		}
	}
	servicetest.Strict(doc)
	if err := schema.VisitJSON(good); err != nil {
		t.Errorf("strict refuses an error as it is: %v", err)
	}
	for name, v := range map[string]any{"with a field more": more, "with a new code": unknown} {
		if schema.VisitJSON(v) == nil {
			t.Errorf("strict accepts an error %s", name)
		}
	}
}
