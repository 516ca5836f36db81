package route

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
)

// request is what is known of a request while it is answered.
type request struct {
	id      string
	address string // of the caller, once somebody asked
	route   *Route
	caller  *auth.Caller     // nil: the guard has not asked
	reason  api.Code         // why it was refused
	told    string           // the same, for the log
	job     *license.Refusal // that was refused
}

// requestKey is where the gin context has the request: one value, for each costs a look-up in a map.
const requestKey = "request"

// Begin names a request that begins.
func Begin(c *gin.Context, id string) { c.Set(requestKey, &request{id: id}) }

func of(c *gin.Context) *request {
	if r, ok := c.Get(requestKey); ok {
		return r.(*request)
	}
	Begin(c, "") // a handler on its own, in a test
	return of(c)
}

// RequestID is the name of the request.
func RequestID(c *gin.Context) string { return of(c).id }

// Address is the IP address of the caller, by what trusted proxies say.
func Address(c *gin.Context) string {
	r := of(c)
	if r.address == "" {
		r.address = c.ClientIP()
	}
	return r.address
}

// Set notes the route of the request.
func Set(c *gin.Context, r *Route) { of(c).route = r }

// From is the route of the request; of one that there is none for, a Route without anything.
func From(c *gin.Context) *Route {
	if r := of(c).route; r != nil {
		return r
	}
	return &Route{}
}

// ActAs makes everything that the request does count as done by the actor, from the caller's
// address.
func ActAs(c *gin.Context, who audit.Actor) {
	who.Address, who.RequestID = Address(c), RequestID(c)
	c.Request = c.Request.WithContext(audit.WithActor(c.Request.Context(), who))
}

// SetCaller notes who calls, for the handler, the access log and the audit log.
func SetCaller(c *gin.Context, who auth.Caller) {
	of(c).caller = &who
	ActAs(c, who.Actor())
}

// Caller is who the guard allowed.
func Caller(c *gin.Context) auth.Caller { return *of(c).caller }

// CallerOf is who calls, if the guard of the route asked.
func CallerOf(c *gin.Context) (auth.Caller, bool) {
	if who := of(c).caller; who != nil {
		return *who, true
	}
	return auth.Caller{}, false
}

// RecordRefusal notes why a request is refused. Every answer that is no success calls it. told is
// for the log: nothing in it may be of the caller's choice.
func RecordRefusal(c *gin.Context, reason api.Code, told string) {
	r := of(c)
	r.reason, r.told = reason, told
}

// SetRefusedJob notes the job that was refused, for the access log.
func SetRefusedJob(c *gin.Context, job *license.Refusal) { of(c).job = job }

// RefusedJob is the job that was refused; nil when none was.
func RefusedJob(c *gin.Context) *license.Refusal { return of(c).job }

// RefusalOf is why the request was refused: the code for the metrics, and what the log says of it.
func RefusalOf(c *gin.Context) (reason api.Code, told string, refused bool) {
	r := of(c)
	return r.reason, r.told, r.reason != ""
}
