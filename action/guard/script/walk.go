package script

import (
	"slices"
	"strings"

	"github.com/tdewolff/parse/v2/js"
)

// effect walks an expression whose value nothing uses: what has no effect may go.
func (c *collector) effect(e js.IExpr) {
	if e == nil {
		return
	}
	c.enter()
	defer func() { c.depth-- }()
	switch n := e.(type) {
	case *js.GroupExpr:
		c.effect(n.X)
	case *js.CommaExpr:
		for _, x := range n.List {
			c.effect(x)
		}
	case *js.LiteralExpr, *js.ArrowFunc:
		c.maybe(func() { c.expr(e) })
	case *js.Var:
		if resolve(n).Decl == js.NoDecl {
			c.use(n) // reading a global that does not exist throws
		}
	case *js.FuncDecl:
		c.function(n)
	case *js.ArrayExpr:
		for i := range n.List {
			if n.List[i].Spread {
				c.expr(n.List[i].Value)
			} else {
				c.effect(n.List[i].Value)
			}
		}
	case *js.ObjectExpr:
		for i := range n.List {
			p := &n.List[i]
			switch {
			case p.Spread:
				c.expr(p.Value)
				continue
			case p.Name != nil && p.Name.Computed != nil:
				c.expr(p.Name.Computed)
			case p.Name != nil:
				c.maybe(func() { c.add(factProperty, propertyText(p.Name.Literal)) })
			}
			if m, ok := p.Value.(*js.MethodDecl); ok {
				c.maybe(func() { c.method(m) })
			} else {
				c.effect(p.Value)
			}
		}
	case *js.UnaryExpr:
		if n.Op == js.NotToken || n.Op == js.VoidToken || n.Op == js.TypeofToken {
			if v, ok := n.X.(*js.Var); ok && n.Op == js.TypeofToken {
				c.maybe(func() { c.use(v) })
				return
			}
			c.effect(n.X)
			return
		}
		c.expr(e)
	case *js.BinaryExpr:
		if v, ok := n.X.(*js.Var); ok && n.Op == js.EqToken && c.unused[resolve(v)] {
			c.effect(n.Y)
			return
		}
		c.logical(n.Op, n.X, n.Y, c.effect, e)
	case *js.CondExpr:
		c.choose(n, c.effect)
	default:
		c.expr(e)
	}
}

// condition walks an expression of which only the truth counts.
func (c *collector) condition(e js.IExpr) {
	if c.truth(e) != 0 {
		c.maybe(func() { c.expr(e) })
		return
	}
	c.expr(e)
}

// logical walks both sides of an operator; the right one of && and || only where it can run.
func (c *collector) logical(op js.TokenType, x, y js.IExpr, walk func(js.IExpr), whole js.IExpr) {
	if op != js.AndToken && op != js.OrToken && op != js.NullishToken {
		c.expr(whole)
		return
	}
	t := c.truth(x)
	switch {
	case op == js.AndToken && t == -1, op == js.OrToken && t == 1:
		c.maybe(func() { c.expr(y) })
		c.maybe(func() { c.expr(x) })
	case op != js.NullishToken && t != 0:
		c.maybe(func() { c.expr(x) })
		walk(y)
	default:
		c.expr(x)
		c.repeated(x, y, walk)
	}
}

// repeated walks what runs if x is true or false, where an assignment at its end to what x asks for
// may be written with it: a.x || (a.x = 1) is a.x ||= 1.
func (c *collector) repeated(x, y js.IExpr, walk func(js.IExpr)) {
	c.mark(x, lastAssignment(y))
	walk(y)
}

// mark notes that the target of an assignment may be written with the condition before it.
func (c *collector) mark(condition js.IExpr, n *js.BinaryExpr) {
	if n != nil {
		if target := shortText(n.X); target != "" && target == asked(condition) {
			c.merged[n] = true
		}
	}
}

// asked is the path that decides last about a condition.
func asked(e js.IExpr) string {
	for range maxFold {
		switch n := e.(type) {
		case *js.GroupExpr:
			e = n.X
		case *js.UnaryExpr:
			if n.Op != js.NotToken {
				return ""
			}
			e = n.X
		case *js.BinaryExpr:
			switch n.Op {
			case js.AndToken, js.OrToken:
				e = n.Y
			case js.EqEqToken, js.EqEqEqToken, js.NotEqToken, js.NotEqEqToken:
				e = n.X
			default:
				return ""
			}
		default:
			return shortText(e)
		}
	}
	return ""
}

// lastAssignment is the assignment that an expression ends with.
func lastAssignment(e js.IExpr) *js.BinaryExpr {
	for range maxFold {
		switch n := e.(type) {
		case *js.GroupExpr:
			e = n.X
		case *js.CommaExpr:
			e = n.List[len(n.List)-1]
		case *js.BinaryExpr:
			if n.Op == js.EqToken {
				return n
			}
			return nil
		default:
			return nil
		}
	}
	return nil
}

// lastOf is the assignment that a statement ends with.
func lastOf(s js.IStmt) *js.BinaryExpr {
	for range maxFold {
		switch n := s.(type) {
		case *js.BlockStmt:
			if len(n.List) == 0 {
				return nil
			}
			s = n.List[len(n.List)-1]
		case *js.ExprStmt:
			return lastAssignment(n.Value)
		default:
			return nil
		}
	}
	return nil
}

func (c *collector) choose(n *js.CondExpr, walk func(js.IExpr)) {
	switch c.truth(n.Cond) {
	case 1:
		c.maybe(func() { c.expr(n.Cond) })
		walk(n.X)
		c.maybe(func() { c.expr(n.Y) })
	case -1:
		c.maybe(func() { c.expr(n.Cond) })
		c.maybe(func() { c.expr(n.X) })
		walk(n.Y)
	default:
		c.condition(n.Cond)
		c.either(func() { walk(n.X) }, func() { walk(n.Y) })
	}
}

// expr walks an expression whose value counts.
func (c *collector) expr(e js.IExpr) {
	if e == nil {
		return
	}
	c.enter()
	defer func() { c.depth-- }()
	if v := c.constant(e); v.kind != notConstant {
		c.value(v)
		return
	}
	switch n := e.(type) {
	case *js.GroupExpr:
		c.expr(n.X)
	case *js.CommaExpr:
		for _, x := range n.List[:len(n.List)-1] {
			c.effect(x)
		}
		c.expr(n.List[len(n.List)-1])
	case *js.Var:
		c.use(n)
	case *js.LiteralExpr:
		c.literal(n)
	case *js.TemplateExpr:
		if n.Tag == nil {
			c.concatenation(n)
			return
		}
		c.expr(n.Tag)
		for i := range n.List {
			c.add(factString, "`"+string(n.List[i].Value))
			c.expr(n.List[i].Expr)
		}
		c.add(factString, "`"+string(n.Tail))
	case *js.ArrayExpr:
		for i := range n.List {
			c.expr(n.List[i].Value)
		}
	case *js.ObjectExpr:
		c.object(n)
	case *js.DotExpr:
		c.expr(n.X)
		name := memberName(n)
		v, _ := n.X.(*js.Var)
		if object, global := globalName(v); global && object == "arguments" && name == "length" {
			c.maybe(func() { c.add(factProperty, name) }) // [...arguments]
		} else {
			c.add(factProperty, name)
		}
	case *js.IndexExpr:
		c.expr(n.X)
		if v := c.constant(n.Y); v.kind == stringConstant || v.kind == numberConstant {
			c.add(factProperty, v.text)
		} else {
			c.expr(n.Y)
		}
	case *js.CallExpr:
		if parts, ok := c.concatCall(n, nil); ok {
			c.join(parts)
		} else if parts, ok := c.splitCall(n); ok {
			for _, s := range parts {
				c.add(factString, s)
			}
		} else {
			c.call(n.X, &n.Args)
		}
	case *js.NewExpr:
		c.call(n.X, n.Args)
	case *js.UnaryExpr:
		c.unary(n)
	case *js.BinaryExpr:
		c.binary(n)
	case *js.CondExpr:
		c.choose(n, c.expr)
	case *js.YieldExpr:
		c.add(factKeyword, "yield")
		c.expr(n.X)
	case *js.NewTargetExpr:
		c.add(factKeyword, "new.target")
	case *js.ImportMetaExpr:
		c.add(factKeyword, "import.meta")
	case *js.ArrowFunc:
		c.body(n.Async, false, &n.Params, &n.Body)
	case *js.FuncDecl:
		c.function(n)
	case *js.ClassDecl:
		c.class(n)
	case *js.VarDecl:
		c.declaration(n)
	case *js.MethodDecl:
		c.method(n)
	}
}

func (c *collector) value(v value) {
	switch v.kind {
	case stringConstant:
		c.add(factString, v.text)
	case numberConstant:
		c.add(factNumber, v.text)
	case regExpConstant:
		c.add(factRegExp, v.text)
	}
}

func (c *collector) literal(n *js.LiteralExpr) {
	switch {
	case isBigInt(n):
		c.add(factNumber, bigintText(string(n.Data)))
	case n.TokenType == js.SuperToken:
		c.add(factKeyword, string(n.Data))
	}
}

// memberName is b of a.b.
func memberName(n *js.DotExpr) string {
	switch y := n.Y.(type) {
	case js.LiteralExpr: // the parser has both
		return propertyText(y)
	case *js.LiteralExpr:
		return propertyText(*y)
	case *js.Var:
		return unescapeIdentifier(string(y.Name()))
	}
	return ""
}

// concatCall lists the operands of "a".concat(b, "c"), which is `a${b}c`.
func (c *collector) concatCall(n *js.CallExpr, parts []part) ([]part, bool) {
	m, ok := n.X.(*js.DotExpr)
	if !ok || memberName(m) != "concat" || n.Optional || m.Optional {
		return nil, false
	}
	for i := range n.Args.List {
		if n.Args.List[i].Rest {
			return nil, false
		}
	}
	switch x := m.X.(type) {
	case *js.CallExpr:
		c.enter()
		defer func() { c.depth-- }()
		if parts, ok = c.concatCall(x, parts); !ok {
			return nil, false
		}
	default:
		t, isTemplate := m.X.(*js.TemplateExpr)
		if c.constant(m.X).kind != stringConstant && (!isTemplate || t.Tag != nil) {
			return nil, false
		}
		parts = c.operand(m.X, parts)
	}
	for i := range n.Args.List {
		parts = c.operand(n.Args.List[i].Value, parts)
	}
	return parts, true
}

// splitCall is what "a b c".split(" ") makes, as long lists of strings may be written.
func (c *collector) splitCall(n *js.CallExpr) ([]string, bool) {
	m, ok := n.X.(*js.DotExpr)
	if !ok || memberName(m) != "split" || len(n.Args.List) != 1 {
		return nil, false
	}
	s, by := c.constant(m.X), c.constant(n.Args.List[0].Value)
	if s.kind != stringConstant || by.kind != stringConstant {
		return nil, false
	}
	return strings.Split(s.text, by.text), true
}

// call walks a call. Calls of some globals have a shorter form: !!x, {}, [], a ** b, a number.
func (c *collector) call(callee js.IExpr, a *js.Args) {
	short := false
	switch n := callee.(type) {
	case *js.Var:
		name, global := globalName(n)
		short = global && (name == "Boolean" || name == "Array" || name == "Object" || name == "Number" || name == "String")
	case *js.DotExpr:
		x, _ := n.X.(*js.Var)
		name, global := globalName(x)
		isArray := c.isArray(n.X)
		short = global && name == "Math" || isArray && memberName(n) == "concat" ||
			c.allConstant(a) && (c.constant(n.X).kind == stringConstant || global && name == "String")
	}
	if short {
		c.maybe(func() { c.expr(callee) })
	} else {
		c.expr(callee)
	}
	c.args(a)
}

// isArray says that an expression is an array written out, or made by Array().
func (c *collector) isArray(e js.IExpr) bool {
	switch n := e.(type) {
	case *js.ArrayExpr:
		return true
	case *js.NewExpr:
		v, _ := n.X.(*js.Var)
		name, global := globalName(v)
		return global && name == "Array"
	case *js.CallExpr:
		v, _ := n.X.(*js.Var)
		name, global := globalName(v)
		return global && name == "Array"
	}
	return false
}

func (c *collector) allConstant(a *js.Args) bool {
	if a != nil {
		for i := range a.List {
			if c.constant(a.List[i].Value).kind == notConstant {
				return false
			}
		}
	}
	return true
}

func globalName(v *js.Var) (string, bool) {
	if v == nil {
		return "", false
	}
	v = resolve(v)
	return string(v.Data), v.Decl == js.NoDecl
}

// regExpText has the flags in order.
func regExpText(s string) string {
	end := strings.LastIndexByte(s, '/') + 1
	flags := []byte(s[end:])
	slices.Sort(flags)
	return s[:end] + string(flags)
}

func (c *collector) args(a *js.Args) {
	if a == nil {
		return
	}
	for i := range a.List {
		c.expr(a.List[i].Value)
	}
}

func (c *collector) object(n *js.ObjectExpr) {
	for i := range n.List {
		p := &n.List[i]
		if p.Name != nil {
			c.property(p.Name)
		} else if v, ok := p.Value.(*js.Var); ok && !p.Spread {
			c.add(factProperty, string(v.Name()))
		}
		if p.Init != nil {
			c.expr(p.Init)
		}
		c.expr(p.Value)
	}
}

func (c *collector) property(p *js.PropertyName) {
	switch {
	case p.Computed != nil:
		if v := c.constant(p.Computed); v.kind == stringConstant || v.kind == numberConstant {
			c.add(factProperty, v.text)
		} else {
			c.expr(p.Computed)
		}
	case p.Literal.TokenType != js.ErrorToken:
		c.add(factProperty, propertyText(p.Literal))
	}
}

func (c *collector) unary(n *js.UnaryExpr) {
	switch n.Op {
	case js.AwaitToken:
		c.add(factKeyword, "await")
	case js.DeleteToken:
		c.add(factKeyword, "delete")
	case js.VoidToken:
		c.effect(n.X)
		return
	case js.PreIncrToken, js.PreDecrToken, js.PostIncrToken, js.PostDecrToken:
		if v, ok := n.X.(*js.Var); ok {
			c.set(v)
		}
	}
	c.expr(n.X)
}

var assignments = map[js.TokenType]bool{
	js.EqToken: true, js.AddEqToken: true, js.SubEqToken: true, js.MulEqToken: true, js.DivEqToken: true,
	js.ModEqToken: true, js.ExpEqToken: true, js.LtLtEqToken: true, js.GtGtEqToken: true, js.GtGtGtEqToken: true,
	js.BitAndEqToken: true, js.BitOrEqToken: true, js.BitXorEqToken: true, js.AndEqToken: true, js.OrEqToken: true,
	js.NullishEqToken: true,
}

func (c *collector) binary(n *js.BinaryExpr) {
	switch {
	case n.Op == js.EqToken && !c.merged[n] && c.updates(n):
	case c.merged[n]:
		c.maybe(func() { c.assign(n.X, js.AddEqToken) })
		if v, ok := n.X.(*js.Var); ok {
			c.set(v)
		}
		c.expr(n.Y)
	case assignments[n.Op]:
		c.assign(n.X, n.Op)
		c.expr(n.Y)
	case n.Op == js.AddToken:
		c.concatenation(n)
	case n.Op == js.AndToken || n.Op == js.OrToken || n.Op == js.NullishToken:
		c.logical(n.Op, n.X, n.Y, c.expr, n)
	case c.typeOf(n):
	default:
		c.expr(n.X)
		c.expr(n.Y)
	}
}

// updates walks a.x = a.x + 1, which may be written as a.x += 1.
func (c *collector) updates(n *js.BinaryExpr) bool {
	y, ok := n.Y.(*js.BinaryExpr)
	if !ok || shortText(n.X) == "" || shortText(n.X) != shortText(y.X) {
		return false
	}
	c.assign(n.X, js.AddEqToken)
	if v, ok := y.X.(*js.Var); ok {
		c.maybe(func() { c.use(v) })
	} else {
		c.maybe(func() { c.expr(y.X) })
	}
	c.expr(y.Y)
	return true
}

// shortText is the text of a path such as a.b[c].d, and "" of anything else.
func shortText(e js.IExpr) string {
	s := ""
	for range 8 {
		switch n := e.(type) {
		case *js.Var:
			return string(n.Name()) + s
		case *js.LiteralExpr:
			return string(n.Data) + s
		case *js.DotExpr:
			s = "." + n.Y.String() + s
			e = n.X
		case *js.IndexExpr:
			y := shortText(n.Y)
			if y == "" {
				return ""
			}
			s = "[" + y + "]" + s
			e = n.X
		default:
			return ""
		}
	}
	return ""
}

// typeOf walks typeof x == "undefined", which may be written as typeof x > "u", and as x === void 0
// where x is known to be declared.
func (c *collector) typeOf(n *js.BinaryExpr) bool {
	for _, side := range [][2]js.IExpr{{n.X, n.Y}, {n.Y, n.X}} {
		u, ok := side[0].(*js.UnaryExpr)
		if v := c.constant(side[1]); ok && u.Op == js.TypeofToken && (v.text == "undefined" || v.text == "u") {
			c.expr(u.X)
			return true
		}
	}
	return false
}

// assign walks the target of an assignment.
func (c *collector) assign(target js.IExpr, op js.TokenType) {
	switch t := target.(type) {
	case *js.GroupExpr:
		c.assign(t.X, op)
	case *js.Var:
		c.set(t)
		if op != js.EqToken {
			c.use(t)
		} else if v := resolve(t); v.Decl != js.NoDecl {
			c.reads[v]++ // the value of the assignment is used
		}
	default:
		c.expr(target)
	}
}

// assigned walks what for…in and for…of assign to.
func (c *collector) assigned(target js.IExpr) {
	if d, ok := target.(*js.VarDecl); ok {
		for i := range d.List {
			for _, v := range boundVars(d.List[i].Binding) {
				c.reads[resolve(v)]++
			}
		}
		c.declaration(d)
		return
	}
	c.assign(target, js.EqToken)
}

func (c *collector) declaration(n *js.VarDecl) {
	for i := range n.List {
		b := &n.List[i]
		if v, ok := b.Binding.(*js.Var); ok {
			c.declared[resolve(v)] = true
			if _, ok := c.known[resolve(v)]; ok && !c.fixed[resolve(v)] {
				c.maybe(func() { c.expr(b.Default) })
				continue
			}
			if c.unused[resolve(v)] {
				c.effect(b.Default)
				continue
			}
		} else {
			c.binding(b.Binding)
		}
		c.expr(b.Default)
	}
}

// binding walks the names and defaults of a pattern.
func (c *collector) binding(b js.IBinding) {
	if b == nil {
		return
	}
	c.enter()
	defer func() { c.depth-- }()
	switch b := b.(type) {
	case *js.BindingArray:
		for i := range b.List {
			c.binding(b.List[i].Binding)
			c.expr(b.List[i].Default)
		}
		c.binding(b.Rest)
	case *js.BindingObject:
		for i := range b.List {
			item := &b.List[i]
			if item.Key != nil {
				c.property(item.Key)
			} else if v, ok := item.Value.Binding.(*js.Var); ok {
				c.add(factProperty, string(v.Name()))
			}
			c.binding(item.Value.Binding)
			c.expr(item.Value.Default)
		}
	}
}

func (c *collector) function(n *js.FuncDecl) {
	where := c.where
	c.where = c.describe(n.Name, &n.Params)
	defer func() { c.where = where }()
	c.out.functions = append(c.out.functions, function{c.where, isStrict(n.Body.List)})
	walk := func() { c.body(n.Async, n.Generator, &n.Params, &n.Body) }
	if n.Name == nil {
		walk()
		return
	}
	v := resolve(n.Name)
	c.declared[v] = v.Decl == js.FunctionDecl
	c.inside[v]++
	if c.unused[v] && v.Decl == js.FunctionDecl {
		c.maybe(walk)
	} else {
		walk()
	}
	c.inside[v]--
}

func (c *collector) method(n *js.MethodDecl) {
	c.elementName(&n.Name)
	c.body(n.Async, n.Generator, &n.Params, &n.Body)
}

func (c *collector) elementName(n *js.ClassElementName) {
	if n.Private != nil {
		c.add(factProperty, string(n.Private.Name()))
		return
	}
	c.property(&n.PropertyName)
}

func (c *collector) body(async, generator bool, p *js.Params, b *js.BlockStmt) {
	if async {
		c.add(factKeyword, "async")
	}
	if generator {
		c.add(factKeyword, "function*")
	}
	for i := range p.List {
		c.binding(p.List[i].Binding)
		c.expr(p.List[i].Default)
	}
	c.binding(p.Rest)
	strict := c.strict
	c.statements(b.List)
	c.strict = strict
}

func (c *collector) class(n *js.ClassDecl) {
	strict := c.strict
	c.strict = true
	c.expr(n.Extends)
	for i := range n.List {
		switch e := &n.List[i]; {
		case e.StaticBlock != nil:
			c.block(e.StaticBlock)
		case e.Method != nil:
			c.method(e.Method)
		default:
			c.elementName(&e.Field.Name)
			c.expr(e.Field.Init)
		}
	}
	c.strict = strict
}
