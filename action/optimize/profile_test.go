package optimize_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/guard"
	"github.com/pageflare/ci/action/optimize"
)

// docs/action.md has a row for each pass.
func TestTheSafeProfileIsAsDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/action.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n### Profiles\n")
	section, _, _ = strings.Cut(section, "\n### ")
	documented, rows := map[string]string{}, map[string]bool{}
	for line := range strings.SplitSeq(section, "\n") {
		cells := strings.Split(line, " | ")
		if len(cells) != 5 || !strings.HasPrefix(line, "| `") {
			continue
		}
		key := strings.Trim(cells[0], "|` ")
		rows[key] = true
		switch {
		case cells[2] == "off":
			documented[key] = cells[3]
		case cells[2] != "on" || cells[3] == "":
			t.Errorf("%s: neither on nor off for a reason: %s", key, line)
		}
	}
	if diff := cmp.Diff(optimize.UnsafePasses(), documented); diff != "" {
		t.Errorf("passes that are off (-want +got):\n%s", diff)
	}
	for _, key := range []string{
		guard.KeyHTML, guard.KeyJS, guard.KeyCSS, guard.KeyDefer, guard.KeyCritical, guard.KeySVG, guard.KeyImages, guard.KeyDimensions, guard.KeyFonts,
	} {
		if !rows[key] {
			t.Errorf("docs/action.md does not name %s", key)
		}
	}
}

func TestTheKindsOfDifferenceAreDocumented(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../docs/action.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []guard.Kind{
		guard.KindText, guard.KindMetadata, guard.KindStructure, guard.KindAttribute, guard.KindLink, guard.KindComment, guard.KindScript, guard.KindStyle,
		guard.KindIcon, guard.KindPicture, guard.KindData, guard.KindCharset, guard.KindIntegrity, guard.KindPolicy, guard.KindInvalid, guard.KindMissing,
	} {
		if !strings.Contains(string(b), "\n| `"+string(kind)+"` | ") {
			t.Errorf("docs/action.md does not name the kind %s", kind)
		}
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	show := `case "$*" in *"--config "*) cat "$8" >&2 ;; esac; ` + done
	tests := []struct {
		name, args string
		files      map[string]string
		profile    optimize.Profile
		want       optimize.Profile
		off        bool // the optimizer gets a configuration that switches passes off
	}{
		{"safe", "", nil, optimize.ProfileSafe, optimize.ProfileSafe, true},
		{"the default", "", nil, "", optimize.ProfileSafe, true},
		{"full", "", nil, optimize.ProfileFull, optimize.ProfileFull, false},
		{"a configuration in the site", "", map[string]string{"dist/pageflare.jsonc": "{}"}, optimize.ProfileSafe, optimize.ProfileOwn, false},
		{"a configuration by arguments", " --config=my.jsonc", map[string]string{"my.jsonc": "{}"}, optimize.ProfileSafe, optimize.ProfileOwn, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ws := site(t, map[string]string{"dist/index.html": page})
			write(t, ws, tt.files)
			cfg := faked(t, ws, show)
			cfg.Profile = tt.profile
			cfg.Args = strings.TrimSpace(tt.args + " " + cfg.Args)
			r := run(t, cfg)
			if off := strings.Contains(fmt.Sprint(cfg.Log), `"critical_css": false`); r.Profile != tt.want || off != tt.off {
				t.Errorf("profile %q, passes off %t; want %q, %t", r.Profile, off, tt.want, tt.off)
			}
		})
	}
}

// The real CLI takes the configuration, and knows its keys.
func TestTheSafeProfileSwitchesPassesOff(t *testing.T) {
	t.Parallel()
	ws := longSite(t)
	cfg := config(t, ws)
	cfg.Profile = optimize.ProfileSafe
	run(t, cfg)
	for _, bad := range []string{"pageflare-delay", "<style"} {
		if got := read(t, ws, "dist/index.html"); strings.Contains(got, bad) || !strings.Contains(got, `src="/js/app.js"`) && !strings.Contains(got, "src=/js/app.js") {
			t.Errorf("index.html = %q, want no pass that is off", got)
		}
	}
}

func TestConfigurationsMayHaveCommentsAndTrailingCommas(t *testing.T) {
	t.Parallel()
	const config = `// first
{
	"a": "// no \" comment", /* b: , } */ "b": [1, 2,
		],
	"c": {"d": 1, /**/ }, // last,
}`
	file := filepath.Join(t.TempDir(), "pageflare.jsonc")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := optimize.ReadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	value := map[string]any{}
	for key, v := range raw {
		var one any
		if err := json.Unmarshal(v, &one); err != nil {
			t.Fatal(err)
		}
		value[key] = one
	}
	want := map[string]any{"a": `// no " comment`, "b": []any{1.0, 2.0}, "c": map[string]any{"d": 1.0}}
	if diff := cmp.Diff(want, value); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
}

func TestTheConfigurationIsTakenOutOfTheArguments(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--config /a --prod": "/a", "--config=/a --prod": "/a", "-c /a --prod": "/a", "-c/a --prod": "/a", "-c=/a --prod": "/a", "--prod": "",
	} {
		rest, file := optimize.CutConfig(strings.Fields(line))
		if file != want || fmt.Sprint(rest) != "[--prod]" {
			t.Errorf("cutConfig(%q) = %q, %q, want [--prod], %q", line, rest, file, want)
		}
	}
}
