package server

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// Guard is who may call a route.
type Guard struct {
	who         string // for people
	credentials []credential
	scope       license.Scope // of an admin token
	session     bool          // of a person who is signed in, in a browser
}

// String is who may call, as the documents say it.
func (g Guard) String() string { return g.who }

// Open tells a route that anyone may call.
func (g Guard) Open() bool { return len(g.credentials) == 0 && !g.session }

// SignIn tells a route that asks for a person who is signed in; others are sent to the sign-in page.
func (g Guard) SignIn() bool { return g.session }

// credential is a kind of token.
type credential int

const (
	apiToken credential = iota
	licenseToken
	adminToken
	identityToken
	loginToken
)

// credentialOf tells what kind of token a text is, good or not.
func credentialOf(token string) credential {
	switch {
	case opaque.APIToken.Fits(token):
		return apiToken
	case opaque.AdminToken.Fits(token):
		return adminToken
	case opaque.LoginToken.Fits(token):
		return loginToken
	case oidc.LooksLikeIdentity(token):
		return identityToken
	}
	return licenseToken
}

var (
	// Open lets anyone in.
	Open = Guard{who: "anyone"}
	// TokenOrIdentity asks for an API token, a license token, a login token, or the identity token of a job of GitHub Actions.
	TokenOrIdentity = Guard{who: "API token, license token, login token, or identity token of a job under a trust policy",
		credentials: []credential{apiToken, licenseToken, loginToken, identityToken}}
	// LoginToken asks for the token that a device login ends with.
	LoginToken = Guard{who: "login token", credentials: []credential{loginToken}}
	// SignedIn asks for a person who is signed in, in a browser.
	SignedIn = Guard{who: "a person who is signed in", session: true}
	// LicenseToken asks for a license token.
	LicenseToken = Guard{who: "license token", credentials: []credential{licenseToken}}
)

// Admin asks for an admin token with a scope.
func Admin(s license.Scope) Guard {
	return Guard{who: "admin token with " + string(s), credentials: []credential{adminToken}, scope: s}
}

// OwnerOrAdmin asks for an API token, which reaches what belongs to its account, or for an admin token with a scope.
func OwnerOrAdmin(s license.Scope) Guard {
	return Guard{who: "API token, or admin token with " + string(s), credentials: []credential{apiToken, adminToken}, scope: s}
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
		if errors.Is(err, license.ErrUnauthenticated) || errors.Is(err, errStranger) {
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
	token, ok := bearer(c.Request.Header.Values("Authorization"))
	if !ok || !slices.Contains(g.credentials, credentialOf(token)) {
		return license.ErrUnauthenticated
	}
	if credentialOf(token) == identityToken {
		return s.admitJob(c, token)
	}
	caller, err := s.license.Authenticate(c.Request.Context(), token)
	if err != nil {
		return err
	}
	letIn(c, caller)
	if err := s.limits.take(c.Request.Context(), caller); err != nil {
		return err
	}
	if caller.Admin != nil && !caller.Admin.May(g.scope) {
		return fmt.Errorf("%w: this admin token lacks the scope %s: make one that has it", license.ErrScope, g.scope)
	}
	return nil
}

// actAs makes everything that the request does count as done by the actor, from the caller's address.
func actAs(c *gin.Context, who audit.Actor) {
	who.Address, who.RequestID = c.ClientIP(), requestID(c)
	c.Request = c.Request.WithContext(audit.WithActor(c.Request.Context(), who))
}

// letIn notes who calls, for the handler, the access log and the audit log.
func letIn(c *gin.Context, who license.Caller) {
	c.Set(callerKey, who)
	actAs(c, who.Actor())
}

// caller is who the guard let in.
func caller(c *gin.Context) license.Caller { return c.MustGet(callerKey).(license.Caller) }

// token68 is what a bearer token is made of (RFC 6750, 2.1).
var token68 = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// bearer reads the one header `Authorization: Bearer <token>` (RFC 6750, 2.1; the scheme in any case: RFC 9110, 11.1). Two headers are
// none: a proxy might judge by the other one.
func bearer(headers []string) (string, bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || !token68.MatchString(token) {
		return "", false
	}
	return token, true
}
