package secret_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/secret"
)

func TestNamesThatGitHubTakes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"PAGEFLARE_TOKEN", "a", "_", "_1", "T0KEN", "mixed_Case9", "GITHUB", "GITHUBTOKEN", "MY_GITHUB_TOKEN"} {
		if err := secret.CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v, want nil", name, err)
		}
	}
}

func TestNamesThatGitHubRefuses(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct{ name, want string }{
		"an empty name":                     {"", "is empty: give one"},
		"a name with a hyphen":              {"MY-TOKEN", "use only these"},
		"a name with a space at its end":    {"TOKEN ", "use only these"},
		"a name with a line break":          {"TOKEN\n", "use only these"},
		"a name that leaves its path":       {"../x", "use only these"},
		"a name with a letter not of ASCII": {"TÖKEN", "use only these"},
		"a name with a broken character":    {"T\xff", "use only these"},
		"a name that starts with a digit":   {"1TOKEN", "start with a letter or _"},
		"a name that starts with a zero":    {"0TOKEN", "start with a letter or _"},
		"a name that GitHub keeps":          {"GITHUB_TOKEN", "choose another name"},
		"a name that GitHub keeps, in mix":  {"GitHub_x", "choose another name"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			err := secret.CheckName(tc.name)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("CheckName(%q) = %v, want an error with %q", tc.name, err, tc.want)
			}
		})
	}
}

func FuzzCheckNameAgreesWithGitHubsRule(f *testing.F) {
	for _, seed := range []string{"", "PAGEFLARE_TOKEN", "1A", "github_", "A-B", "É", "A\x00", "_", "\xff"} {
		f.Add(seed)
	}
	form := regexp.MustCompile(`\A[A-Za-z_][A-Za-z0-9_]*\z`)
	kept := regexp.MustCompile(`(?i)\Agithub_`)
	f.Fuzz(func(t *testing.T, name string) {
		want := form.MatchString(name) && !kept.MatchString(name)
		err := secret.CheckName(name)
		if (err == nil) != want {
			t.Errorf("CheckName(%q) = %v, want accepted %v", name, err, want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("CheckName(%q): the error is not one plain line: %q", name, err)
		}
	})
}

func TestValuesThatASecretCannotHold(t *testing.T) {
	t.Parallel()
	for about, tc := range map[string]struct{ value, want string }{
		"an empty value":             {"", "the value is empty"},
		"a value of 48 KB and one":   {strings.Repeat("v", 49153), "49153 bytes: a GitHub secret holds at most 49152"},
		"a value that holds a NUL":   {"a\x00b", "NUL byte"},
		"many bytes, few characters": {strings.Repeat("ü", 24577), "49154 bytes"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			err := secret.CheckValue(tc.value)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("CheckValue = %v, want an error with %q", err, tc.want)
			}
		})
	}
	if err := secret.CheckValue(strings.Repeat("v", 49152)); err != nil {
		t.Errorf("CheckValue(48 KB) = %v, want nil", err)
	}
}
