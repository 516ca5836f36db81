package guard

import "github.com/pageflare/ci/action/guard/script"

// compareScript holds a script against its source: package script says what counts.
func compareScript(source, result []byte, isModule bool) []Difference {
	var all []Difference
	for _, f := range script.Compare(source, result, isModule) {
		all = append(all, Difference{
			Kind: scriptKinds[f.Aspect], Detail: f.Detail, Before: excerpt(f.Before), After: excerpt(f.After), Key: KeyJS,
		})
	}
	return all
}

var scriptKinds = map[script.Aspect]Kind{
	script.Meaning: KindScript, script.Encoding: KindCharset, script.Unparsed: KindInvalid,
}
