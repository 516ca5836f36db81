package guard

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// compareSVG holds a drawing against its source: the same elements in the same order with the same
// attributes, so with its ids, symbols, titles, references, styles and intrinsic size. What may
// differ: comments, white space where it is not drawn, the order of attributes, how colours and
// numbers are written, and how the segments of a path are, within a thousandth of the drawing's
// size. Shapes made into paths, merged groups and removed defaults count as different: what cannot
// be proven equal here is published as it was.
func compareSVG(source, result []byte) []Difference {
	before, err := readXML(source)
	if err != nil {
		return []Difference{iconDifference(KindInvalid, "the source cannot be parsed: "+excerpt(err.Error()), "", "")}
	}
	after, err := readXML(result)
	if err != nil {
		return []Difference{iconDifference(KindInvalid, "the result is not well-formed: "+excerpt(err.Error()), "", "")}
	}
	before, after = drawn(before), drawn(after)
	tolerance := drawingSize(before) / 1000
	for i := range max(len(before), len(after)) {
		b, a := tokenAt(before, i), tokenAt(after, i)
		if d, ok := compareDrawn(b, a, tolerance); !ok {
			return []Difference{d}
		}
	}
	return nil
}

func iconDifference(kind Kind, detail, before, after string) Difference {
	return Difference{Kind: kind, Detail: detail, Before: excerpt(before), After: excerpt(after), Key: KeySVG}
}

// spaced are elements in which white space is drawn or means something.
var spaced = map[string]bool{"text": true, "tspan": true, "textPath": true, "title": true, "desc": true, "a": true, "style": true,
	"script": true, "foreignObject": true, "metadata": true, "tref": true}

// drawn leaves out what is not drawn: comments, and white space between elements.
func drawn(list []xmlToken) []xmlToken {
	out := make([]xmlToken, 0, len(list))
	keep := 0 // elements that are open and keep their white space
	var open []bool
	for _, t := range list {
		switch t.kind {
		case "comment":
			continue
		case "text":
			if keep == 0 && strings.TrimSpace(t.text) == "" {
				continue
			}
		case "instruction":
			if t.name == "xml" {
				continue // UTF-8 in both, and XML 1.0
			}
		case "start":
			keeps := spaced[t.name] || slices.Contains(t.attrs, "xml:space=preserve")
			open = append(open, keeps)
			if keeps {
				keep++
			}
		case "end":
			if open[len(open)-1] {
				keep--
			}
			open = open[:len(open)-1]
		}
		out = append(out, t)
	}
	return out
}

// drawingSize is the larger side of the drawing, in units of its coordinates.
func drawingSize(list []xmlToken) float64 {
	for _, t := range list {
		if t.kind != "start" {
			continue
		}
		for _, a := range t.attrs {
			if box, ok := strings.CutPrefix(a, "viewBox="); ok {
				if f := floats(box); len(f) == 4 {
					return math.Max(f[2], f[3])
				}
			}
		}
		break
	}
	return 10
}

func floats(s string) []float64 {
	var list []float64
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' || r == '\r' }) {
		f, err := strconv.ParseFloat(w, 64)
		if err != nil {
			return nil
		}
		list = append(list, f)
	}
	return list
}

func compareDrawn(b, a xmlToken, tolerance float64) (Difference, bool) {
	if b.equal(a) {
		return Difference{}, true
	}
	if b.kind != "start" || a.kind != "start" || b.name != a.name {
		return iconDifference(KindIcon, fmt.Sprintf("%s %s differs", b.kind, b.name), b.String(), a.String()), false
	}
	before, after := attributeMap(b.attrs), attributeMap(a.attrs)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		v, ok := after[name]
		if !ok {
			return iconDifference(KindIcon, fmt.Sprintf("%s of %s is gone", name, b.name), name+"="+before[name], ""), false
		}
		if !sameAttribute(name, before[name], v, tolerance) {
			return iconDifference(KindIcon, fmt.Sprintf("%s of %s differs", name, b.name), before[name], v), false
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; !ok {
			return iconDifference(KindIcon, fmt.Sprintf("%s of %s is new", name, b.name), "", name+"="+after[name]), false
		}
	}
	return Difference{}, true
}

func attributeMap(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, a := range list {
		name, value, _ := strings.Cut(a, "=")
		m[name] = value
	}
	return m
}

var colourAttributes = map[string]bool{"fill": true, "stroke": true, "stop-color": true, "flood-color": true, "lighting-color": true, "color": true}

func sameAttribute(name, before, after string, tolerance float64) bool {
	if before == after {
		return true
	}
	if strings.ContainsRune(before, '\ufdd0') || strings.ContainsRune(after, '\ufdd0') {
		return false // entities are not looked into
	}
	switch {
	case name == "d":
		return samePath(before, after, tolerance)
	case name == "style":
		return compareDeclarations(before, after)
	case name == "class":
		return slices.Equal(strings.Fields(before), strings.Fields(after))
	case colourAttributes[name]:
		return sameColour(before, after)
	case name == "points" || name == "viewBox":
		return near(floats(before), floats(after), tolerance)
	}
	b, errB := strconv.ParseFloat(before, 64)
	a, errA := strconv.ParseFloat(after, 64)
	return errA == nil && errB == nil && a == b
}

func sameColour(before, after string) bool {
	return compareDeclarations("color:"+before, "color:"+after)
}

func near(before, after []float64, tolerance float64) bool {
	if len(before) == 0 || len(before) != len(after) {
		return false
	}
	for i := range before {
		if !(math.Abs(before[i]-after[i]) <= tolerance) {
			return false
		}
	}
	return true
}
