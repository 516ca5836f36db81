package server_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/server"
)

// ownTexts are refusals that name what exactly was wrong.
var ownTexts = regexp.MustCompile(`^(insufficient scope: this admin token lacks the scope [a-z-]+:[a-z]+: make one that has it|` +
	`too many requests with this token: try again in \d+ s|the service has an internal error: try again later, and report request [0-9A-Z]{26}|` +
	`the body has a member "/\w+" that is not known here: see /openapi.yaml|(account \S+|machine): (not found|exists already)|` +
	`events are missing: those from \d+ to \d+ were pruned, as LICENSE_RETENTION says: look at what may have changed, and go on with after=\d+|` +
	`invalid request: machine_id is not 1 to 128 letters, digits, - or _|insufficient scope: this token belongs to another account|the form has no parameter token|` +
	`send the body with Content-Type: application/(json|x-www-form-urlencoded), in UTF-8 and not compressed)$`)

// Anyone who searches for a message that the document shows must find what the service says.
func TestExamplesOfTheDocumentSayWhatTheServiceSays(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	check := func(where string, r *openapi3.Response) {
		for _, media := range r.Content {
			all := []any{media.Example}
			for _, e := range media.Examples {
				all = append(all, e.Value.Value)
			}
			for _, e := range all {
				fields, _ := e.(map[string]any)
				text, ok := fields["message"].(string)
				if !ok {
					continue
				}
				shown++
				if !slices.Contains(server.Texts(), text) && !ownTexts.MatchString(text) {
					t.Errorf("%s shows the message %q, and the service does not say that", where, text)
				}
			}
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status, r := range op.Responses.Map() {
				check(method+" "+path+" "+status, r.Value)
			}
		}
	}
	for name, r := range doc.Components.Responses {
		check(name, r.Value)
	}
	if shown < 20 {
		t.Errorf("examples with a message = %d", shown)
	}
}
