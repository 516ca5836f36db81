package oidc

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/origin"
)

// rule is a clause that every identity token must meet, with the error that says so.
type rule struct {
	Clause
	err error
}

// rules judges what a token says of itself, apart from its signature. The order is the one in which
// they are asked.
func rules(id Identity, issuers []string, audience string, now time.Time) []rule {
	second := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	clock := "compare the clocks of this machine and of the issuer"
	return []rule{
		{clause("issuer", slices.Contains(issuers, id.Issuer), oneOf(issuers), id.Issuer,
			"add it to LICENSE_OIDC_ISSUERS, character by character, if you trust it"), ErrIssuer},
		{clause("audience", len(id.Audience) == 1 &&
			id.Audience[0] == audience, audience, strings.Join(id.Audience, ", "),
			"request the identity token for exactly this audience (input oidc-audience of the Action), or set LICENSE_PUBLIC_URL"), ErrAudience},
		{clause("not expired", now.Before(id.ExpiresAt.Add(Leeway)), "exp after "+
			second(now.Add(-Leeway)), second(id.ExpiresAt),
			"request a new identity token just before its use"), ErrExpired},
		{clause("valid already", !now.Add(Leeway).Before(id.NotBefore) &&
			!now.Add(Leeway).Before(id.IssuedAt), "nbf and iat before "+second(now.Add(Leeway)),
			second(later(id.NotBefore, id.IssuedAt)), clock), ErrNotYetValid},
		{clause("recent", !now.After(id.IssuedAt.Add(MaxAge)), "iat after "+
			second(now.Add(-MaxAge)), second(id.IssuedAt),
			"request a new identity token just before its use"), ErrTooOld},
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// oneOf is how a list of accepted values reads.
func oneOf(values []string) string {
	switch len(values) {
	case 0:
		return "nothing"
	case 1:
		return values[0]
	}
	return "one of " + strings.Join(values, ", ")
}

// CheckIssuer says what is wrong with the URL of an issuer. Tokens are compared with it character
// by character, so it must be written the one way that issuers write it; and it is where keys come
// from, so only a loopback address may do without TLS.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" ||
		(u.Scheme != "https" && u.Scheme != "http"):
		return fmt.Errorf("issuer %q is not an https URL", issuer)
	case u.User != nil:
		return fmt.Errorf("an issuer holds a user name or password: leave it out") // not quoted
	case u.Scheme != "https" && !origin.Loopback(u.Hostname()):
		return fmt.Errorf("issuer %q is not https: its keys could be exchanged on the way", issuer)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(issuer, "#"):
		return fmt.Errorf("issuer %q has a query or a fragment", issuer)
	case strings.HasSuffix(issuer, "/"):
		return fmt.Errorf("issuer %q ends with a slash, which no issuer of GitHub does", issuer)
	case issuer != u.Scheme+"://"+strings.ToLower(u.Host)+u.EscapedPath():
		return fmt.Errorf("issuer %q is not in its usual form: lower-case scheme and host", issuer)
	}
	return nil
}
