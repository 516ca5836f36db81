package sheet

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tdewolff/parse/v2/css"
	"golang.org/x/image/colornames"
)

// unescapeCSS takes the escapes out of an identifier or the inside of a string.
func unescapeCSS(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			out.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == '\n' {
			continue
		}
		end := i
		for end < len(s) && end < i+6 && strings.IndexByte("0123456789abcdefABCDEF", s[end]) >= 0 {
			end++
		}
		if end == i {
			_, n := utf8.DecodeRuneInString(s[i:])
			out.WriteString(s[i : i+n])
			i += n - 1
			continue
		}
		code, _ := strconv.ParseUint(s[i:end], 16, 32)
		if code == 0 || code > utf8.MaxRune || code >= 0xd800 && code < 0xe000 {
			code = utf8.RuneError
		}
		out.WriteRune(rune(code))
		if end < len(s) && strings.IndexByte(" \t\n\r\f", s[end]) >= 0 {
			end++
		}
		i = end - 1
	}
	return out.String()
}

func stringText(b []byte) string {
	s := string(b)
	if len(s) >= 2 && s[0] == s[len(s)-1] {
		s = s[1 : len(s)-1]
	}
	return strconv.Quote(unescapeCSS(s))
}

func urlText(b []byte) string {
	s := strings.TrimSpace(strings.TrimSuffix(string(b)[4:], ")"))
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') {
		s = s[1 : len(s)-1]
	}
	return "url(" + strconv.Quote(unescapeCSS(s)) + ")"
}

// caseSensitive are properties with names of the author's.
var caseSensitive = regexp.MustCompile(`^(-\w+-)?(animation|font|grid|counter|content|quotes|will-change|transition|list-style|view-transition|container|anchor|position-anchor|timeline|scroll-timeline|page|src)`)

// valueText is a value in canonical form.
func valueText(name string, tokens []css.Token) string {
	if strings.HasPrefix(name, "--") {
		return customText(tokens)
	}
	v := &valueWriter{name: name, keepCase: caseSensitive.MatchString(name)}
	v.write(tokens)
	return canonical(name, strings.TrimSpace(v.out.String()))
}

// customText is the value of a custom property: the tokens as written, save for white space and the
// way in which colours and numbers are written. A script that takes such a value apart by its
// letters would see the difference; whatever passes it on does not.
func customText(tokens []css.Token) string {
	var s strings.Builder
	space := false
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if isSpace(t) {
			space = true
			continue
		}
		if space && s.Len() > 0 && !strings.HasSuffix(s.String()[max(0, s.Len()-1):], ",") && !strings.HasSuffix(s.String()[max(0, s.Len()-1):], "(") && string(t.Data) != "," && string(t.Data) != ")" {
			s.WriteByte(' ')
		}
		space = false
		if end := functionEnd(tokens, i); end > 0 {
			if c, ok := colourFunction(tokens[i : end+1]); ok {
				s.WriteString(c)
				i = end
				continue
			}
		}
		switch t.TokenType {
		case css.HashToken:
			c, ok := hexColour(string(t.Data))
			if !ok {
				c = string(t.Data)
			}
			s.WriteString(c)
		case css.IdentToken:
			c, ok := namedColour(string(t.Data))
			if !ok {
				c = string(t.Data)
			}
			s.WriteString(c)
		case css.StringToken:
			s.WriteString(stringText(t.Data))
		case css.URLToken:
			s.WriteString(urlText(t.Data))
		case css.NumberToken, css.DimensionToken, css.PercentageToken:
			s.WriteString(numeric(t, false))
		default:
			s.Write(t.Data)
		}
	}
	return s.String()
}

type valueWriter struct {
	name     string
	keepCase bool
	out      strings.Builder
}

// functions in which 0 and 0px are not the same
var typedFunctions = map[string]bool{"calc(": true, "min(": true, "max(": true, "clamp(": true, "var(": true, "env(": true, "hypot(": true}

// write writes tokens with one space between components, and none where none is needed.
func (v *valueWriter) write(tokens []css.Token) {
	typed := 0
	var open []bool
	space := false
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		if isSpace(t) {
			space = true
			continue
		}
		if end := functionEnd(tokens, i); end > 0 {
			if c, ok := colourFunction(tokens[i : end+1]); ok {
				v.put(c, space)
				space, i = false, end
				continue
			}
		}
		switch t.TokenType {
		case css.FunctionToken, css.LeftParenthesisToken:
			isTyped := typedFunctions[strings.ToLower(string(t.Data))] || t.TokenType == css.LeftParenthesisToken && typed > 0
			open = append(open, isTyped)
			if isTyped {
				typed++
			}
		case css.RightParenthesisToken:
			if n := len(open); n > 0 {
				if open[n-1] {
					typed--
				}
				open = open[:n-1]
			}
		}
		v.put(v.component(t, typed > 0, len(open)), space)
		space = false
	}
}

// put writes a component; between words, one space, whether the source has one or a bracket ends
// there.
func (v *valueWriter) put(s string, space bool) {
	text := v.out.String()
	if len(text) > 0 && len(s) > 0 {
		last, first := text[len(text)-1], s[0]
		tight := last == ',' || last == '(' || first == ',' || first == ')' || last == '/' || first == '/' || last == '[' || first == ']'
		if !tight && (space || last == ')' || first == '[' || last == ']' || last == '"' || first == '"') {
			v.out.WriteByte(' ')
		}
	}
	v.out.WriteString(s)
}

func (v *valueWriter) component(t css.Token, typed bool, depth int) string {
	switch t.TokenType {
	case css.StringToken:
		return stringText(t.Data)
	case css.URLToken:
		return urlText(t.Data)
	case css.NumberToken, css.DimensionToken, css.PercentageToken:
		return numeric(t, typed)
	case css.HashToken:
		if c, ok := hexColour(string(t.Data)); ok {
			return c
		}
		return string(t.Data)
	case css.IdentToken:
		s := unescapeCSS(string(t.Data))
		if c, ok := namedColour(s); ok && !v.keepCase {
			return c
		}
		if v.keepCase {
			return s
		}
		return strings.ToLower(s)
	case css.FunctionToken:
		return strings.ToLower(string(t.Data))
	}
	return string(t.Data)
}

// lengthUnits are units of which a zero needs none.
var lengthUnits = map[string]bool{"px": true, "em": true, "rem": true, "ex": true, "ch": true, "vw": true, "vh": true,
	"vmin": true, "vmax": true, "cm": true, "mm": true, "in": true, "pt": true, "pc": true, "q": true, "deg": true, "rad": true, "turn": true, "grad": true}

// numeric is a number, percentage or dimension.
func numeric(t css.Token, typed bool) string {
	s := strings.ToLower(string(t.Data))
	end := len(s)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' || c == '.' || (c == '+' || c == '-') && (i == 0 || s[i-1] == 'e') {
			continue
		}
		if c == 'e' && i+1 < len(s) && (s[i+1] >= '0' && s[i+1] <= '9' || (s[i+1] == '-' || s[i+1] == '+') && i+2 < len(s) && s[i+2] >= '0' && s[i+2] <= '9') {
			continue
		}
		end = i
		break
	}
	f, err := strconv.ParseFloat(s[:end], 64)
	if err != nil {
		return s
	}
	unit := s[end:]
	switch unit {
	case "ms":
		f, unit = f/1000, "s"
	}
	if f == 0 && !typed && lengthUnits[unit] {
		return "0"
	}
	return short(f) + unit
}

// short writes a number as the optimizer does, which keeps six digits; the last of them is
// uncertain.
func short(f float64) string {
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', 5, 64)
}

func hexColour(s string) (string, bool) {
	s = strings.ToLower(strings.TrimPrefix(s, "#"))
	if strings.Trim(s, "0123456789abcdef") != "" {
		return "", false
	}
	switch len(s) {
	case 3:
		s += "f"
		fallthrough
	case 4:
		s = string([]byte{s[0], s[0], s[1], s[1], s[2], s[2], s[3], s[3]})
	case 6:
		s += "ff"
	case 8:
	default:
		return "", false
	}
	return "#" + s, true
}

func namedColour(s string) (string, bool) {
	s = strings.ToLower(s)
	if s == "transparent" {
		return "#00000000", true
	}
	if s == "rebeccapurple" {
		return "#663399ff", true
	}
	c, ok := colornames.Map[s]
	return fmt.Sprintf("#%02x%02x%02xff", c.R, c.G, c.B), ok
}

// functionEnd is where the function that begins at i ends, for functions of one level; 0 if none
// does.
func functionEnd(tokens []css.Token, i int) int {
	if tokens[i].TokenType != css.FunctionToken {
		return 0
	}
	switch strings.ToLower(string(tokens[i].Data)) {
	case "rgb(", "rgba(", "hsl(", "hsla(":
	default:
		return 0
	}
	for j := i + 1; j < len(tokens) && j < i+20; j++ {
		switch tokens[j].TokenType {
		case css.RightParenthesisToken:
			return j
		case css.FunctionToken:
			return 0
		}
	}
	return 0
}

// colourFunction is rgb() and hsl() as #rrggbbaa.
func colourFunction(tokens []css.Token) (string, bool) {
	var part []css.Token
	for _, t := range tokens[1 : len(tokens)-1] {
		switch t.TokenType {
		case css.NumberToken, css.PercentageToken, css.DimensionToken:
			part = append(part, t)
		case css.CommaToken, css.WhitespaceToken, css.CommentToken:
		case css.DelimToken:
			if string(t.Data) != "/" {
				return "", false
			}
		default:
			return "", false
		}
	}
	if len(part) != 3 && len(part) != 4 {
		return "", false
	}
	channel := func(t css.Token, scale float64) (float64, bool) {
		s := strings.ToLower(string(t.Data))
		if t.TokenType == css.PercentageToken {
			f, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
			return f / 100, err == nil
		}
		f, err := strconv.ParseFloat(strings.TrimSuffix(s, "deg"), 64)
		return f / scale, err == nil
	}
	isHSL := strings.HasPrefix(strings.ToLower(string(tokens[0].Data)), "hsl")
	var c [4]float64
	c[3] = 1
	for i, t := range part {
		scale := 255.0
		switch {
		case i == 3:
			scale = 1
		case isHSL && i == 0:
			scale = 360
		case isHSL:
			scale = 100
		}
		f, ok := channel(t, scale)
		if !ok {
			return "", false
		}
		c[i] = f
	}
	if isHSL {
		c[0], c[1], c[2] = hsl(c[0], clamp(c[1]), clamp(c[2]))
	}
	b := func(f float64) int { return int(math.Round(clamp(f) * 255)) }
	return fmt.Sprintf("#%02x%02x%02x%02x", b(c[0]), b(c[1]), b(c[2]), b(c[3])), true
}

func clamp(f float64) float64 { return math.Max(0, math.Min(1, f)) }

func hsl(h, s, l float64) (r, g, b float64) {
	h = (h - math.Floor(h)) * 12
	f := func(n float64) float64 {
		k := math.Mod(n+h, 12)
		return l - s*math.Min(l, 1-l)*math.Max(-1, math.Min(math.Min(k-3, 9-k), 1))
	}
	return f(0), f(8), f(4)
}

// selectors are the selectors of a group, in canonical form.
func selectors(tokens []css.Token) []string {
	var list []string
	depth, start := 0, 0
	for i, t := range tokens {
		switch t.TokenType {
		case css.FunctionToken, css.LeftParenthesisToken, css.LeftBracketToken:
			depth++
		case css.RightParenthesisToken, css.RightBracketToken:
			depth--
		case css.CommaToken:
			if depth == 0 {
				list = append(list, selectorText(tokens[start:i]))
				start = i + 1
			}
		}
	}
	list = append(list, selectorText(tokens[start:]))
	return list
}

var nth = strings.NewReplacer("(odd)", "(2n+1)", "(even)", "(2n)", "(2n+0)", "(2n)", "(n+1)", "(n)",
	":nth-child(1)", ":first-child", ":nth-last-child(1)", ":last-child")

// oldPseudo are the elements that may be written with one colon.
var oldPseudo = strings.NewReplacer("::before", ":before", "::after", ":after", "::first-line", ":first-line", "::first-letter", ":first-letter")

func selectorText(tokens []css.Token) string {
	var s strings.Builder
	space := false
	bracket := false
	for _, t := range trim(tokens) {
		if isSpace(t) {
			space = true
			continue
		}
		text := string(t.Data)
		tight := text == ">" || text == "+" || text == "~" || text == "," || text == ")" || text == "|"
		if space && !tight && !bracket && s.Len() > 0 {
			if last := s.String()[s.Len()-1]; last != '>' && last != '+' && last != '~' && last != ',' && last != '(' {
				s.WriteByte(' ')
			}
		}
		space = false
		switch t.TokenType {
		case css.StringToken:
			text = stringText(t.Data)
		case css.IdentToken, css.HashToken:
			if bracket && s.Len() > 0 && s.String()[s.Len()-1] == '=' {
				text = strconv.Quote(unescapeCSS(text))
			} else {
				text = unescapeIdent(text)
			}
		case css.LeftBracketToken:
			bracket = true
		case css.RightBracketToken:
			bracket = false
		case css.PercentageToken:
			text = numeric(t, true)
		}
		s.WriteString(text)
	}
	text := s.String()
	if strings.Contains(text, ":") {
		text = oldPseudo.Replace(nth.Replace(text))
	}
	switch text {
	case "from":
		return "0%"
	case "to":
		return "100%"
	}
	if strings.Contains(text, "*") {
		text = anyElement.ReplaceAllString(text, "$1$2")
	}
	return strings.TrimPrefix(strings.TrimPrefix(text, "& "), "&")
}

// anyElement is the * of *.class, which may go.
var anyElement = regexp.MustCompile(`(^|[ >+~,(])\*([.#:\[])`)

// unescapeIdent is unescapeCSS, with a mark where an escape hides a character that means something.
func unescapeIdent(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return strconv.QuoteToASCII(unescapeCSS(s))
}

var knownPseudo = regexp.MustCompile(`^:(hover|focus|active|visited|link|before|after|first-line|first-letter|not|first-child|last-child|only-child|nth-child|nth-last-child|nth-of-type|nth-last-of-type|first-of-type|last-of-type|only-of-type|empty|root|target|enabled|disabled|checked|lang|focus-visible|focus-within|is|where|placeholder-shown|invalid|valid|required|optional|read-only|read-write|indeterminate|default|in-range|out-of-range|selection|placeholder|marker)$`)

var quotedText = regexp.MustCompile(`"[^"]*"`)

var anyPseudo = regexp.MustCompile(`:[a-zA-Z-]+`)

// isRisky says that some browser may not know the selector, and would drop the rule around it.
func isRisky(s string) bool {
	if !strings.Contains(s, ":") {
		return false
	}
	for _, p := range anyPseudo.FindAllString(quotedText.ReplaceAllString(s, ""), -1) {
		if knownPseudo.FindString(p) != p {
			return true
		}
	}
	return false
}

var rangeQuery = regexp.MustCompile(`\((min|max)-(width|height|resolution|aspect-ratio|device-width|device-height|color|monochrome)\s*:\s*([^()]*|calc\([^()]*\))\)`)
var spaces = regexp.MustCompile(`\s+`)
var tightMedia = regexp.MustCompile(`\s*([:<>=,/]+)\s*`)

// preludeText is what stands between the name of an at-rule and its block.
func preludeText(at string, tokens []css.Token) string {
	switch at {
	case "import":
		tokens = slices.Clone(tokens)
		if len(tokens) > 0 && tokens[0].TokenType == css.StringToken {
			return "url(" + stringText(tokens[0].Data) + ")" + mediaText(tokens[1:])
		}
	case "charset", "namespace":
	case "media", "supports", "container", "scope":
	case "page", "layer", "keyframes":
	}
	if strings.HasSuffix(at, "keyframes") && len(tokens) == 1 && tokens[0].TokenType == css.StringToken {
		s, _ := strconv.Unquote(stringText(tokens[0].Data))
		return s
	}
	return mediaText(tokens)
}

func mediaText(tokens []css.Token) string {
	var s strings.Builder
	for _, t := range tokens {
		switch {
		case isSpace(t):
			s.WriteByte(' ')
		case t.TokenType == css.StringToken:
			s.WriteString(stringText(t.Data))
		case t.TokenType == css.URLToken:
			s.WriteString(urlText(t.Data))
		case t.TokenType == css.NumberToken || t.TokenType == css.DimensionToken || t.TokenType == css.PercentageToken:
			s.WriteString(numeric(t, true))
		default:
			s.Write(t.Data)
		}
	}
	text := spaces.ReplaceAllString(s.String(), " ")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "( ", "("), " )", ")")
	text = rangeQuery.ReplaceAllStringFunc(text, func(q string) string {
		m := rangeQuery.FindStringSubmatch(q)
		if m[1] == "min" {
			return "(" + m[2] + ">=" + strings.TrimSpace(m[3]) + ")"
		}
		return "(" + m[2] + "<=" + strings.TrimSpace(m[3]) + ")"
	})
	text = tightMedia.ReplaceAllString(text, "$1")
	return " " + strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "all and "))
}
