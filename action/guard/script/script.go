// Package script decides whether a changed script is still the same script, by what can be seen of
// it from outside and by what it is made of. What follows from a difference: package guard.
package script

import (
	"bytes"
	"fmt"
	"sort"
	"unicode/utf8"

	"github.com/tdewolff/parse/v2"
	"github.com/tdewolff/parse/v2/js"
)

// Limits of scripts. The parser itself refuses statements and expressions nested deeper than 1,000;
// chains such as a+a+a… grow the tree without nesting, and are bounded here.
const (
	maxScriptDepth = 5000
	maxScriptFacts = 8 << 20
	maxScriptText  = 256 << 20 // bytes of all facts together
)

// Compare holds a script against its source by what can be seen of it from outside and by what it
// is made of: the names that it defines for other scripts, what it imports and exports, the global
// names that it uses and sets, property names, strings, numbers, regular expressions and keywords
// with an effect. Each must be there as often as in the source, except in code that cannot run and
// in values that nothing uses. Order of evaluation and operators are not compared: this finds what
// was lost or invented, and does not prove that two programs are the same.
//
// Comments are free to go, license comments and source map references included. A directive that is
// repeated where the code is strict anyway may go.
func Compare(source, result []byte, isModule bool) []Finding {
	if !utf8.Valid(source) {
		return []Finding{finding(Encoding, "the script is not UTF-8, and was changed", "", "")}
	}
	before, err := readScript(source, isModule)
	if err != nil {
		return []Finding{finding(Unparsed, "the source cannot be parsed: "+err.Error(), "", "")}
	}
	after, err := readScript(result, isModule || before.isModule)
	if err != nil {
		return []Finding{finding(Unparsed, "the result cannot be parsed: "+err.Error(), "", "")}
	}
	var d []Finding
	if before.statements > 0 && after.statements == 0 && len(before.lost(after)) > 0 {
		d = append(d, finding(Meaning, "nothing is left of the script", string(source), ""))
	}
	if before.isModule != after.isModule {
		d = append(d, finding(Meaning, "the script is a module in one and a classic script in the other", "", ""))
	}
	if !before.isModule {
		d = append(d, compareTopLevel(before.top, after.top)...)
	}
	d = append(d, compareOrder(before.modules, after.modules)...)
	d = append(d, before.lost(after)...)
	marked := bytes.HasPrefix(result, []byte("\ufeff")) // certain to be read as UTF-8
	if !marked && !before.isModule && (isASCII(source) && !isASCII(result) || bytes.HasPrefix(source, []byte("\ufeff"))) {
		d = append(d, finding(Encoding, "the script no longer is plain ASCII, and so depends on the charset that it is read in", "", ""))
	}
	if len(d) > maxFindings {
		d = d[:maxFindings]
	}
	return d
}

// Finding is one way in which a result is not the script that it was made of.
type Finding struct {
	Aspect        Aspect
	Detail        string // for a person
	Before, After string // pieces of source and result; may be empty or long
}

// Aspect is what a finding is about.
type Aspect int

// The aspects.
const (
	Meaning  Aspect = iota // what the script defines, uses or says
	Encoding               // how its bytes are read
	Unparsed               // source or result cannot be parsed
)

// maxFindings is how many findings are told of one script.
const maxFindings = 20

func finding(about Aspect, detail, before, after string) Finding {
	return Finding{about, detail, before, after}
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// readScript parses a script and takes down its facts.
func readScript(source []byte, isModule bool) (facts *scriptFacts, err error) {
	defer func() {
		if r := recover(); r != nil {
			facts, err = nil, fmt.Errorf("not parsed: %v", r)
		}
	}()
	// the parser writes into its input
	copied := bytes.Clone(bytes.TrimPrefix(source, []byte("\ufeff")))
	ast, err := js.Parse(parse.NewInputBytes(copied), js.Options{})
	if err != nil {
		return nil, err
	}
	return collectScript(ast, isModule), nil
}

// compareTopLevel finds names that a classic script defines for the scripts and handlers beside it.
func compareTopLevel(before, after map[string]js.DeclType) []Finding {
	var d []Finding
	for _, name := range sortedKeys(before) {
		switch decl, ok := after[name]; {
		case !ok:
			d = append(d, finding(Meaning, fmt.Sprintf("the script no longer defines %q", name), name, ""))
		case decl != before[name]:
			d = append(d, finding(Meaning, fmt.Sprintf("the script defines %q in another way", name), before[name].String(), decl.String()))
		}
	}
	for _, name := range sortedKeys(after) {
		if _, ok := before[name]; !ok {
			d = append(d, finding(Meaning, fmt.Sprintf("the script defines a new name %q", name), "", name))
		}
	}
	return d
}

func compareOrder(before, after []string) []Finding {
	for i := range max(len(before), len(after)) {
		var b, a string
		if i < len(before) {
			b = before[i]
		}
		if i < len(after) {
			a = after[i]
		}
		if a != b {
			return []Finding{finding(Meaning, "imports or exports differ", b, a)}
		}
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// brief is a piece of a text that fits into a sentence.
func brief(s string) string {
	const most = 60
	if r := []rune(s[:min(len(s), 4*most)]); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
