package sheet

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// longhand is what a declaration says about one property. Properties of one family are compared in
// one sequence.
type longhand struct{ family, name, value string }

// words splits a value at spaces that stand outside of brackets and strings, and keeps "/" and ","
// as words of their own.
func words(s string) []string {
	var list []string
	depth, start := 0, 0
	quoted := false
	flush := func(end int) {
		if end > start {
			list = append(list, s[start:end])
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted:
			if c == '\\' {
				i++
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		case depth == 0 && (c == ' ' || c == '/' || c == ','):
			flush(i)
			if c != ' ' {
				list = append(list, string(c))
			}
			start = i + 1
		}
	}
	flush(len(s))
	return list
}

// layers splits a value at its commas.
func commaList(s string) [][]string {
	list := [][]string{nil}
	for _, w := range words(s) {
		if w == "," {
			list = append(list, nil)
		} else {
			list[len(list)-1] = append(list[len(list)-1], w)
		}
	}
	return list
}

var sides = []string{"top", "right", "bottom", "left"}

// boxes are shorthands of four sides, by the pattern of their longhands.
var boxes = map[string][]string{
	"margin": around("margin-", ""), "padding": around("padding-", ""), "inset": around("", ""),
	"border-width": around("border-", "-width"), "border-style": around("border-", "-style"), "border-color": around("border-", "-color"),
	"scroll-margin": around("scroll-margin-", ""), "scroll-padding": around("scroll-padding-", ""),
}

func around(before, after string) []string {
	list := make([]string, 4)
	for i, side := range sides {
		list[i] = before + side + after
	}
	return list
}

var pairs = map[string][]string{
	"overflow": {"overflow-x", "overflow-y"}, "gap": {"row-gap", "column-gap"}, "grid-gap": {"row-gap", "column-gap"},
	"place-items": {"align-items", "justify-items"}, "place-content": {"align-content", "justify-content"},
	"place-self": {"align-self", "justify-self"}, "overscroll-behavior": {"overscroll-behavior-x", "overscroll-behavior-y"},
	"margin-inline": {"margin-inline-start", "margin-inline-end"}, "margin-block": {"margin-block-start", "margin-block-end"},
	"padding-inline": {"padding-inline-start", "padding-inline-end"}, "padding-block": {"padding-block-start", "padding-block-end"},
	"inset-inline": {"inset-inline-start", "inset-inline-end"}, "inset-block": {"inset-block-start", "inset-block-end"},
}

var wide = map[string]bool{"inherit": true, "initial": true, "unset": true, "revert": true, "revert-layer": true}

// expand lists what a declaration says, longhand by longhand where its value can be taken apart.
func expand(name, value string) []longhand {
	if strings.HasPrefix(name, "--") {
		return []longhand{{name, name, value}}
	}
	w := words(value)
	whole := wide[value] || strings.Contains(value, "var(") || strings.Contains(value, "env(")
	each := func(names []string, values []string) []longhand {
		list := make([]longhand, len(names))
		for i, n := range names {
			v := name + ": " + value // of a whole that cannot be taken apart
			if wide[value] {
				v = value
			} else if values != nil {
				v = values[i]
			}
			list[i] = longhand{n, n, v}
		}
		return list
	}
	if names, ok := boxes[name]; ok {
		if whole || len(w) == 0 || len(w) > 4 {
			return each(names, nil)
		}
		return each(names, four(w))
	}
	if names, ok := pairs[name]; ok {
		if whole || len(w) == 0 || len(w) > 2 {
			return each(names, nil)
		}
		return each(names, []string{w[0], w[len(w)-1]})
	}
	switch name {
	case "font":
		if values := fontValues(value); !whole && values != nil {
			return each(fontNames, values)
		}
		return each(fontNames, nil)
	case "animation", "-webkit-animation":
		names := make([]string, len(animationNames))
		for i, n := range animationNames {
			names[i] = name + n
		}
		if values := animationValues(w); !whole && values != nil {
			return each(names, values)
		}
		return each(names, nil)
	case "border-radius":
		return expandRadius(value, w, whole, each)
	case "border":
		list := expandLine(name, value, w, whole, []string{"border-top", "border-right", "border-bottom", "border-left"})
		return append(list, longhand{"border-image", "border-image", "none"})
	case "border-top", "border-right", "border-bottom", "border-left":
		return expandLine(name, value, w, whole, []string{name})
	case "outline":
		return expandLine(name, value, w, whole, []string{name})
	case "container":
		if i := slices.Index(w, "/"); i == 1 && len(w) == 3 && !whole {
			return each([]string{"container-name", "container-type"}, []string{w[0], w[2]})
		}
	case "flex":
		names := []string{"flex-grow", "flex-shrink", "flex-basis"}
		if values := flexValues(w); !whole && values != nil {
			return each(names, values)
		}
		return each(names, nil)
	case "flex-flow":
		if whole {
			return each([]string{"flex-direction", "flex-wrap"}, nil)
		}
		values := []string{"row", "nowrap"}
		for _, x := range w {
			if strings.Contains(x, "wrap") {
				values[1] = x
			} else {
				values[0] = x
			}
		}
		return each([]string{"flex-direction", "flex-wrap"}, values)
	case "background":
		return expandBackground(value, whole, each)
	case "-webkit-border-radius", "-moz-border-radius":
		return []longhand{{name, name, strings.Join(four(w), " ")}}
	}
	return []longhand{{family(name), name, value}}
}

// families are shorthands that are not taken apart: they and their longhands are one sequence.
var families = []string{"transition", "grid", "list-style", "text-decoration", "mask", "columns", "border-image",
	"-webkit-mask", "-webkit-transition", "text-emphasis", "border-inline", "border-block", "background"}

func family(name string) string {
	switch name {
	case "text-decoration-skip-ink", "text-decoration-skip":
		return name
	case "column-width", "column-count":
		return "columns"
	case "background-color", "background-image", "background-position", "background-size", "background-repeat",
		"background-attachment", "background-origin", "background-clip":
		return name
	}
	for _, f := range families {
		if name == f || strings.HasPrefix(name, f+"-") {
			return f
		}
	}
	return name
}

func four(w []string) []string {
	switch len(w) {
	case 1:
		return []string{w[0], w[0], w[0], w[0]}
	case 2:
		return []string{w[0], w[1], w[0], w[1]}
	case 3:
		return []string{w[0], w[1], w[2], w[1]}
	}
	return w
}

func expandRadius(value string, w []string, whole bool, each func([]string, []string) []longhand) []longhand {
	names := []string{"border-top-left-radius", "border-top-right-radius", "border-bottom-right-radius", "border-bottom-left-radius"}
	horizontal, vertical := w, []string(nil)
	if i := slices.Index(w, "/"); i >= 0 {
		horizontal, vertical = w[:i], w[i+1:]
	}
	if whole || len(horizontal) == 0 || len(horizontal) > 4 || len(vertical) > 4 {
		return each(names, nil)
	}
	values := slices.Clone(four(horizontal))
	if len(vertical) > 0 {
		for i, v := range four(vertical) {
			if values[i] != v {
				values[i] += " " + v
			}
		}
	}
	return each(names, values)
}

var lineStyles = map[string]bool{"none": true, "hidden": true, "dotted": true, "dashed": true, "solid": true, "double": true,
	"groove": true, "ridge": true, "inset": true, "outset": true, "auto": true}
var lineWidth = regexp.MustCompile(`^(thin|medium|thick|[-+.0-9].*|calc\(.*|min\(.*|max\(.*|clamp\(.*)$`)

// expandLine takes border and outline apart.
func expandLine(name, value string, w []string, whole bool, lines []string) []longhand {
	width, style, colour := "medium", "none", "currentcolor"
	seen := map[string]bool{}
	for _, x := range w {
		kind := "colour"
		switch {
		case lineStyles[x]:
			kind, style = "style", x
		case lineWidth.MatchString(x):
			kind, width = "width", x
		default:
			colour = x
		}
		whole = whole || seen[kind]
		seen[kind] = true
	}
	if name == "outline" && !seen["colour"] {
		colour = "auto"
	}
	switch {
	case wide[value]:
		width, style, colour = value, value, value
	case whole || len(w) == 0:
		v := name + ": " + value
		width, style, colour = v, v, v
	}
	var list []longhand
	for _, line := range lines {
		for i, v := range []string{width, style, colour} {
			n := line + []string{"-width", "-style", "-color"}[i]
			list = append(list, longhand{n, n, v})
		}
	}
	return list
}

var plainNumber = regexp.MustCompile(`^[-+]?[0-9.]+(e[-+]?[0-9]+)?$`)

func flexValues(w []string) []string {
	switch {
	case len(w) == 1 && w[0] == "none":
		return []string{"0", "0", "auto"}
	case len(w) == 1 && w[0] == "auto":
		return []string{"1", "1", "auto"}
	case len(w) == 0 || len(w) > 3:
		return nil
	}
	values := []string{"1", "1", "0%"}
	numbers := 0
	for _, x := range w {
		if plainNumber.MatchString(x) && numbers < 2 {
			values[numbers] = x
			numbers++
		} else {
			values[2] = x
		}
	}
	return values
}

var backgroundNames = []string{"background-color", "background-image", "background-position", "background-size", "background-repeat",
	"background-attachment", "background-origin", "background-clip"}

// expandBackground takes a background of one layer apart, and leaves one of many as it is.
func expandBackground(value string, whole bool, each func([]string, []string) []longhand) []longhand {
	layers := commaList(value)
	if whole || len(layers) != 1 {
		return each(backgroundNames, nil)
	}
	values := []string{"#00000000", "none", "0% 0%", "auto", "repeat", "scroll", "padding-box", "border-box"}
	var position, size, repeat, box []string
	for i, afterSlash := 0, false; i < len(layers[0]); i++ {
		switch x := layers[0][i]; {
		case x == "/":
			afterSlash = true
		case strings.HasPrefix(x, "#"), x == "currentcolor":
			values[0] = x
		case strings.HasPrefix(x, "url("), strings.Contains(x, "gradient("), strings.HasPrefix(x, "image-set("), x == "none":
			values[1] = x
		case x == "repeat" || x == "no-repeat" || x == "repeat-x" || x == "repeat-y" || x == "space" || x == "round":
			repeat = append(repeat, x)
		case x == "scroll" || x == "fixed" || x == "local":
			values[5] = x
		case strings.HasSuffix(x, "-box"):
			box = append(box, x)
		case isPosition(x) && !afterSlash:
			position = append(position, x)
		case (isPosition(x) || x == "auto" || x == "cover" || x == "contain") && afterSlash:
			size = append(size, x)
		default:
			return each(backgroundNames, nil)
		}
	}
	if position != nil {
		values[2] = positionText(strings.Join(position, " "))
	}
	if size != nil {
		values[3] = sizeText(strings.Join(size, " "))
	}
	if repeat != nil {
		values[4] = repeatText(strings.Join(repeat, " "))
	}
	if box != nil {
		values[6], values[7] = box[0], box[len(box)-1]
	}
	return each(backgroundNames, values)
}

var positionWord = regexp.MustCompile(`^(left|right|top|bottom|center|[-+.0-9].*|calc\(.*)$`)

func isPosition(s string) bool { return positionWord.MatchString(s) }

// positionText writes a position of up to two words as two lengths.
func positionText(s string) string {
	w := words(s)
	if len(w) == 1 {
		if w[0] == "top" || w[0] == "bottom" {
			w = []string{"center", w[0]}
		} else {
			w = append(w, "center")
		}
	}
	if len(w) == 4 && (w[0] == "top" || w[0] == "bottom") {
		return strings.Join([]string{w[2], w[3], w[0], w[1]}, " ")
	}
	if len(w) != 2 {
		return s
	}
	if w[0] == "top" || w[0] == "bottom" || w[1] == "left" || w[1] == "right" {
		w = []string{w[1], w[0]}
	}
	for i, x := range w {
		switch x {
		case "left", "top", "0":
			w[i] = "0%"
		case "center":
			w[i] = "50%"
		case "right", "bottom":
			w[i] = "100%"
		}
	}
	return strings.Join(w, " ")
}

func sizeText(s string) string {
	return strings.TrimSuffix(s, " auto")
}

func repeatText(s string) string {
	switch s {
	case "repeat no-repeat":
		return "repeat-x"
	case "no-repeat repeat":
		return "repeat-y"
	}
	if w := words(s); len(w) == 2 && w[0] == w[1] {
		return w[0]
	}
	return s
}

var directions = map[string]string{"to top,": "0deg,", "to right,": "90deg,", "to bottom,": "", "to left,": "270deg,", "180deg,": ""}
var gradient = regexp.MustCompile(`(linear-gradient\()(to (?:top|right|bottom|left),|180deg,|0,)`)

// doubleStop is a colour with two places in a gradient, short for two stops.
var doubleStop = regexp.MustCompile(`(#[0-9a-f]{8}) ([-.0-9a-z]+%?) ([-.0-9a-z]+%?)([,)])`)

var currentColour = regexp.MustCompile(`(?i)\bcurrentcolor\b`)

// gradients writes directions as angles, leaves the usual one out, and gives each stop one place.
func gradients(value string) string {
	value = gradient.ReplaceAllStringFunc(value, func(g string) string {
		m := gradient.FindStringSubmatch(g)
		if d, ok := directions[m[2]]; ok {
			return m[1] + d
		}
		return m[1] + "0deg,"
	})
	return upward(doubleStop.ReplaceAllString(value, "$1 $2,$1 $3$4"))
}

// upward writes gradients that run from bottom to top as the same from top to bottom.
func upward(value string) string {
	const begin = "linear-gradient(0deg,"
	for {
		i := strings.Index(value, begin)
		if i < 0 {
			return value
		}
		inside := value[i+len(begin):]
		depth, end := 1, 0
		for ; end < len(inside) && depth > 0; end++ {
			switch inside[end] {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		if depth > 0 {
			return value
		}
		stops := commaList(inside[:end-1])
		slices.Reverse(stops)
		parts := make([]string, len(stops))
		for k, stop := range stops {
			for j, w := range stop {
				if p, ok := strings.CutSuffix(w, "%"); ok {
					f, err := strconv.ParseFloat(p, 64)
					if err != nil {
						return value
					}
					stop[j] = short(100-f) + "%"
				} else if j > 0 {
					return value
				}
			}
			parts[k] = strings.Join(stop, " ")
		}
		value = value[:i] + "linear-gradient(" + strings.Join(parts, ",") + ")" + inside[end:]
	}
}

// canonical takes out what makes no difference for a property.
func canonical(name, value string) string {
	value = foldCalc(value)
	if strings.Contains(value, "urrent") {
		value = currentColour.ReplaceAllString(value, "currentcolor")
	}
	if strings.Contains(value, "gradient(") {
		value = gradients(value)
	}
	bare := strings.TrimPrefix(strings.TrimPrefix(name, "-webkit-"), "-moz-")
	switch bare {
	case "font-weight":
		return strings.NewReplacer("bold", "700", "normal", "400").Replace(value)
	case "font-family":
		return familyNames(value)
	case "transition":
		return timed(value)
	case "stroke-width", "stroke-dashoffset", "stroke-dasharray", "stroke-miterlimit":
		return strings.ReplaceAll(value, "px", "")
	case "box-shadow", "text-shadow":
		return shadows(value)
	case "mask-position", "background-position", "object-position", "transform-origin", "perspective-origin":
		if !strings.Contains(value, ",") {
			return positionText(value)
		}
	case "background-size":
		return sizeText(value)
	case "aspect-ratio":
		return strings.TrimSuffix(value, "/1")
	case "grid-auto-flow":
		return strings.TrimPrefix(value, "row ")
	case "animation":
		return manyAnimations(value)
	case "list-style":
		if w := words(value); len(w) > 1 {
			w = slices.DeleteFunc(w, func(x string) bool { return x == "disc" || x == "outside" })
			slices.Sort(w)
			if len(w) == 0 {
				return "disc"
			}
			return strings.Join(w, " ")
		}
		if value == "outside" {
			return "disc"
		}
	case "background-repeat":
		return repeatText(value)
	case "transform":
		return transforms(value)
	case "filter", "backdrop-filter":
		return wholeFilter.ReplaceAllString(value, "$1$2()")
	case "opacity", "fill-opacity", "stroke-opacity":
		if p, ok := strings.CutSuffix(value, "%"); ok {
			if f, err := strconv.ParseFloat(p, 64); err == nil {
				return short(f / 100)
			}
		}
	case "transition-timing-function", "animation-timing-function":
		return easing.Replace(value)
	}
	return value
}

// wholeFilter are filters whose argument is the one that they have without it.
// https://drafts.fxtf.org/filter-effects/#filter-functions
var wholeFilter = regexp.MustCompile(
	`(grayscale|sepia|invert|brightness|contrast|saturate|opacity)\((?:1|100%)\)|(blur|hue-rotate)\(0\)`)

var easing = strings.NewReplacer("cubic-bezier(.25,.1,.25,1)", "ease", "cubic-bezier(0.25,0.1,0.25,1)", "ease",
	"cubic-bezier(0.42,0,1,1)", "ease-in", "cubic-bezier(0,0,0.58,1)", "ease-out", "cubic-bezier(0.42,0,0.58,1)", "ease-in-out",
	"steps(1,end)", "step-end", "steps(1)", "step-end", "steps(1,start)", "step-start", "steps(1,jump-start)", "step-start", ",end)", ")", ",jump-end)", ")")

// familyNames takes the quotes off names of fonts that need none.
func familyNames(value string) string {
	list := commaList(value)
	names := make([]string, len(list))
	for i, w := range list {
		names[i] = strings.Join(w, " ")
		if n := len(names[i]); n > 2 && names[i][0] == '"' && bareName.MatchString(names[i][1:n-1]) && !generic[names[i][1:n-1]] {
			names[i] = names[i][1 : n-1]
		}
	}
	return strings.Join(names, ",")
}

var bareName = regexp.MustCompile(`^-?[a-zA-Z_][-\w]*( -?[a-zA-Z_][-\w]*)*$`)
var generic = map[string]bool{"serif": true, "sans-serif": true, "monospace": true, "cursive": true, "fantasy": true, "system-ui": true,
	"inherit": true, "initial": true, "unset": true, "default": true, "ui-serif": true, "ui-sans-serif": true, "ui-monospace": true,
	"ui-rounded": true, "math": true, "emoji": true, "fangsong": true, "revert": true, "revert-layer": true}

var fontNames = []string{"font-style", "font-variant", "font-weight", "font-stretch", "font-size", "line-height", "font-family"}

// fontValues takes the font shorthand apart; nil where that does not work out.
func fontValues(value string) []string {
	first, rest, more := strings.Cut(value, ",")
	w := words(first)
	values := []string{"normal", "normal", "400", "normal", "", "normal", ""}
	i := 0
	for ; i < len(w) && values[4] == ""; i++ {
		switch x := w[i]; {
		case x == "italic" || x == "oblique":
			values[0] = x
		case x == "small-caps":
			values[1] = x
		case x == "bold":
			values[2] = "700"
		case x == "bolder" || x == "lighter" || plainNumber.MatchString(x) && x != "0":
			values[2] = x
		case strings.HasSuffix(x, "condensed") || strings.HasSuffix(x, "expanded"):
			values[3] = x
		case x == "normal":
		default:
			values[4] = x
		}
	}
	if i+1 < len(w) && w[i] == "/" {
		values[5] = w[i+1]
		i += 2
	}
	if i >= len(w) {
		return nil
	}
	names := strings.Join(w[i:], " ")
	if more {
		names += "," + rest
	}
	values[6] = familyNames(names)
	return values
}

var animationNames = []string{"-name", "-duration", "-timing-function", "-delay", "-iteration-count", "-direction", "-fill-mode", "-play-state"}

// animationValues takes one animation apart; nil where there are many.
func animationValues(w []string) []string {
	values := []string{"none", "0s", "ease", "0s", "1", "normal", "none", "running"}
	times := 0
	for _, x := range w {
		x = easing.Replace(x)
		switch {
		case x == ",":
			return nil
		case isTime.MatchString(x):
			if times > 1 {
				return nil
			}
			values[1+2*times] = x
			times++
		case x == "ease" || x == "linear" || strings.HasPrefix(x, "ease-") || strings.HasPrefix(x, "step") || strings.HasPrefix(x, "cubic-bezier("):
			values[2] = x
		case x == "infinite" || plainNumber.MatchString(x):
			values[4] = x
		case x == "normal" || x == "reverse" || strings.HasPrefix(x, "alternate"):
			values[5] = x
		case x == "forwards" || x == "backwards" || x == "both":
			values[6] = x
		case x == "running" || x == "paused":
			values[7] = x
		case x == "none":
		case values[0] == "none":
			values[0] = x
		default:
			return nil
		}
	}
	return values
}

var isTime = regexp.MustCompile(`^[-+.0-9e]+m?s$`)

// timed writes transitions with their words in one order; the first time is the
// duration, the second the delay.
func timed(value string) string {
	list := commaList(value)
	items := make([]string, len(list))
	for i, w := range list {
		var times, rest []string
		for _, x := range w {
			x = easing.Replace(x)
			switch {
			case isTime.MatchString(x):
				times = append(times, x)
			case x == "ease", x == "all":
			default:
				rest = append(rest, x)
			}
		}
		if len(times) == 2 && times[1] == "0s" {
			times = times[:1]
		}
		if len(times) == 1 && times[0] == "0s" {
			times = nil
		}
		slices.Sort(rest)
		items[i] = strings.Join(append(rest, times...), " ")
	}
	return strings.Join(items, ",")
}

// manyAnimations writes each of a list of animations with its words in one order.
func manyAnimations(value string) string {
	list := commaList(value)
	if len(list) < 2 {
		return value
	}
	items := make([]string, len(list))
	for i, w := range list {
		v := animationValues(w)
		if v == nil {
			return value
		}
		items[i] = strings.Join(v, " ")
	}
	return strings.Join(items, ",")
}

// shadows writes inset and the colour of each shadow first, and leaves zeros at the end out.
func shadows(value string) string {
	list := commaList(value)
	items := make([]string, len(list))
	for i, w := range list {
		var lengths, rest []string
		for _, x := range w {
			if x != "" && (x[0] >= '0' && x[0] <= '9' || x[0] == '-' || x[0] == '.' || x[0] == '+') {
				lengths = append(lengths, x)
			} else {
				rest = append(rest, x)
			}
		}
		for len(lengths) > 2 && lengths[len(lengths)-1] == "0" {
			lengths = lengths[:len(lengths)-1]
		}
		slices.Sort(rest)
		items[i] = strings.Join(append(rest, lengths...), " ")
	}
	return strings.Join(items, ",")
}

var move = regexp.MustCompile(`(translate|scale)([XYZxyz]|3d)?\(([^()]*)\)`)

// transforms writes translations and scales with all three values.
func transforms(value string) string {
	value = move.ReplaceAllStringFunc(value, func(s string) string {
		m := move.FindStringSubmatch(s)
		args := strings.Split(m[3], ",")
		rest := "0"
		if m[1] == "scale" {
			rest = "1"
		}
		out := []string{rest, rest, rest} // the same picture in two dimensions and in three
		switch strings.ToLower(m[2]) {
		case "x":
			out[0] = args[0]
		case "y":
			out[1] = args[0]
		case "z":
			out[2] = args[0]
		case "3d":
			if len(args) != 3 {
				return s
			}
			copy(out, args)
		default:
			out[0] = args[0]
			if len(args) > 1 {
				out[1] = args[1]
			} else if m[1] == "scale" {
				out[1] = args[0]
			}
		}
		return m[1] + "3d(" + strings.Join(out, ",") + ")"
	})
	value = strings.NewReplacer("rotatez(", "rotate(", "rotate3d(0,0,1,", "rotate(", "rotate3d(1,0,0,", "rotatex(", "rotate3d(0,1,0,", "rotatey(", "skewx(", "skew(").Replace(value)
	return strings.ReplaceAll(value, ") ", ")")
}

// certainValue are values that every browser in use knows: numbers with old units, colours in
// hexadecimal, strings, and words.
var certainValue = regexp.MustCompile(`^(?:[-+]?[0-9.]+(?:e[-+]?[0-9]+)?(?:px|em|rem|%|pt|pc|cm|mm|in|ex|ch|vh|vw|vmin|vmax|s|deg|fr)?|#[0-9a-f]{6}ff|#00000000|#[0-9a-f]{8}|"[^"]*"|url\("[^"]*"\)|[a-zA-Z]+|[ ,/]|` +
	`(?:min-content|max-content|(?:inline|table|no|break|pre|border|padding|content|column|row|flex|space|sans|ease|list|zoom|upper|lower|nowrap|col|ew|ns)-[a-z]+(?:-[a-z]+)?)|(?:translate|scale)(?:2d|3d)\([-+.0-9a-z%,]*\)|rotate\([-+.0-9a-z]*\)|linear-gradient\([^()]*\))*$`)

var newWords = regexp.MustCompile(`\b(clip|sticky|contents|anywhere|balance|pretty|stable|subgrid|masonry|overlay|revert|unset|plaintext|lab|oklch|fit|stretch|dvh|svh|lvh)\b`)

// oldUnits are the units that every browser in use knows.
var oldUnits = map[string]bool{"px": true, "em": true, "rem": true, "pt": true, "pc": true, "cm": true, "mm": true, "in": true, "ex": true,
	"ch": true, "vh": true, "vw": true, "vmin": true, "vmax": true, "s": true, "deg": true, "fr": true, "d": true}

var literal = regexp.MustCompile(`#[0-9a-f]{8}|"[^"]*"`)
var unit = regexp.MustCompile(`[0-9]([a-zA-Z]+)`)

// maxCertain bounds the values that are looked into; longer ones are not certain.
const maxCertain = 2000

func isCertain(name, value string) bool {
	if len(value) > maxCertain || strings.Contains(value, "var(") {
		return strings.HasPrefix(name, "--")
	}
	for _, m := range unit.FindAllStringSubmatch(literal.ReplaceAllString(value, ""), -1) {
		if !oldUnits[m[1]] {
			return false
		}
	}
	return !strings.Contains(value, ": ") && certainValue.MatchString(value) && !newWords.MatchString(value) || strings.HasPrefix(name, "--")
}
