package guard

import (
	"fmt"
	"strings"
)

// sameAttributes says whether two start tags of one element mean the same, and how they differ if
// not. The order never counts. What the optimizer may add to an element of its own accord is in
// mayAdd.
func sameAttributes(name string, source, result []attribute, memo *memo) (same bool, detail string) {
	for _, a := range source {
		v, ok := get(result, a.name)
		switch {
		case !ok:
			return false, fmt.Sprintf("<%s> lost its attribute %s", name, a.name)
		case !sameValue(name, a.name, a.value, v, memo):
			return false, fmt.Sprintf("<%s> has another %s", name, a.name)
		}
	}
	if len(source) == len(result) {
		return true, ""
	}
	for _, a := range result {
		if !has(source, a.name) && !mayAdd(name, a) {
			return false, fmt.Sprintf("<%s> got an attribute %s", name, a.name)
		}
	}
	return true, ""
}

// mayAdd are the attributes that say when something is loaded and change nothing of what is there.
// https://html.spec.whatwg.org/multipage/urls-and-fetching.html#lazy-loading-attributes
func mayAdd(element string, a attribute) bool {
	switch a.name {
	case "loading":
		return (element == "img" || element == "iframe") && a.value == "lazy"
	case "decoding":
		return element == "img" && (a.value == "async" || a.value == "auto")
	case "fetchpriority":
		return element == "img"
	}
	return false
}

// booleans are the attributes whose presence alone counts.
// https://html.spec.whatwg.org/multipage/indices.html#attributes-3
var booleans = map[string]bool{
	"allowfullscreen": true, "async": true, "autofocus": true, "autoplay": true, "checked": true, "controls": true, "default": true,
	"defer": true, "disabled": true, "formnovalidate": true, "inert": true, "ismap": true, "itemscope": true, "loop": true,
	"multiple": true, "muted": true, "nomodule": true, "novalidate": true, "open": true, "playsinline": true, "readonly": true,
	"required": true, "reversed": true, "selected": true,
}

// addresses are the attributes that hold one URL, which browsers trim.
var addresses = map[string]bool{
	"action": true, "cite": true, "data": true, "formaction": true, "href": true, "poster": true, "src": true,
}

// holders are the elements on which a boolean attribute means something. On all others, those of
// the page's own making and of SVG among them, it means what scripts and style sheets take its
// value for.
var holders = setOf(`audio button details dialog fieldset form iframe img input link ol optgroup option script select style
	textarea track video`)

// isBoolean says whether the presence of the attribute alone counts.
func isBoolean(element, name string) bool {
	if name == "autofocus" || name == "inert" || name == "itemscope" { // of all elements of HTML
		return !strings.ContainsAny(element, "-:")
	}
	return booleans[name] && holders[element]
}

func sameValue(element, name, source, result string, memo *memo) bool {
	switch {
	case source == result, isBoolean(element, name):
		return true
	case name == "crossorigin": // https://html.spec.whatwg.org/multipage/urls-and-fetching.html#cors-settings-attributes
		return strings.EqualFold(orElse(source, "anonymous"), orElse(result, "anonymous"))
	case name == "class":
		return strings.Trim(collapse(source), " ") == strings.Trim(collapse(result), " ")
	case name == "style":
		return memo.sameDeclarations(source, result)
	case addresses[name]:
		return strings.Trim(source, " \t\n\r\f") == strings.Trim(result, " \t\n\r\f")
	}
	return false
}
