// Package sheet decides whether a changed style sheet is still the same sheet, by the cascade that
// it comes to. What follows from a difference: package guard.
package sheet

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Compare holds a style sheet against its source. For each property it compares the sequence of
// what is declared for it: under which media, supports, layer, container and scope conditions, for
// which selector, with which value and importance. Where these sequences are equal the cascade
// comes to the same for every element, however rules were merged, split or reordered.
//
// A declaration may go where a later one of the same selector, under the same conditions, is
// certain to take its place in every browser; fallbacks for values that not every browser knows
// must stay. Selectors that a browser may not know must stay in the group that they were in. Range
// syntax of media queries counts as equal to min- and max-: browsers know it since 2023.
// font-display may be added to @font-face. Values that cannot be proven equal count as different.
func Compare(source, result []byte) []Finding {
	return compareStyles(source, result, readSheet)
}

// SameDeclarations says that two values of the style attribute are the same.
func SameDeclarations(source, result string) bool {
	return len(compareStyles([]byte(source), []byte(result), readDeclarations)) == 0
}

// Empty says that a sheet has no statement: nothing but comments and white space.
func Empty(source []byte) bool {
	items, err := newSheetParser(bytes.TrimPrefix(source, mark)).items(0)
	return err == nil && len(items) == 0
}

func compareStyles(source, result []byte, read func([]byte) (*styles, error)) []Finding {
	if !utf8.Valid(source) {
		return []Finding{{Encoding, "the sheet is not UTF-8, and was changed", "", ""}}
	}
	before, err := read(source)
	if err != nil {
		return []Finding{{Unparsed, "the source cannot be parsed: " + err.Error(), "", ""}}
	}
	after, err := read(result)
	if err != nil {
		return []Finding{{Unparsed, "the result cannot be parsed: " + err.Error(), "", ""}}
	}
	var d []Finding
	if before.charset != "" && !isUTF8[before.charset] && !isASCII(source) {
		return []Finding{{Encoding, "the sheet has a charset other than UTF-8", before.charset, ""}}
	}
	if needsMark(source, result, before.charset != "" && after.charset == "") {
		d = append(d, Finding{Encoding, "the sheet depends on the charset that it is read in", "", ""})
	}
	return append(d, compareRead(before, after)...)
}

// mark is the byte order mark, with which a sheet is certain to be read as UTF-8.
var mark = []byte("\ufeff")

var isUTF8 = map[string]bool{`"utf-8"`: true, `"utf8"`: true}

// needsMark says that the result may be read in another charset than the source was, as it stands.
func needsMark(source, result []byte, lostCharset bool) bool {
	if bytes.HasPrefix(result, mark) {
		return false
	}
	return bytes.HasPrefix(source, mark) || !isASCII(result) && (isASCII(source) || lostCharset)
}

// compareRead compares what two sheets come to.
func compareRead(before, after *styles) []Finding {
	var d []Finding
	for i := range max(len(before.statements), len(after.statements)) {
		b, a := at(before.statements, i), at(after.statements, i)
		if a != b {
			d = append(d, Finding{Cascade, "statements such as @import and @namespace differ", b, a})
			break
		}
	}
	if !slices.Equal(before.layers, after.layers) {
		d = append(d, Finding{Cascade, "the order of layers differs", strings.Join(before.layers, ", "), strings.Join(after.layers, ", ")})
	}
	for i := range min(len(before.displays), len(after.displays)) {
		if b, a := before.displays[i], after.displays[i]; b != a && (b != "" || a != "swap") {
			d = append(d, Finding{Fonts, "font-display of a font differs", b, a})
			break
		}
	}
	keys := slices.Sorted(maps.Keys(before.longhands))
	for _, key := range slices.Sorted(maps.Keys(after.longhands)) {
		if before.longhands[key] == nil {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if strings.HasSuffix(key, "\x00border-image") && onlyResets(before.longhands[key]) && onlyResets(after.longhands[key]) {
			continue
		}
		if diff, ok := compareCascade(before.longhands[key], after.longhands[key]); !ok {
			d = append(d, diff)
			if len(d) >= maxFindings {
				break
			}
		}
	}
	return d
}

// onlyResets says that a property is only ever set to what it is anyway.
func onlyResets(list []declared) bool {
	for _, d := range list {
		if d.value != "none" {
			return false
		}
	}
	return true
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// Finding is one way in which a result is not the sheet that it was made of.
type Finding struct {
	Aspect        Aspect
	Detail        string // for a person
	Before, After string // pieces of source and result; may be empty or long
}

// Aspect is what a finding is about.
type Aspect int

// The aspects.
const (
	Cascade  Aspect = iota // what the sheet declares
	Encoding               // how its bytes are read
	Unparsed               // source or result cannot be parsed
	Fonts                  // when the text is shown while a font loads
)

// maxFindings is how many findings are told of one sheet.
const maxFindings = 20

// declared is one entry of the cascade of a longhand.
type declared struct {
	where     string // conditions and selector, in canonical form
	name      string
	value     string
	important bool
}

func (d declared) String() string {
	s := d.where + " { " + d.name + ": " + d.value
	if d.important {
		s += " !important"
	}
	return s + " }"
}

var decimal = regexp.MustCompile(`[0-9]*\.[0-9]+`)

// almost says that two declarations are equal but for the last digit that the optimizer keeps.
func (d declared) almost(e declared) bool {
	if d.name != e.name || d.important != e.important {
		return false
	}
	for _, p := range [][2]string{{d.where, e.where}, {d.value, e.value}} {
		if p[0] == p[1] {
			continue
		}
		if decimal.ReplaceAllString(p[0], ".") != decimal.ReplaceAllString(p[1], ".") {
			return false
		}
		b, a := decimal.FindAllString(p[0], -1), decimal.FindAllString(p[1], -1)
		for i := range b {
			x, _ := strconv.ParseFloat(b[i], 64)
			y, _ := strconv.ParseFloat(a[i], 64)
			if math.Abs(x-y) > 2e-5*math.Max(x, y) {
				return false
			}
		}
	}
	return true
}

// certain says that every browser takes the value.
func (d declared) certain() bool { return isCertain(d.name, d.value) }

// compareCascade compares what is declared for one longhand.
func compareCascade(before, after []declared) (Finding, bool) {
	before, after = reduce(before), reduce(after)
	for i := range max(len(before), len(after)) {
		switch {
		case i >= len(after):
			return Finding{Cascade, fmt.Sprintf("%q is no longer declared", before[i].name), before[i].String(), ""}, false
		case i >= len(before):
			return Finding{Cascade, fmt.Sprintf("%q is declared anew", after[i].name), "", after[i].String()}, false
		case before[i] != after[i] && !before[i].almost(after[i]):
			return Finding{Cascade, fmt.Sprintf("%q is declared differently", before[i].name), before[i].String(), after[i].String()}, false
		}
	}
	return Finding{}, true
}

// reduce leaves out declarations that a later one of the same place is certain to override.
func reduce(list []declared) []declared {
	type place struct {
		where     string
		important bool
	}
	later := map[place]bool{}
	next := map[place]declared{}
	kept := make([]declared, 0, len(list))
	certain := map[[2]string]bool{} // the same values come again and again
	for i := len(list) - 1; i >= 0; i-- {
		d := list[i]
		if later[place{d.where, d.important}] || later[place{d.where, true}] {
			continue
		}
		if n, ok := next[place{d.where, d.important}]; ok && n == d {
			continue
		}
		next[place{d.where, d.important}] = d
		value := [2]string{d.name, d.value}
		isCertain, ok := certain[value]
		if !ok {
			isCertain = d.certain()
			certain[value] = isCertain
		}
		if isCertain {
			later[place{d.where, d.important}] = true
		}
		kept = append(kept, d)
	}
	slices.Reverse(kept)
	return kept
}

// styles is a sheet by what it comes to.
type styles struct {
	charset    string
	statements []string              // @import, @namespace and the like, in order
	layers     []string              // names of layers in order of first use
	displays   []string              // font-display of each font
	longhands  map[string][]declared // by layer and name
	known      map[string]bool       // layers
	count      int
}

const maxDeclared = 4 << 20

var errSheetSize = fmt.Errorf("more declarations than the guard compares")

func newStyles() *styles {
	return &styles{longhands: map[string][]declared{}, known: map[string]bool{}}
}

// declare notes a declaration for each selector of a rule.
func (s *styles) declare(layer string, where []string, name, value string, important bool) error {
	for _, long := range expand(name, value) {
		key := layer + "\x00" + long.family
		for _, w := range where {
			if s.count++; s.count > maxDeclared {
				return errSheetSize
			}
			s.longhands[key] = append(s.longhands[key], declared{w, long.name, long.value, important})
		}
	}
	return nil
}

func (s *styles) layer(name string) {
	if !s.known[name] {
		s.known[name] = true
		s.layers = append(s.layers, name)
	}
}

func readSheet(source []byte) (*styles, error) {
	p := newSheetParser(bytes.TrimPrefix(source, mark))
	items, err := p.items(0)
	if err != nil {
		return nil, err
	}
	s := newStyles()
	return s, s.rules(items, scope{})
}

func readDeclarations(source []byte) (*styles, error) {
	p := newSheetParser(source)
	items, err := p.items(0)
	if err != nil {
		return nil, err
	}
	s := newStyles()
	return s, s.rules(items, scope{selectors: []string{"style"}})
}

// scope is where a rule stands.
type scope struct {
	conditions string
	layer      string
	selectors  []string
}

func (s *styles) rules(items []item, in scope) error {
	for i := range items {
		it := &items[i]
		var err error
		switch {
		case it.at != "":
			err = s.atRule(it, in)
		case it.block:
			err = s.rules(it.items, s.nest(it, in))
		default:
			err = s.declaration(it, in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *styles) nest(it *item, in scope) scope {
	group := selectors(it.prelude)
	out := in
	out.selectors = nil
	risky := ""
	for _, sel := range group {
		if isRisky(sel) {
			sorted := slices.Clone(group)
			slices.Sort(sorted)
			risky = " of group " + strings.Join(sorted, ", ")
		}
	}
	if len(in.selectors) == 0 {
		for _, sel := range group {
			out.selectors = append(out.selectors, in.conditions+sel+risky)
		}
		return out
	}
	outer := strings.Join(in.selectors, ", ")
	for _, sel := range group {
		out.selectors = append(out.selectors, outer+" nests "+sel+risky)
	}
	return out
}

func (s *styles) atRule(it *item, in scope) error {
	prelude := strings.TrimSpace(preludeText(it.at, it.prelude))
	if !it.block {
		switch it.at {
		case "charset":
			s.charset = strings.ToLower(prelude)
		case "layer":
			for _, name := range strings.Split(prelude, ",") {
				s.layer(joinLayer(in.layer, strings.TrimSpace(name)))
			}
		default:
			s.statements = append(s.statements, in.conditions+"@"+it.at+" "+prelude)
		}
		return nil
	}
	out := in
	switch it.at {
	case "layer":
		name := prelude
		if name == "" {
			name = fmt.Sprintf("(unnamed %d)", len(s.layers))
		}
		out.layer = joinLayer(in.layer, name)
		s.layer(out.layer)
		return s.rules(it.items, out)
	case "font-face":
		return s.fontFace(it, in)
	case "media", "supports", "container", "scope", "starting-style", "document", "-moz-document":
		out.conditions = in.conditions + "@" + it.at + " " + prelude + " "
		for i, sel := range in.selectors {
			out.selectors = slices.Clone(out.selectors)
			out.selectors[i] = "@" + it.at + " " + prelude + " " + sel
		}
		return s.rules(it.items, out)
	case "keyframes", "-webkit-keyframes", "-moz-keyframes", "-o-keyframes":
		out.conditions = in.conditions + "@" + it.at + " " + prelude + " "
		out.selectors = nil
		s.longhands["@"+it.at] = append(s.longhands["@"+it.at], declared{where: out.conditions + in.layer})
		return s.rules(it.items, out)
	}
	// everything else holds descriptors, or rules of its own kind
	out.selectors = []string{in.conditions + "@" + it.at + " " + prelude}
	out.conditions = ""
	return s.rules(it.items, out)
}

func joinLayer(outer, name string) string {
	if outer == "" {
		return name
	}
	return outer + "." + name
}

// fontFace notes a font: all its descriptors together, since several faces have one name.
func (s *styles) fontFace(it *item, in scope) error {
	var all []string
	display := ""
	for i := range it.items {
		d := &it.items[i]
		if d.block || d.at != "" {
			continue
		}
		if d.name == "font-display" {
			display = valueText(d.name, d.value)
			continue
		}
		all = append(all, d.name+": "+valueText(d.name, d.value))
	}
	slices.SortStableFunc(all, func(a, b string) int {
		return strings.Compare(strings.SplitN(a, ":", 2)[0], strings.SplitN(b, ":", 2)[0])
	})
	s.displays = append(s.displays, display)
	s.longhands["@font-face"] = append(s.longhands["@font-face"],
		declared{where: in.conditions + in.layer + "@font-face", name: "@font-face", value: strings.Join(all, "; ")})
	return nil
}

func (s *styles) declaration(it *item, in scope) error {
	if it.name == "" || strings.HasPrefix(it.name, "*") || strings.HasPrefix(it.name, "-ms-") || strings.HasPrefix(it.name, "-o-") {
		return nil // no browser of today reads them
	}
	where := in.selectors
	if where == nil {
		where = []string{in.conditions}
	}
	return s.declare(in.layer, where, it.name, valueText(it.name, it.value), it.important)
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
