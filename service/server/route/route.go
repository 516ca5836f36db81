// Package route is what a route of the service is: who may call it, what it reads, how it says no.
// The server turns each into handlers; packages that mount routes share what handlers need.
package route

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/opaque"
)

// Route is one line of the API, with all that the server has to know of it.
type Route struct {
	Method string
	Path   string
	Guard  Guard
	Body   int64  // the most bytes of a body that are read; 0: none is read
	Format Format // of errors
	ID     ID     // the part of the path that names something
	Counts string // the act that it counts as in the metric of tokens; "" for none
	Named  bool   // a request may have a name (Idempotency-Key), and is done once under it
	Handle Handler
}

// Handler answers a request, or returns an error for the server to answer with.
type Handler func(*gin.Context) error

// MaxBody is the most bytes of a body that a route reads, unless it says otherwise.
const MaxBody = 64 << 10

// Get is a route that reads. The body of GET means nothing (RFC 9110, 9.3.1) and is never read.
func Get(path string, g Guard, h Handler) Route {
	return Route{Method: http.MethodGet, Path: path, Guard: g, Handle: h}
}

// Post is a route that reads a body of MaxBody at most.
func Post(path string, g Guard, h Handler) Route {
	return Route{Method: http.MethodPost, Path: path, Guard: g, Body: MaxBody, Handle: h}
}

// Patch is a route that reads a body of MaxBody at most.
func Patch(path string, g Guard, h Handler) Route {
	return Route{Method: http.MethodPatch, Path: path, Guard: g, Body: MaxBody, Handle: h}
}

// Delete is a route that ends something. Its body means nothing (RFC 9110, 9.3.5) and is never
// read.
func Delete(path string, g Guard, h Handler) Route {
	return Route{Method: http.MethodDelete, Path: path, Guard: g, Handle: h}
}

// As is the route with errors in another format.
func (r Route) As(f Format) Route { r.Format = f; return r }

// Of is the route with the part of its path that names something.
func (r Route) Of(id ID) Route { r.ID = id; return r }

// Counted is the route as an act in the metric of tokens.
func (r Route) Counted(act string) Route { r.Counts = act; return r }

// Once is the route that a request may be sent to again under its name, and does nothing twice.
func (r Route) Once() Route { r.Named = true; return r }

// Reads is the route with another limit for its body. It is read before anyone is asked who they
// are: a large one costs memory that nobody has a right to yet.
func (r Route) Reads(bytes int64) Route { r.Body = bytes; return r }

// Bare is the route without parameters in its query: any is refused.
func (r Route) Bare() Route { r.Handle = noQuery(r.Handle); return r }

// Format is whom an error is told to.
type Format int

// The formats of errors.
const (
	API      Format = iota
	OAuth           // RFC 8628: `error` is a code
	CLI             // the pageflare CLI, which shows `error` to people
	Page            // a person in a browser
	OAuthAPI        // RFC 7662 and RFC 7009: `error` is a code of OAuth, beside the members of API
)

// ID is a part of paths that names something by its id, and the answer to what cannot be one. It is
// not repeated and goes no further: people put tokens there, and what stands in a path reaches
// errors and logs. The zero value is a route without one.
type ID struct {
	Name    string // of the parameter
	Fits    func(string) bool
	Refusal error
}

// OfKind is an id of a kind.
func OfKind(name string, k opaque.Kind, refusal error) ID { return ID{name, k.Fits, refusal} }

// Refusal is how an error looks on the wire.
type Refusal struct {
	Err    error
	Status int
	Code   api.Code
}
