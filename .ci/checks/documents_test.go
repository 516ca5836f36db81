package main

import "testing"

func TestDocuments(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"sections of the same name in different ones": {"# A\n\n## B\n\n### C\n\n## D\n\n### C\n", nil},
		"a comment in code":                           {"# A\n\n```sh\nx\n# A\n```\n", nil},
		"a section twice":                             {"# A\n\n## B\nx\n\n## B\n", []string{`docs/a.md:6: "## B" is a section in line 3 too; make one of both`}},
		"no empty line":                               {"# A\nx\n## B\n", []string{`docs/a.md:3: "## B" stands right behind a text; put an empty line before it`}},
		"a row twice":                                 {"| `a` | x |\n| `b` | x |\n| `a` | y |\n", []string{"docs/a.md:3: `a` has a row in line 1 too; make one of both"}},
		"two tables":                                  {"| `a` | x |\n\n| `a` | y |\n", nil},
		"several of a kind":                           {"| `a` | WARN | x |\n| `a` | ERROR | y |\n", nil},
		"rows that have no key":                       {"| refresh | 1 |\n| refresh | 2 |\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := documents(checkoutOf(map[string]string{"docs/a.md": test.text, "CHANGELOG.md": "# A\n\n# A\n"}))
			wantFaults(t, got, err, test.want...)
		})
	}
}
