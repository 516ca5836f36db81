package guard

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
)

// memo remembers what was found about inline code: most pages of a site have the same. It holds
// only answers, and those of maxMemo contents at most.
type memo struct {
	mu     sync.Mutex
	known  map[[sha256.Size]byte]bool
	styles map[[2]string]bool // of style attributes
}

const (
	maxMemo      = 10_000
	maxMemoStyle = 1 << 10 // bytes of a style attribute that is remembered, before and after
)

// sameRaw compares the content of script and style elements. kind is the type of a script.
func (m *memo) sameRaw(name, kind string, source, result []byte) bool {
	source, result = bytes.TrimSpace(source), bytes.TrimSpace(result)
	if bytes.Equal(source, result) {
		return true
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%d\n", name, kind, len(source))
	h.Write(source)
	h.Write(result)
	key := [sha256.Size]byte(h.Sum(nil))
	m.mu.Lock()
	same, known := m.known[key]
	m.mu.Unlock()
	if known {
		return same
	}
	same = sameInline(name, kind, source, result)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) < maxMemo {
		m.known[key] = same
	}
	return same
}

// sameDeclarations compares two values of the style attribute.
func (m *memo) sameDeclarations(source, result string) bool {
	key := [2]string{source, result}
	m.mu.Lock()
	same, known := m.styles[key]
	m.mu.Unlock()
	if known {
		return same
	}
	same = compareDeclarations(source, result)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.styles) < maxMemo && len(source)+len(result) < maxMemoStyle {
		m.styles[key] = same
	}
	return same
}

func sameInline(name, kind string, source, result []byte) bool {
	if name == "style" {
		return len(compareSheet(source, result)) == 0
	}
	switch kind := strings.ToLower(strings.TrimSpace(kind)); kind {
	case "", "text/javascript", "application/javascript", "module":
		return !endsScript(source, result) && len(compareScript(source, result, kind == "module")) == 0
	case "application/json", "application/ld+json", "importmap", "speculationrules":
		return len(compareJSON(source, result)) == 0
	}
	return false
}

// endsScript says whether a result holds what ends or changes a script element, and the source does
// not.
// https://html.spec.whatwg.org/multipage/scripting.html#restrictions-for-contents-of-script-elements
func endsScript(source, result []byte) bool {
	was, is := bytes.ToLower(source), bytes.ToLower(result)
	for _, mark := range [...]string{"</script", "<!--"} {
		if bytes.Contains(is, []byte(mark)) && !bytes.Contains(was, []byte(mark)) {
			return true
		}
	}
	return false
}
