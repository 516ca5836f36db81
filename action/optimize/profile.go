package optimize

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/tailscale/hujson"
)

// Profile says which passes of the optimizer run.
type Profile string

// The profiles.
const (
	ProfileSafe Profile = "safe" // without the passes of unsafePasses
	ProfileFull Profile = "full" // the optimizer's own defaults
	ProfileOwn  Profile = "own"  // what a run reports when the site has a configuration of its own
)

// pass is a pass of the optimizer that the safe profile switches off.
type pass struct {
	key    string // in pageflare.jsonc
	reason string // docs/action.md says the same
}

// unsafePasses are off in the safe profile: those that lose something even when they work as meant,
// or whose results the guard nearly always has to take back.
var unsafePasses = []pass{
	{"critical_css", "cuts pages off after 10,000 bytes, and applies print styles on screen"},
	{"js_defer", "scripts wait for the visitor, and run after what needs them"},
	{"add_image_dimensions", "stretches pictures that a style sheet sizes by one side"},
	{"font_preload", "names fonts by a wrong path"},
	{"optimize_svg", "drops ids, titles and symbols that pages refer to"},
	{"optimize_images", "mixes up pictures of one name, and drops their orientation"},
	{"wp_hide_paths", "changes the addresses of files that others link to"},
}

// configName is the optimizer's configuration in the folder that it optimizes.
const configName = "pageflare.jsonc"

// maxConfig bounds the bytes of a configuration that is read for a second run.
const maxConfig = 1 << 20

// settings are what the optimizer is configured by: a file of the user's, or nothing.
type settings struct {
	profile Profile
	own     string // the user's configuration; "" without one
}

// settings looks for a configuration of the user's: optimizer-args first, as the optimizer does.
func (p *Plan) settings() settings {
	if _, file := cutConfig(p.args); file != "" {
		return settings{profile: ProfileOwn, own: file}
	}
	file := filepath.Join(p.Source, configName)
	if _, err := os.Lstat(file); err == nil {
		return settings{profile: ProfileOwn, own: file}
	}
	if p.cfg.Profile == ProfileFull {
		return settings{profile: ProfileFull}
	}
	return settings{profile: ProfileSafe}
}

// write makes the file that the optimizer gets by --config, in the folder dir: what it is
// configured by, with the keys of off false. It answers "" where the optimizer finds all that out
// on its own.
func (s settings) write(dir string, off []string) (file string, err error) {
	config := map[string]json.RawMessage{}
	switch {
	case s.own != "" && len(off) == 0, s.profile == ProfileFull && len(off) == 0:
		return "", nil
	case s.own != "":
		if config, err = readConfig(s.own); err != nil {
			return "", err
		}
	case s.profile == ProfileSafe:
		for _, p := range unsafePasses {
			config[p.key] = json.RawMessage("false")
		}
	}
	for _, key := range off {
		config[key] = json.RawMessage("false")
	}
	b, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, configName)
	return file, os.WriteFile(file, b, 0o600)
}

// readConfig reads a pageflare.jsonc: JSON with comments and trailing commas.
func readConfig(file string) (map[string]json.RawMessage, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("configuration %q: %w", file, reason(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(b) > maxConfig {
		err = fmt.Errorf("larger than %d bytes", maxConfig)
	}
	config := map[string]json.RawMessage{}
	if err == nil {
		b, err = hujson.Standardize(b)
	}
	if err == nil {
		err = json.Unmarshal(b, &config)
	}
	if err == nil && config == nil {
		err = errors.New("not a JSON object")
	}
	if err != nil {
		return nil, fmt.Errorf("configuration %q: %w", file, err)
	}
	return config, nil
}

// cutConfig takes the configuration out of the words for the optimizer; file is "" without one.
func cutConfig(words []string) (rest []string, file string) {
	for i := 0; i < len(words); i++ {
		word := words[i]
		switch {
		case (word == "--config" || word == "-c") && i+1 < len(words):
			i++
			file = words[i]
		case strings.HasPrefix(word, "--config="):
			file = strings.TrimPrefix(word, "--config=")
		case strings.HasPrefix(word, "-c") && !strings.HasPrefix(word, "--") && len(word) > 2:
			file = strings.TrimPrefix(strings.TrimPrefix(word, "-c"), "=")
		default:
			rest = append(rest, word)
		}
	}
	return rest, file
}
