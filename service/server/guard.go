package server

import (
	"errors"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
)

// guard authenticates the caller and counts the request against the caller's limit, or, without a
// credential that is good for anything here, against that of the address. It answers for itself
// when it allows nobody.
func (s *Server) guard(g route.Guard) gin.HandlerFunc {
	if g.Open() || g.Signed() {
		return func(c *gin.Context) { route.ActAs(c, audit.Actor{Kind: audit.ActorUnknown}) }
	}
	if g.SignIn() {
		return func(c *gin.Context) {
			if err := s.pages.RequireSession(c); err != nil {
				s.fail(c, err)
				c.Abort()
			}
		}
	}
	return func(c *gin.Context) {
		if g.Client() && len(c.Request.Header.Values("Authorization")) == 0 {
			route.ActAs(c, audit.Actor{Kind: audit.ActorUnknown})
			return
		}
		if err := s.countRefusal(c, s.admit(c, g)); err != nil {
			s.fail(c, err)
			c.Abort()
		}
	}
}

// countRefusal counts a credential that is good for nothing against the address that showed it. It
// returns err, or that the address has shown too many.
func (s *Server) countRefusal(c *gin.Context, err error) error {
	if errors.Is(err, auth.ErrUnauthenticated) || errors.Is(err, auth.ErrUntrustedJob) {
		if over := s.limits.TakeAddress(c.Request.Context(), route.Address(c)); over != nil {
			return over
		}
	}
	return err
}

func (s *Server) admit(c *gin.Context, g route.Guard) error {
	text, ok := bearer(c.Request.Header.Values("Authorization"))
	if !ok {
		return auth.ErrUnauthenticated
	}
	shown := auth.Parse(text)
	if !g.Accepts(shown.Kind) {
		return auth.ErrUnauthenticated
	}
	if shown.Kind == auth.ByIdentity { // a refusal is recorded with the request and its address
		route.ActAs(c, audit.Actor{Kind: audit.ActorUnknown})
	}
	caller, err := s.parts.Auth.Authenticate(c.Request.Context(), shown)
	if err != nil {
		s.noteRefusedJob(c, err)
		return err
	}
	route.SetCaller(c, caller)
	if err := s.limits.take(c.Request.Context(), caller); err != nil {
		return err
	}
	return caller.Require(g.Scope())
}

// isToken68 says whether a text can be a bearer token (RFC 6750, 2.1).
func isToken68(text string) bool {
	body := strings.TrimRight(text, "=")
	for i := range len(body) {
		c := body[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("._~+/-", rune(c)) {
			return false
		}
	}
	return body != ""
}

// noteRefusedJob puts an authentic job that is refused into the line of the request.
func (s *Server) noteRefusedJob(c *gin.Context, err error) {
	job, ok := errors.AsType[*license.Refusal](err)
	if !ok {
		return
	}
	route.SetRefusedJob(c, job)
	if job.Unrecorded != nil {
		s.log.Warn("refused job not in the audit log", "request_id", route.RequestID(c), "err",
			opaque.HideSecrets(job.Unrecorded.Error()))
	}
}

// bearer reads the one header `Authorization: Bearer <token>` (RFC 6750, 2.1; the scheme in any
// case: RFC 9110, 11.1). Two headers are none: a proxy might judge by the other one.
func bearer(headers []string) (string, bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	token = strings.TrimLeft(token, " ") // several are one (RFC 9110, 11.4)
	if !ok || !strings.EqualFold(scheme, "Bearer") || !isToken68(token) {
		return "", false
	}
	return token, true
}

// maxRequestName is how many characters the name of a request has at most.
const maxRequestName = 255

// nameRequest reads the header Idempotency-Key, by which a client names a request: sent again under
// that name, with the same credential, it does nothing twice.
func (s *Server) nameRequest(named bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		names := c.Request.Header.Values("Idempotency-Key")
		if !named || len(names) == 0 {
			return
		}
		visible := func(r rune) bool { return r > ' ' && r <= '~' }
		if len(names) > 1 || len(names[0]) > maxRequestName || names[0] == "" || strings.ContainsFunc(names[0], func(r rune) bool { return !visible(r) }) {
			s.fail(c, route.BadRequest("the header Idempotency-Key is not one text of 1 to %d visible ASCII characters", maxRequestName))
			c.Abort()
			return
		}
		who := route.Caller(c)
		c.Request = c.Request.WithContext(s.parts.WithRequest(c.Request.Context(),
			string(who.Kind), who.Key(), c.Request.Method, c.Request.URL.Path, names[0]))
	}
}
