package guard

import "github.com/pageflare/ci/action/guard/sheet"

// compareSheet holds a style sheet against its source: package sheet says what counts.
func compareSheet(source, result []byte) []Difference {
	var all []Difference
	for _, f := range sheet.Compare(source, result) {
		key := KeyCSS
		if f.Aspect == sheet.Fonts {
			key = KeyFontDisplay
		}
		all = append(all, Difference{
			Kind: sheetKinds[f.Aspect], Detail: f.Detail, Before: excerpt(f.Before), After: excerpt(f.After), Key: key,
		})
	}
	return all
}

var sheetKinds = map[sheet.Aspect]Kind{
	sheet.Cascade: KindStyle, sheet.Fonts: KindStyle, sheet.Encoding: KindCharset, sheet.Unparsed: KindInvalid,
}

// compareDeclarations says that two values of the style attribute are the same.
func compareDeclarations(source, result string) bool { return sheet.SameDeclarations(source, result) }

// judgeSheet publishes a result that lacks something with that put back.
func judgeSheet(source, result []byte) Verdict {
	d := compareSheet(source, result)
	if len(d) == 0 {
		return Verdict{Publish: PublishResult}
	}
	repaired := sheet.Repair(source, result)
	if repaired == nil {
		return refuse(d...)
	}
	if len(repaired) >= len(source) {
		return Verdict{Publish: PublishSource, Differences: d, NoGain: true}
	}
	return Verdict{Publish: PublishRepaired, Repaired: repaired, Differences: d}
}
