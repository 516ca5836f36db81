package secret_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/secret"
)

func TestTargetListsThatAreTaken(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		list string
		want []string
	}{
		"one target":                      {"repository", []string{"repository"}},
		"one target among blank entries":  {" ,\n\trepository\r\n, ", []string{"repository"}},
		"one target on a line of a block": {"repository\n", []string{"repository"}},
		"every kind": {"repository,environment:prod,organization:acme,dependabot/repository,dependabot/organization:acme," +
			"codespaces/repository\ncodespaces/organization:acme", []string{
			"repository", "environment:prod", "organization:acme", "dependabot/repository", "dependabot/organization:acme",
			"codespaces/repository", "codespaces/organization:acme",
		}},
		"names with odd characters": {"environment:prod/eu? #1 100%\nenvironment:ümlaut:x", []string{
			"environment:prod/eu? #1 100%", "environment:ümlaut:x",
		}},
		"blanks around a name":     {"environment : a b ", []string{"environment:a b"}},
		"the same name elsewhere":  {"organization:acme, dependabot/organization:acme", []string{"organization:acme", "dependabot/organization:acme"}},
		"a name of 255 characters": {"environment:" + strings.Repeat("ü", 255), []string{"environment:" + strings.Repeat("ü", 255)}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			got, err := secret.ParseTargets(tc.list)
			if err != nil {
				t.Fatalf("ParseTargets(%q) = %v", tc.list, err)
			}
			if diff := cmp.Diff(tc.want, spelled(got)); diff != "" {
				t.Errorf("ParseTargets(%q) (-want +got):\n%s", tc.list, diff)
			}
		})
	}
}

func spelled(targets []secret.Target) []string {
	var out []string
	for _, target := range targets {
		out = append(out, target.String())
	}
	return out
}

func TestTargetListsThatAreRefused(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		list string
		want []string
	}{
		"an empty list":                    {"", []string{`no target: name at least one; accepted: "repository"`}},
		"a list of nothing but separators": {" ,\n,\r\n ", []string{"no target"}},
		"a word":                           {"moon", []string{`target "moon" is not known: accepted: "repository", "environment:NAME"`}},
		"a store that is none":             {"pages/repository", []string{`target "pages/repository" is not known`}},
		"the default store with a prefix":  {"actions/repository", []string{`target "actions/repository" is not known`}},
		"another case":                     {"Repository", []string{`target "Repository" is not known`}},
		"an environment of Dependabot":     {"dependabot/environment:x", []string{"environments keep Actions secrets only; write environment:NAME without a prefix"}},
		"an environment of Codespaces":     {"codespaces/environment:x", []string{"environments keep Actions secrets only"}},
		"an environment without a name":    {"environment", []string{`target "environment": name the environment, as in environment:production`}},
		"an environment with a blank name": {"environment: ", []string{"name the environment"}},
		"an organization without a name":   {"dependabot/organization:", []string{"as in dependabot/organization:acme"}},
		"a repository with a name":         {"repository:acme/site", []string{"a repository has no name here"}},
		"an organization that bends paths": {"organization:../x", []string{`organization "../x": want its login`}},
		"an environment that is a dot":     {"environment:..", []string{"no URL can name it"}},
		"a name with a control character":  {"environment:a\x00b", []string{"cannot be printed"}},
		"a name that is no text":           {"environment:\xff", []string{"cannot be printed"}},
		"a name of 256 characters":         {"environment:" + strings.Repeat("x", 256), []string{"256 characters"}},
		"a target twice":                   {"repository, repository", []string{`target "repository" is listed twice: remove one`}},
		"a name twice in another case":     {"environment:prod, environment:PROD", []string{`target "environment:PROD" is listed twice`}},
		"every faulty entry is named": {"x,repository\ny,repository", []string{
			`target "x"`, `target "y"`, "listed twice",
		}},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			got, err := secret.ParseTargets(tc.list)
			if err == nil || got != nil {
				t.Fatalf("ParseTargets(%q) = %v, %v, want only an error", tc.list, got, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("ParseTargets(%q) = %v, want an error with %q", tc.list, err, want)
				}
			}
		})
	}
}

func FuzzParseTargetsGivesTargetsOrAnError(f *testing.F) {
	for _, seed := range []string{"", "repository", "repository,", ",\n", "repository,repository", "environment:a/b", "\r\r", "\xff,x",
		"codespaces/organization:a", "environment::", "environment:%2F", "dependabot/environment:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		targets, err := secret.ParseTargets(list)
		if (err == nil) != (len(targets) > 0) {
			t.Fatalf("ParseTargets(%q) = %v, %v, want either targets or an error", list, targets, err)
		}
		again, err := secret.ParseTargets(strings.Join(spelled(targets), ","))
		if len(targets) > 0 && (err != nil || !cmp.Equal(spelled(targets), spelled(again))) {
			t.Errorf("ParseTargets(its own spelling %q) = %v, %v, want %v", targets, again, err, targets)
		}
	})
}
