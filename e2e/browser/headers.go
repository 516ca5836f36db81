package browser

import (
	"fmt"
	"strings"
)

// headerRule is one header for the paths of one pattern of a _headers file, as Netlify and
// Cloudflare Pages read it.
type headerRule struct{ pattern, name, value string }

// parseHeaders reads a _headers file: a path at the start of a line, its headers indented below it.
func parseHeaders(text string) ([]headerRule, error) {
	var rules []headerRule
	pattern := ""
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case line[0] != ' ' && line[0] != '\t':
			pattern = trimmed
		default:
			name, value, ok := strings.Cut(trimmed, ":")
			if !ok || pattern == "" {
				return nil, fmt.Errorf("line %d is not a header of a path: %q", i+1, trimmed)
			}
			rules = append(rules, headerRule{pattern, name, strings.TrimSpace(value)})
		}
	}
	return rules, nil
}

// matches says whether a path is one of the pattern's: * stands for anything, :name for one
// segment.
func (r headerRule) matches(urlPath string) bool { return matchPath(r.pattern, urlPath) }

func matchPath(pattern, urlPath string) bool {
	if pattern == "" {
		return urlPath == ""
	}
	switch {
	case pattern[0] == '*':
		for i := range len(urlPath) + 1 {
			if matchPath(pattern[1:], urlPath[i:]) {
				return true
			}
		}
		return false
	case pattern[0] == ':':
		return matchPath(afterSegment(pattern), afterSegment(urlPath))
	default:
		return urlPath != "" && pattern[0] == urlPath[0] && matchPath(pattern[1:], urlPath[1:])
	}
}

func afterSegment(s string) string {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[i:]
	}
	return ""
}
