package guard

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"slices"
	"strings"
)

// Policy is what the browser enforces on one page: all policies that its headers and meta elements
// set. Each of them must allow what is asked for. The zero value allows everything. Reports alone
// (Content-Security-Policy-Report-Only) are not part of it. The rules are those of CSP level 3.
//
// The answers are for elements that the parser meets in the page, and for a site served by https.
// Two things are not known here and count as no: that the site's own host is one of the hosts
// listed, and that a script which strict-dynamic trusts loads it.
type Policy struct {
	list []directives
}

// directives are the directives of one policy, by their names in lower case.
type directives map[string][]string

// Script reports whether an inline script runs.
func (p Policy) Script(content []byte, nonce string) bool {
	return p.all(func(d directives) bool {
		list, limited := d.effective("script-src-elem")
		return d.scripts() && (!limited || allowsInline(list, inlineScript, content, nonce))
	})
}

// SpeculationRules reports whether an inline script of the type speculationrules is used.
func (p Policy) SpeculationRules(content []byte, nonce string) bool {
	return p.all(func(d directives) bool {
		list, limited := d.effective("script-src-elem")
		return d.scripts() && (!limited || hasKeyword(list, "'inline-speculation-rules'") ||
			allowsInline(list, inlineScript, content, nonce))
	})
}

// Handler reports whether the value of an event handler attribute runs.
func (p Policy) Handler(content []byte) bool {
	return p.all(func(d directives) bool {
		list, limited := d.effective("script-src-attr")
		return d.scripts() && (!limited || allowsInline(list, inlineHandler, content, ""))
	})
}

// Style reports whether a style element applies.
func (p Policy) Style(content []byte, nonce string) bool {
	return p.all(func(d directives) bool {
		list, limited := d.effective("style-src-elem")
		return !limited || allowsInline(list, inlineStyle, content, nonce)
	})
}

// StyleAttr reports whether the value of a style attribute applies.
func (p Policy) StyleAttr(content []byte) bool {
	return p.all(func(d directives) bool {
		list, limited := d.effective("style-src-attr")
		return !limited || allowsInline(list, inlineStyleAttr, content, "")
	})
}

// Source reports whether something is loaded from url under a directive such as "img-src". A url
// without scheme and host is the site's own.
func (p Policy) Source(directive, url string) bool {
	return p.all(func(d directives) bool {
		list, limited := d.effective(directive)
		if strings.HasPrefix(directive, "script-src") {
			if !d.scripts() || limited && hasKeyword(list, "'strict-dynamic'") {
				return false
			}
		}
		return !limited || allowsURL(list, url)
	})
}

func (p Policy) all(allows func(directives) bool) bool {
	for _, d := range p.list {
		if !allows(d) {
			return false
		}
	}
	return true
}

// scripts is false where a sandbox forbids all scripts.
func (d directives) scripts() bool {
	flags, sandboxed := d["sandbox"]
	return !sandboxed || hasKeyword(flags, "allow-scripts")
}

// fallbacks name for each directive the ones that stand in for it, the nearest first.
var fallbacks = map[string][]string{
	"script-src-elem":  {"script-src"},
	"script-src-attr":  {"script-src"},
	"style-src-elem":   {"style-src"},
	"style-src-attr":   {"style-src"},
	"worker-src":       {"child-src", "script-src"},
	"frame-src":        {"child-src"},
	"fenced-frame-src": {"frame-src", "child-src"},
}

// unlimited are the directives for which default-src does not stand in.
var unlimited = map[string]bool{"base-uri": true, "form-action": true, "frame-ancestors": true}

// effective is the source list that governs a directive. limited is false when nothing does.
func (d directives) effective(directive string) (list []string, limited bool) {
	names := append([]string{directive}, fallbacks[directive]...)
	if !unlimited[directive] {
		names = append(names, "default-src")
	}
	for _, name := range names {
		if list, limited = d[name]; limited {
			return list, true
		}
	}
	return nil, false
}

// inlineKind is what an inline text is to the policy.
type inlineKind int

const (
	inlineScript inlineKind = iota
	inlineHandler
	inlineStyle
	inlineStyleAttr
)

// allowsInline is "Does element match source list for type and source?" of CSP level 3.
func allowsInline(list []string, kind inlineKind, content []byte, nonce string) bool {
	if allowsAllInline(list, kind) {
		return true
	}
	element := kind == inlineScript || kind == inlineStyle
	if element && nonce != "" && slices.Contains(list, "'nonce-"+nonce+"'") {
		return true
	}
	return (element || hasKeyword(list, "'unsafe-hashes'")) && hasHashOf(list, content)
}

// allowsAllInline tells whether 'unsafe-inline' counts: a nonce, a hash or strict-dynamic in the
// same list switches it off.
func allowsAllInline(list []string, kind inlineKind) bool {
	allow := false
	for _, source := range list {
		lower := strings.ToLower(source)
		if _, _, hash := splitHash(source); hash || strings.HasPrefix(lower, "'nonce-") {
			return false
		}
		if lower == "'strict-dynamic'" && (kind == inlineScript || kind == inlineHandler) {
			return false
		}
		allow = allow || lower == "'unsafe-inline'"
	}
	return allow
}

// splitHash takes 'sha256-…' apart; the digest comes in the standard alphabet.
func splitHash(source string) (algorithm, digest string, ok bool) {
	inner, quoted := strings.CutPrefix(source, "'")
	inner, closed := strings.CutSuffix(inner, "'")
	algorithm, digest, ok = strings.Cut(inner, "-")
	algorithm = strings.ToLower(algorithm)
	known := algorithm == "sha256" || algorithm == "sha384" || algorithm == "sha512"
	digest = strings.NewReplacer("-", "+", "_", "/").Replace(digest)
	return algorithm, digest, ok && quoted && closed && known
}

func hasHashOf(list []string, content []byte) bool {
	for _, source := range list {
		algorithm, want, ok := splitHash(source)
		if !ok {
			continue
		}
		var sum []byte
		switch algorithm {
		case "sha256":
			s := sha256.Sum256(content)
			sum = s[:]
		case "sha384":
			s := sha512.Sum384(content)
			sum = s[:]
		case "sha512":
			s := sha512.Sum512(content)
			sum = s[:]
		}
		if base64.StdEncoding.EncodeToString(sum) == want {
			return true
		}
	}
	return false
}

func hasKeyword(list []string, keyword string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, keyword) })
}

// allowsURL is "Does url match source list?". 'none' and other keywords match nothing.
func allowsURL(list []string, url string) bool {
	to := splitURL(url)
	return slices.ContainsFunc(list, func(source string) bool { return to.matches(source) })
}

// destination is the URL of a request. host is "" for the site itself.
type destination struct {
	scheme, host, port, path string
	own                      bool
}

func splitURL(raw string) destination {
	u := parseURL(raw)
	switch {
	case u.scheme == "" && u.host == "":
		return destination{scheme: "https", own: true, path: u.path}
	case u.scheme == "":
		u.scheme = "https"
	}
	host, port := cutPort(u.host)
	return destination{scheme: u.scheme, host: host, port: port, path: u.path}
}

// cutPort takes the port off; an IPv6 address keeps its brackets.
func cutPort(host string) (name, port string) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i], host[i+1:]
	}
	return host, ""
}

var networkSchemes = map[string]bool{"http": true, "https": true, "ws": true, "wss": true}

func (to destination) matches(source string) bool {
	if source == "*" {
		return networkSchemes[to.scheme]
	}
	if strings.HasPrefix(source, "'") {
		return strings.EqualFold(source, "'self'") && to.own
	}
	if scheme, ok := strings.CutSuffix(source, ":"); ok && !strings.Contains(scheme, "/") {
		return schemeMatches(strings.ToLower(scheme), to.scheme)
	}
	return to.host != "" && to.matchesHost(source)
}

// schemeMatches: a list that allows http allows https too, and a list for the web allows sockets.
func schemeMatches(allowed, scheme string) bool {
	switch allowed {
	case scheme:
		return true
	case "http":
		return networkSchemes[scheme]
	case "https", "ws":
		return scheme == "wss"
	}
	return false
}

// matchesHost holds the destination against a host source: [scheme://]host[:port][/path].
func (to destination) matchesHost(source string) bool {
	scheme, rest, named := strings.Cut(source, "://")
	if !named {
		scheme, rest = "https", source
	}
	hostport, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		hostport, path = rest[:i], rest[i:]
	}
	host, port := cutPort(strings.ToLower(hostport))
	return schemeMatches(strings.ToLower(scheme), to.scheme) && hostMatches(host, to.host) &&
		portMatches(port, to.port, to.scheme) && pathMatches(path, to.path)
}

func hostMatches(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return suffix == "" || strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix)
	}
	return pattern == host
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}

func portMatches(pattern, port, scheme string) bool {
	if port == "" {
		port = defaultPorts[scheme]
	}
	switch pattern {
	case "*":
		return true
	case "":
		return port == defaultPorts[scheme]
	case "80":
		return port == "80" || port == "443" && (scheme == "https" || scheme == "wss")
	}
	return pattern == port
}

// pathMatches: a path that ends in a slash stands for all below it.
func pathMatches(pattern, path string) bool {
	if pattern == "" || pattern == "/" {
		return true
	}
	pattern, path = decodePath(pattern), decodePath(path)
	if strings.HasSuffix(pattern, "/") {
		return strings.HasPrefix(path, pattern)
	}
	return pattern == path
}

// parsePolicy reads one serialized policy. Of directives that stand there twice the first counts.
func parsePolicy(text string) directives {
	d := directives{}
	for part := range strings.SplitSeq(text, ";") {
		words := strings.FieldsFunc(part, isASCIISpace)
		if len(words) == 0 {
			continue
		}
		name := strings.ToLower(words[0])
		if _, twice := d[name]; !twice {
			d[name] = words[1:]
		}
	}
	return d
}

func isASCIISpace(r rune) bool {
	return r == ' ' || r == '\t' || r == '\n' || r == '\f' || r == '\r'
}
