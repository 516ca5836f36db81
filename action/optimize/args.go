package optimize

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mattn/go-shellwords"
)

// owned are the flags that Run sets itself or that would undo what this package is for, with the
// reason. All other flags are the CLI's own to accept or to refuse.
var owned = map[string]string{
	"--output":       "the Action sets it; use input output",
	"--clean-output": "it can empty the source; the Action always starts from an empty folder",
	"--json":         "the Action sets it",
	"--no-browser":   "the Action sets it",
	"--login":        "it waits for a person; use input token",
	"--help":         "it would optimize nothing",
	"--with-pwa":     "it writes dist/pwa into its working folder instead of the output; run pageflare pwa build in a step of its own",
}

// valued are the flags whose value may be the next word. After any other flag a bare word would be
// taken for the source.
var valued = map[string]bool{"--config": true, "-c": true, "--platform": true, "--log": true}

// failOnBroken is the flag that asks to fail for broken references.
const failOnBroken = "--fail-on-broken-refs"

// splitArgs turns one line into the words for the CLI. Nothing is expanded and no shell is
// involved. A relative --config is made absolute against base, since the CLI runs in a folder of
// its own.
func splitArgs(line, base string) ([]string, error) {
	words, err := splitWords(line)
	if err != nil {
		return nil, err
	}
	var faults []error
	for i := 0; i < len(words); i++ {
		if err := checkWord(words[i]); err != nil {
			faults = append(faults, err)
			continue
		}
		takesNext := valued[words[i]] && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-")
		if !takesNext {
			words[i] = absoluteConfig(words[i], base)
			continue
		}
		i++
		if words[i-1] == "--config" || words[i-1] == "-c" {
			words[i] = absolute(words[i], base)
		}
	}
	return words, errors.Join(faults...)
}

// splitWords refuses what the splitter would cut off in silence: an unquoted ; & | < > ends its
// line.
func splitWords(line string) ([]string, error) {
	p := shellwords.NewParser()
	p.ParseEnv, p.ParseBacktick = false, false
	words, err := p.Parse(line)
	if err != nil {
		return nil, fmt.Errorf("optimizer-args %q: cannot be split into words; close every quote and bracket", line)
	}
	if p.Position >= 0 {
		return nil, fmt.Errorf("optimizer-args %q: holds one of ; & | < > outside of quotes; there is no shell, quote it", line)
	}
	if strings.ContainsRune(line, 0) {
		return nil, fmt.Errorf("optimizer-args %q: holds a zero byte", line)
	}
	return words, nil
}

func checkWord(word string) error {
	name, _, _ := strings.Cut(word, "=")
	if reason, ok := owned[name]; ok {
		return fmt.Errorf("optimizer-args: %s is not allowed: %s", name, reason)
	}
	switch {
	case name == "--":
		return errors.New("optimizer-args: -- is not allowed: the Action names the folders; use inputs source and output")
	case word == "" || !strings.HasPrefix(word, "-") || word == "-":
		return fmt.Errorf("optimizer-args: %q is not a flag: for a folder use inputs source and output, for a value write --flag=value", word)
	case strings.HasPrefix(word, "--") || strings.HasPrefix(word, "-c"):
		return nil
	case strings.ContainsAny(word, "o"):
		return fmt.Errorf("optimizer-args: %s is not allowed: %s", word, owned["--output"])
	case strings.ContainsAny(word, "h"):
		return fmt.Errorf("optimizer-args: %s is not allowed: %s", word, owned["--help"])
	}
	return nil
}

// absoluteConfig handles the forms that carry their value: --config=FILE, -c=FILE and -cFILE.
func absoluteConfig(word, base string) string {
	for _, prefix := range []string{"--config=", "-c=", "-c"} {
		if file, ok := strings.CutPrefix(word, prefix); ok && file != "" {
			return prefix + absolute(file, base)
		}
	}
	return word
}

func absolute(path, base string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}
