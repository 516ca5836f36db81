package main

import "testing"

func TestWorkflows(t *testing.T) {
	t.Parallel()
	const hash = "0123456789abcdef0123456789abcdef01234567"
	const digest = "sha256:" + hash + "0123456789abcdef01234567"
	for name, test := range map[string]struct {
		line string
		want []string
	}{
		"a hash with its version":      {"      - uses: a/b@" + hash + " # v6.0.2", nil},
		"a path in a repository":       {"    uses: a/b/.github/workflows/x.yml@" + hash + " # 2.1", nil},
		"an action of this repository": {"      - uses: ./", nil},
		"an image by its digest":       {"      - uses: docker://alpine@" + digest + " # 3.20", nil},
		"a line that uses nothing":     {"      - run: echo uses nothing", nil},
		"a tag":                        {"      - uses: a/b@v6", []string{".github/workflows/w.yml:2: uses a/b@v6 without the hash of a commit; pin it by the 40 digits, with the version in a comment"}},
		"a tag in quotes":              {`        "uses": "a/b@main"`, []string{".github/workflows/w.yml:2: uses a/b@main without the hash of a commit; pin it by the 40 digits, with the version in a comment"}},
		"a short hash":                 {"      - uses: a/b@0123456 # v6", []string{".github/workflows/w.yml:2: uses a/b@0123456 without the hash of a commit; pin it by the 40 digits, with the version in a comment"}},
		"an image by its tag":          {"      - uses: docker://alpine:3.20", []string{".github/workflows/w.yml:2: uses docker://alpine:3.20 without the hash of a commit; pin it by the 40 digits, with the version in a comment"}},
		"a hash without its version":   {"      - uses: a/b@" + hash, []string{".github/workflows/w.yml:2: uses a/b@" + hash + " without its version; add the version as a comment: # v1.2.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := workflows(checkoutOf(map[string]string{".github/workflows/w.yml": "steps:\n" + test.line + "\n", "docs/x.yml": "- uses: a/b@v1"}))
			wantFaults(t, got, err, test.want...)
		})
	}
}
