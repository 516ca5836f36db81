package githubtest

import (
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// An App is a GitHub App that the fake GitHub knows.
type App struct {
	ID            int64
	ClientID      string
	Key           *rsa.PublicKey
	Installations []Installation

	Slug, Name, Owner string
	Permissions       map[string]string // that it asks for
	Events            []string          // that it subscribes to
	HookURL           string            // of its webhook; empty: it has none
}

// GitHub's words for JWTs that it refuses.
const (
	undecodable = "A JSON web token could not be decoded"
	badIssuedAt = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	badExpiry   = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	farExpiry   = "'Expiration time' claim ('exp') is too far in the future"
)

// identifyApp checks the JWT of an App: RS256 by its key, issued in the past, and good for ten minutes at most. The issuer is
// its id or its client id, as a string.
func (s *Server) identifyApp(req *request, raw string) (answer, bool) {
	var claims struct {
		Issuer    json.RawMessage `json:"iss"`
		IssuedAt  int64           `json:"iat"`
		ExpiresAt int64           `json:"exp"`
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return refuse(http.StatusUnauthorized, undecodable), false
	}
	payload, err := jwt.NewParser().DecodeSegment(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return refuse(http.StatusUnauthorized, undecodable), false
	}
	app, ok := s.findApp(string(claims.Issuer))
	if !ok {
		return refuse(http.StatusNotFound, "Integration not found"), false
	}
	if !signedBy(app, raw, parts) {
		return refuse(http.StatusUnauthorized, undecodable), false
	}
	now := s.cfg.Now()
	if refusal := timely(claims.IssuedAt, claims.ExpiresAt, now); refusal != "" {
		date := http.Header{"Date": {now.UTC().Format(http.TimeFormat)}} // by which a client can set its clock right
		return refuse(http.StatusUnauthorized, refusal).with(date), false
	}
	req.app = app
	return answer{}, true
}

func (s *Server) findApp(issuer string) (*App, bool) {
	for i, app := range s.cfg.Apps {
		if issuer == strconv.Quote(strconv.FormatInt(app.ID, 10)) || app.ClientID != "" && issuer == strconv.Quote(app.ClientID) {
			return &s.cfg.Apps[i], true
		}
	}
	return s.findMadeApp(issuer)
}

func signedBy(app *App, raw string, parts []string) bool {
	header, err := jwt.NewParser().DecodeSegment(parts[0])
	var h struct {
		Algorithm string `json:"alg"`
	}
	if err != nil || json.Unmarshal(header, &h) != nil || h.Algorithm != "RS256" {
		return false
	}
	signature, err := jwt.NewParser().DecodeSegment(parts[2])
	if err != nil {
		return false
	}
	signed := strings.TrimSuffix(raw, "."+parts[2])
	return jwt.SigningMethodRS256.Verify(signed, signature, app.Key) == nil
}

// timely gives the refusal of a JWT at the wrong time, "" for a good one.
func timely(issued, expires int64, now time.Time) string {
	switch {
	case issued <= 0 || issued > now.Unix():
		return badIssuedAt
	case expires <= now.Unix():
		return badExpiry
	case expires > now.Add(10*time.Minute).Unix():
		return farExpiry
	}
	return ""
}
