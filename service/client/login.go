package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pageflare/ci/service/api"
)

// What a poll for a device login can say beside a token (RFC 8628, 3.5). They come as an *Error.
var (
	// ErrPending says that nobody has approved the login yet: ask again after the interval.
	ErrPending = errors.New("authorization pending")
	// ErrSlowDown says the same, and that all further polls must be 5 seconds further apart.
	ErrSlowDown = errors.New("slow down")
	// ErrDenied says that somebody denied the login. Final.
	ErrDenied = errors.New("login denied")
	// ErrLoginExpired says that the code was not approved in time, or was used before. Final: begin
	// again.
	ErrLoginExpired = errors.New("login expired")
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// grantErrors are the codes of RFC 8628, 3.5, and of RFC 6749, 5.2, that a poll is answered with.
var grantErrors = map[string]error{
	"authorization_pending": ErrPending, "slow_down": ErrSlowDown, "access_denied": ErrDenied, "expired_token": ErrLoginExpired, "invalid_grant": ErrLoginExpired,
}

// BeginLogin begins a device login (RFC 8628, 3.1): the answer has the code to show to a person,
// and the one to poll with.
func (c *Client) BeginLogin(ctx context.Context, clientID string) (api.DeviceCode, error) {
	var codes api.DeviceCode
	r := request{
		op: "begin the login", method: http.MethodPost, path: "auth/device/code",
		body: map[string]string{"client_id": clientID, "scope": "openid"},
	}
	r.accept = func(body []byte) error {
		if err := decode(body, &codes); err != nil {
			return err
		}
		if codes.DeviceCode == "" || codes.UserCode == "" || codes.ExpiresIn < 1 {
			return errors.New("codes are missing")
		}
		if u, err := url.Parse(codes.VerificationURI); err != nil || u.Host == "" ||
			(u.Scheme != "http" && u.Scheme != "https") {
			return errors.New("no address to open")
		}
		return nil
	}
	return codes, c.call(ctx, r)
}

// PollLogin asks once for the token of a device login (RFC 8628, 3.4). ErrPending and ErrSlowDown:
// ask again later.
func (c *Client) PollLogin(ctx context.Context,
	clientID, deviceCode string) (accessToken string, err error) {
	var got api.LoginToken
	r := request{op: "log in", method: http.MethodPost, path: "auth/device/token", secret: deviceCode, grant: true,
		body: map[string]string{
			"client_id": clientID, "grant_type": deviceGrant, "device_code": deviceCode,
		}}
	r.accept = func(body []byte) error {
		if err := decode(body, &got); err != nil {
			return err
		}
		if got.AccessToken == "" || checkBearer(got.AccessToken) != nil {
			return errors.New("no token in it")
		}
		return nil
	}
	return got.AccessToken, c.call(ctx, r)
}

// Activate makes a license token for a machine, on the word of a login's token.
func (c *Client) Activate(ctx context.Context,
	accessToken, machineID, label string) (api.IssuedToken, error) {
	return c.token(ctx, request{op: "activate this machine", method: http.MethodPost, path: "license/activate", bearer: accessToken,
		body: map[string]string{"machine_id": machineID, "label": label}})
}

// Deactivate ends the license token of a machine, and what was made of it. Doing it twice is no
// error. ErrRejected with status 404: the API knows no machine of that id for this token.
func (c *Client) Deactivate(ctx context.Context, bearer, machineID string) error {
	if err := checkBearer(bearer); err != nil {
		return fmt.Errorf("deactivate this machine: %w", err)
	}
	return c.call(ctx, request{op: "deactivate this machine", method: http.MethodDelete, path: "license/machine/" + url.PathEscape(machineID), bearer: bearer,
		rejects: true, silent: true, accept: func([]byte) error { return nil }})
}

// grantError is what a 400 of a poll says; nil when it says nothing of RFC 8628.
func (t *tries) grantError(body []byte) *Error {
	var said struct {
		Error string `json:"error"`
	}
	if !t.request.grant || json.Unmarshal(body, &said) != nil || grantErrors[said.Error] == nil {
		return nil
	}
	e := t.failure(grantErrors[said.Error], said.Error)
	e.Status = http.StatusBadRequest
	return e
}
