package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The listing is git's: what is tracked or could be added, and nothing that is ignored, deleted or
// a link.
func TestOpenCheckout(t *testing.T) {
	t.Parallel()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", folder}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	for _, name := range []string{"tracked", "deleted", "new", "ignored.db"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, ".gitignore"), []byte("*.db\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	git("add", "tracked", "deleted", "link")
	if err := os.Remove(filepath.Join(folder, "deleted")); err != nil {
		t.Fatal(err)
	}

	got, err := openCheckout(t.Context(), func(ctx context.Context, name string, args ...string) (string, error) {
		return output(ctx, name, append([]string{"-C", folder}, args...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".gitignore", "new", "tracked"}, got.names); diff != "" || got.root != folder {
		t.Errorf("openCheckout = root %s, want %s; names (-want +got):\n%s", got.root, folder, diff)
	}
}
