package route

import (
	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
)

// The keys under which a request carries what is known of it.
const (
	requestIDKey = "request_id"
	routeKey     = "route"
	callerKey    = "caller"
	reasonKey    = "reason"
	toldKey      = "told"
	refusedKey   = "refused_job"
)

// SetRequestID names the request.
func SetRequestID(c *gin.Context, id string) { c.Set(requestIDKey, id) }

// RequestID is the name of the request.
func RequestID(c *gin.Context) string { return c.GetString(requestIDKey) }

// Set notes the route of the request.
func Set(c *gin.Context, r *Route) { c.Set(routeKey, r) }

// From is the route of the request; of one that there is none for, a Route without anything.
func From(c *gin.Context) *Route {
	if r, ok := c.Get(routeKey); ok {
		return r.(*Route)
	}
	return &Route{}
}

// ActAs makes everything that the request does count as done by the actor, from the caller's
// address.
func ActAs(c *gin.Context, who audit.Actor) {
	who.Address, who.RequestID = c.ClientIP(), RequestID(c)
	c.Request = c.Request.WithContext(audit.WithActor(c.Request.Context(), who))
}

// SetCaller notes who calls, for the handler, the access log and the audit log.
func SetCaller(c *gin.Context, who auth.Caller) {
	c.Set(callerKey, who)
	ActAs(c, who.Actor())
}

// Caller is who the guard allowed.
func Caller(c *gin.Context) auth.Caller { return c.MustGet(callerKey).(auth.Caller) }

// CallerOf is who calls, if the guard of the route asked.
func CallerOf(c *gin.Context) (auth.Caller, bool) {
	who, ok := c.Get(callerKey)
	if !ok {
		return auth.Caller{}, false
	}
	return who.(auth.Caller), true
}

// RecordRefusal notes why a request is refused. Every answer that is no success calls it. told is
// for the log: nothing in it may be of the caller's choice.
func RecordRefusal(c *gin.Context, reason api.Code, told string) {
	c.Set(reasonKey, reason)
	c.Set(toldKey, told)
}

// SetRefusedJob notes the job that was refused, for the access log.
func SetRefusedJob(c *gin.Context, r *license.Refusal) { c.Set(refusedKey, r) }

// RefusedJob is the job that was refused; nil when none was.
func RefusedJob(c *gin.Context) *license.Refusal {
	r, _ := c.Get(refusedKey)
	job, _ := r.(*license.Refusal)
	return job
}

// RefusalOf is why the request was refused: the code for the metrics, and what the log says of it.
func RefusalOf(c *gin.Context) (reason api.Code, told string, refused bool) {
	code, refused := c.Get(reasonKey)
	if !refused {
		return "", "", false
	}
	return code.(api.Code), c.GetString(toldKey), true
}
