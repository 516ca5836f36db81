package sheet

import (
	"errors"
	"strings"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/css"
)

const maxSheetDepth = 64

// item is a rule, an at-rule or a declaration.
type item struct {
	at        string // name of an at-rule
	prelude   []css.Token
	block     bool
	items     []item
	name      string // of a declaration
	value     []css.Token
	important bool

	// Where it stands in the sheet, of which body is what is between its braces.
	start, end         int
	bodyStart, bodyEnd int
}

type sheetParser struct {
	lexer      *css.Lexer
	tt         css.TokenType
	data       []byte
	start, end int  // of the token in the sheet
	unclosed   bool // the sheet ended within a block
}

func newSheetParser(source []byte) *sheetParser {
	return &sheetParser{lexer: css.NewLexer(parse.NewInputBytes(append([]byte(nil), source...)))}
}

// next reads a token; of a comment, which separates tokens, only that there is one.
func (p *sheetParser) next() {
	p.tt, p.data = p.lexer.Next()
	p.start, p.end = p.end, p.end+len(p.data)
	if p.tt == css.CommentToken {
		p.data = nil
	}
}

var (
	errSheetText  = errors.New("a string, a url or a bracket does not end")
	errSheetBrace = errors.New("a brace too many")
	errSheetDepth = errors.New("nested deeper than the guard compares")
)

// items reads rules and declarations up to the end of the block or sheet. Statements of a style
// rule and of a sheet are read alike: what has a block is a rule.
func (p *sheetParser) items(depth int) ([]item, error) {
	if depth > maxSheetDepth {
		return nil, errSheetDepth
	}
	var list []item
	for {
		p.next()
		switch p.tt {
		case css.WhitespaceToken, css.CommentToken, css.SemicolonToken, css.CDOToken, css.CDCToken:
			continue
		case css.ErrorToken:
			p.unclosed = p.unclosed || depth > 0
			return list, nil // a sheet may end within a block
		case css.RightBraceToken:
			if depth == 0 {
				return nil, errSheetBrace
			}
			return list, nil
		}
		it, ended, err := p.item(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, it)
		if ended {
			if depth == 0 && p.tt == css.RightBraceToken {
				return nil, errSheetBrace
			}
			return list, nil
		}
	}
}

// item reads one rule or declaration, of which the first token has been read. ended says that what
// ended it is the end of the block around it.
func (p *sheetParser) item(depth int) (it item, ended bool, err error) {
	it.start = p.start
	if p.tt == css.AtKeywordToken {
		it.at = strings.ToLower(string(p.data[1:]))
		p.next()
	}
	isCustom := p.tt == css.CustomPropertyNameToken
	var tokens []css.Token
	var open []css.TokenType
	for {
		switch p.tt {
		case css.BadStringToken, css.BadURLToken:
			return it, false, errSheetText
		case css.ErrorToken:
			if len(open) > 0 {
				return it, false, errSheetText
			}
			p.finish(&it, tokens)
			p.unclosed = p.unclosed || depth > 0
			it.end = p.start
			return it, true, nil
		case css.SemicolonToken, css.RightBraceToken:
			if len(open) == 0 {
				p.finish(&it, tokens)
				it.end = p.start
				return it, p.tt == css.RightBraceToken, nil
			}
		case css.LeftBraceToken:
			if len(open) == 0 && !isCustom {
				it.prelude, it.block, it.bodyStart = trim(tokens), true, p.end
				it.items, err = p.items(depth + 1)
				it.bodyEnd, it.end = p.start, p.end
				return it, false, err
			}
		}
		switch p.tt {
		case css.FunctionToken, css.LeftParenthesisToken:
			open = append(open, css.RightParenthesisToken)
		case css.LeftBracketToken:
			open = append(open, css.RightBracketToken)
		case css.LeftBraceToken:
			open = append(open, css.RightBraceToken)
		case css.RightParenthesisToken, css.RightBracketToken, css.RightBraceToken:
			if len(open) == 0 || open[len(open)-1] != p.tt {
				return it, false, errSheetText
			}
			open = open[:len(open)-1]
		}
		if len(open) > 1000 {
			return it, false, errSheetDepth
		}
		tokens = append(tokens, css.Token{TokenType: p.tt, Data: p.data})
		p.next()
	}
}

// finish makes a declaration or an at-rule without a block of the tokens.
func (p *sheetParser) finish(it *item, tokens []css.Token) {
	if it.at != "" {
		it.prelude = trim(tokens)
		return
	}
	for i, t := range tokens {
		if t.TokenType != css.ColonToken {
			continue
		}
		it.name = joinTokens(trim(tokens[:i]))
		if !strings.HasPrefix(it.name, "--") {
			it.name = strings.ToLower(it.name)
		}
		it.value = trim(tokens[i+1:])
		break
	}
	n := len(it.value)
	if n >= 2 && strings.EqualFold(string(it.value[n-1].Data), "important") {
		for j := n - 2; j >= 0; j-- {
			if t := it.value[j]; t.TokenType == css.DelimToken && string(t.Data) == "!" {
				it.important = true
				it.value = trim(it.value[:j])
				break
			} else if t.TokenType != css.WhitespaceToken && t.TokenType != css.CommentToken {
				break
			}
		}
	}
}

func isSpace(t css.Token) bool {
	return t.TokenType == css.WhitespaceToken || t.TokenType == css.CommentToken
}

func trim(tokens []css.Token) []css.Token {
	for len(tokens) > 0 && isSpace(tokens[0]) {
		tokens = tokens[1:]
	}
	for len(tokens) > 0 && isSpace(tokens[len(tokens)-1]) {
		tokens = tokens[:len(tokens)-1]
	}
	return tokens
}

func joinTokens(tokens []css.Token) string {
	var s strings.Builder
	for _, t := range tokens {
		s.Write(t.Data)
	}
	return s.String()
}
