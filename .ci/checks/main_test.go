package main

import (
	"errors"
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	quiet := check{"quiet", func(checkout) ([]fault, error) { return nil, nil }}
	strict := check{"strict", func(checkout) ([]fault, error) {
		return []fault{{"b.go", 1, "late", "fix it"}, {"a.go", 10, "second", "fix it"}, {"a.go", 9, "first", "fix it"}}, nil
	}}
	blind := check{"blind", func(checkout) ([]fault, error) { return nil, errors.New("read x: no") }}
	for name, test := range map[string]struct {
		checks     []check
		want       int
		wantOut    string
		wantErrors string
	}{
		"nothing found":               {[]check{quiet}, 0, "", ""},
		"faults come in order":        {[]check{strict, quiet}, 1, "a.go:9: first; fix it\na.go:10: second; fix it\nb.go:1: late; fix it\n", ""},
		"a check that could not look": {[]check{quiet, blind}, 2, "", "error: check blind: read x: no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr strings.Builder
			got := report(checkoutOf(nil), test.checks, &stdout, &stderr)
			if got != test.want || stdout.String() != test.wantOut || stderr.String() != test.wantErrors {
				t.Errorf("report = %d, %q, %q, want %d, %q, %q", got, stdout.String(), stderr.String(), test.want, test.wantOut, test.wantErrors)
			}
		})
	}
}
