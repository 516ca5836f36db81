package rotation_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/rotation"
)

// The codes of failures are the same in the program, in docs/webhooks.md and in openapi.yaml.
func TestTheCodesAreInTheDocuments(t *testing.T) {
	t.Parallel()
	read := func(path ...string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(path...))
		must(t, err)
		return string(text)
	}
	_, section, _ := strings.Cut(read("..", "..", "docs", "webhooks.md"), "### When a secret cannot be written")
	spec := read("..", "api", "openapi.yaml")
	var listed []rotation.Code
	for line := range strings.Lines(section) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			listed = append(listed, rotation.Code(name))
		}
	}
	same(t, slices.Sorted(slices.Values(rotation.Codes)), slices.Sorted(slices.Values(listed)))
	_, enum, _ := strings.Cut(spec, "    RotationFailure:")
	_, enum, _ = strings.Cut(enum, "x-extensible-enum: [")
	enum, _, _ = strings.Cut(enum, "]")
	var codes []string
	for _, c := range rotation.Codes {
		codes = append(codes, string(c))
	}
	same(t, strings.Join(codes, ", "), enum)
}
