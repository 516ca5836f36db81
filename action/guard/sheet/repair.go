package sheet

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/tdewolff/parse/v2/css"
)

// Repair makes of a result that differs from its source a sheet that does not: statement by
// statement it takes the result's bytes where they say the same, and else the source's, without
// comments and white space that nobody needs. It may guess, since what it makes is compared as a
// whole afterwards: the answer compares as equal to the source, and is nil where nothing that it
// makes does. It may be longer than the source.
func Repair(source, result []byte) []byte {
	before, err := cut(source)
	if err != nil {
		return nil
	}
	var candidates [][]byte
	if after, err := cut(result); err == nil {
		candidates = append(candidates, merged(before, after))
	}
	for _, repaired := range append(candidates, compact(nil, before.text[before.begin:])) {
		if needsMark(source, repaired, before.begin > 0) {
			repaired = slices.Concat(mark, repaired)
		}
		if len(Compare(source, repaired)) == 0 {
			return repaired
		}
	}
	return nil
}

// merged is the source with what the result says as well taken from the result; the result itself
// where nothing is to be put back.
func merged(before, after *pieces) []byte {
	source, result := before.units(before.items), after.units(after.items)
	if same(source, result) {
		return after.text[after.begin:]
	}
	var m merger
	if len(after.items) > 0 {
		m.out = compact(nil, after.text[after.begin:after.items[0].start]) // licenses
	}
	m.merge(source, result, maxRounds, maxDescent)
	return m.out
}

// Limits that keep the time of a repair in proportion to the length of the sheets.
const (
	maxRounds  = 8 // of looking for statements that are the only ones with their name
	maxDescent = 3 // blocks within blocks
)

// pieces is a sheet cut into statements.
type pieces struct {
	text  []byte
	items []item
	begin int // where the statements begin: after @charset, for which a byte order mark stands in
}

var errNoRepair = errors.New("not made of statements that end")

// cut takes a sheet apart. It refuses one that does not end its blocks, since what is put behind
// such a block would end up in it.
func cut(sheet []byte) (*pieces, error) {
	text := bytes.TrimPrefix(sheet, mark)
	p := newSheetParser(text)
	items, err := p.items(0)
	if err != nil {
		return nil, err
	}
	if p.unclosed || p.end != len(text) || declares(items) {
		return nil, errNoRepair
	}
	s := &pieces{text: text, items: items}
	if len(items) > 0 && items[0].at == "charset" && !items[0].block {
		s.begin = min(items[0].end+1, len(text)) // with its semicolon
		s.items = items[1:]
	}
	return s, nil
}

// declares says that a declaration stands outside of rules, where browsers take it for the
// beginning of the selector of what follows.
func declares(items []item) bool {
	for i := range items {
		if !items[i].block && items[i].at == "" {
			return true
		}
	}
	return false
}

// row is one statement, or several of the same name that follow each other.
type row struct {
	name  string // what it is known by in both sheets
	items []item
	text  []byte // of the sheet
}

// units names statements; those of one name that follow each other are one unit.
func (s *pieces) units(items []item) []row {
	var list []row
	for i := range items {
		name := nameOf(&items[i])
		if n := len(list); n > 0 && list[n-1].name == name && name != "@layer " {
			list[n-1].items = append(list[n-1].items, items[i])
			continue
		}
		list = append(list, row{name, items[i : i+1 : i+1], s.text})
	}
	return list
}

func nameOf(it *item) string {
	switch {
	case it.at == "font-face":
		s := newStyles()
		s.fontFace(it, scope{})
		return s.longhands["@font-face"][0].value
	case it.at != "":
		return "@" + it.at + " " + strings.TrimSpace(preludeText(it.at, it.prelude))
	case it.block:
		return strings.Join(selectors(it.prelude), ",")
	}
	return it.name + ":" + joinTokens(it.value)
}

// merger writes the repaired sheet.
type merger struct{ out []byte }

// merge writes statements of the source, from those of the result where they say the same.
func (m *merger) merge(source, result []row, rounds, depth int) {
	if len(source) == 0 {
		return // what only the result has is left out
	}
	var anchors [][2]int
	if rounds > 0 && len(result) > 0 {
		anchors = common(source, result)
	}
	if len(anchors) == 0 {
		m.segment(source, result, depth)
		return
	}
	i, j := 0, 0
	for _, a := range anchors {
		m.merge(source[i:a[0]], result[j:a[1]], rounds-1, depth)
		m.segment(source[a[0]:a[0]+1], result[a[1]:a[1]+1], depth)
		i, j = a[0]+1, a[1]+1
	}
	m.merge(source[i:], result[j:], rounds-1, depth)
}

// common pairs units whose name comes once in both lists, as many as stand in the same order.
func common(source, result []row) [][2]int {
	type place struct{ times, at int }
	places := make(map[string]place, len(result))
	for j := range result {
		places[result[j].name] = place{places[result[j].name].times + 1, j}
	}
	times := make(map[string]int, len(source))
	for i := range source {
		times[source[i].name]++
	}
	var pairs [][2]int
	for i := range source {
		if p := places[source[i].name]; p.times == 1 && times[source[i].name] == 1 {
			pairs = append(pairs, [2]int{i, p.at})
		}
	}
	return increasing(pairs)
}

// increasing is a longest row of pairs in which the second number grows too.
func increasing(pairs [][2]int) [][2]int {
	var tails []int // by length of a row less one: the pair that ends it with the least number
	before := make([]int, len(pairs))
	for i, p := range pairs {
		n, _ := slices.BinarySearchFunc(tails, p[1], func(t, at int) int { return pairs[t][1] - at })
		before[i] = -1
		if n > 0 {
			before[i] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, i)
		} else {
			tails[n] = i
		}
	}
	longest := make([][2]int, len(tails))
	for n := len(tails) - 1; n >= 0; n-- {
		i := tails[n]
		if n+1 < len(tails) {
			i = before[tails[n+1]]
		}
		tails[n], longest[n] = i, pairs[i]
	}
	return longest
}

// segment writes statements that belong to each other.
func (m *merger) segment(source, result []row, depth int) {
	if same(source, result) {
		for i := range result {
			for k := range result[i].items {
				it := &result[i].items[k]
				m.out = append(m.out, result[i].text[it.start:it.end]...)
				m.end(it)
			}
		}
		return
	}
	if depth > 0 && len(source) == 1 && len(result) == 1 && source[0].name == result[0].name &&
		source[0].opens() && result[0].opens() {
		head := result[0].items[0]
		m.out = append(m.out, result[0].text[head.start:head.bodyStart]...)
		m.merge(source[0].inside(), result[0].inside(), maxRounds, depth-1)
		m.out = append(m.out, '}')
		return
	}
	for i := range source {
		for k := range source[i].items {
			it := &source[i].items[k]
			m.out = compact(m.out, source[i].text[it.start:it.end])
			m.end(it)
		}
	}
}

// end writes what ends a statement without a block.
func (m *merger) end(it *item) {
	if !it.block {
		m.out = append(m.out, ';')
	}
}

// opens says that a unit is made of blocks that hold rules, and may be made one.
func (u *row) opens() bool {
	for i := range u.items {
		switch it := &u.items[i]; it.at {
		case "media", "supports", "container", "layer":
			if !it.block {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// inside are the units within a unit that opens.
func (u *row) inside() []row {
	var items []item
	for i := range u.items {
		items = append(items, u.items[i].items...)
	}
	return (&pieces{text: u.text}).units(items)
}

// same compares statements on their own.
func same(source, result []row) bool {
	before, after := newStyles(), newStyles()
	for i := range source {
		if before.rules(source[i].items, scope{}) != nil {
			return false
		}
	}
	for i := range result {
		if after.rules(result[i].items, scope{}) != nil {
			return false
		}
	}
	return len(compareRead(before, after)) == 0
}

// compact appends statements without comments and white space that nobody needs. Values of custom
// properties stay as written, since scripts read them, as do comments that begin with "!".
func compact(out, text []byte) []byte {
	lexer := newSheetParser(text)
	var tokens []css.Token
	for lexer.next(); lexer.tt != css.ErrorToken; lexer.next() {
		tokens = append(tokens, css.Token{TokenType: lexer.tt, Data: text[lexer.start:lexer.end]})
	}
	for len(tokens) > 0 {
		n, kind := statement(tokens)
		out = compactStatement(out, tokens[:n], kind)
		tokens = tokens[n:]
	}
	return out
}

type statementKind int

const (
	atStatement statementKind = iota
	ruleStatement
	declarationStatement
	customStatement
)

// statement is how many tokens a statement has up to and with what ends it or opens its block.
func statement(tokens []css.Token) (int, statementKind) {
	kind, depth, begun := declarationStatement, 0, false
	for i, t := range tokens {
		switch t.TokenType {
		case css.FunctionToken, css.LeftParenthesisToken, css.LeftBracketToken:
			depth++
		case css.RightParenthesisToken, css.RightBracketToken:
			depth--
		case css.LeftBraceToken:
			if kind == customStatement {
				depth++
			} else if depth <= 0 {
				if kind == declarationStatement {
					kind = ruleStatement
				}
				return i + 1, kind
			}
		case css.RightBraceToken:
			if kind == customStatement && depth > 0 {
				depth--
			} else if depth <= 0 {
				return max(i, 1), kind // the brace is a statement of its own
			}
		case css.SemicolonToken:
			if depth <= 0 {
				return i + 1, kind
			}
		}
		if !begun && !isSpace(t) {
			begun = true
			switch t.TokenType {
			case css.AtKeywordToken:
				kind = atStatement
			case css.CustomPropertyNameToken:
				kind = customStatement
			}
		}
	}
	return len(tokens), kind
}

// compactStatement appends one statement.
func compactStatement(out []byte, tokens []css.Token, kind statementKind) []byte {
	if len(tokens) == 1 && tokens[0].TokenType == css.RightBraceToken {
		return append(bytes.TrimSuffix(out, []byte(";")), '}')
	}
	var space, remark, colon, started bool
	depth := 0
	var previous css.Token
	for _, t := range tokens {
		switch {
		case t.TokenType == css.CommentToken && bytes.HasPrefix(t.Data, []byte("/*!")) && !started:
			out = append(out, t.Data...)
			continue
		case started && kind == customStatement:
			out = append(out, t.Data...)
			continue
		case t.TokenType == css.CommentToken:
			remark = true
			continue
		case t.TokenType == css.WhitespaceToken:
			space = true
			continue
		case t.TokenType == css.SemicolonToken && !started:
			continue // one too many
		}
		outside := kind == declarationStatement && depth == 0
		atColon := outside && !colon && t.TokenType == css.ColonToken
		afterColon := outside && previous.TokenType == css.ColonToken
		switch {
		case !started, atColon, afterColon, tight(t, kind, depth), tight(previous, kind, depth):
		case space:
			out = append(out, ' ')
		case remark:
			out = append(out, "/**/"...)
		}
		switch t.TokenType {
		case css.FunctionToken, css.LeftParenthesisToken, css.LeftBracketToken:
			depth++
		case css.RightParenthesisToken, css.RightBracketToken:
			depth--
		}
		colon = colon || atColon
		out = append(out, t.Data...)
		space, remark, started, previous = false, false, true, t
	}
	return out
}

// tight says that white space beside the token means nothing.
func tight(t css.Token, kind statementKind, depth int) bool {
	switch t.TokenType {
	case css.LeftBraceToken, css.SemicolonToken, css.CommaToken:
		return true
	case css.DelimToken:
		switch string(t.Data) {
		case ">", "~", "+":
			return kind == ruleStatement && depth == 0
		case "!":
			return kind == declarationStatement
		}
	}
	return false
}
