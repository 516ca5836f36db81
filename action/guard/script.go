package guard

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
)

// compareScript holds a script against its source by what can be seen of it from outside and by what
// it is made of: the names that it defines for other scripts, what it imports and exports, the global
// names that it uses and sets, property names, strings, numbers, regular expressions and keywords with
// an effect. Each must be there as often as in the source, except in code that cannot run and in
// values that nothing uses. Order of evaluation and operators are not compared: this finds what was
// lost or invented, and does not prove that two programs are the same.
//
// Comments are free to go, license comments and source map references included. A directive that is
// repeated where the code is strict anyway may go.
func compareScript(source, result []byte, isModule bool) []Difference {
	if !utf8.Valid(source) {
		return []Difference{scriptDifference(KindCharset, "the script is not UTF-8, and was changed", "", "")}
	}
	before, err := readScript(source, isModule)
	if err != nil {
		return []Difference{scriptDifference(KindInvalid, "the source cannot be parsed: "+excerpt(err.Error()), "", "")}
	}
	after, err := readScript(result, isModule || before.isModule)
	if err != nil {
		return []Difference{scriptDifference(KindInvalid, "the result cannot be parsed: "+excerpt(err.Error()), "", "")}
	}
	var d []Difference
	if before.statements > 0 && after.statements == 0 && len(before.lost(after)) > 0 {
		d = append(d, scriptDifference(KindScript, "nothing is left of the script", string(source), ""))
	}
	if before.isModule != after.isModule {
		d = append(d, scriptDifference(KindScript, "the script is a module in one and a classic script in the other", "", ""))
	}
	if !before.isModule {
		d = append(d, compareTopLevel(before.top, after.top)...)
	}
	d = append(d, compareOrder(before.modules, after.modules)...)
	d = append(d, before.lost(after)...)
	for _, closing := range []string{"</script", "<!--"} {
		if !containsFold(source, closing) && containsFold(result, closing) {
			d = append(d, scriptDifference(KindScript, "the result contains "+closing+", which ends or changes a script within a page", "", closing))
		}
	}
	marked := bytes.HasPrefix(result, []byte("\ufeff")) // certain to be read as UTF-8
	if !marked && (isASCII(source) && !isASCII(result) || bytes.HasPrefix(source, []byte("\ufeff"))) {
		d = append(d, scriptDifference(KindCharset, "the script no longer is plain ASCII, and so depends on the charset that it is read in", "", ""))
	}
	if len(d) > maxReasons {
		d = d[:maxReasons]
	}
	return d
}

func scriptDifference(kind Kind, detail, before, after string) Difference {
	return Difference{Kind: kind, Detail: detail, Before: excerpt(before), After: excerpt(after), Key: KeyJS}
}

func containsFold(b []byte, lower string) bool {
	return bytes.Contains(bytes.ToLower(b), []byte(lower))
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
func compareTopLevel(before, after map[string]js.DeclType) []Difference {
	var d []Difference
	for _, name := range sortedKeys(before) {
		switch decl, ok := after[name]; {
		case !ok:
			d = append(d, scriptDifference(KindScript, fmt.Sprintf("the script no longer defines %q", name), name, ""))
		case decl != before[name]:
			d = append(d, scriptDifference(KindScript, fmt.Sprintf("the script defines %q in another way", name), before[name].String(), decl.String()))
		}
	}
	for _, name := range sortedKeys(after) {
		if _, ok := before[name]; !ok {
			d = append(d, scriptDifference(KindScript, fmt.Sprintf("the script defines a new name %q", name), "", name))
		}
	}
	return d
}

func compareOrder(before, after []string) []Difference {
	for i := range max(len(before), len(after)) {
		var b, a string
		if i < len(before) {
			b = before[i]
		}
		if i < len(after) {
			a = after[i]
		}
		if a != b {
			return []Difference{scriptDifference(KindScript, "imports or exports differ", b, a)}
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
