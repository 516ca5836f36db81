package guard

import (
	"bytes"
	"strings"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

// White space counts, or does not, by the rules of HTML and CSS: a run of it is one blank between
// inline content, and nothing beside the edges of a block. Style sheets can change both, so what they
// say is looked up, generously: a rule counts for every element that its last compound selector could
// match, under whatever media.
// https://www.w3.org/TR/css-text-3/#white-space-rules

// spaceRules are the selectors of a site whose rules change how white space counts.
type spaceRules struct {
	inline   []subject // display: inline, inline-block, … or contents
	preserve []subject // white-space: pre, pre-wrap, pre-line, break-spaces
}

// subject is the last compound of a selector, as far as it is looked at. The zero subject matches all.
type subject struct {
	tag, id string
	classes []string
}

func (s subject) matches(tag string, attrs []attribute) bool {
	if s.tag != "" && s.tag != tag {
		return false
	}
	if s.id != "" && s.id != value(attrs, "id") {
		return false
	}
	if len(s.classes) == 0 {
		return true
	}
	have := " " + strings.Join(strings.Fields(value(attrs, "class")), " ") + " "
	for _, c := range s.classes {
		if !strings.Contains(have, " "+c+" ") {
			return false
		}
	}
	return true
}

func anyMatches(all []subject, tag string, attrs []attribute) bool {
	for _, s := range all {
		if s.matches(tag, attrs) {
			return true
		}
	}
	return false
}

// addSheet adds the rules of a style sheet.
func (r *spaceRules) addSheet(sheet []byte) {
	if !bytes.Contains(sheet, []byte("white-space")) && !bytes.Contains(sheet, []byte("display")) {
		return
	}
	p := css.NewParser(parse.NewInputBytes(bytes.Clone(sheet)), false)
	var selectors []subject
	for {
		grammar, _, data := p.Next()
		switch grammar {
		case css.ErrorGrammar:
			if p.HasParseError() {
				continue
			}
			return
		case css.QualifiedRuleGrammar:
			selectors = append(selectors, lastCompounds(p.Values())...)
		case css.BeginRulesetGrammar:
			selectors = append(selectors, lastCompounds(p.Values())...)
		case css.DeclarationGrammar:
			r.addDeclaration(string(bytes.ToLower(data)), p.Values(), selectors)
		case css.EndRulesetGrammar:
			selectors = nil
		}
	}
}

func (r *spaceRules) addDeclaration(property string, values []css.Token, selectors []subject) {
	switch {
	case property == "white-space" || property == "white-space-collapse":
		if preserves(text(values)) {
			r.preserve = append(r.preserve, selectors...)
		}
	case property == "display":
		if inlines(text(values)) {
			r.inline = append(r.inline, selectors...)
		}
	}
}

func text(tokens []css.Token) string {
	var b strings.Builder
	for _, t := range tokens {
		b.Write(bytes.ToLower(t.Data))
	}
	return b.String()
}

func preserves(v string) bool {
	return strings.Contains(v, "pre") || strings.Contains(v, "break-spaces") || strings.Contains(v, "var(")
}

func inlines(v string) bool {
	return strings.Contains(v, "inline") || strings.Contains(v, "contents") || strings.Contains(v, "ruby") || strings.Contains(v, "var(")
}

// lastCompounds are the last compounds of a list of selectors.
func lastCompounds(tokens []css.Token) []subject {
	var all []subject
	var now subject
	depth, class, pseudo := 0, false, false
	flush := func() { all = append(all, now); now = subject{} }
	for _, t := range tokens {
		data := string(t.Data)
		switch {
		case t.TokenType == css.FunctionToken, t.TokenType == css.LeftParenthesisToken, t.TokenType == css.LeftBracketToken:
			depth++
		case t.TokenType == css.RightParenthesisToken, t.TokenType == css.RightBracketToken:
			depth--
		case depth > 0: // within :not(…) or [attribute]: not looked at
		case t.TokenType == css.CommaToken:
			flush()
		case t.TokenType == css.WhitespaceToken, data == ">", data == "+", data == "~":
			now = subject{}
		case data == ".":
			class = true
			continue
		case t.TokenType == css.ColonToken:
			pseudo = true
			continue
		case t.TokenType == css.HashToken:
			now.id = data[1:]
		case t.TokenType == css.IdentToken && class:
			now.classes = append(now.classes, data)
		case t.TokenType == css.IdentToken && !pseudo:
			now.tag = strings.ToLower(data)
		}
		class, pseudo = false, false
	}
	flush()
	return all
}

// blocks are the elements beside whose tags white space does not show, as browsers' own style sheet has
// them. https://html.spec.whatwg.org/multipage/rendering.html#flow-content-3
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

// spacing is how white space counts on one page.
type spacing struct {
	// strict: a framework takes the page over and counts its nodes, so that white space between any two
	// of them stays.
	strict bool

	inline map[string]bool // names of block elements that style sheets may show inline on this page
	rules  []subject       // of elements that preserve white space
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
	rules := s.rules
	for i := range units {
		if u := &units[i]; u.kind == unitBlob && u.name == "style" {
			rules.inline, rules.preserve = rules.inline[:len(rules.inline):len(rules.inline)], rules.preserve[:len(rules.preserve):len(rules.preserve)]
			rules.addSheet(u.inner)
		}
	}
	sp := spacing{strict: hydrates(doc), inline: map[string]bool{}, rules: rules.preserve, memo: &s.memo}
	for i := range units {
		u := &units[i]
		if u.kind != unitOpen || !blocks[u.name] || sp.inline[u.name] {
			continue
		}
		if anyMatches(rules.inline, u.name, u.attrs) || inlines(value(u.attrs, "style")) {
			sp.inline[u.name] = true
		}
	}
	return sp
}

// boundary says whether white space beside a tag of this element does not show.
func (s *spacing) boundary(name string) bool {
	if s.strict {
		return roots[name]
	}
	return roots[name] || blocks[name] && !s.inline[name]
}

// preserve says whether the element keeps its white space as it is written.
func (s *spacing) preserve(name string, attrs []attribute) bool {
	switch name {
	case "pre", "textarea", "listing", "plaintext", "xmp":
		return true
	}
	if style, ok := get(attrs, "style"); ok && strings.Contains(style, "white-space") && preserves(strings.ToLower(style)) {
		return true
	}
	return len(s.rules) > 0 && anyMatches(s.rules, name, attrs)
}
