package guard

import (
	"bytes"
	"encoding/json"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Policies are the Content-Security-Policies that the site's own configuration files set. Which
// host publishes the site is not known, so the files of all hosts count together, and of one file
// all rules that match a page. (Static Web Apps is the exception: its first route that matches
// replaces the global headers, as documented.)
//
// What cannot be read counts as stricter than it may be, never as less: rules with conditions as if
// these were met, patterns that cannot be compared as matching every page, and a file that cannot
// be parsed but mentions Content-Security-Policy as "default-src 'none'" for every page.
type Policies struct {
	rules   []headerRule
	headers []headerRule // of _headers: one can take away what the ones before it set
	azure   []headerRule // of staticwebapp.config.json: the first that matches counts

	header  string // the header that is read
	unknown string // its value where it cannot be read
}

// headerRule sets the policies of all pages under its pattern.
type headerRule struct {
	matches  func(url string) bool
	policies []string // values of the header; a comma in one separates several
	removes  bool     // takes away what rules of _headers before it set
}

// strictest blocks everything that a page can add or load.
const strictest = "default-src 'none'"

const policyHeader = "Content-Security-Policy"

// ParsePolicies reads the files of the site that set headers, by their base names: _headers,
// staticwebapp.config.json, vercel.json, netlify.toml, firebase.json and .htaccess; others are
// ignored.
func ParsePolicies(files map[string][]byte) Policies {
	return parseHeaders(files, policyHeader, strictest)
}

// parseHeaders reads one header of the files.
func parseHeaders(files map[string][]byte, header, unknown string) Policies {
	p := Policies{header: header, unknown: unknown}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !setsHeaders(name) {
			continue
		}
		content := bytes.TrimPrefix(files[name], []byte("\ufeff"))
		var err error
		switch path.Base(name) {
		case "_headers":
			p.addHeaders(string(content))
		case "staticwebapp.config.json":
			err = p.addAzure(content)
		case "vercel.json":
			err = p.addVercel(content)
		case "netlify.toml":
			err = p.addNetlify(content)
		case "firebase.json":
			err = p.addFirebase(content)
		case ".htaccess":
			p.addApache(path.Dir(name), string(content))
		}
		if err != nil && p.mentioned(content) {
			p.add(everyPage, p.unknown)
		}
	}
	return p
}

// mentioned is true as well for texts that may spell the header by escapes.
func (p Policies) mentioned(content []byte) bool {
	lower := bytes.ToLower(content)
	return bytes.Contains(lower, []byte(strings.ToLower(p.header))) ||
		bytes.Contains(lower, []byte(`\u00`))
}

// For are all policies of one page; meta holds the content of its own meta elements that set one.
func (p Policies) For(pagePath string, meta []string) Policy {
	var policy Policy
	for _, header := range p.values(pagePath) {
		for text := range strings.SplitSeq(header, ",") {
			policy.add(parsePolicy(text))
		}
	}
	for _, text := range meta {
		d := parsePolicy(text)
		delete(d, "sandbox") // has no effect there
		policy.add(d)
	}
	return policy
}

// values are those of the header for one file.
func (p Policies) values(name string) (headers []string) {
	urls := urlsOf(name)
	for _, rule := range p.headers {
		if slices.ContainsFunc(urls, rule.matches) {
			if rule.removes {
				headers = nil
			}
			headers = append(headers, rule.policies...)
		}
	}
	for _, rule := range p.rules {
		if slices.ContainsFunc(urls, rule.matches) {
			headers = append(headers, rule.policies...)
		}
	}
	for _, rule := range p.azure {
		if slices.ContainsFunc(urls, rule.matches) {
			headers = append(headers, rule.policies...)
			break
		}
	}
	return headers
}

func (p *Policy) add(d directives) {
	if len(d) > 0 {
		p.list = append(p.list, d)
	}
}

// urlsOf are the paths under which hosts serve a page.
func urlsOf(pagePath string) []string {
	url := "/" + strings.TrimPrefix(pagePath, "/")
	urls := []string{url}
	if bare, ok := strings.CutSuffix(url, ".html"); ok {
		urls = append(urls, bare)
		if folder, ok := strings.CutSuffix(bare, "/index"); ok {
			urls = append(urls, folder+"/")
			if folder != "" {
				urls = append(urls, folder)
			}
		}
	}
	return urls
}

func everyPage(string) bool { return true }

func (p *Policies) add(matches func(string) bool, policies ...string) {
	p.rules = append(p.rules, headerRule{matches: matches, policies: policies})
}

// addHeaders reads the _headers of Netlify and Cloudflare: a line with a path, and below it lines
// "Name: value"; "! Name" takes a header away at Cloudflare. A header above all paths counts for
// every page.
func (p *Policies) addHeaders(text string) {
	matches := everyPage
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		lower := strings.ToLower(line)
		name, value, header := strings.Cut(line, ":")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '/' || strings.HasPrefix(lower, "https://"), strings.HasPrefix(lower, "http://"):
			matches = splatPattern(line)
		case line[0] == '!':
			if p.reads(line[1:]) {
				p.headers = append(p.headers, headerRule{matches: matches, removes: true})
			}
		case header && p.reads(name):
			p.headers = append(p.headers, headerRule{matches: matches, policies: []string{value}})
		}
	}
}

func (p Policies) reads(name string) bool {
	return strings.EqualFold(strings.TrimSpace(name), p.header)
}

func isPolicyHeader(name string) bool {
	return strings.EqualFold(strings.TrimSpace(name), policyHeader)
}

// splatPattern is a path with * for anything and :name for one segment. Of an absolute URL the path
// counts.
func splatPattern(pattern string) func(string) bool {
	if _, rest, absolute := strings.Cut(pattern, "://"); absolute {
		_, rest, _ = strings.Cut(rest, "/")
		pattern = "/" + rest
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '*':
			b.WriteString(".*")
		case pattern[i] == ':' && i > 0 && pattern[i-1] == '/' && nameEnd(pattern, i+1) > i+1:
			b.WriteString("[^/]+")
			i = nameEnd(pattern, i+1) - 1
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	return compile(b.String())
}

// nameEnd is where the name that begins at i ends.
func nameEnd(s string, i int) int {
	for ; i < len(s); i++ {
		letter := 'a' <= s[i]|0x20 && s[i]|0x20 <= 'z'
		if digit := '0' <= s[i] && s[i] <= '9'; !letter && !digit && s[i] != '_' {
			break
		}
	}
	return i
}

// maxPattern is how many bytes of a pattern are compared: an expression takes memory by its length.
const maxPattern = 10_000

// compile matches a whole path; what does not compile matches every page.
func compile(expression string) func(string) bool {
	if len(expression) > 2*maxPattern {
		return everyPage
	}
	re, err := regexp.Compile(`^(?s:` + expression + `)$`)
	if err != nil {
		return everyPage
	}
	return re.MatchString
}

// addAzure reads staticwebapp.config.json of Azure Static Web Apps.
func (p *Policies) addAzure(content []byte) error {
	var config struct {
		GlobalHeaders map[string]any `json:"globalHeaders"`
		Routes        []struct {
			Route   string         `json:"route"`
			Headers map[string]any `json:"headers"`
		} `json:"routes"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return err
	}
	for _, route := range config.Routes {
		if values, ok := p.in(route.Headers); ok {
			p.azure = append(p.azure, headerRule{matches: globPattern(route.Route, true), policies: values})
		}
	}
	if values, ok := p.in(config.GlobalHeaders); ok {
		p.azure = append(p.azure, headerRule{matches: everyPage, policies: values})
	}
	return nil
}

// in finds the header in an object or table; its value may be a list.
func (p Policies) in(headers map[string]any) (values []string, ok bool) {
	for name, value := range headers {
		if !p.reads(name) {
			continue
		}
		ok = true
		switch value := value.(type) {
		case string:
			values = append(values, value)
		case []any:
			for _, v := range value {
				if text, isText := v.(string); isText {
					values = append(values, text)
				}
			}
		case nil:
		default:
			values = append(values, p.unknown)
		}
	}
	return values, ok
}

// globPattern is a path with * and **, ? and {a,b}. deep: a single * crosses slashes as well.
func globPattern(pattern string, deep bool) func(string) bool {
	var b strings.Builder
	if !strings.HasPrefix(pattern, "/") {
		b.WriteString("/?")
	}
	braces := 0
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch c := pattern[i]; {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(rest, "**"), c == '*' && deep:
			b.WriteString(".*")
			i += len(rest) - len(strings.TrimLeft(rest, "*")) - 1
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '{':
			b.WriteString("(?:")
			braces++
		case c == '}' && braces > 0:
			b.WriteString(")")
			braces--
		case c == ',' && braces > 0:
			b.WriteString("|")
		case strings.ContainsRune("@!+[", rune(c)) && !deep:
			return everyPage // extended globs
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return compile(b.String())
}

// keyedHeader is how vercel.json and firebase.json write a header.
type keyedHeader struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

// addVercel reads the headers of vercel.json. Conditions (has, missing) count as met.
func (p *Policies) addVercel(content []byte) error {
	var config struct {
		Headers []struct {
			Source  string        `json:"source"`
			Headers []keyedHeader `json:"headers"`
		} `json:"headers"`
		Routes []struct {
			Src     string         `json:"src"`
			Headers map[string]any `json:"headers"`
		} `json:"routes"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return err
	}
	for _, rule := range config.Headers {
		p.addKeyed(pathPattern(rule.Source), rule.Headers)
	}
	for _, route := range config.Routes {
		if values, ok := p.in(route.Headers); ok {
			p.add(compile(route.Src), values...)
		}
	}
	return nil
}

func (p *Policies) addKeyed(matches func(string) bool, headers []keyedHeader) {
	for _, header := range headers {
		if values, ok := p.in(map[string]any{header.Key: header.Value}); ok {
			p.add(matches, values...)
		}
	}
}

// pathPattern is a pattern of Vercel: :name, :name*, :name+, :name?, :name(expression),
// (expression).
func pathPattern(pattern string) func(string) bool {
	if len(pattern) > maxPattern {
		return everyPage
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == ':' && nameEnd(pattern, i+1) > i+1:
			i = nameEnd(pattern, i+1)
			segment := "[^/]+"
			switch {
			case strings.HasPrefix(pattern[i:], "("):
				i-- // the expression follows
			case strings.HasPrefix(pattern[i:], "*"), strings.HasPrefix(pattern[i:], "?"):
				optionalSegment(&b)
			case strings.HasPrefix(pattern[i:], "+"):
				b.WriteString(".+")
			default:
				b.WriteString(segment)
				i--
			}
		case c == '(':
			end := groupEnd(pattern, i)
			if end < 0 {
				return everyPage
			}
			b.WriteString("(?:" + strings.TrimPrefix(pattern[i+1:end], "?:") + ")")
			i = end
		case strings.IndexByte("*+?{}", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return compile(b.String())
}

// optionalSegment makes the slash before it optional too.
func optionalSegment(b *strings.Builder) {
	text, slash := strings.CutSuffix(b.String(), "/")
	b.Reset()
	b.WriteString(text)
	if slash {
		b.WriteString("(?:/.*)?")
	} else {
		b.WriteString(".*")
	}
}

// groupEnd is the bracket that closes the one at i, -1 without one.
func groupEnd(s string, i int) int {
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// addNetlify reads the headers of netlify.toml.
func (p *Policies) addNetlify(content []byte) error {
	var config struct {
		Headers []struct {
			For    string         `toml:"for"`
			Values map[string]any `toml:"values"`
		} `toml:"headers"`
	}
	if err := toml.Unmarshal(content, &config); err != nil {
		return err
	}
	for _, rule := range config.Headers {
		if values, ok := p.in(rule.Values); ok {
			p.add(splatPattern(rule.For), values...)
		}
	}
	return nil
}

// addFirebase reads the headers of firebase.json, whose hosting is an object or a list of them.
func (p *Policies) addFirebase(content []byte) error {
	type hosting struct {
		Headers []struct {
			Source  string        `json:"source"`
			Glob    string        `json:"glob"`
			Regex   string        `json:"regex"`
			Headers []keyedHeader `json:"headers"`
		} `json:"headers"`
	}
	var config struct {
		Hosting json.RawMessage `json:"hosting"`
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return err
	}
	var sites []hosting
	if hosted := bytes.TrimSpace(config.Hosting); len(hosted) > 0 && hosted[0] == '[' {
		if err := json.Unmarshal(hosted, &sites); err != nil {
			return err
		}
	} else if len(hosted) > 0 {
		sites = make([]hosting, 1)
		if err := json.Unmarshal(hosted, &sites[0]); err != nil {
			return err
		}
	}
	for _, site := range sites {
		for _, rule := range site.Headers {
			matches := everyPage
			if glob := rule.Source + rule.Glob; glob != "" {
				matches = globPattern(glob, false)
			} else if rule.Regex != "" {
				matches = compile(".*(?:" + rule.Regex + ").*")
			}
			p.addKeyed(matches, rule.Headers)
		}
	}
	return nil
}

// apacheHeader is the directive Header as Apache reads it: options, the name and a quoted value.
func apacheHeader(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)^\s*header\s+(?:(?:always|onsuccess)\s+)?` +
		`(?:set|append|add|merge|setifempty)\s+"?` + regexp.QuoteMeta(name) + `:?"?\s+(.*)$`)
}

// addApache reads .htaccess. Sections and conditions count as met; lines that end in \ go on.
//
// It counts for the folder in which it lies.
func (p *Policies) addApache(folder, text string) {
	below := func(url string) bool { return folder == "." || strings.HasPrefix(url, "/"+folder+"/") }

	directive := apacheHeader(p.header)
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\\\n", " ")
	for line := range strings.Lines(text) {
		found := directive.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if found == nil {
			continue
		}
		p.add(below, apacheValue(found[1]))
	}
}

// apacheValue is the first argument, which may be in quotes with \ before one.
func apacheValue(s string) string {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		value, _, _ := strings.Cut(s, " ")
		return value
	}
	var b strings.Builder
	for i := 1; i < len(s) && s[i] != s[0]; i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] == s[0] {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
