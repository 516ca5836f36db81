package main

import (
	"os"
	"strings"
	"testing"
)

func TestEveryRowIsInTheDocument(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{string(verifyAndSign), string(identityAndSign)}
	b := &serviceBench{connections: []int{1}}
	for _, j := range b.jobsOn(&setup{}) {
		names = append(names, strings.ReplaceAll(j.name, " 0 ", " N "))
	}
	for _, name := range footprintRows {
		name, _, _ = strings.Cut(name, ", median")
		names = append(names, name)
	}
	for _, q := range questions("") {
		names = append(names, q.name)
	}
	for _, name := range names {
		if !strings.Contains(string(document), name) {
			t.Errorf("docs/performance.md does not name the row %q", name)
		}
	}
}
