package script

import (
	"bytes"
	"slices"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/js"
)

// Restore puts back into a result what the optimizer is known to lose though it changes nothing
// else: "use strict", without which this and assignments work in another way, in the file and in
// functions; and with a byte order mark the certainty of how the script is read, where it was plain
// ASCII and no longer is. Whether that is enough is for Compare to say. It returns false where it
// finds nothing to put back.
func Restore(source, result []byte, isModule bool) ([]byte, bool) {
	before, err := readScript(source, isModule)
	if err != nil || before.isModule {
		return nil, false
	}
	after, err := readScript(result, isModule)
	if err != nil {
		return nil, false
	}
	restored := bytes.Clone(result)
	if !before.strict {
		if restored = restoreDirectives(before.functions, after.functions, result); restored == nil {
			return nil, false
		}
	} else if !after.strict {
		restored = append([]byte(directive), restored...)
	}
	if isASCII(source) && !isASCII(restored) {
		restored = append([]byte("\ufeff"), restored...)
	}
	return restored, len(restored) != len(result)
}

const directive = `"use strict";`

// restoreDirectives puts the directive into each function that had it; nil where the functions of
// source and result cannot be told apart.
func restoreDirectives(before, after []function, result []byte) []byte {
	bodies := functionBodies(result)
	if len(bodies) != len(after) {
		return nil
	}
	wanted := map[string][]bool{}
	for _, f := range before {
		wanted[f.where] = append(wanted[f.where], f.strict)
	}
	count := map[string]int{}
	for _, f := range after {
		count[f.where]++
	}
	next := map[string]int{}
	var out []byte
	done := 0
	for i, f := range after {
		strict := wanted[f.where]
		k := next[f.where]
		next[f.where]++
		if !slices.Contains(strict, true) || f.strict {
			continue
		}
		if slices.Contains(strict, false) {
			if len(strict) != count[f.where] {
				return nil
			}
			if !strict[k] {
				continue
			}
		}
		out = append(append(out, result[done:bodies[i]]...), directive...)
		done = bodies[i]
	}
	return append(out, result[done:]...)
}

// functionBodies finds where the body of each function begins that is written with that word. It
// may take a slash for the wrong thing; what comes of that is compared by its user.
func functionBodies(source []byte) []int {
	lexer := js.NewLexer(parse.NewInputBytes(bytes.Clone(source)))
	type state struct{ index, depth int }
	var bodies []int
	var waiting []state // functions whose parameters are open
	depth, at := 0, 0
	last := js.ErrorToken
	pending := -1 // a function whose parameters are to come
	for {
		tt, data := lexer.Next()
		if (tt == js.DivToken || tt == js.DivEqToken) && !endsOperand(last) {
			tt, data = lexer.RegExp()
		}
		if tt == js.ErrorToken {
			return bodies
		}
		at += len(data)
		switch tt {
		case js.WhitespaceToken, js.LineTerminatorToken, js.CommentToken, js.CommentLineTerminatorToken:
			continue
		case js.FunctionToken:
			if last != js.DotToken && last != js.OptChainToken {
				bodies = append(bodies, -1)
				pending = len(bodies) - 1
			}
		case js.OpenParenToken:
			if pending >= 0 {
				waiting = append(waiting, state{pending, depth})
				pending = -1
			}
			depth++
		case js.CloseParenToken:
			depth--
		case js.OpenBraceToken:
			if n := len(waiting); n > 0 && waiting[n-1].depth == depth && last == js.CloseParenToken {
				bodies[waiting[n-1].index] = at
				waiting = waiting[:n-1]
			}
		case js.ColonToken:
			if pending >= 0 && last == js.FunctionToken { // a property of that name
				bodies, pending = bodies[:len(bodies)-1], -1
			}
		}
		last = tt
	}
}

// endsOperand says that a slash after the token divides.
func endsOperand(t js.TokenType) bool {
	switch t {
	case js.CloseParenToken, js.CloseBracketToken, js.CloseBraceToken, js.StringToken, js.TemplateToken, js.TemplateEndToken,
		js.RegExpToken, js.ThisToken, js.SuperToken, js.TrueToken, js.FalseToken, js.NullToken, js.IncrToken, js.DecrToken,
		js.PrivateIdentifierToken:
		return true
	}
	return js.IsNumeric(t) || js.IsIdentifier(t)
}
