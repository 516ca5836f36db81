package sheet_test

import (
	"strings"
	"testing"

	"github.com/pageflare/ci/action/guard/sheet"
)

func TestRepair(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, source, result, want string }{
		{"one lost declaration costs the savings of its rule only",
			`a { color: #ff0000 } b { margin : 0px ; width: 100vh; width: 100dvh; } c { color: #0000ff }`,
			`a{color:red}b{width:100dvh;margin:0}c{color:#00f}`,
			`a{color:red}b{margin:0px;width:100vh;width:100dvh}c{color:#00f}`},
		{"a lost rule is put back where it stood", `a { color: #ff0000 } b { color: #0000ff } c { top: 0px }`, `a{color:red}c{top:0}`,
			`a{color:red}b{color:#0000ff}c{top:0}`},
		{"what only the result has is left out", `a { color: #ff0000 } /* x */ c { top: 0px }`, `a{color:red}b{top:0}c{top:0}`, `a{color:red}c{top:0}`},
		{"media blocks are repaired rule by rule", `@media print { a { color: #ff0000 } b { color: #00f } } @media print { c { top: 0px } }`,
			`@media print{a{color:red}c{top:0}}`, `@media print{a{color:red}b{color:#00f}c{top:0}}`},
		{"rules that were merged stay merged beside a repair", `a { top: 0px } b { top: 0px } c { width: 1dvh; left: 0px }`, `a,b{top:0}c{left:0}`,
			`a,b{top:0}c{width:1dvh;left:0px}`},
		{"an icon font keeps its font-display", `@font-face { font-family: "I"; src: url( "a.woff" ); font-display: block } a { color: #ff0000 }`,
			`@font-face{font-family:I;src:url(a.woff);font-display:swap}a{color:red}`,
			`@font-face{font-family:"I";src:url( "a.woff" );font-display:block}a{color:red}`},
		{"a byte order mark stands in for a charset", `@charset "utf-8"; a { content: "é" } b { top: 0px }`, `a{content:"é"}b{top:0}`, "\ufeffa{content:\"é\"}b{top:0}"},
		{"a byte order mark and a lost rule", `a { content: "\201C" } b { top: 0px } c { top: 1px }`, `a{content:"“"}c{top:1px}`,
			"\ufeffa{content:\"“\"}b{top:0px}c{top:1px}"},
		{"a license stays", `/*! mine */ a { color: #ff0000 } b { top: 0px }`, `/*! mine */a{color:red}`, `/*! mine */a{color:red}b{top:0px}`},
		{"a custom property is put back as written", `a { --x:  { a ; b }  1 ; --y:; color:red } b { top: 0px }`, `a{color:red}b{top:0}`,
			`a{--x:  { a ; b }  1 ;--y:;color:red}b{top:0}`},
		{"white space and comments in strings, urls and selectors stay",
			`a :hover > b + c/**/.d { content: "a  /* b */" ; background: url( a.png ) /* x */ no-repeat ; width: calc( 1dvh  +  2px ) !important } e { top: 0px }`, `e{top:0}`,
			`a :hover>b+c/**/.d{content:"a  /* b */";background:url( a.png ) no-repeat;width:calc( 1dvh + 2px )!important}e{top:0}`},
		{"imports and namespaces are put back", `@import url(a.css) screen; @namespace s url(b); a { top: 0px }`, `@import "a.css" screen;a{top:0}`,
			`@import "a.css" screen;@namespace s url(b);a{top:0}`},
		{"a source that does not parse is not repaired", `a { top: 0px } }`, `a{top:0}`, ""},
		{"a source that ends in a block is not repaired", `a { top: 0px } b { left: 0px`, `a{top:0}`, ""},
		{"a source with a declaration outside of rules is not repaired", `top: 0; a { top: 0px } b { top: 1px }`, `b{top:1px}`, ""},
		{"a result that does not parse gives the source without what nobody needs", `a { top: 0px }`, `a{top:0}}`, `a{top:0px}`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := string(sheet.Repair([]byte(c.source), []byte(c.result)))
			if got != c.want {
				t.Errorf("Repair(%s, %s) = %s, want %s", c.source, c.result, got, c.want)
			}
		})
	}
}

func TestHostileRepairsEnd(t *testing.T) {
	t.Parallel()
	all := hostile(2000)
	all["media in media"] = strings.Repeat("@media print{", 40) + strings.Repeat("a{top:0}", 2000) + strings.Repeat("}", 40)
	for name, source := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, result := range []string{"b{color:blue}" + source, source[:len(source)/2], ""} {
				checkRepair(t, []byte(source), []byte(result))
			}
		})
	}
}

// checkRepair holds what a repair comes to against what it is for.
func checkRepair(t *testing.T, source, result []byte) {
	t.Helper()
	repaired := sheet.Repair(source, result)
	if repaired == nil {
		return
	}
	if d := sheet.Compare(source, repaired); len(d) > 0 {
		t.Errorf("Repair(%.300q, %.300q) = %.300q, which differs: %v", source, result, repaired, d)
	}
	if again := sheet.Repair(source, repaired); string(again) != string(repaired) {
		t.Errorf("Repair(%.300q, Repair(%.300q)) = %.300q, want %.300q", source, result, again, repaired)
	}
}

func FuzzRepair(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.source), []byte(c.result))
	}
	f.Fuzz(checkRepair)
}
