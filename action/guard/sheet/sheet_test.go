package sheet_test

import (
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard/sheet"
)

// What the results are: the output of the CLI 0.9.2 for the source, several of them shortened by
// hand to what the case is about, unless a damage is made up.
var cases = []struct {
	name, source, result string
	want                 string // a piece of a finding; "" for none
}{
	{"colours, zeros and sides are written shorter", `a { color: rgba(255, 0, 0, 0.5); margin-top: 0px; margin-right: 1px; margin-bottom: 2px; margin-left: 3px }`,
		`a{color:#ff000080;margin:0 1px 2px 3px}`, ""},
	{"equal rules are merged", `.p { padding: 0 0 0 0 } .q { padding: 0 0 0 0 }`, `.p,.q{padding:0}`, ""},
	{"what is overridden for certain goes", `.x { height: 10px; height: 20px }`, `.x{height:20px}`, ""},
	{"an earlier rule of the same selector goes", `.dup { color: red } .dup2 { color: blue } .dup { color: red }`, `.dup2{color:#00f}.dup{color:red}`, ""},
	{"a fallback goes", `.x { width: 100vh; width: 100dvh }`, `.x{width:100dvh}`, `"width"`},
	{"a media query is written as a range", `@media only screen and (max-width: 600px) { .p { color: blue !important } }`,
		`@media only screen and (width<=600px){.p{color:#00f!important}}`, ""},
	{"a range of both ends, and a list", `@media (min-width: 600.5px) and (max-width:900px), print { .p { transition: opacity 300ms ease-in-out, color .5s } }`,
		`@media (width>=600.5px) and (width<=900px),print{.p{transition:opacity .3s ease-in-out,color .5s}}`, ""},
	{"media that follow each other are merged", `@media print { .p { color: red } } @media print { .p { margin: 0 } }`, `@media print{.p{color:red;margin:0}}`, ""},
	{"the media of a rule are lost", `@media print { .p { display: none } }`, `.p{display:none}`, `"display"`},
	{"the bound of a media query is another", `@media (max-width: 600px) { .p { color: red } }`, `@media (width<600px){.p{color:red}}`, `"color"`},
	{"important is lost", `.p { color: red !important }`, `.p{color:red}`, `"color"`},
	{"keyframes and their steps stay", `@keyframes foo { from { opacity: 0 } 50% { opacity: .5 } to { opacity: 1.0 } }`, `@keyframes foo{0%{opacity:0}50%{opacity:.5}to{opacity:1}}`, ""},
	{"keyframes are lost", `@keyframes foo { from { opacity: 0 } } a { color: red }`, `a{color:red}`, `no longer declared`},
	{"a font gets font-display", `@font-face { font-family: "My Font"; src: url('a.woff2') format("woff2"), url(b.woff); font-weight: bold }`,
		`@font-face{font-family:My Font;src:url(a.woff2)format("woff2"),url(b.woff);font-weight:700;font-display:swap;}`, ""},
	{"font-display of an icon font is exchanged", `@font-face { font-family: icons; src: url(a.woff2); font-display: block }`,
		`@font-face{font-family:icons;src:url(a.woff2);font-display:swap}`, "font-display"},
	{"a font is lost", `@font-face { font-family: a; src: url(a.woff2) } @font-face { font-family: b; src: url(b.woff2) }`, `@font-face{font-family:a;src:url(a.woff2)}`, "@font-face"},
	{"a custom property is lost", `:root { --a: 1px; --b: 2px }`, `:root{--a:1px}`, "--b"},
	{"an empty custom property stays", `:root { --Main: #FF0000; --x:  a  b ; --empty: ; }`, `:root{--Main:red;--x:a b;--empty: }`, ""},
	{"a namespace is lost", `@namespace svg url(http://www.w3.org/2000/svg); svg|a { color: red }`, `svg|a{color:red}`, "@namespace"},
	{"imports stay", `@import url("other.css") screen; @import "b.css" layer(x) supports(display: grid);`, `@import "other.css" screen;@import "b.css" layer(x) supports(display:grid);`, ""},
	{"an import has another target", `@import "a.css";`, `@import "b.css";`, "@import"},
	{"layers keep their order", `@layer base, theme; a { color: red } @layer base { .l { color: WHITE } }`, `@layer base{.l{color:#fff}}@layer theme;a{color:red}`, ""},
	{"layers change places", `@layer base, theme; @layer theme { a { color: red } }`, `@layer theme{a{color:red}}@layer base;`, "order of layers"},
	{"a whole rule is lost over a hack", `.v { display: flex; filter: progid:DXImageTransform.Microsoft.gradient(startColorstr='#80000000'); *zoom: 1 }`, ``, `"display"`},
	{"a hack for browsers of the past goes", `.v { display: flex; *zoom: 1; -ms-flex-align: center }`, `.v{display:flex}`, ""},
	{"a prefix that Safari needs is lost", `.b { -webkit-backdrop-filter: blur(2px); backdrop-filter: blur(2px) }`, `.b{backdrop-filter:blur(2px)}`, "-webkit-backdrop-filter"},
	{"monospace twice becomes once", `pre { font-family: monospace, monospace }`, `pre{font-family:monospace}`, "font-family"},
	{"longhands of a font are merged", `.f { font-family: "Helvetica Neue", 'Arial', sans-serif; font-weight: bold; font: italic bold 12px/1.5 "A B", serif }`, `.f{font:italic 700 12px/1.5 A B,serif}`, ""},
	{"content is unescaped", `.f { content: '\f101'; quotes: "«" "»" }`, ".f{content:\"\uf101\";quotes:\"«\" \"»\"}", ""},
	{"a background is put together", `.b { background: url( "img/a.png" ) no-repeat 0 0; background-position: center center }`, `.b{background:url(img/a.png) 50% no-repeat}`, ""},
	{"the target of a url is another", `.b { background: url(img/a.png) }`, `.b{background:url(a.png)}`, "background-image"},
	{"a gradient is written shorter", `.b { background-image: linear-gradient(to right, rgba(0,0,0,0) 0%, hsl(120, 100%, 50%) 100%) }`, `.b{background-image:linear-gradient(90deg,#0000 0%,#0f0 100%)}`, ""},
	{"a gradient is turned around", `.b { background-image: linear-gradient(to top, #fff 88%, #73859f 100%) }`, `.b{background-image:linear-gradient(#73859f 0%,#fff 12%)}`, ""},
	{"a gradient is turned around wrongly", `.b { background-image: linear-gradient(to top, #fff, #000) }`, `.b{background-image:linear-gradient(#fff,#000)}`, "background-image"},
	{"turns and filters are written shorter", `.b { transform: rotate3d(0, 1, 0, -360deg); filter: grayscale(100%) }`, `.b{transform:rotateY(-360deg);filter:grayscale()}`, ""},
	{"filters without their usual argument", `.b { filter: invert(1) blur(0) grayscale(100%) hue-rotate(0deg) }`, `.b{filter:invert()blur()grayscale()hue-rotate()}`, ""},
	{"a filter loses an argument that matters", `.b { filter: invert(0) }`, `.b{filter:invert()}`, "filter"},
	{"a filter of no blur gets one", `.b { filter: blur(0) }`, `.b{filter:blur(1px)}`, "filter"},
	{"an opacity in per cent", `.b { opacity: 75% }`, `.b{opacity:.75}`, ""},
	{"another opacity", `.b { opacity: 75% }`, `.b{opacity:.075}`, "opacity"},
	{"steps end where they do", `.b { animation-timing-function: steps(8) }`, `.b{animation-timing-function:steps(8,end)}`, ""},
	{"steps start", `.b { animation-timing-function: steps(8) }`, `.b{animation-timing-function:steps(8,start)}`, "animation-timing-function"},
	{"selectors are written shorter", `a:hover > b + c ~ d, a   b , input[type="text"]:not(.x):nth-child(2n+1)::before, *.y { z-index: 010; flex-flow: row wrap; line-height: 1.0; overflow-x: hidden; overflow-y: hidden }`,
		`a:hover>b+c~d,a b,input[type=text]:not(.x):nth-child(odd):before,.y{z-index:10;flex-flow:wrap;line-height:1;overflow:hidden}`, ""},
	{"a selector is lost", `.a, .b { color: red }`, `.a{color:red}`, `"color"`},
	{"a selector that browsers may not know joins others", `.a { color: red } .b::-moz-focus-inner { color: red }`, `.a,.b::-moz-focus-inner{color:red}`, `"color"`},
	{"rules that override each other change places", `.a { color: red } .b { color: blue }`, `.b{color:#00f}.a{color:red}`, `"color"`},
	{"rules of other properties change places", `.a { color: red } .b { margin: 0 }`, `.b{margin:0}.a{color:red}`, ""},
	{"a shorthand comes before what it resets", `.a { border-top-width: 2px; border: 1px solid red }`, `.a{border:1px solid red;border-top-width:2px}`, "border-top-width"},
	{"the last digit is rounded", `.a { width: 0.2009654em } @media (max-width: 63.99875em) { a { color: red } }`, `.a{width:.200966em}@media (width<=63.9988em){a{color:red}}`, ""},
	{"a digit that matters is another", `.a { width: 0.2009em }`, `.a{width:.201em}`, `"width"`},
	{"sums are worked out", `.a { width: calc(1px + 2px); height: calc( 100% - (10px + 5px) ) }`, `.a{width:3px;height:calc(100% - 15px)}`, ""},
	{"a sum is worked out wrongly", `.a { width: calc(1px + 2px) }`, `.a{width:2px}`, `"width"`},
	{"nested rules stay", `.n { color: red; & .m { color: blue } &:hover { color: green } }`, `.n{color:red;& .m{color:#00f}&:hover{color:green}}`, ""},
	{"containers stay", `@container side (min-width: 400px) { .c { color: currentColor } }`, `@container side (width>=400px){.c{color:currentColor}}`, ""},
	{"a supports condition is another", `@supports (display: grid) and (not (display: inline-grid)) { .g { color: red } }`, `@supports (display:grid){.g{color:red}}`, `"color"`},
	{"a page rule and a registered property stay", `@page :first { margin: 1in } @property --p { syntax: '<length>'; inherits: false; initial-value: 0px }`,
		`@page:first{margin:1in}@property --p{syntax:"<length>";inherits:false;initial-value:0}`, ""},
	{"the charset is lost though it matters", `@charset "utf-8"; a { content: "é" }`, `a{content:"é"}`, "charset"},
	{"the charset is lost and does not matter", `@charset "utf-8"; a { color: red }`, `a{color:red}`, ""},
	{"escapes become letters", `a { content: "\201C" }`, `a{content:"“"}`, "charset"},
	{"a byte order mark settles the charset", `a { content: "\201C" }`, "\ufeffa{content:\"“\"}", ""},
	{"an empty rule goes", `.empty { } a { color: red }`, `a{color:red}`, ""},
	{"the source cannot be parsed", `a { color: red } }`, `a{color:red}`, "source cannot be parsed"},
	{"the result cannot be parsed", `a { color: red }`, `a{color:red}}`, "result cannot be parsed"},
	{"the source has a string that does not end", "a { content: \"x\n } b { color: red }", `b{color:red}`, "source cannot be parsed"},
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var said []string
			for _, f := range sheet.Compare([]byte(c.source), []byte(c.result)) {
				said = append(said, f.Detail+" ["+f.Before+" -> "+f.After+"]")
			}
			all := strings.Join(said, "; ")
			if c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("Compare(%s, %s) = %q, want %q", c.source, c.result, all, c.want)
			}
			if again := sheet.Compare([]byte(c.source), []byte(c.source)); len(again) > 0 && !strings.Contains(c.want, "source") {
				t.Errorf("Compare(%s) with itself = %v, want none", c.source, again)
			}
		})
	}
}

func TestSameDeclarations(t *testing.T) {
	t.Parallel()
	tests := []struct {
		source, result string
		want           bool
	}{
		{"color: red; margin: 0 0 0 0", "color:red;margin:0", true},
		{"color: #ff0000;", "color:red", true},
		{"color: red", "color:blue", false},
		{"color: red; width: 1px", "color:red", false},
		{"", "color:red", false},
		{"--x: 1", "--x:1", true},
	}
	for _, c := range tests {
		if got := sheet.SameDeclarations(c.source, c.result); got != c.want {
			t.Errorf("SameDeclarations(%q, %q) = %v, want %v", c.source, c.result, got, c.want)
		}
	}
}

// hostile are sheets that could keep or overflow a parser.
func hostile(n int) map[string]string {
	return map[string]string{
		"braces":       strings.Repeat("a{", n),
		"brackets":     "a{b:" + strings.Repeat("(", n),
		"pairs":        "a{b:" + strings.Repeat("(", n) + strings.Repeat(")", n) + "}",
		"media":        strings.Repeat("@media print{", n),
		"calc":         "a{width:" + strings.Repeat("calc(", n) + "1px" + strings.Repeat(")", n) + "}",
		"sums":         "a{width:calc(" + strings.Repeat("1px + ", n) + "1px)}",
		"words":        "a{font:" + strings.Repeat("a ", n) + "}",
		"layers":       "a{background:" + strings.Repeat("url(a),", n) + "red}",
		"selectors":    strings.Repeat("a,", n) + "b{color:red}",
		"declarations": "a{" + strings.Repeat("color:red;", n) + "}",
		"fallbacks":    "a{" + strings.Repeat("width:1dvh;", n) + "}",
		"rules":        strings.Repeat("a{color:red}", n),
		"compound":     "a" + strings.Repeat(":not(b)", n) + "{color:red}",
		"strings":      strings.Repeat(`"`, n),
		"comments":     strings.Repeat("/*", n),
		"zeros":        strings.Repeat("\x00", n),
		"escapes":      "a{content:\"" + strings.Repeat(`\61 `, n) + "\"}",
		"layer names":  "@layer " + strings.Repeat("a.b,", n) + "c;",
		"unnamed":      strings.Repeat("@layer{a{color:red}}", n/20),
	}
}

func TestHostileSheetsEnd(t *testing.T) {
	t.Parallel()
	for name, source := range hostile(10000) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range sheet.Compare([]byte(source), []byte(source)) {
				if f.Aspect != sheet.Unparsed {
					t.Errorf("Compare with itself = %.200s, want none or one that is not parsed", f.Detail)
				}
			}
		})
	}
}

func FuzzSheet(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.source), []byte(c.result))
	}
	for _, source := range hostile(50) {
		f.Add([]byte(source), []byte(source))
	}
	f.Fuzz(func(t *testing.T, source, result []byte) {
		for _, f := range sheet.Compare(source, source) {
			if f.Aspect == sheet.Cascade {
				t.Errorf("Compare(%.500q) with itself = %.200s, want none", source, f.Detail)
			}
		}
		sheet.Compare(source, result)
		sheet.SameDeclarations(string(source), string(result))
	})
}

func BenchmarkCompare(b *testing.B) {
	source := []byte(strings.Repeat(`.card:hover > a, .card .b { color: rgba(0, 0, 0, .5); margin: 0 auto; transition: color .3s ease; background: #fff url("a.png") no-repeat }`+"\n", 2000))
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		sheet.Compare(source, source)
	}
}
