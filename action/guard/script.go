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

// judgeScript publishes a result that lacks nothing but what can be put back with that put back.
func judgeScript(source, result []byte, isModule bool) Verdict {
	d := compareScript(source, result, isModule)
	if len(d) == 0 {
		return Verdict{Publish: PublishResult}
	}
	repaired, ok := script.Restore(source, result, isModule)
	if !ok || len(compareScript(source, repaired, isModule)) > 0 {
		return refuse(d...)
	}
	if len(repaired) >= len(source) {
		return Verdict{Publish: PublishSource, Differences: d, NoGain: true}
	}
	return Verdict{Publish: PublishRepaired, Repaired: repaired, Differences: d}
}
