package script_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard/script"
)

// What the results are: the output of the CLI 0.9.2 for the source, several of them shortened by
// hand to what the case is about, unless a damage is made up.
var cases = []struct {
	name           string
	source, result string
	isModule       bool
	want           string // a piece of a finding; "" for none
}{
	{"a variable that other files use is gone", `var SITE = { base: "/x" };`, ``, false, `no longer defines "SITE"`},
	{"a function that an onclick calls is gone", `function toggleMenu() { document.body.className = "open"; }`, ``, false, `no longer defines "toggleMenu"`},
	{"a class of the top level is gone", `class K { m() { return 'a' } } window.x = 1`, `window.x=1;`, false, `no longer defines "K"`},
	{"let and const of the top level are gone", `let L = 1; const C = 2; window.x = 1`, `window.x=1;`, false, `no longer defines "C"`},
	{"a variable becomes one of a block", `var a = 1; f(a)`, `let a=1;f(a);`, false, `in another way`},
	{"the wrapper stays and its name goes", `var Vue = (function (e) { return e })({ a: 1 });`, `(function(e){return e})({a:1});`, false, `no longer defines "Vue"`},
	{"a new global name appears", `(function () { var a = 1; f(a) })()`, `var a=1;f(a);`, false, `new name "a"`},
	{"a name that is not declared is used anew", `(function () { var a = g(); f(a) })()`, `(function(){f(a)})();`, false, `"a" is new`},
	{"a global is no longer set", `total = 1; f()`, `f();`, false, `"total"`},

	{"names within functions stay, strings get backquotes", `(function () { const k = "inlined"; f(k); g(k); if (false) { dead("gone") } return 1; after("no") })()`,
		"(function(){let k=`inlined`;return f(k),g(k),1})();", false, ""},
	{"a call with a string is lost", `f("first"); f("second")`, `f("first");`, false, `"second"`},
	{"a property is misspelt", `a.innerHTML = b`, `a.innerHtml=b;`, false, `"innerHTML"`},
	{"a number is another", `setTimeout(f, 1500)`, `setTimeout(f,1e3);`, false, `"1500"`},
	{"a number is written in another way", `f(1000 * 60, 0x10, 1.50)`, `f(6e4,16,1.5);`, false, ""},
	{"a regular expression is another", `f(/a+b/gi)`, `f(/a*b/gi);`, false, `/a+b/`},
	{"flags change places", `f(/a/mg)`, `f(/a/gm);`, false, ""},
	{"an await is lost", `async function f() { await g() } f()`, `async function f(){g()}f();`, false, `"await"`},
	{"strings are joined and unescaped", `f('it"s' + "folded" + a + "\x41")`, "f(`it\"sfolded`+a+`A`);", false, ""},
	{"concat becomes a template", `f("$1".concat(r, "@"))`, "f(`$1${r}@`);", false, ""},
	{"a long list becomes a split", `f(["aa", "bb", "cc"])`, "f(`aa.bb.cc`.split(`.`));", false, ""},
	{"brackets become dots", `f(a["prop"], { ["c"]: 1, "d": 2 })`, `f(a.prop,{c:1,d:2});`, false, ""},
	{"branches are merged", `function f(a) { if (a) return b("same"); if (c) return b("same"); return 2 }`,
		"function f(a){return a||c?b(`same`):2}", false, ""},
	{"an assignment takes its condition in", `(function (a) { if (!a.z) a.z = 4; a.y = a.y + 5 })(q)`, `(function(a){a.z||=4,a.y+=5})(q);`, false, ""},
	{"arguments are copied by a spread", `window.f = function () { for (var n = arguments.length, args = new Array(n), i = 0; i < n; i++) { args[i] = arguments[i]; } return args }`,
		`window.f=function(){return[...arguments]};`, false, ""},
	{"typeof is compared with a shorter string", `f(typeof x === "undefined")`, "f(typeof x>`u`);", false, ""},
	{"an unused function with all that it holds goes", `(function () { function unused() { h("unused string") } f(1) })()`, `(function(){f(1)})();`, false, ""},
	{"an unused value goes, and what it calls stays", `(function () { var u = q("x"); f() })()`, "(function(){q(`x`),f()})();", false, ""},
	{"what an unused value calls goes", `(function () { var u = q("x"); f() })()`, "(function(){f()})();", false, `"q"`},
	{"half of a pair of surrogates is lost", `f("[\ud800-\udbff]")`, "f(`[\ufffdd800-\ufffddbff]`);", false, "string"},

	{"use strict is lost in the file", `"use strict"; window.x = function () { return this }`, `window.x=function(){return this};`, false, "use strict"},
	{"use strict is lost in a function", `(function (a) { "use strict"; b = a })(1)`, `(function(a){b=a})(1);`, false, "use strict"},
	{"use strict means nothing in a module", `"use strict"; import "x"; f()`, `import"x";f();`, false, ""},
	{"use strict is repeated within strict code", `"use strict"; window.x = function () { "use strict"; return 1 }`, `"use strict";window.x=function(){return 1};`, false, ""},
	{"comments go", "/*! license */\nf() //# sourceMappingURL=f.js.map", `f();`, false, ""},

	{"a module keeps imports and exports", `import { a as b, c } from "./x.js"; import d from 'y'; import "side"; export const U = b + d; export { c as e }`,
		"import{a as b,c}from\"./x.js\";import d from\"y\";import\"side\";export const U=b+d;export{c as e};", true, ""},
	{"an import is gone", `import "side"; f()`, `f();`, true, "imports or exports"},
	{"an export has another name", `const a = g(); export { a as b }`, `const a=g();export{a as c};`, true, "imports or exports"},
	{"a dynamic import loads another file", `f(() => import("./lazy.js"))`, "f(()=>import(`./lasy.js`));", true, "./lazy.js"},
	{"a top-level name of a module has another name", `const name = g(); f(name, name)`, `const t=g();f(t,t);`, true, ""},

	{"the source cannot be parsed", `var = 1`, `var a=1;`, false, "source cannot be parsed"},
	{"the result cannot be parsed", `f(1)`, `f(1`, false, "result cannot be parsed"},
	{"the script depends on the charset of the page", `f("\u00e9")`, "f(`é`);", false, "plain ASCII"},
	{"a byte order mark settles the charset", `f("\u00e9")`, "\ufefff(`é`);", false, ""},
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var said []string
			for _, f := range script.Compare([]byte(c.source), []byte(c.result), c.isModule) {
				said = append(said, f.Detail)
			}
			all := strings.Join(said, "; ")
			if c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("Compare(%s, %s) = %q, want %q", c.source, c.result, all, c.want)
			}
			if again := script.Compare([]byte(c.source), []byte(c.source), c.isModule); len(again) > 0 && !strings.Contains(c.want, "source") {
				t.Errorf("Compare(%s) with itself = %v, want none", c.source, again)
			}
		})
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, source, result, want string
	}{
		{"the directive of the file", `"use strict"; window.x = function () { return this }`, `window.x=function(){return this};`,
			`"use strict";window.x=function(){return this};`},
		{"the directive of one function among many", `(function (a) { "use strict"; b = a })(1); (function (c) { d = c })(2)`,
			`(function(a){b=a})(1),(function(c){d=c})(2);`, `(function(a){"use strict";b=a})(1),(function(c){d=c})(2);`},
		{"a word and a property like the keyword", `x.function = 1; (function (a) { "use strict"; b = a / 2 / 1 })({ function: 2 })`,
			`x.function=1,(function(a){b=a/2/1})({function:2});`, `x.function=1,(function(a){"use strict";b=a/2/1})({function:2});`},
		{"the charset", `f("\u00e9", "a long string")`, "f(`é`,`a long string`);", "\ufefff(`é`,`a long string`);"},
		{"nothing", `f(1)`, `f(1);`, ""},
		{"nothing where functions cannot be told apart", `(function () { "use strict"; b = 1 })(); (function () { c = 2 })(); (function () { d = 3 })`,
			`(function(){b=1})(),(function(){c=2})();`, ""},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, ok := script.Restore([]byte(c.source), []byte(c.result), false)
			if ok != (c.want != "") || ok && string(got) != c.want {
				t.Fatalf("Restore(%s, %s) = %s, %v; want %s", c.source, c.result, got, ok, c.want)
			}
			if d := script.Compare([]byte(c.source), got, false); ok && len(d) > 0 {
				t.Errorf("Compare of what was restored = %v, want none", d)
			}
		})
	}
}

// doubling is a chain of constants each of which is twice as long as the one before.
func doubling(n int) string {
	var s strings.Builder
	s.WriteString(`var a0="aaaaaaaa";`)
	for i := range min(n, 1000) {
		fmt.Fprintf(&s, "var a%d=a%d+a%d;", i+1, i, i)
	}
	return s.String() + "f(" + strings.Repeat("a12+", n) + "1)"
}

// hostile are scripts that could keep or overflow a parser.
func hostile(n int) map[string]string {
	return map[string]string{
		"brackets":    strings.Repeat("(", n),
		"pairs":       strings.Repeat("[", n) + strings.Repeat("]", n),
		"braces":      strings.Repeat("{", n),
		"functions":   strings.Repeat("function f(){", n),
		"arrows":      strings.Repeat("a=>", n) + "1",
		"sums":        "x=" + strings.Repeat("a+", n) + "1",
		"products":    "x=" + strings.Repeat("a*", n) + "1",
		"commas":      strings.Repeat("a,", n) + "1",
		"members":     "a" + strings.Repeat(".b", n),
		"calls":       "a" + strings.Repeat("()", n),
		"concats":     `"a"` + strings.Repeat(`.concat("b")`, n),
		"negations":   strings.Repeat("!", n) + "a",
		"assignments": strings.Repeat("a=", n) + "1",
		"conditions":  strings.Repeat("a?b:", n) + "1",
		"templates":   strings.Repeat("`${", n),
		"ifs":         strings.Repeat("if(a)", n) + "b()",
		"elses":       strings.Repeat("if(a)b();else ", n) + "c()",
		"returns":     "function f(){" + strings.Repeat("if(a)return b;", n) + "}",
		"labels":      strings.Repeat("a:", n) + "b()",
		"new":         strings.Repeat("new ", n) + "a",
		"constants":   "x=" + strings.Repeat("1+", n) + "1",
		"doubling":    doubling(n),
		"zeros":       strings.Repeat("\x00", n),
		"variables":   "var " + strings.Repeat("a,", n) + "b",
		"classes":     strings.Repeat("class a extends ", n) + "b{}",
		"backslashes": `f("` + strings.Repeat(`\\`, n) + `")`,
	}
}

func TestHostileScriptsEnd(t *testing.T) {
	t.Parallel()
	for name, source := range hostile(30000) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range script.Compare([]byte(source), []byte(source), false) {
				if f.Aspect != script.Unparsed {
					t.Errorf("Compare with itself = %.200s, want none or one that is not parsed", f.Detail)
				}
			}
			script.Restore([]byte(source), []byte(source), false)
		})
	}
}

func FuzzScript(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.source), []byte(c.result), c.isModule)
	}
	for _, source := range hostile(50) {
		f.Add([]byte(source), []byte(source), false)
	}
	f.Fuzz(func(t *testing.T, source, result []byte, isModule bool) {
		for _, f := range script.Compare(source, source, isModule) {
			if f.Aspect == script.Meaning {
				t.Errorf("Compare(%.500q) with itself = %.200s, want none", source, f.Detail)
			}
		}
		script.Compare(source, result, isModule)
		script.Restore(source, result, isModule)
	})
}

func BenchmarkCompare(b *testing.B) {
	source := []byte(strings.Repeat(`window.f = function (a) { var o = { a: a, b: a["prop"] }; if (o.b) { return "x" + o.a } return g(o, 1000) };`+"\n", 2000))
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		script.Compare(source, source, false)
	}
}
