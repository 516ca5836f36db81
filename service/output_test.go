package main

import (
	"strings"
	"testing"
	"unicode"
)

// A name may hold anything; a terminal that prints it obeys none of it.
func TestNoCommandPrintsControlCharacters(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	account := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "id")
	b.ok("api-token", "create", "--account", account, "--name", "a\x1b]0;owned\a\u009b2J\u202eb\tc\rd")
	out := b.ok("api-token", "list", "--account", account)
	if !strings.Contains(out, "a\ufffd]0;owned\ufffd\ufffd2J\ufffdb\ufffdc\ufffdd") {
		t.Errorf("the name is not shown: %q", out)
	}
	for _, r := range out {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("%q was printed: %q", r, out)
		}
	}
}
