package script_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pageflare/ci/action/guard/script"
)

func BenchmarkCompare(b *testing.B) {
	files, err := filepath.Glob("../../../e2e/sites/vitepress/dist/assets/chunks/*.js")
	if err != nil || len(files) == 0 {
		b.Fatalf("Glob = %v, %v", files, err)
	}
	var all [][]byte
	var size int64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		all, size = append(all, text), size+int64(len(text))
	}
	b.SetBytes(size)
	for b.Loop() {
		for _, text := range all {
			if f := script.Compare(text, bytes.Clone(text), true); len(f) > 0 {
				b.Fatal(f)
			}
		}
	}
}
