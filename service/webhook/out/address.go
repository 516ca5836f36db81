package out

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/pageflare/ci/service/failure"
)

const maxURL = 2048

// CheckURL says whether events may be sent to an address, as far as its text tells: where a name
// leads is looked at when they are sent. ErrInvalid. The refusal does not quote it: it may hold a
// password.
func CheckURL(text string, allow []netip.Prefix) error {
	fault := func(format string, args ...any) error {
		return failure.Invalid("url " + fmt.Sprintf(format, args...))
	}
	if len(text) > maxURL {
		return fault("is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "" {
		return fault("is not an address such as https://example.com/hooks")
	}
	if u.User != nil {
		return fault("has a user or a password in it: a receiver knows the sender by the signature")
	}
	if u.Fragment != "" || strings.Contains(text, "#") {
		return fault("has a part behind #, which is never sent")
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault("has a space or a letter that is not ASCII: write it as %%XX, and a name as xn--…")
	}
	switch u.Scheme {
	case "https", "http":
	default:
		return fault("begins with %.20q: give https://", u.Scheme+"://")
	}
	host, err := netip.ParseAddr(u.Hostname())
	literal := err == nil
	host = host.Unmap()
	allowed := literal && contains(allow, host)
	switch {
	case u.Scheme == "http" && len(allow) == 0:
		return fault("is not https: only networks of LICENSE_WEBHOOK_ALLOW, which is not set, are reached without")
	case u.Scheme == "http" && literal && !allowed:
		return fault("is not https, and its host is in no network of LICENSE_WEBHOOK_ALLOW")
	case literal && !allowed && !public(host):
		return fault("leads to an address that is not public, and is in no network of LICENSE_WEBHOOK_ALLOW")
	}
	return nil
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// public leaves out what everybody knows not to be; the guard at the dial knows the rest.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !a.IsLoopback() && !a.IsLinkLocalUnicast()
}
