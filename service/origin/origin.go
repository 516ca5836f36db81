// Package origin decides how the origin of an address is written, when two addresses have the same
// one, and which hosts are this machine: the rules by which both programs say where a credential
// may go, which redirects are followed, and where plain http is good enough.
//
// Who is trusted under an origin is decided elsewhere: service/oidc for issuers of identities,
// service/client and github for the servers that they were made for.
package origin

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// hostNames are written as browsers write them
// (https://url.spec.whatwg.org/#concept-domain-to-ascii): in small letters, with xn-- for what is
// not ASCII.
var hostNames = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false),
	idna.CheckHyphens(false), idna.VerifyDNSLength(true))

// Of is scheme, host and port of an http or https URL, in the one spelling that browsers send
// as Origin: the port that its scheme has anyway is left out. Addresses of the service are compared
// in this form, character by character: by clients, by jobs that ask for an audience, and by the
// pages. The error says what is wrong, without the URL.
func Of(u *url.URL) (string, error) {
	host, err := originHost(u.Hostname())
	if err != nil {
		return "", err
	}
	port := u.Port()
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return "", errors.New("has no port from 1 to 65535")
	}
	scheme := strings.ToLower(u.Scheme)
	if port == "" || port == map[string]string{"http": "80", "https": "443"}[scheme] {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + strings.TrimLeft(port, "0"), nil
}

func originHost(name string) (string, error) {
	if strings.Contains(name, ":") {
		ip, err := netip.ParseAddr(name)
		if err != nil || ip.Zone() != "" || ip.Is4In6() {
			return "", errors.New("has a host that is not an IPv6 address such as [2001:db8::7]")
		}
		return "[" + ip.String() + "]", nil
	}
	host, err := hostNames.ToASCII(name)
	if err != nil || strings.ContainsFunc(host, notInHost) {
		return "", errors.New("has a host that browsers do not accept")
	}
	// browsers read 127.1, 0x7f.0.0.1 and 2130706433 as 127.0.0.1 and send that
	last := host[strings.LastIndex(host, ".")+1:]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is4() {
			return "", errors.New("has a host that ends in a number and is not an IPv4 address such as 192.0.2.7")
		}
	}
	return host, nil
}

// notInHost tells what cannot stand in the name of a host.
func notInHost(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"#%/:<>?@[\]^|`, r)
}

// Same says whether two addresses have the same origin. One whose origin cannot be told has none,
// so that it is the same as no other.
func Same(a, b *url.URL) bool {
	x, errX := Of(a)
	y, errY := Of(b)
	return errX == nil && errY == nil && x == y
}

// Loopback says whether a host, without its port, is this machine: what is sent there crosses no
// network, so that plain http is good enough.
func Loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
