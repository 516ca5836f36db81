package script

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"sort"
	"strings"

	"github.com/tdewolff/parse/v2/js"
)

// fact is one thing that a script is made of.
type fact struct {
	kind factKind
	text string
}

type factKind string

const (
	factGlobal   factKind = "global name"
	factSet      factKind = "assignment to the global name"
	factProperty factKind = "property"
	factString   factKind = "string"
	factNumber   factKind = "number"
	factRegExp   factKind = "regular expression"
	factKeyword  factKind = "keyword"
	factStrict   factKind = "directive"
)

// entry is one occurrence of a fact that must be there, until it proves to be optional.
type entry struct {
	*tally
	optional bool
}

// tally counts a fact: how often it must be there, and how often it may.
type tally struct{ must, may int }

type scriptFacts struct {
	isModule   bool
	strict     bool       // by a directive of its own
	functions  []function // written with that word, in order
	statements int
	top        map[string]js.DeclType
	modules    []string // imports and exports, in order of text form
	facts      map[fact]*tally
}

// lost lists what the result has less often than the source needs it, and what it has that the
// source has nowhere. Numbers, and names and keywords that other forms stand for, must be there at
// all: minifiers merge and fold them. More of the same is no loss: constants are put where they are
// used.
func (s *scriptFacts) lost(after *scriptFacts) []Finding {
	var d []Finding
	for _, f := range sortedFacts(s.facts) {
		need, have := s.facts[f].must, 0
		if t := after.facts[f]; t != nil {
			have = t.may
		}
		if f.kind == factNumber && f.text == "0" {
			continue // loops over arguments become [...arguments]
		}
		if f.counted() && have < need || have == 0 && need > 0 {
			d = append(d, finding(Meaning, f.lost(need, have), f.text, ""))
		}
	}
	for _, f := range sortedFacts(after.facts) {
		if after.facts[f].must > 0 && !s.knows(f) {
			d = append(d, finding(Meaning, fmt.Sprintf("%s %q is new in the result", f.kind, brief(f.text)), "", f.text))
		}
	}
	return d
}

// counted says that minifiers keep the number of such facts.
func (f fact) counted() bool {
	switch f.kind {
	case factNumber:
		return false
	case factGlobal:
		return f.text != "arguments"
	case factKeyword:
		return f.text != "throw" && f.text != "super"
	case factString:
		return len(f.text) > 1
	}
	return true
}

// knows says that the source has the fact, be it in another role: x[KEY] may become x.name.
func (s *scriptFacts) knows(f fact) bool {
	if s.facts[f] != nil {
		return true
	}
	switch f.kind {
	case factProperty:
		return s.facts[fact{factString, f.text}] != nil || s.facts[fact{factNumber, f.text}] != nil
	case factString:
		return s.facts[fact{factProperty, f.text}] != nil || f.text == ""
	case factNumber:
		return f.text == "0" || f.text == "1"
	}
	return false
}

// lost says for a person that a fact is there less often than it should.
func (f fact) lost(need, have int) string {
	text := f.text
	if f.kind == factStrict {
		text, _, _ = strings.Cut(text, " in ") // the function is no help
	}
	if have == 0 {
		return fmt.Sprintf("%s %q is gone", f.kind, brief(text))
	}
	return fmt.Sprintf("%s %q is there %d times less than in the source", f.kind, brief(text), need-have)
}

func sortedFacts(m map[fact]*tally) []fact {
	all := make([]fact, 0, len(m))
	for f := range m {
		all = append(all, f)
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].kind < all[j].kind || all[i].kind == all[j].kind && all[i].text < all[j].text
	})
	return all
}

// collectScript walks the tree until it is settled which local names nothing uses: what only they
// hold may go, and so may what only that used.
func collectScript(ast *js.AST, isModule bool) *scriptFacts {
	unused, known := map[*js.Var]bool{}, knownConstants(ast)
	for _, v := range exported(ast) {
		delete(known, v) // others see what it holds, so that is not free to go where it is used
	}
	for round := 0; ; round++ {
		c := &collector{
			out:    &scriptFacts{isModule: isModule, facts: map[fact]*tally{}, top: map[string]js.DeclType{}},
			merged: map[*js.BinaryExpr]bool{}, known: known, unused: unused, reads: map[*js.Var]int{}, declared: map[*js.Var]bool{}, inside: map[*js.Var]int{},
		}
		c.root(ast)
		more := false
		for v := range c.declared {
			if c.reads[v] == 0 && !unused[v] && !c.fixed[v] {
				unused[v], more = true, true
			}
		}
		if !more || round >= 5 {
			return c.out
		}
	}
}

var errDeep = errors.New("nested deeper than the guard compares")

type collector struct {
	out      *scriptFacts
	depth    int
	optional int // > 0 within what may go
	log      []entry
	merged   map[*js.BinaryExpr]bool // assignments whose target may be written with a condition
	known    map[*js.Var]value       // names that only ever hold one constant
	strict   bool
	where    string // which function is walked, as far as its parameters and those around it tell
	reads    map[*js.Var]int
	declared map[*js.Var]bool
	unused   map[*js.Var]bool
	inside   map[*js.Var]int  // functions that are being walked: a call of itself is no use
	fixed    map[*js.Var]bool // seen from outside: never unused
	count    int
	size     int
}

func (c *collector) add(kind factKind, text string) {
	f := fact{kind, text}
	t := c.out.facts[f]
	if t == nil {
		t = &tally{}
		c.out.facts[f] = t
	}
	t.may++
	if c.optional == 0 {
		t.must++
		c.log = append(c.log, entry{tally: t})
	}
	c.count++
	if c.size += len(text); c.count > maxScriptFacts || c.size > maxScriptText {
		panic(errDeep)
	}
}

func (c *collector) enter() {
	if c.depth++; c.depth > maxScriptDepth {
		panic(errDeep)
	}
}

// maxMerge bounds the branches in which common parts are looked for.
const maxMerge = 20000

// either walks two branches of which one runs. What both have may be written once: f(a ? 1 : 2).
func (c *collector) either(x, y func()) {
	start := len(c.log)
	x()
	middle := len(c.log)
	y()
	if end := len(c.log); middle == start || middle == end || end-start > maxMerge {
		return
	}
	have := map[*tally]int{}
	for _, e := range c.log[start:middle] {
		if !e.optional {
			have[e.tally]++
		}
	}
	for i := middle; i < len(c.log); i++ {
		if e := &c.log[i]; !e.optional && have[e.tally] > 0 {
			have[e.tally]--
			e.optional = true
			e.must--
		}
	}
}

// maybe walks something that may go.
func (c *collector) maybe(walk func()) {
	c.optional++
	walk()
	c.optional--
}

func (c *collector) root(ast *js.AST) {
	for _, s := range ast.List {
		switch s.(type) {
		case *js.ImportStmt, *js.ExportStmt:
			c.out.isModule = true
		case *js.EmptyStmt, *js.Comment:
			continue
		}
		c.out.statements++
	}
	c.strict = c.out.isModule
	c.out.strict = isStrict(ast.List)
	c.fixed = map[*js.Var]bool{}
	for _, v := range ast.Declared {
		c.out.top[string(v.Data)] = v.Decl
		c.fixed[v] = !c.out.isModule
	}
	for _, v := range exported(ast) {
		c.fixed[v] = true
	}
	c.statements(ast.List)
	sort.Strings(c.out.modules)
}

// function is a function and whether it is strict by a directive of its own.
type function struct {
	where  string
	strict bool
}

func isStrict(list []js.IStmt) bool {
	for _, s := range list {
		switch d := s.(type) {
		case *js.Comment:
			continue
		case *js.DirectivePrologueStmt:
			if text, _ := Unquote(d.Value); text == "use strict" {
				return true
			}
			continue
		}
		return false
	}
	return false
}

// maxWhere bounds the description of a function; longer ones are shortened to a digest.
const maxWhere = 160

// describe describes a function within the one that is walked.
func (c *collector) describe(name *js.Var, p *js.Params) string {
	own := " in "
	if name != nil && resolve(name).Decl == js.FunctionDecl {
		own += string(name.Name())
	}
	var names []string
	for i := range p.List {
		for _, v := range boundVars(p.List[i].Binding) {
			names = append(names, string(v.Name()))
		}
	}
	own += "(" + strings.Join(names, ",") + ")" + c.where
	if len(own) > maxWhere {
		h := fnv.New64a()
		h.Write([]byte(own))
		own = fmt.Sprintf("%s… %x", strings.ToValidUTF8(own[:maxWhere/2], ""), h.Sum64())
	}
	return own
}

func resolve(v *js.Var) *js.Var {
	for v.Link != nil {
		v = v.Link
	}
	return v
}

// statements walks a list; what follows a statement that never ends cannot run, and what follows
// if (a) return is its other branch.
func (c *collector) statements(list []js.IStmt) {
	c.enter()
	defer func() { c.depth-- }()
	for i, s := range list {
		if f, ok := s.(*js.IfStmt); ok && f.Else == nil && c.truth(f.Cond) == 0 && leaves(f.Body) {
			c.condition(f.Cond)
			if rest := list[i+1:]; len(rest) > 0 {
				c.mark(f.Cond, lastOf(rest[0]))
				c.mark(f.Cond, lastOf(rest[len(rest)-1]))
			}
			c.either(func() { c.stmt(f.Body) }, func() { c.statements(list[i+1:]) })
			return
		}
		c.stmt(s)
		if leaves(s) {
			c.unreachable(list[i+1:])
			return
		}
	}
}

func (c *collector) unreachable(list []js.IStmt) {
	for _, s := range list {
		if f, ok := s.(*js.FuncDecl); ok { // hoisted
			c.stmt(f)
		} else {
			c.maybe(func() { c.stmt(s) })
		}
	}
}

// leaves says that a statement never goes on to the next.
func leaves(s js.IStmt) bool {
	switch s := s.(type) {
	case *js.ReturnStmt, *js.ThrowStmt, *js.BranchStmt:
		return true
	case *js.BlockStmt:
		return len(s.List) > 0 && leaves(s.List[len(s.List)-1])
	case *js.IfStmt:
		return s.Else != nil && leaves(s.Body) && leaves(s.Else)
	}
	return false
}

func (c *collector) block(b *js.BlockStmt) {
	if b != nil {
		c.statements(b.List)
	}
}

func (c *collector) stmt(s js.IStmt) {
	if s == nil {
		return
	}
	c.enter()
	defer func() { c.depth-- }()
	switch s := s.(type) {
	case *js.BlockStmt:
		c.block(s)
	case *js.ExprStmt:
		c.effect(s.Value)
	case *js.IfStmt:
		switch c.truth(s.Cond) {
		case 1:
			c.maybe(func() { c.expr(s.Cond) })
			c.stmt(s.Body)
			c.maybe(func() { c.stmt(s.Else) })
		case -1:
			c.maybe(func() { c.expr(s.Cond) })
			c.maybe(func() { c.stmt(s.Body) })
			c.stmt(s.Else)
		default:
			c.condition(s.Cond)
			if s.Else == nil {
				c.mark(s.Cond, lastOf(s.Body))
			}
			c.either(func() { c.stmt(s.Body) }, func() { c.stmt(s.Else) })
		}
	case *js.DoWhileStmt:
		c.stmt(s.Body)
		c.condition(s.Cond)
	case *js.WhileStmt:
		if c.truth(s.Cond) == -1 {
			c.maybe(func() { c.stmt(s.Body) })
			return
		}
		c.condition(s.Cond)
		c.stmt(s.Body)
	case *js.ForStmt:
		c.effect(s.Init)
		if s.Cond != nil {
			c.condition(s.Cond)
		}
		c.effect(s.Post)
		c.block(s.Body)
	case *js.ForInStmt:
		c.assigned(s.Init)
		c.expr(s.Value)
		c.block(s.Body)
	case *js.ForOfStmt:
		if s.Await {
			c.add(factKeyword, "await")
		}
		c.assigned(s.Init)
		c.expr(s.Value)
		c.block(s.Body)
	case *js.SwitchStmt:
		c.expr(s.Init)
		for i := range s.List {
			if s.List[i].Cond != nil {
				c.expr(s.List[i].Cond)
			}
			c.statements(s.List[i].List)
		}
	case *js.ReturnStmt:
		c.expr(s.Value)
	case *js.WithStmt:
		c.add(factKeyword, "with")
		c.expr(s.Cond)
		c.stmt(s.Body)
	case *js.LabelledStmt:
		c.stmt(s.Value)
	case *js.ThrowStmt:
		c.add(factKeyword, "throw")
		c.expr(s.Value)
	case *js.TryStmt:
		if s.Body == nil || len(s.Body.List) == 0 { // nothing can be caught
			c.maybe(func() { c.block(s.Catch) })
		} else {
			c.add(factKeyword, "try")
			c.block(s.Body)
			if s.Binding != nil {
				c.binding(s.Binding)
			}
			c.block(s.Catch)
		}
		c.block(s.Finally)
	case *js.ImportStmt:
		c.imports(s)
	case *js.ExportStmt:
		c.exports(s)
	case *js.DirectivePrologueStmt:
		text, _ := Unquote(s.Value)
		if text == "use strict" {
			if c.strict {
				return
			}
			c.strict = true
		}
		c.add(factStrict, text+c.where)
	case js.IExpr: // declarations
		c.effect(s)
	}
}

func (c *collector) imports(s *js.ImportStmt) {
	module, _ := Unquote(s.Module)
	note := func(name string) { c.out.modules = append(c.out.modules, "import "+name+" from "+module) }
	if s.Default != nil {
		note("default")
	}
	for _, a := range s.List {
		if a.Name != nil {
			note(specifier(a.Name))
		} else {
			note(specifier(a.Binding))
		}
	}
	if s.Default == nil && len(s.List) == 0 {
		note("nothing")
	}
}

func (c *collector) exports(s *js.ExportStmt) {
	module := ""
	if s.Module != nil {
		text, _ := Unquote(s.Module)
		module = " from " + text
	}
	note := func(name string) { c.out.modules = append(c.out.modules, "export "+name+module) }
	for _, a := range s.List {
		switch {
		case s.Module == nil || a.Name == nil:
			note(specifier(a.Binding))
		default:
			note(specifier(a.Name) + " as " + specifier(a.Binding))
		}
	}
	if s.Module != nil && len(s.List) == 0 {
		note("nothing")
	}
	if s.Decl == nil {
		return
	}
	if s.Default {
		note("default")
	} else {
		for _, name := range declaredNames(s.Decl) {
			note(name)
		}
	}
	c.keepDeclared(s.Decl)
	c.expr(s.Decl)
}

// exported are the variables that export lists name: lists hold names alone, and not the variables
// that they stand for.
func exported(ast *js.AST) (all []*js.Var) {
	for _, s := range ast.List {
		export, ok := s.(*js.ExportStmt)
		if !ok || export.Module != nil {
			continue
		}
		for _, a := range export.List {
			name := a.Name
			if name == nil {
				name = a.Binding
			}
			for _, v := range ast.Declared {
				if bytes.Equal(v.Data, name) {
					all = append(all, resolve(v))
				}
			}
		}
	}
	return all
}

// specifier is the name of an import or export, which may be written as a string.
func specifier(b []byte) string {
	if len(b) > 0 && (b[0] == '"' || b[0] == '\'') {
		text, _ := Unquote(b)
		return text
	}
	return string(b)
}

func declaredVars(e js.IExpr) []*js.Var {
	switch e := e.(type) {
	case *js.FuncDecl:
		if e.Name != nil {
			return []*js.Var{e.Name}
		}
	case *js.ClassDecl:
		if e.Name != nil {
			return []*js.Var{e.Name}
		}
	case *js.VarDecl:
		var all []*js.Var
		for i := range e.List {
			all = append(all, boundVars(e.List[i].Binding)...)
		}
		return all
	}
	return nil
}

func boundVars(b js.IBinding) []*js.Var {
	var all []*js.Var
	switch b := b.(type) {
	case *js.Var:
		all = append(all, b)
	case *js.BindingArray:
		for i := range b.List {
			all = append(all, boundVars(b.List[i].Binding)...)
		}
		all = append(all, boundVars(b.Rest)...)
	case *js.BindingObject:
		for i := range b.List {
			all = append(all, boundVars(b.List[i].Value.Binding)...)
		}
		if b.Rest != nil {
			all = append(all, b.Rest)
		}
	}
	return all
}

func declaredNames(e js.IExpr) []string {
	var names []string
	for _, v := range declaredVars(e) {
		names = append(names, string(v.Name()))
	}
	return names
}

func (c *collector) keepDeclared(e js.IExpr) {
	for _, v := range declaredVars(e) {
		c.fixed[resolve(v)] = true
	}
}

// use notes that a name is read.
func (c *collector) use(v *js.Var) {
	v = resolve(v)
	if v.Decl == js.NoDecl {
		switch name := string(v.Data); name {
		case "undefined":
		case "Infinity", "NaN":
			c.add(factNumber, name)
		default:
			c.add(factGlobal, name)
		}
		return
	}
	if c.optional == 0 && c.inside[v] == 0 {
		c.reads[v]++
	}
}

// set notes that a name is written.
func (c *collector) set(v *js.Var) {
	v = resolve(v)
	if v.Decl == js.NoDecl {
		c.add(factSet, string(v.Data))
	}
}

// propertyText is the name of a property that is written as a literal.
func propertyText(l js.LiteralExpr) string {
	switch l.TokenType {
	case js.StringToken:
		text, _ := Unquote(l.Data)
		return text
	case js.IdentifierToken, js.PrivateIdentifierToken:
		return unescapeIdentifier(string(l.Data))
	}
	if js.IsNumeric(l.TokenType) {
		return numberText(string(l.Data))
	}
	return unescapeIdentifier(string(l.Data))
}

func unescapeIdentifier(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	text, _ := unescape(s)
	return text
}
