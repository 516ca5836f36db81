package server

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
)

// Guard is who may call a route.
type Guard struct {
	who         string // for people
	credentials []auth.Kind
	scope       auth.Scope // of an admin token
	session     bool       // of a person who is signed in, in a browser
}

// String is who may call, as the documents say it.
func (g Guard) String() string { return g.who }

// Open tells a route that anyone may call.
func (g Guard) Open() bool { return len(g.credentials) == 0 && !g.session }

// SignIn tells a route that asks for a person who is signed in; others are sent to the sign-in page.
func (g Guard) SignIn() bool { return g.session }

var (
	// Open lets anyone in.
	Open = Guard{who: "anyone"}
	// TokenOrIdentity asks for an API token, a license token, a login token, or the identity token of a job of GitHub Actions.
	TokenOrIdentity = Guard{who: "API token, license token, login token, or identity token of a job under a trust policy",
		credentials: []auth.Kind{auth.ByAPIToken, auth.ByLicenseToken, auth.ByLoginToken, auth.ByIdentity}}
	// LoginToken asks for the token that a device login ends with.
	LoginToken = Guard{who: "login token", credentials: []auth.Kind{auth.ByLoginToken}}
	// SignedIn asks for a person who is signed in, in a browser.
	SignedIn = Guard{who: "a person who is signed in", session: true}
	// LicenseToken asks for a license token.
	LicenseToken = Guard{who: "license token", credentials: []auth.Kind{auth.ByLicenseToken}}
)

// Admin asks for an admin token with a scope.
func Admin(s auth.Scope) Guard {
	return Guard{who: "admin token with " + string(s), credentials: []auth.Kind{auth.ByAdminToken}, scope: s}
}

// OwnerOrAdmin asks for an API token, which reaches what belongs to its account, or for an admin token with a scope.
func OwnerOrAdmin(s auth.Scope) Guard {
	return Guard{who: "API token, or admin token with " + string(s), credentials: []auth.Kind{auth.ByAPIToken, auth.ByAdminToken}, scope: s}
}

const callerKey = "caller"

// guard authenticates the caller and counts the request against the caller's limit, or, without a credential that is good for anything here,
// against that of the address. It answers for itself when it lets nobody in.
func (s *Server) guard(g Guard) gin.HandlerFunc {
	if g.Open() {
		return func(c *gin.Context) { actAs(c, audit.Actor{Kind: audit.ActorUnknown}) }
	}
	if g.session {
		return s.wantSession
	}
	return func(c *gin.Context) {
		err := s.admit(c, g)
		if errors.Is(err, auth.ErrUnauthenticated) || errors.Is(err, auth.ErrUntrustedJob) {
			if over := s.limits.takeAddress(c.Request.Context(), c.ClientIP()); over != nil {
				err = over
			}
		}
		if err != nil {
			s.fail(c, err)
			c.Abort()
		}
	}
}

func (s *Server) admit(c *gin.Context, g Guard) error {
	text, ok := bearer(c.Request.Header.Values("Authorization"))
	if !ok {
		return auth.ErrUnauthenticated
	}
	shown := auth.Parse(text)
	if !slices.Contains(g.credentials, shown.Kind) {
		return auth.ErrUnauthenticated
	}
	caller, err := s.parts.Auth.Authenticate(c.Request.Context(), shown)
	if err != nil {
		return err
	}
	setCaller(c, caller)
	if err := s.limits.take(c.Request.Context(), caller); err != nil {
		return err
	}
	return caller.Require(g.scope)
}

// actAs makes everything that the request does count as done by the actor, from the caller's address.
func actAs(c *gin.Context, who audit.Actor) {
	who.Address, who.RequestID = c.ClientIP(), requestID(c)
	c.Request = c.Request.WithContext(audit.WithActor(c.Request.Context(), who))
}

// setCaller notes who calls, for the handler, the access log and the audit log.
func setCaller(c *gin.Context, who auth.Caller) {
	c.Set(callerKey, who)
	actAs(c, who.Actor())
}

// caller is who the guard let in.
func caller(c *gin.Context) auth.Caller { return c.MustGet(callerKey).(auth.Caller) }

// token68 is what a bearer token is made of (RFC 6750, 2.1).
var token68 = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// bearer reads the one header `Authorization: Bearer <token>` (RFC 6750, 2.1; the scheme in any case: RFC 9110, 11.1). Two headers are
// none: a proxy might judge by the other one.
func bearer(headers []string) (string, bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	token = strings.TrimLeft(token, " ") // several are one (RFC 9110, 11.4)
	if !ok || !strings.EqualFold(scheme, "Bearer") || !token68.MatchString(token) {
		return "", false
	}
	return token, true
}
