package script

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tdewolff/parse/v2/js"
)

type constantKind int

const (
	notConstant constantKind = iota
	stringConstant
	numberConstant
	boolConstant
	nullConstant
	undefinedConstant
	regExpConstant
)

// value is what an expression of constants comes to.
type value struct {
	kind   constantKind
	text   string // of strings and numbers
	number float64
	truth  bool
}

// maxFold bounds how deep constants are folded; what is deeper counts as not constant.
const maxFold = 24

func (c *collector) constant(e js.IExpr) value { return c.fold(e, maxFold) }

// truth is 1 or -1 where an expression of constants is true or false, and 0 where that is not
// known.
func (c *collector) truth(e js.IExpr) int {
	v := c.constant(e)
	switch {
	case v.kind == notConstant:
		return 0
	case v.isTrue():
		return 1
	}
	return -1
}

func (v value) isTrue() bool {
	switch v.kind {
	case stringConstant:
		return v.text != ""
	case numberConstant:
		return v.number != 0 && !math.IsNaN(v.number)
	}
	return v.truth
}

// primitive is the value as a part of a string.
func (v value) primitive() string {
	switch v.kind {
	case boolConstant:
		return strconv.FormatBool(v.truth)
	case nullConstant:
		return "null"
	case undefinedConstant:
		return "undefined"
	}
	return v.text
}

func number(f float64) value { return value{kind: numberConstant, text: formatNumber(f), number: f} }
func boolean(b bool) value   { return value{kind: boolConstant, truth: b} }

// maxText bounds strings that are put together: constants made of constants grow without bound.
const maxText = 1 << 16

// text is a string; one that is too long counts as not constant.
func text(s string) value {
	if len(s) > maxText {
		return value{}
	}
	return value{kind: stringConstant, text: s}
}

// formatNumber writes numbers as JavaScript does where they are property names.
func formatNumber(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0:
		return "0"
	case math.Abs(f) < 1e21 && math.Abs(f) >= 1e-6:
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strings.Replace(strings.Replace(strconv.FormatFloat(f, 'e', -1, 64), "e-0", "e-", 1), "e+0", "e+", 1)
}

func (c *collector) fold(e js.IExpr, depth int) value {
	if depth == 0 {
		return value{}
	}
	switch n := e.(type) {
	case *js.GroupExpr:
		return c.fold(n.X, depth-1)
	case *js.LiteralExpr:
		return literalValue(n)
	case *js.Var:
		if v := resolve(n); v.Decl == js.NoDecl {
			switch string(v.Data) {
			case "undefined":
				return value{kind: undefinedConstant}
			case "NaN":
				return number(math.NaN())
			case "Infinity":
				return number(math.Inf(1))
			}
		} else if known, ok := c.known[v]; ok {
			return known
		}
	case *js.TemplateExpr:
		if n.Tag == nil {
			return c.foldTemplate(n, depth)
		}
	case *js.UnaryExpr:
		return c.foldUnary(n, depth)
	case *js.BinaryExpr:
		return c.foldBinary(n, depth)
	case *js.CondExpr:
		if v := c.fold(n.Cond, depth-1); v.kind != notConstant {
			if v.isTrue() {
				return c.fold(n.X, depth-1)
			}
			return c.fold(n.Y, depth-1)
		}
	case *js.DotExpr:
		return c.foldMember(n, depth)
	case *js.CallExpr:
		return c.foldCall(n, depth)
	}
	return value{}
}

// numberConstants are the constants of Number and Math that minifiers write out.
var numberConstants = map[string]float64{
	"Number.MAX_SAFE_INTEGER": 1<<53 - 1, "Number.MIN_SAFE_INTEGER": -(1<<53 - 1), "Number.EPSILON": 1.0 / (1 << 52),
	"Number.POSITIVE_INFINITY": math.Inf(1), "Number.NEGATIVE_INFINITY": math.Inf(-1), "Number.NaN": math.NaN(),
	"Number.MAX_VALUE": math.MaxFloat64, "Number.MIN_VALUE": 5e-324,
}

func (c *collector) foldMember(n *js.DotExpr, depth int) value {
	name := memberName(n)
	if v, ok := n.X.(*js.Var); ok {
		if object, global := globalName(v); global {
			if f, ok := numberConstants[object+"."+name]; ok {
				return number(f)
			}
		}
	}
	switch name {
	case "length":
		if x := c.fold(n.X, depth-1); x.kind == stringConstant {
			return number(float64(len(utf16.Encode([]rune(x.text)))))
		}
	case "source":
		if x := c.fold(n.X, depth-1); x.kind == regExpConstant {
			return text(x.text[1:strings.LastIndexByte(x.text, '/')])
		}
	}
	return value{}
}

// foldCall folds methods of constant strings, and Math.pow, of constants.
func (c *collector) foldCall(n *js.CallExpr, depth int) value {
	m, ok := n.X.(*js.DotExpr)
	if !ok || n.Optional || m.Optional {
		return value{}
	}
	if v, ok := m.X.(*js.Var); ok && len(n.Args.List) == 2 && memberName(m) == "pow" {
		if object, global := globalName(v); global && object == "Math" {
			x, y := c.fold(n.Args.List[0].Value, depth-1), c.fold(n.Args.List[1].Value, depth-1)
			if x.kind == numberConstant && y.kind == numberConstant {
				return number(math.Pow(x.number, y.number))
			}
		}
		return value{}
	}
	if len(n.Args.List) > 0 {
		return c.foldMethod(n, m, depth)
	}
	change := map[string]func(string) string{"toUpperCase": strings.ToUpper, "toLowerCase": strings.ToLower}[memberName(m)]
	if change == nil {
		return value{}
	}
	if x := c.fold(m.X, depth-1); x.kind == stringConstant && isASCII([]byte(x.text)) {
		return text(change(x.text))
	}
	return value{}
}

// foldMethod folds the methods with arguments that take a constant string apart or put one
// together.
func (c *collector) foldMethod(n *js.CallExpr, m *js.DotExpr, depth int) value {
	args := make([]value, len(n.Args.List))
	for i := range args {
		args[i] = c.fold(n.Args.List[i].Value, depth-1)
		if args[i].kind != numberConstant && args[i].kind != stringConstant || n.Args.List[i].Rest {
			return value{}
		}
	}
	name := memberName(m)
	if v, ok := m.X.(*js.Var); ok && name == "fromCharCode" && len(args) == 1 && args[0].kind == numberConstant {
		if object, global := globalName(v); global && object == "String" && args[0].number >= 0 && args[0].number < 0xd800 {
			return text(string(rune(args[0].number)))
		}
		return value{}
	}
	x := c.fold(m.X, depth-1)
	if x.kind != stringConstant {
		return value{}
	}
	if name == "concat" {
		for _, a := range args {
			if x = text(x.text + a.primitive()); x.kind == notConstant {
				break
			}
		}
		return x
	}
	length := float64(len(x.text))
	if !isASCII([]byte(x.text)) || len(args) != 1 || args[0].kind != numberConstant || args[0].number < 0 || args[0].number > length {
		return value{}
	}
	at := int(args[0].number)
	switch name {
	case "slice", "substring":
		return text(x.text[at:])
	case "charAt":
		return text(x.text[at:min(at+1, len(x.text))])
	}
	return value{}
}

func literalValue(n *js.LiteralExpr) value {
	switch {
	case n.TokenType == js.StringToken:
		if s, ok := Unquote(n.Data); ok {
			return value{kind: stringConstant, text: s}
		}
	case n.TokenType == js.TrueToken, n.TokenType == js.FalseToken:
		return boolean(n.TokenType == js.TrueToken)
	case n.TokenType == js.NullToken:
		return value{kind: nullConstant}
	case isBigInt(n):
	case n.TokenType == js.RegExpToken:
		return value{kind: regExpConstant, text: regExpText(string(n.Data)), truth: true}
	case js.IsNumeric(n.TokenType):
		if f, ok := parseNumber(string(n.Data)); ok {
			return number(f)
		}
	}
	return value{}
}

func (c *collector) foldTemplate(n *js.TemplateExpr, depth int) value {
	var s strings.Builder
	for i := range n.List {
		part, ok := templatePart(n.List[i].Value)
		v := c.fold(n.List[i].Expr, depth-1)
		if !ok || v.kind == notConstant || s.Len() > maxText {
			return value{}
		}
		s.WriteString(part)
		s.WriteString(v.primitive())
	}
	tail, ok := templatePart(n.Tail)
	if !ok {
		return value{}
	}
	s.WriteString(tail)
	return text(s.String())
}

// templatePart takes the marks off a part of a template and the escapes out of it.
func templatePart(b []byte) (string, bool) {
	s := string(b)
	if strings.HasPrefix(s, "`") || strings.HasPrefix(s, "}") {
		s = s[1:]
	}
	if strings.HasSuffix(s, "${") {
		s = s[:len(s)-2]
	} else {
		s = strings.TrimSuffix(s, "`")
	}
	return unescape(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s))
}

func (c *collector) foldUnary(n *js.UnaryExpr, depth int) value {
	x := c.fold(n.X, depth-1)
	if x.kind == notConstant {
		return value{}
	}
	switch n.Op {
	case js.NotToken:
		return boolean(!x.isTrue())
	case js.VoidToken:
		return value{kind: undefinedConstant}
	case js.NegToken:
		if x.kind == numberConstant {
			return number(-x.number)
		}
	case js.PosToken:
		if x.kind == numberConstant {
			return x
		}
	case js.BitNotToken:
		if x.kind == numberConstant {
			return number(float64(^toInt32(x.number)))
		}
	case js.TypeofToken:
		return text(map[constantKind]string{stringConstant: "string", numberConstant: "number",
			boolConstant: "boolean", nullConstant: "object", regExpConstant: "object", undefinedConstant: "undefined"}[x.kind])
	}
	return value{}
}

func toInt32(f float64) int32 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return int32(uint32(int64(math.Mod(math.Trunc(f), 1<<32))))
}

func (c *collector) foldBinary(n *js.BinaryExpr, depth int) value {
	x := c.fold(n.X, depth-1)
	if x.kind == notConstant {
		return value{}
	}
	switch n.Op {
	case js.AndToken, js.OrToken, js.NullishToken:
		short := n.Op == js.AndToken && !x.isTrue() || n.Op == js.OrToken && x.isTrue() ||
			n.Op == js.NullishToken && x.kind != nullConstant && x.kind != undefinedConstant
		if short {
			return x
		}
		return c.fold(n.Y, depth-1)
	}
	y := c.fold(n.Y, depth-1)
	if y.kind == notConstant {
		return value{}
	}
	switch {
	case n.Op == js.AddToken && (x.kind == stringConstant || y.kind == stringConstant):
		return text(x.primitive() + y.primitive())
	case x.kind == regExpConstant || y.kind == regExpConstant:
	case x.kind == y.kind && (n.Op == js.EqEqEqToken || n.Op == js.EqEqToken):
		return boolean(x.same(y))
	case x.kind == y.kind && (n.Op == js.NotEqEqToken || n.Op == js.NotEqToken):
		return boolean(!x.same(y))
	case x.kind != y.kind && n.Op == js.EqEqEqToken:
		return boolean(false)
	case x.kind != y.kind && n.Op == js.NotEqEqToken:
		return boolean(true)
	case x.kind == numberConstant && y.kind == numberConstant:
		return arithmetic(n.Op, x.number, y.number)
	}
	return value{}
}

func (v value) same(w value) bool {
	if v.kind == numberConstant {
		return v.number == w.number
	}
	return v.text == w.text && v.truth == w.truth
}

func arithmetic(op js.TokenType, x, y float64) value {
	switch op {
	case js.AddToken:
		return number(x + y)
	case js.SubToken:
		return number(x - y)
	case js.MulToken:
		return number(x * y)
	case js.DivToken:
		return number(x / y)
	case js.ModToken:
		return number(math.Mod(x, y))
	case js.ExpToken:
		return number(math.Pow(x, y))
	case js.LtLtToken:
		return number(float64(toInt32(x) << (uint32(toInt32(y)) & 31)))
	case js.GtGtToken:
		return number(float64(toInt32(x) >> (uint32(toInt32(y)) & 31)))
	case js.GtGtGtToken:
		return number(float64(uint32(toInt32(x)) >> (uint32(toInt32(y)) & 31)))
	case js.BitAndToken:
		return number(float64(toInt32(x) & toInt32(y)))
	case js.BitOrToken:
		return number(float64(toInt32(x) | toInt32(y)))
	case js.BitXorToken:
		return number(float64(toInt32(x) ^ toInt32(y)))
	case js.LtToken:
		return boolean(x < y)
	case js.GtToken:
		return boolean(x > y)
	case js.LtEqToken:
		return boolean(x <= y)
	case js.GtEqToken:
		return boolean(x >= y)
	}
	return value{}
}

// concatenation walks a chain of + and templates; constants that meet at a string are one string,
// however the chain is written: "a" + "b" + c, `ab${c}`.
func (c *collector) concatenation(e js.IExpr) {
	c.join(c.flatten(e, nil))
}

// maxJoined bounds the strings of one chain.
const maxJoined = 16 << 20

func (c *collector) join(parts []part) {
	var joined strings.Builder
	open := false // a string constant is being joined
	isString := false
	flush := func() {
		if open && joined.Len() > 0 {
			c.add(factString, joined.String())
		}
		open = false
		joined.Reset()
	}
	for _, p := range parts {
		if joined.Len() > maxJoined {
			panic(errDeep)
		}
		v := p.value
		if v.kind == notConstant && p.expr != nil {
			v = c.constant(p.expr)
		}
		switch {
		case v.kind == stringConstant:
			joined.WriteString(v.text)
			open, isString = true, true
		case v.kind != notConstant && isString: // what follows a string is made a string
			joined.WriteString(v.primitive())
			open = true
		case v.kind != notConstant:
			flush()
			c.value(v)
		default:
			flush()
			c.expr(p.expr)
		}
	}
	flush()
}

// part is an operand of a concatenation: an expression, or a constant of a template.
type part struct {
	expr  js.IExpr
	value value
}

// flatten lists the operands of a chain from left to right. Right operands in brackets are
// operands.
func (c *collector) flatten(e js.IExpr, parts []part) []part {
	var right []js.IExpr
	for {
		if g, ok := e.(*js.GroupExpr); ok {
			e = g.X
			continue
		}
		b, ok := e.(*js.BinaryExpr)
		if !ok || b.Op != js.AddToken {
			break
		}
		right = append(right, b.Y)
		e = b.X
	}
	parts = c.operand(e, parts)
	for i := len(right) - 1; i >= 0; i-- {
		parts = c.operand(right[i], parts)
	}
	return parts
}

func (c *collector) operand(e js.IExpr, parts []part) []part {
	for {
		g, ok := e.(*js.GroupExpr)
		if !ok {
			break
		}
		e = g.X
	}
	t, ok := e.(*js.TemplateExpr)
	if !ok || t.Tag != nil {
		return append(parts, part{expr: e})
	}
	for i := range t.List {
		s, _ := templatePart(t.List[i].Value)
		parts = append(parts, part{value: text(s)}, part{expr: t.List[i].Expr})
	}
	s, _ := templatePart(t.Tail)
	return append(parts, part{value: text(s)})
}

func parseNumber(s string) (float64, bool) {
	s = strings.ReplaceAll(s, "_", "")
	if len(s) > 1 && s[0] == '0' && s[1] != '.' && s[1] != 'e' && s[1] != 'E' {
		base, digits := 8, s[1:]
		switch s[1] {
		case 'x', 'X':
			base, digits = 16, s[2:]
		case 'o', 'O':
			digits = s[2:]
		case 'b', 'B':
			base, digits = 2, s[2:]
		default:
			if strings.ContainsAny(digits, "89.") {
				base = 10
			}
		}
		if base != 10 {
			if len(digits) > 300 {
				return 0, false
			}
			i, ok := new(big.Int).SetString(digits, base)
			if !ok {
				return 0, false
			}
			f, _ := new(big.Float).SetInt(i).Float64()
			return f, true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0)
}

func numberText(s string) string {
	if f, ok := parseNumber(s); ok {
		return formatNumber(f)
	}
	return s
}

func isBigInt(n *js.LiteralExpr) bool {
	return js.IsNumeric(n.TokenType) && len(n.Data) > 0 && n.Data[len(n.Data)-1] == 'n'
}

// bigintText writes 0x10n as 16n; numbers too long to convert stay as they are.
func bigintText(s string) string {
	digits := strings.TrimSuffix(strings.ReplaceAll(s, "_", ""), "n")
	if len(digits) > 1000 {
		return s
	}
	if i, ok := new(big.Int).SetString(digits, 0); ok {
		return i.String() + "n"
	}
	return s
}

// Unquote is the value of a string literal of JavaScript, or of JSON. Lone surrogates become bytes
// that no valid text has; false where an escape is malformed.
func Unquote(b []byte) (string, bool) {
	if len(b) < 2 {
		return string(b), false
	}
	return unescape(string(b[1 : len(b)-1]))
}

var simpleEscapes = map[byte]string{'n': "\n", 't': "\t", 'r': "\r", 'b': "\b", 'f': "\f", 'v': "\v"}

// unescape takes the escapes out of a string. Lone surrogates, which UTF-8 cannot hold, become
// bytes that no valid text has.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, `\`) {
		return s, true
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			out.WriteByte(s[i])
			i++
			continue
		}
		if i+1 >= len(s) {
			return "", false
		}
		n, ok := escape(&out, s[i+1:])
		if !ok {
			return "", false
		}
		i += 1 + n
	}
	return joinSurrogates(out.String()), true
}

// escape writes what follows a backslash, and says how many bytes that was.
func escape(out *strings.Builder, s string) (int, bool) {
	switch c := s[0]; {
	case simpleEscapes[c] != "":
		out.WriteString(simpleEscapes[c])
		return 1, true
	case c == 'x' && len(s) >= 3:
		return 3, unit(out, s[1:3])
	case c == 'u' && len(s) > 1 && s[1] == '{':
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return 0, false
		}
		return end + 1, unit(out, s[2:end])
	case c == 'u' && len(s) >= 5:
		return 5, unit(out, s[1:5])
	case c == 'x' || c == 'u':
		return 0, false
	case c >= '0' && c <= '7':
		n := 1
		for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' && (n < 2 || c <= '3') {
			n++
		}
		code, _ := strconv.ParseUint(s[:n], 8, 32)
		out.WriteRune(rune(code))
		return n, true
	case c == '\r' && len(s) > 1 && s[1] == '\n':
		return 2, true
	case c == '\n' || c == '\r':
		return 1, true
	case strings.HasPrefix(s, "\u2028"), strings.HasPrefix(s, "\u2029"):
		return 3, true
	}
	_, n := utf8.DecodeRuneInString(s)
	out.WriteString(s[:n])
	return n, true
}

// unit writes a code unit or code point given in hexadecimal.
func unit(out *strings.Builder, digits string) bool {
	code, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || code > utf8.MaxRune {
		return false
	}
	if code >= 0xd800 && code < 0xe000 {
		out.Write([]byte{0xe0 | byte(code>>12), 0x80 | byte(code>>6&0x3f), 0x80 | byte(code&0x3f)})
		return true
	}
	out.WriteRune(rune(code))
	return true
}

// joinSurrogates turns pairs of surrogates, written by unit, into the character that they stand
// for.
func joinSurrogates(s string) string {
	if !strings.Contains(s, "\xed") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		if high, ok := surrogate(s[i:], 0xd800); ok {
			if low, ok := surrogate(s[i+3:], 0xdc00); ok {
				out.WriteRune(0x10000 + (high-0xd800)<<10 + (low - 0xdc00))
				i += 6
				continue
			}
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String()
}

func surrogate(s string, from rune) (rune, bool) {
	if len(s) < 3 || s[0] != 0xed {
		return 0, false
	}
	r := rune(s[0]&0xf)<<12 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f)
	return r, r >= from && r < from+0x400
}

// knownConstants finds names that are declared once with a constant and never set again.
func knownConstants(ast *js.AST) map[*js.Var]value {
	s := &settings{init: map[*js.Var]js.IExpr{}, set: map[*js.Var]int{}}
	js.Walk(s, ast)
	c := &collector{known: map[*js.Var]value{}}
	for range 4 { // constants may be made of constants
		more := false
		for _, v := range s.order {
			e := s.init[v]
			if _, ok := c.known[v]; ok || s.set[v] != 1 || v.Decl != js.LexicalDecl && v.Decl != js.VariableDecl {
				continue
			}
			if k := c.constant(e); k.kind != notConstant {
				c.known[v], more = k, true
			}
		}
		if !more {
			break
		}
	}
	return c.known
}

// settings counts how often each name is given a value.
type settings struct {
	init  map[*js.Var]js.IExpr
	order []*js.Var // of init
	set   map[*js.Var]int
	depth int
}

// Enter is called by js.Walk.
func (s *settings) Enter(n js.INode) js.IVisitor {
	if s.depth++; s.depth > 4*maxScriptDepth {
		panic(errDeep)
	}
	switch n := n.(type) {
	case *js.BindingElement:
		if v, ok := n.Binding.(*js.Var); ok {
			v = resolve(v)
			s.set[v]++
			if n.Default != nil {
				s.init[v] = n.Default
				s.order = append(s.order, v)
			}
		}
	case *js.BinaryExpr:
		if assignments[n.Op] {
			js.Walk(targets{s}, n.X)
		}
	case *js.UnaryExpr:
		if v, ok := n.X.(*js.Var); ok && n.Op != js.NotToken {
			switch n.Op {
			case js.PreIncrToken, js.PreDecrToken, js.PostIncrToken, js.PostDecrToken:
				s.set[resolve(v)] += 2
			}
		}
	case *js.ForInStmt:
		js.Walk(targets{s}, n.Init)
	case *js.ForOfStmt:
		js.Walk(targets{s}, n.Init)
	case *js.BindingArray:
		if v, ok := n.Rest.(*js.Var); ok {
			s.set[resolve(v)] += 2
		}
	case *js.BindingObject:
		if n.Rest != nil {
			s.set[resolve(n.Rest)] += 2
		}
	case *js.BindingObjectItem:
		if v, ok := n.Value.Binding.(*js.Var); ok {
			s.set[resolve(v)] += 2
		}
	case *js.FuncDecl:
		if n.Name != nil {
			s.set[resolve(n.Name)] += 2
		}
	}
	return s
}

// Exit is called by js.Walk.
func (s *settings) Exit(js.INode) { s.depth-- }

// targets counts every name within the target of an assignment as set.
type targets struct{ *settings }

// Enter is called by js.Walk.
func (t targets) Enter(n js.INode) js.IVisitor {
	if t.depth++; t.depth > 4*maxScriptDepth {
		panic(errDeep)
	}
	if v, ok := n.(*js.Var); ok {
		t.set[resolve(v)] += 2
	}
	return t
}

// Exit is called by js.Walk.
func (t targets) Exit(js.INode) { t.depth-- }
