package secret_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/secret"
)

func TestTargetListsThatAreTaken(t *testing.T) {
	t.Parallel()
	for about, list := range map[string]string{
		"one target":                      "repository",
		"one target among blank entries":  " ,\n\trepository\r\n, ",
		"one target on a line of a block": "repository\n",
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			got, err := secret.ParseTargets(list)
			if err != nil {
				t.Fatalf("ParseTargets(%q) = %v", list, err)
			}
			if diff := cmp.Diff([]secret.Target{secret.RepositoryTarget{}}, got); diff != "" {
				t.Errorf("ParseTargets(%q) (-want +got):\n%s", list, diff)
			}
		})
	}
}

func TestTargetListsThatAreRefused(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct {
		list string
		want []string
	}{
		"an empty list":                    {"", []string{`no target: name at least one; accepted: "repository"`}},
		"a list of nothing but separators": {" ,\n,\r\n ", []string{"no target"}},
		"a target of a later day":          {"environment:prod", []string{`target "environment:prod" is not known: accepted: "repository"`}},
		"a store of a later day":           {"dependabot/repository", []string{"dependabot/repository", "accepted"}},
		"another case":                     {"Repository", []string{`target "Repository" is not known`}},
		"a target twice":                   {"repository, repository", []string{`target "repository" is listed twice: remove one`}},
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
	for _, seed := range []string{"", "repository", "repository,", ",\n", "repository,repository", "environment:a/b", "\r\r", "\xff,x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		targets, err := secret.ParseTargets(list)
		if (err == nil) != (len(targets) > 0) {
			t.Fatalf("ParseTargets(%q) = %v, %v, want either targets or an error", list, targets, err)
		}
		var spelled []string
		for _, target := range targets {
			spelled = append(spelled, target.String())
		}
		again, err := secret.ParseTargets(strings.Join(spelled, ","))
		if len(targets) > 0 && (err != nil || !cmp.Equal(targets, again)) {
			t.Errorf("ParseTargets(its own spelling %q) = %v, %v, want %v", spelled, again, err, targets)
		}
	})
}
