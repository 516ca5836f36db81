package guard

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

// White space counts, or does not, by the rules of HTML and CSS: a run of it is one blank between
// inline content, and nothing beside the edges of a block. What takes no place in the line, since
// it is not shown, floats or is positioned, is no edge: the white space around it counts as if the
// element were not there. Style sheets can change all of this, so what they say is looked up,
// generously: a rule counts for every element that its last compound selector could match, under
// whatever media. https://www.w3.org/TR/css-text-3/#white-space-rules

// effect is what declarations do to white space, as bits.
type effect uint8

const (
	preserves effect = 1 << iota // white space stays as it is written
	inlines                      // a block may be shown within a line
	removes                      // a block may take no place in the line
)

// effectOf is that of one declaration. Custom properties may hold anything.
func effectOf(property, value string) (e effect) {
	has := func(words ...string) bool {
		return strings.Contains(value, "var(") || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(value, w) })
	}
	switch property {
	case "all": // takes the display of the browser's own style sheet away
		return inlines
	case "white-space", "white-space-collapse":
		if has("pre", "break-spaces") {
			return preserves
		}
	case "display":
		if has("inline", "contents", "ruby", "initial", "inherit", "unset", "revert") {
			e |= inlines
		}
		if has("none") {
			e |= removes
		}
	case "float":
		if value != "none" {
			return removes
		}
	case "position":
		if has("absolute", "fixed", "inherit") {
			return removes
		}
	}
	return e
}

// styleEffect is that of a style attribute.
func styleEffect(style string) (e effect) {
	if style == "" {
		return 0
	}
	p := css.NewParser(parse.NewInputString(style), true)
	for {
		grammar, _, data := p.Next()
		switch {
		case grammar == css.DeclarationGrammar:
			e |= effectOf(plainName(data), text(p.Values()))
		case grammar == css.ErrorGrammar && !p.HasParseError():
			return e
		}
	}
}

// subject is the last compound of a selector, as far as it is looked at: the name of the element,
// and one of its id and classes. All are in lower case, since pages without a doctype do not tell
// case apart. The zero subject stands for all elements.
type subject struct{ tag, key string }

// spaceRules are the selectors of rules that change how white space counts, with what they do. One
// look-up tells what holds for an element, however many rules there are.
type spaceRules map[subject]effect

// maxSubjects bounds the selectors that are kept; with more, they count for all elements.
const maxSubjects = 100_000

func (r spaceRules) add(s subject, e effect) {
	if len(r) >= maxSubjects {
		s = subject{}
	}
	r[s] |= e
}

// of is what the rules do to an element.
func (r spaceRules) of(tag string, attrs []attribute) effect {
	if len(r) == 0 {
		return 0
	}
	e := r[subject{}] | r[subject{tag: tag}]
	look := func(key string) { e |= r[subject{"", key}] | r[subject{tag, key}] }
	if id := value(attrs, "id"); id != "" {
		look("#" + strings.ToLower(id))
	}
	for class := range strings.FieldsSeq(value(attrs, "class")) {
		look("." + strings.ToLower(class))
	}
	return e
}

// spaceFrame is a rule that is being read. A nested one hands what it does on to the one around it,
// so that it does not matter how the parser tells the two apart.
type spaceFrame struct {
	subjects []subject
	effect   effect
}

func (f *spaceFrame) add(s subject) {
	if len(f.subjects) >= maxSubjects {
		f.subjects, s = f.subjects[:0], subject{}
	}
	f.subjects = append(f.subjects, s)
}

// addSheet adds the rules of a style sheet.
func (r spaceRules) addSheet(sheet []byte) {
	p := css.NewParser(parse.NewInputBytes(bytes.Clone(sheet)), false)
	var open []spaceFrame
	var next spaceFrame
	end := func() {
		last := open[len(open)-1]
		open = open[:len(open)-1]
		if last.effect == 0 {
			return
		}
		for _, s := range last.subjects {
			r.add(s, last.effect)
		}
		if len(open) > 0 {
			open[len(open)-1].effect |= last.effect
		}
	}
	for {
		grammar, _, data := p.Next()
		switch grammar {
		case css.ErrorGrammar:
			if p.HasParseError() {
				continue
			}
			for len(open) > 0 {
				end()
			}
			return
		case css.QualifiedRuleGrammar, css.BeginRulesetGrammar:
			next.add(lastCompound(p.Values()))
			if grammar == css.BeginRulesetGrammar {
				open, next = append(open, next), spaceFrame{}
			}
		case css.DeclarationGrammar:
			if len(open) > 0 {
				open[len(open)-1].effect |= effectOf(plainName(data), text(p.Values()))
			}
		case css.EndRulesetGrammar:
			if len(open) > 0 {
				end()
			}
		}
	}
}

func text(tokens []css.Token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.Write(bytes.ToLower(t.Data))
	}
	return strings.TrimSpace(b.String())
}

// plainName is a name of CSS in lower case, its escapes decoded.
func plainName(name []byte) string { return strings.ToLower(unescape(name)) }

// lastCompound is that of one selector.
func lastCompound(tokens []css.Token) subject {
	var now subject
	depth, class, pseudo := 0, false, false
	for _, t := range tokens {
		data := string(t.Data)
		switch {
		case t.TokenType == css.FunctionToken, t.TokenType == css.LeftParenthesisToken, t.TokenType == css.LeftBracketToken:
			depth++
		case t.TokenType == css.RightParenthesisToken, t.TokenType == css.RightBracketToken:
			depth--
		case depth > 0: // within :not(…) or [attribute]: not looked at
		case t.TokenType == css.WhitespaceToken, data == ">", data == "+", data == "~":
			now = subject{}
		case data == ".":
			class = true
			continue
		case t.TokenType == css.ColonToken:
			pseudo = true
			continue
		case t.TokenType == css.HashToken:
			now.key = "#" + plainName(t.Data[1:])
		case t.TokenType == css.IdentToken && class:
			if !strings.HasPrefix(now.key, "#") {
				now.key = "." + plainName(t.Data)
			}
		case t.TokenType == css.IdentToken && !pseudo:
			now.tag = plainName(t.Data)
		}
		class, pseudo = false, false
	}
	return now
}

// blocks are the elements beside whose tags white space does not show, as browsers' own style sheet
// has them. https://html.spec.whatwg.org/multipage/rendering.html#flow-content-3
var blocks = setOf(`address article aside blockquote body br caption center col colgroup dd details dialog dir div dl dt fieldset
	figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li link main menu meta nav ol optgroup
	option p search section summary table tbody td tfoot th thead title tr ul base`)

// roots are boundaries whatever else holds.
var roots = map[string]bool{"html": true, "head": true, "body": true}

func setOf(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// hidden are the blocks that browsers do not show of themselves, or show above the page.
var hidden = setOf("base dialog link meta title")

// spacing is how white space counts on one page.
type spacing struct {
	// strict: a framework takes the page over and counts its nodes, so that white space between any
	// two of them stays.
	strict bool

	inline map[string]bool // names of block elements that style sheets may show inline on this page
	site   spaceRules
	own    spaceRules // of the page
	memo   *memo
}

// hydration is what pages hold that a framework takes over in the browser.
var hydration = [][]byte{
	[]byte("<!--["), []byte("<!--$"), []byte("<!-- -->"), []byte("<!--lit-part"), []byte("<!--?lit$"), []byte("<!--qv"), []byte("<!--M"),
	[]byte("data-reactroot"), []byte("__next"), []byte("__NEXT_DATA__"), []byte("__NUXT"), []byte("__nuxt"), []byte("__sveltekit"),
	[]byte("data-server-rendered"), []byte("ng-server-context"), []byte(" ngh="), []byte("ng-version"), []byte("astro-island"),
	[]byte("q:container"), []byte("data-hk="), []byte("__docusaurus"), []byte("___gatsby"), []byte("__VP_"), []byte("data-svelte"),
	[]byte("data-v-app"), []byte("data-hydrat"), []byte("__remixContext"), []byte("__reactRouterContext"),
}

func hydrates(doc []byte) bool {
	for _, mark := range hydration {
		if bytes.Contains(doc, mark) {
			return true
		}
	}
	return false
}

// spacingOf reads a page, with the rules of the site and its own.
func (s *Site) spacingOf(doc []byte, units []unit) spacing {
	sp := spacing{strict: hydrates(doc), inline: map[string]bool{}, site: s.rules, own: spaceRules{}, memo: &s.memo}
	for i := range units {
		if u := &units[i]; u.kind == unitBlob && u.name == "style" {
			sp.own.addSheet(u.inner)
		}
	}
	for i := range units {
		u := &units[i]
		if u.kind == unitOpen && blocks[u.name] && !sp.inline[u.name] && sp.effect(u.name, u.attrs)&inlines != 0 {
			sp.inline[u.name] = true
		}
	}
	return sp
}

// effect is what style sheets and the element's own style do.
func (s *spacing) effect(name string, attrs []attribute) effect {
	return s.site.of(name, attrs) | s.own.of(name, attrs) | styleEffect(value(attrs, "style"))
}

// boundary says whether white space beside a tag of this element does not show, unless it is
// removed.
func (s *spacing) boundary(name string) bool {
	if s.strict {
		return roots[name]
	}
	return roots[name] || blocks[name] && !s.inline[name]
}

// removed says whether a block may take no place in the line.
func (s *spacing) removed(name string, attrs []attribute) bool {
	if !s.boundary(name) || roots[name] {
		return false
	}
	return hidden[name] || has(attrs, "hidden") || has(attrs, "popover") || s.effect(name, attrs)&removes != 0
}

// preserve says whether the element keeps its white space as it is written.
func (s *spacing) preserve(name string, attrs []attribute) bool {
	switch name {
	case "pre", "textarea", "listing", "plaintext", "xmp":
		return true
	}
	return s.effect(name, attrs)&preserves != 0
}
