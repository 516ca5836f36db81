package main

import (
	"net"
	"net/netip"
	"net/url"
)

// warning is a setting that is allowed and, most likely, not what was meant.
type warning struct{ setting, advice string }

// warnings looks at settings together. serve logs them once, doctor shows them.
func (c Config) warnings() []warning {
	var out []warning
	add := func(setting, advice string) { out = append(out, warning{setting, advice}) }
	const setURL = "set it to what clients call, such as https://license.example.com"
	switch {
	case c.PublicURL != "":
	case allAddresses(c.Listen):
		add("LICENSE_PUBLIC_URL", "is not set, and the service listens on all addresses: tokens name http://"+c.Listen+" as their issuer, which nobody can call, and jobs cannot ask for it as audience; "+setURL)
	case len(c.TrustedProxies) > 0:
		add("LICENSE_PUBLIC_URL", "is not set, and there is a proxy in front: tokens name http://"+c.Listen+" as their issuer, not the address that the proxy has; "+setURL)
	}
	for _, p := range c.TrustedProxies {
		if p.Bits() == 0 {
			add("LICENSE_TRUSTED_PROXIES", "trusts every address: anybody can choose the address that limits and the audit log see; name the proxy alone")
			break
		}
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		add("LICENSE_PUBLIC_URL", "begins with http: whoever is on the way reads the tokens; put a proxy with TLS in front, and set it to its https address")
	}
	return out
}

// allAddresses tells an address that stands for all of this machine.
func allAddresses(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
