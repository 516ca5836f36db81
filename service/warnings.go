package main

import (
	"net"
	"net/netip"
	"net/url"

	"github.com/pageflare/ci/service/origin"
)

// warning is a setting that is allowed and, most likely, not what was meant.
type warning struct{ setting, advice string }

const setURL = "set it to what clients call, such as https://license.example.com"

// warnings looks at settings together. serve logs them once, doctor shows them.
func (c Config) warnings() []warning {
	var out []warning
	add := func(setting, advice string) { out = append(out, warning{setting, advice}) }
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
	for _, p := range c.TrustedProxies {
		if wide(p) {
			add("LICENSE_TRUSTED_PROXIES", "trusts the whole of "+p.String()+": any client in it can choose the address that limits and the audit log see; name the proxy alone, such as 10.0.0.7/32")
		}
	}
	u, err := url.Parse(c.PublicURL)
	if err == nil && u.Scheme == "http" && !origin.Loopback(u.Hostname()) {
		add("LICENSE_PUBLIC_URL", "begins with http: anyone on the way can read the tokens; put a proxy with TLS in front, and set it to its https address")
	}
	if err == nil && u.Scheme == "https" && len(c.TrustedProxies) == 0 {
		add("LICENSE_TRUSTED_PROXIES", "is not set, and LICENSE_PUBLIC_URL begins with https, so a proxy with TLS is in front: all clients look like it, share one limit for bad credentials, and have its address in the audit log; set it to the addresses of the proxy, such as 10.0.0.7/32")
	}
	return out
}

// wide tells a network in which there is room for others than proxies.
func wide(p netip.Prefix) bool {
	if p.Bits() == 0 {
		return false // of that there is a warning already
	}
	return p.Addr().Is4() && p.Bits() < 24 || p.Addr().Is6() && p.Bits() < 64
}

// noLink says why a link that begins with the public URL would lead nowhere; "" when it leads
// somewhere.
func (c Config) noLink() string {
	if c.PublicURL != "" {
		return ""
	}
	if _, port, _ := net.SplitHostPort(c.Listen); port == "0" {
		return "is not set, and LICENSE_LISTEN leaves the port open, so the link would lead nowhere; " + setURL
	}
	for _, w := range c.warnings() {
		if w.setting == "LICENSE_PUBLIC_URL" {
			return w.advice
		}
	}
	return ""
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
