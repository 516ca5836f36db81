package guard

import "strings"

// siteURL is a URL taken apart as a browser does it (WHATWG), for the parts that decide where it
// leads. It never fails: what a browser refuses keeps its parts as they are and leads nowhere.
type siteURL struct {
	scheme string // lower case; "" for a URL without one
	host   string // lower case, with port, without user; "" for none
	path   string // as written, with slashes for backslashes
	rest   string // query and fragment with ? and #
	opaque bool   // of a scheme without hosts: data, mailto, javascript
}

var hosted = map[string]bool{"http": true, "https": true, "ws": true, "wss": true, "ftp": true}

func parseURL(raw string) siteURL {
	raw = strings.Trim(raw, controls)
	if strings.ContainsAny(raw, "\t\n\r") {
		raw = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(raw)
	}
	var u siteURL
	rest := raw
	if n := schemeLength(raw); n > 0 {
		u.scheme, rest = strings.ToLower(raw[:n]), raw[n+1:]
		if !hosted[u.scheme] {
			u.opaque, u.rest = true, rest
			return u
		}
		if !slashes(rest) {
			u.scheme = "" // https:a/b is relative to a page of https, which ours are taken for
		}
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest, u.rest = rest[:i], rest[i:]
	}
	rest = strings.ReplaceAll(rest, `\`, "/")
	if u.scheme != "" || slashes(rest) {
		rest = strings.TrimLeft(rest, "/")
		authority, path, _ := strings.Cut(rest, "/")
		u.host, rest = hostOf(authority, u.scheme), "/"+path
	}
	u.path = rest
	return u
}

// controls are the characters that are cut off at both ends: C0 controls and the blank.
const controls = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\f\r\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

// slashes says that an authority follows.
func slashes(s string) bool {
	return len(s) >= 2 && (s[0] == '/' || s[0] == '\\') && (s[1] == '/' || s[1] == '\\')
}

// schemeLength is the length of the scheme before its colon, 0 without one.
func schemeLength(s string) int {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return i
		default:
			return 0
		}
	}
	return 0
}

// hostOf takes user and password off, and the port that is the scheme's own.
func hostOf(authority, scheme string) string {
	host := strings.ToLower(authority[strings.LastIndexByte(authority, '@')+1:])
	switch scheme {
	case "http", "ws":
		return strings.TrimSuffix(host, ":80")
	}
	return strings.TrimSuffix(host, ":443")
}

// join resolves a path against that of a page or base. It stays below the root, whatever the path
// says.
func join(base, path string) string {
	if !strings.HasPrefix(path, "/") {
		path = base[:strings.LastIndexByte(base, '/')+1] + path
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	kept := segments[:0]
	for i, segment := range segments {
		last := i == len(segments)-1
		switch dots(segment) {
		case 0:
			kept = append(kept, segment)
			continue
		case 2:
			kept = kept[:max(0, len(kept)-1)]
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// dots is 1 for a segment that says "here", 2 for "up", also where its dots are percent-encoded.
func dots(segment string) int {
	if len(segment) > len("%2e%2e") {
		return 0
	}
	switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
	case ".":
		return 1
	case "..":
		return 2
	}
	return 0
}

// decodePath decodes percent signs, but for those that stand for a slash, a backslash or NUL, which
// no file has in its name.
func decodePath(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			c, ok := unhex(path[i+1], path[i+2])
			if ok && c != '/' && c != '\\' && c != 0 {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

func unhex(high, low byte) (byte, bool) {
	h, l := nibbles[high], nibbles[low]
	return h<<4 | l, h < 16 && l < 16
}

// nibbles are the values of hexadecimal digits; 0xff stands for all other bytes.
var nibbles = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i := range byte(10) {
		table['0'+i] = i
	}
	for i := range byte(6) {
		table['a'+i], table['A'+i] = 10+i, 10+i
	}
	return table
}()

// place is where relative URLs of a page or sheet start.
type place struct {
	path string          // of the page or its base element, absolute
	host string          // "" for the site itself
	own  map[string]bool // hosts that are the site itself
}

// placeOf is the place of a file; its name is no URL yet, so what means something in one is
// encoded.
func placeOf(name string) place {
	if strings.ContainsAny(name, `%?#\`) {
		name = strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23", `\`, "%5C").Replace(name)
	}
	return place{path: join("/", name)}
}

// withBase is the place after a base element. A base on another host counts as the site's own,
// unless the page says by its canonical link that it is at home elsewhere.
func (p place) withBase(href string) place {
	u := parseURL(href)
	if u.opaque {
		return p
	}
	at := p.resolve(href)
	if at.host != "" && len(p.own) == 0 {
		p.own = map[string]bool{at.host: true}
		at.host = ""
	}
	p.path, p.host = at.path, at.host
	return p
}

// resolved is where a URL leads.
type resolved struct {
	scheme, host string // host "" : the site itself
	path, rest   string // path is absolute and encoded as written
	opaque       bool
}

func (r resolved) local() bool { return !r.opaque && r.host == "" }

func (p place) resolve(ref string) resolved {
	u := parseURL(ref)
	switch {
	case u.opaque:
		return resolved{scheme: u.scheme, rest: u.rest, opaque: true}
	case u.host != "" || u.scheme != "":
		r := resolved{scheme: u.scheme, host: u.host, path: join("/", u.path), rest: u.rest}
		if p.own[u.host] {
			r.scheme, r.host = "", ""
		} else if u.host == "" {
			r.opaque, r.rest = true, "//"+u.rest // a browser refuses it
		}
		return r
	case u.path == "":
		return resolved{host: p.host, path: p.path, rest: u.rest}
	}
	return resolved{host: p.host, path: join(p.path, u.path), rest: u.rest}
}

// file is the path of the file in the site, without the leading slash.
func (r resolved) file() string { return decodePath(r.path)[1:] }

// Resolve resolves a reference as a browser does. base is the href of the page's base element, ""
// when it has none. local says that it stays on the site; target is then "/path?query#fragment",
// and an absolute URL otherwise. Two references with the same target are the same link. A host
// counts as the site's own when the base element names it.
func Resolve(pagePath, base, ref string) (target string, local bool) {
	at := placeOf(pagePath)
	if base != "" {
		at = at.withBase(base)
	}
	r := at.resolve(ref)
	switch {
	case r.opaque:
		return r.scheme + ":" + r.rest, false
	case r.local():
		return encodePath(r.path) + r.rest, true
	case r.scheme == "":
		return "//" + r.host + encodePath(r.path) + r.rest, false
	}
	return r.scheme + "://" + r.host + encodePath(r.path) + r.rest, false
}

// encodePath gives every path one form: decoded, but for what would mean something else then, and
// for blanks and controls.
func encodePath(path string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		c, encoded := path[i], false
		if c == '%' && i+2 < len(path) {
			if decoded, ok := unhex(path[i+1], path[i+2]); ok {
				c, encoded = decoded, true
				i += 2
			}
		}
		if c <= ' ' || encoded && strings.IndexByte(`/\%?#`, c) >= 0 {
			b.WriteString("%" + digits[c>>4:c>>4+1] + digits[c&15:c&15+1])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
