// Package api is the wire of the License API: its document, the types generated from that, and the
// stable codes of its errors.
//
// What each route does is decided elsewhere: who may have a token in service/license, which error
// gets which status and code in service/server. What a token holds is service/token. The client of
// this wire is service/client.
package api

import _ "embed"

//go:generate go tool oapi-codegen -config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var document string

// Document returns the OpenAPI document of the API, in YAML: what GET /openapi.yaml answers. The
// caller owns the bytes.
func Document() []byte { return []byte(document) }
