package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// bindOAuth reads the body of a route of RFC 8628 into v: a form, as it says there, or a JSON
// object, as the pageflare CLI sends it. Unknown members are ignored (RFC 6749, 3.1), doubled ones
// are refused.
func bindOAuth(c *gin.Context, v any, fromForm func(map[string]string)) error {
	if strings.HasPrefix(c.GetHeader("Content-Type"), "application/x-www-form-urlencoded") {
		form, err := route.Form(c)
		if err == nil {
			fromForm(form)
		}
		return err
	}
	return route.LooseJSON(c, v)
}

// deviceCode answers POST /_api/auth/device/code (RFC 8628, 3.1).
func (s *Server) deviceCode(c *gin.Context) error {
	var in api.DeviceCodeRequest
	if err := bindOAuth(c, &in,
		func(f map[string]string) { in.ClientID = f["client_id"] }); err != nil {
		return err
	}
	if in.ClientID == "" {
		return route.BadRequest("client_id is missing")
	}
	if err := s.limits.takeLogin(c.Request.Context(), route.Address(c)); err != nil {
		return err
	}
	codes, err := s.parts.Devices.BeginDevice(c.Request.Context(), in.ClientID, route.Address(c))
	if err != nil {
		return err
	}
	page := s.parts.PublicURL + "/device"
	c.JSON(http.StatusOK, api.DeviceCode{
		DeviceCode: codes.DeviceCode.Reveal(), UserCode: codes.UserCode.Reveal(), VerificationURI: page,
		VerificationURIComplete: page + "?user_code=" +
			codes.UserCode.Reveal(), ExpiresIn: seconds(codes.Lifetime), Interval: seconds(codes.Interval),
	})
	return nil
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// deviceToken answers POST /_api/auth/device/token (RFC 8628, 3.4). The pageflare CLI gives up on
// any status but 200 and 400, so what passes on its own is told as slow_down too.
func (s *Server) deviceToken(c *gin.Context) error {
	var in api.DeviceTokenRequest
	err := bindOAuth(c, &in, func(f map[string]string) {
		in.ClientID, in.GrantType, in.DeviceCode = f["client_id"], f["grant_type"], f["device_code"]
	})
	switch {
	case err != nil:
		return err
	case in.GrantType != "" && in.GrantType != deviceGrant: // whatever else is there: each grant has parameters of its own
		return errGrantType
	case in.GrantType == "" || in.ClientID == "" || in.DeviceCode == "":
		return route.BadRequest("one of client_id, grant_type and device_code is missing")
	}
	got, err := s.parts.Devices.PollDevice(c.Request.Context(), in.ClientID, in.DeviceCode)
	if errors.Is(err, failure.ErrUnavailable) {
		return fmt.Errorf("%w (%w)", auth.ErrSlowDown, err)
	}
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK,
		api.LoginToken{
			AccessToken: got.Token.Reveal(), TokenType: bearerType, ExpiresIn: seconds(got.Lifetime),
		})
	return nil
}

var errGrantType = errors.New("grant_type is not " + deviceGrant)

// oauthCodes are the `error` codes of RFC 8628, 3.5, and RFC 6749, 5.2. All of them are 400: the
// pageflare CLI reads no other status.
var oauthCodes = []struct {
	err  error
	code string
}{
	{auth.ErrPending, "authorization_pending"},
	{auth.ErrSlowDown, "slow_down"},
	{auth.ErrDenied, "access_denied"},
	{auth.ErrDeviceExpired, "expired_token"},
	{auth.ErrInvalidGrant, "invalid_grant"},
	{auth.ErrInvalidClient, "invalid_client"},
	{errGrantType, "unsupported_grant_type"},
	{errTooLarge, "invalid_request"},
	{errTooSlow, "invalid_request"},
}

// failOAuth answers a route of RFC 8628 with an error; false when it is none of the caller's
// making.
func failOAuth(c *gin.Context, err error) bool {
	var over *limited
	if errors.As(err, &over) {
		route.RecordRefusal(c, "slow_down", over.Error())
		c.JSON(http.StatusBadRequest,
			api.OAuthError{Error: "slow_down", ErrorDescription: over.Error()})
		return true
	}
	var bad *route.BadRequestError
	var kind *route.TypeError
	if errors.As(err, &bad) || errors.As(err, &kind) {
		route.RecordRefusal(c, api.CodeInvalidRequest, badRequestReason)
		c.JSON(http.StatusBadRequest, api.OAuthError{
			Error: "invalid_request", ErrorDescription: opaque.HideSecrets(err.Error()),
		})
		return true
	}
	for _, o := range oauthCodes {
		if errors.Is(err, o.err) {
			route.RecordRefusal(c, api.Code(o.code), o.err.Error())
			c.JSON(http.StatusBadRequest,
				api.OAuthError{Error: o.code, ErrorDescription: o.err.Error()})
			return true
		}
	}
	return false
}

// authorizationServer answers GET /.well-known/oauth-authorization-server (RFC 8414).
func (s *Server) authorizationServer(c *gin.Context) error {
	url := s.parts.PublicURL
	c.JSON(http.StatusOK, api.AuthorizationServer{
		Issuer:                            url,
		TokenEndpoint:                     url + "/_api/auth/device/token",
		DeviceAuthorizationEndpoint:       url + "/_api/auth/device/code",
		IntrospectionEndpoint:             url + "/_api/oauth/introspect",
		RevocationEndpoint:                url + "/_api/oauth/revoke",
		GrantTypesSupported:               []string{deviceGrant},
		ResponseTypesSupported:            []string{},
		TokenEndpointAuthMethodsSupported: []string{"none"},
		// a member that is left out would mean client_secret_basic (RFC 8414, 2), which nothing
		// here takes; introspection may name a type of access tokens, revocation may not
		IntrospectionEndpointAuthMethodsSupported: []string{bearerType},
		RevocationEndpointAuthMethodsSupported:    []string{"none"},
	})
	return nil
}
