package store_test

import (
	"io/fs"
	"testing"

	"github.com/pageflare/ci/service/store"
)

// migrationTexts is our migrations in their order.
func migrationTexts(t *testing.T) (texts []string) {
	t.Helper()
	names, err := fs.Glob(store.Migrations(), "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(store.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}
