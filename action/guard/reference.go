package guard

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
	"golang.org/x/net/html"
)

// Reference is an asset that a page or sheet names and that should be in the site.
type Reference struct {
	From   string // path of the page or sheet
	Raw    string // as it is written there
	Target string // the path in the site that it resolves to; with a slash at its end for a folder
}

// maxReferences are the references that are collected of one file.
const maxReferences = 100_000

// References are the assets that a page loads from the site itself, each once. Links are not among
// them, and neither is what is on other hosts, in data URLs and in templates that are not rendered.
// A host counts as the site's own when the page's canonical link names it, or its base element in a
// page without one.
func References(path string, page []byte) []Reference {
	page = decodePage(page)
	c := collector{from: path, at: pagePlace(path, page), seen: map[string]bool{}}
	z := html.NewTokenizer(bytes.NewReader(page))
	inert, styled := 0, false
	for c.room() {
		switch z.Next() {
		case html.ErrorToken:
			return c.refs
		case html.TextToken:
			if styled && inert == 0 {
				c.sheet(z.Text())
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			styled = t.Data == "style"
			switch {
			case t.Data == "noscript":
				z.NextIsNotRawText()
			case t.Data == "template" && t.Type == html.StartTagToken:
				inert++
			}
			if inert == 0 {
				c.element(t)
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			styled = false
			if string(name) == "template" {
				inert = max(0, inert-1)
			}
		}
	}
	return c.refs
}

// SheetReferences are the files of the site that a style sheet loads, each once.
func SheetReferences(path string, sheet []byte) []Reference {
	c := collector{from: path, at: placeOf(path), seen: map[string]bool{}}
	c.sheet(sheet)
	return c.refs
}

// decodePage gives a page in UTF-8. Bytes that are not are taken for windows-1252 where the page
// says no other encoding, as browsers do; letters of other legacy encodings become unreadable, and
// what they are part of is not judged.
func decodePage(page []byte) []byte {
	if utf8.Valid(page) {
		return bytes.TrimPrefix(page, byteOrderMark)
	}
	latin := latinLabels[declared(page)]
	text := make([]byte, 0, len(page)+len(page)/8)
	for _, c := range page {
		switch {
		case c < utf8.RuneSelf, latin: // its letters are those of Unicode; its punctuation is not in names
			text = utf8.AppendRune(text, rune(c))
		default:
			text = utf8.AppendRune(text, utf8.RuneError)
		}
	}
	return text
}

// latinLabels are those of windows-1252, and none.
var latinLabels = map[string]bool{"": true, "windows-1252": true, "iso-8859-1": true, "latin1": true, "us-ascii": true, "ascii": true, "cp1252": true}

// pagePlace is where relative URLs of a page start: its first base element counts, wherever it is.
func pagePlace(path string, page []byte) place {
	at := placeOf(path)
	base, based := "", false
	z := html.NewTokenizer(bytes.NewReader(withPlace(page)))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if based {
				at = at.withBase(base)
			}
			return at
		case html.StartTagToken, html.SelfClosingTagToken:
			name, attributes := z.TagName()
			if isBase := string(name) == "base"; !attributes || !isBase && string(name) != "link" {
				continue
			} else if t := attributesOf(z); isBase && !based {
				base, based = t["href"], t["href"] != ""
			} else if !isBase && hasWord(t["rel"], "canonical") && at.own == nil {
				if home := parseURL(t["href"]); home.host != "" {
					at.own = map[string]bool{home.host: true}
				}
			}
		}
	}
}

// withPlace is the part of a page that can say where it is: its head, unless base or link elements
// follow, which browsers heed there too.
func withPlace(page []byte) []byte {
	body := indexTag(page, "body")
	if body < 0 || indexTag(page[body:], "base") >= 0 || indexTag(page[body:], "link") >= 0 {
		return page
	}
	return page[:body]
}

// indexTag is the first place of what looks like a start tag of the name, or -1.
func indexTag(page []byte, name string) int {
	for at := 0; ; at++ {
		i := bytes.IndexByte(page[at:], '<')
		if i < 0 || len(page)-at-i <= len(name) {
			return -1
		}
		at += i
		if strings.EqualFold(string(page[at+1:at+1+len(name)]), name) {
			return at
		}
	}
}

// attributesOf reads the attributes of the tag that z is in; the first of a name counts.
func attributesOf(z *html.Tokenizer) map[string]string {
	attributes := map[string]string{}
	for more := true; more; {
		var key, value []byte
		key, value, more = z.TagAttr()
		if _, twice := attributes[string(key)]; !twice {
			attributes[string(key)] = string(value)
		}
	}
	return attributes
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsFuncSeq(list, isASCIISpace) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}

// collector gathers the references of one file.
type collector struct {
	from string
	at   place
	refs []Reference
	seen map[string]bool // targets
}

func (c *collector) room() bool { return len(c.refs) < maxReferences }

// add takes one reference. What leads to nothing but the file itself names no asset.
func (c *collector) add(raw string) {
	u := parseURL(raw)
	if u.opaque || u.host == "" && u.path == "" || !c.room() {
		return
	}
	r := c.at.resolve(raw)
	if !r.local() {
		return
	}
	target := r.file()
	if strings.ContainsRune(target, utf8.RuneError) {
		return
	}
	if !c.seen[target] {
		c.seen[target] = true
		c.refs = append(c.refs, Reference{From: c.from, Raw: strings.Clone(raw), Target: target})
	}
}

// sources are the attributes that name one asset, by element.
var sources = map[string][]string{
	"img": {"src"}, "source": {"src"}, "script": {"src"}, "video": {"src", "poster"}, "audio": {"src"},
	"track": {"src"}, "object": {"data"}, "embed": {"src"}, "iframe": {"src"}, "frame": {"src"},
	"image": {"href", "xlink:href"}, "use": {"href", "xlink:href"}, "feimage": {"href", "xlink:href"},
	"body": {"background"}, "table": {"background"}, "td": {"background"}, "th": {"background"},
}

// sourceSets are the attributes that name several.
var sourceSets = map[string]string{"img": "srcset", "source": "srcset", "link": "imagesrcset"}

// loadedBy are the relations of a link that load something.
var loadedBy = []string{
	"stylesheet", "icon", "apple-touch-icon", "apple-touch-icon-precomposed", "mask-icon",
	"preload", "modulepreload", "manifest",
}

func (c *collector) element(t html.Token) {
	if len(t.Attr) == 0 {
		return
	}
	attributes := make(map[string]string, len(t.Attr))
	for _, a := range t.Attr {
		if _, twice := attributes[a.Key]; !twice {
			attributes[a.Key] = a.Val
		}
	}
	names := sources[t.Data]
	switch {
	case t.Data == "link" && loads(attributes["rel"]):
		names = []string{"href"}
	case t.Data == "input" && strings.EqualFold(attributes["type"], "image"):
		names = []string{"src"}
	}
	for _, name := range names {
		c.add(attributes[name])
	}
	if name := sourceSets[t.Data]; name != "" {
		c.set(attributes[name])
	}
	if style := attributes["style"]; style != "" {
		c.sheet([]byte(style))
	}
}

func loads(rel string) bool {
	for _, word := range loadedBy {
		if hasWord(rel, word) {
			return true
		}
	}
	return false
}

// set reads a srcset: URLs with a descriptor each, after commas.
func (c *collector) set(s string) {
	for s != "" {
		s = strings.TrimLeft(s, " \t\n\f\r,")
		url := s
		if i := strings.IndexAny(s, " \t\n\f\r"); i >= 0 {
			url = s[:i]
		}
		s = s[len(url):]
		if bare := strings.TrimRight(url, ","); bare != url {
			url = bare
		} else {
			s = s[descriptorLength(s):]
		}
		if url != "" {
			c.add(url)
		}
	}
}

// descriptorLength is the length up to the comma that ends a descriptor; commas in brackets do not.
func descriptorLength(s string) int {
	inside := false
	for i := range len(s) {
		switch s[i] {
		case '(':
			inside = true
		case ')':
			inside = false
		case ',':
			if !inside {
				return i
			}
		}
	}
	return len(s)
}

// sheet reads url(), the strings of @import and those of image-set(), in a sheet or a style
// attribute.
func (c *collector) sheet(text []byte) {
	lexer := css.NewLexer(parse.NewInputBytes(bytes.Clone(text))) // it writes behind what it is given
	rule, inSet, depth := "", 0, 0
	for c.room() {
		kind, data := lexer.Next()
		switch kind {
		case css.ErrorToken:
			return
		case css.WhitespaceToken, css.CommentToken:
			continue
		case css.AtKeywordToken:
			rule = strings.ToLower(string(data))
			continue
		case css.FunctionToken, css.LeftParenthesisToken:
			depth++
			if inSet == 0 && strings.HasSuffix(strings.ToLower(string(data)), "image-set(") {
				inSet = depth
			}
		case css.RightParenthesisToken:
			if inSet == depth {
				inSet = 0
			}
			depth = max(0, depth-1)
		case css.URLToken:
			if rule != "@namespace" {
				c.add(urlOf(data))
			}
		case css.StringToken:
			if rule == "@import" || inSet > 0 && inSet == depth {
				c.add(unquote(data))
			}
		}
		if kind != css.CommaToken {
			rule = ruleAfter(rule, kind)
		}
	}
}

// ruleAfter forgets an at-rule once what it names has been read. The prefix of @namespace comes
// before.
func ruleAfter(rule string, kind css.TokenType) string {
	if rule == "@namespace" && kind == css.IdentToken {
		return rule
	}
	return ""
}

// urlOf is the URL in a token url(…), with or without quotes.
func urlOf(token []byte) string {
	inner := token[len("url("):]
	inner = bytes.TrimSuffix(inner, []byte(")"))
	inner = bytes.Trim(inner, " \t\n\f\r")
	if len(inner) > 0 && (inner[0] == '"' || inner[0] == '\'') {
		return unquote(inner)
	}
	return unescape(inner)
}

func unquote(token []byte) string {
	if len(token) >= 2 && token[0] == token[len(token)-1] {
		return unescape(token[1 : len(token)-1])
	}
	return unescape(token[min(1, len(token)):])
}

// unescape decodes the escapes of CSS: \ and up to six hexadecimal digits, or \ and the character
// itself.
func unescape(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return string(s)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		r, n := rune(0), 0
		for n < 6 && i+1+n < len(s) && nibbles[s[i+1+n]] < 16 {
			r, n = r<<4|rune(nibbles[s[i+1+n]]), n+1
		}
		switch {
		case n > 0:
			if i += n; i+1 < len(s) && isASCIISpace(rune(s[i+1])) {
				i++
			}
			b.WriteRune(r)
		case s[i+1] == '\n':
			i++
		default:
			i++
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Missing are those references for which the site has no file. has answers for the path of a file.
// As hosts do, a folder stands for its index.html and "about" for about.html. A site that is
// published below a path, such as the pages of a GitHub project, names its files with that path; so
// a file that is there without the first folder of the reference is not missing.
func Missing(refs []Reference, has func(path string) bool) []Reference {
	var missing []Reference
	for _, ref := range refs {
		_, below, _ := strings.Cut(ref.Target, "/")
		rooted := parseURL(ref.Raw).host != "" || strings.HasPrefix(parseURL(ref.Raw).path, "/")
		if !served(ref.Target, has) && (!rooted || below == "" || !served(below, has)) {
			missing = append(missing, ref)
		}
	}
	return missing
}

func served(target string, has func(path string) bool) bool {
	if target == "" || strings.HasSuffix(target, "/") {
		return has(target + "index.html")
	}
	if has(target) {
		return true
	}
	return has(target+".html") || has(target+"/index.html")
}
