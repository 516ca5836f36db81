package servicetest

import "github.com/getkin/kin-openapi/openapi3"

// extensibleEnum lists the values of an answer that there are today; a later version may add some.
const extensibleEnum = "x-extensible-enum"

// Strict closes every answer of the document: the fields and values that it describes and no
// others. The published document leaves answers open, for they may gain fields and values; what
// this version answers is described whole, and a test finds what is not.
func Strict(doc *openapi3.T) {
	seen := map[*openapi3.Schema]bool{}
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			for _, r := range op.Responses.Map() {
				strictAnswer(r.Value, seen)
			}
		}
	}
	for _, r := range doc.Components.Responses { // those of any path
		strictAnswer(r.Value, seen)
	}
}

func strictAnswer(r *openapi3.Response, seen map[*openapi3.Schema]bool) {
	for _, media := range r.Content {
		strictSchema(media.Schema, seen)
	}
}

func strictSchema(ref *openapi3.SchemaRef, seen map[*openapi3.Schema]bool) {
	if ref == nil || seen[ref.Value] {
		return
	}
	s := ref.Value
	seen[s] = true
	if values, ok := s.Extensions[extensibleEnum].([]any); ok {
		s.Enum = values
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil &&
		s.AdditionalProperties.Schema == nil {
		s.AdditionalProperties.Has = new(false)
	}
	strictSchema(s.Items, seen)
	for _, p := range s.Properties {
		strictSchema(p, seen)
	}
}
