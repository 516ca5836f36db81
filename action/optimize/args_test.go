package optimize_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/optimize"
)

func TestSplitArgs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, line string
		want       []string
		fault      string
	}{
		{"nothing", "  ", []string{}, ""},
		{"flags pass, known or not", "--force --prod --unknown=x -q", []string{"--force", "--prod", "--unknown=x", "-q"}, ""},
		{"a value in the next word is no source", "--platform vercel --log debug", []string{"--platform", "vercel", "--log", "debug"}, ""},
		{"quotes hold words together", `--config='/a b.jsonc'`, []string{"--config=/a b.jsonc"}, ""},
		{"a relative config is one of the workspace", "--config x.jsonc -c y.jsonc -cz.jsonc --config=w/x", []string{"--config", "/ws/x.jsonc", "-c", "/ws/y.jsonc", "-c/ws/z.jsonc", "--config=/ws/w/x"}, ""},
		{"nothing is expanded", "--log=$HOME --platform='`id`'", []string{"--log=$HOME", "--platform=`id`"}, ""},
		{"an open quote", `--log "debug`, nil, "close every quote"},
		{"a command after a semicolon", "--prod; rm -rf /", nil, "outside of quotes"},
		{"a redirection", "--prod > /tmp/x", nil, "outside of quotes"},
		{"a zero byte", "--log=\x00", nil, "zero byte"},
		{"--output", "--output /x", nil, "--output is not allowed"},
		{"--output with its value", "--output=x", nil, "use input output"},
		{"-o", "-o x", nil, "-o is not allowed"},
		{"-o with its value", "-ox", nil, "-ox is not allowed"},
		{"-o behind another letter", "-fo", nil, "-fo is not allowed"},
		{"--output as the value of another flag", "--config --output", nil, "--output is not allowed"},
		{"--clean-output", "--clean-output", nil, "it can empty the source"},
		{"--json", "--json", nil, "--json is not allowed"},
		{"--no-browser", "--no-browser", nil, "--no-browser is not allowed"},
		{"--login", "--login", nil, "--login is not allowed"},
		{"--help", "--help", nil, "--help is not allowed"},
		{"-h", "-h", nil, "-h is not allowed"},
		{"--with-pwa", "--with-pwa", nil, "step of its own"},
		{"a folder", "dist", nil, `"dist" is not a flag`},
		{"a folder after a flag without value", "--force dist", nil, `"dist" is not a flag`},
		{"a folder after a value", "--platform vercel dist", nil, `"dist" is not a flag`},
		{"a subcommand", "login", nil, `"login" is not a flag`},
		{"the end of flags", "-- dist", nil, "-- is not allowed"},
		{"the end of flags with a value", "--=x", nil, "-- is not allowed"},
		{"an empty word", "''", nil, `"" is not a flag`},
		{"a dash", "-", nil, `"-" is not a flag`},
		{"several at once", "--json x", nil, `"x" is not a flag`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := optimize.SplitArgs(tt.line, "/ws")
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("SplitArgs(%q) = %q, %v, want a fault saying %q", tt.line, got, err, tt.fault)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("SplitArgs(%q) = %v (-want +got):\n%s", tt.line, err, diff)
			}
		})
	}
}

// What passes never names a folder, nor a flag that is the Action's.
func FuzzSplitArgs(f *testing.F) {
	for _, line := range []string{"--force", "-o x", "--output=x", "--config x -c y", `--log "a b"`, "a;b", `\-o x`, "--config '' -o", "-c -o", "--="} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := optimize.SplitArgs(line, "/ws")
		if err != nil {
			return
		}
		for i, word := range words {
			isValue := i > 0 && (words[i-1] == "--config" || words[i-1] == "-c" || words[i-1] == "--platform" || words[i-1] == "--log")
			name, _, _ := strings.Cut(word, "=")
			switch {
			case strings.HasPrefix(word, "-o"), name == "--output", name == "--clean-output", name == "--login", name == "--":
				t.Errorf("SplitArgs(%q) passes %q", line, word)
			case !strings.HasPrefix(word, "-") && !isValue:
				t.Errorf("SplitArgs(%q) passes %q as a folder", line, word)
			}
		}
	})
}
