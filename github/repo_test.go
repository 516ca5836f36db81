package github_test

import (
	"strings"
	"testing"

	"github.com/pageflare/ci/github"
)

func TestRepositoriesThatAreTaken(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]github.Repo{
		"acme/site":           {Owner: "acme", Name: "site"},
		"a-c/site.github.io":  {Owner: "a-c", Name: "site.github.io"},
		"jo_acme/_x-1":        {Owner: "jo_acme", Name: "_x-1"},
		"acme/...":            {Owner: "acme", Name: "..."},
		"Acme/Site":           {Owner: "Acme", Name: "Site"},
		"acme/.github":        {Owner: "acme", Name: ".github"},
		"1acme/0":             {Owner: "1acme", Name: "0"},
		"acme/site-and_more.": {Owner: "acme", Name: "site-and_more."},
	} {
		if got, err := github.ParseRepo(text); err != nil || got != want {
			t.Errorf("ParseRepo(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestRepositoriesThatCouldBendAPathAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "acme", "/", "acme/", "/site", "acme/site/x", "acme/..", "acme/.", "../site", "acme/si?te", "acme/si#te", "acme/50%",
		"acme/a%2Fb", "acme/site\n", "\nacme/site", "acme /site", "acmé/site", "acme/s\x00", "https://github.com/acme/site",
		"acme/" + strings.Repeat("x", 101),
	} {
		if got, err := github.ParseRepo(text); err == nil || !strings.Contains(err.Error(), "want OWNER/NAME") {
			t.Errorf("ParseRepo(%q) = %v, %v, want an error", text, got, err)
		}
	}
}
