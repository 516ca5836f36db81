package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/pageflare/ci/action/summary"
)

// faults is what is wrong with inputs and environment, a line for each. What a line quotes was
// written by anybody: see shown.
type faults struct{ lines []error }

// maxFaults is how many faults of one input are told at all: a list of thousands of lines is one
// mistake.
const maxFaults = 100

// input adds the faults of an input.
func (f *faults) input(name string, err error) {
	f.add(err, func(string) string { return "input " + name + ": " })
}

// environment adds the faults of a variable that the runner sets.
func (f *faults) environment(name string, err error) {
	f.add(err, func(string) string { return "environment " + name + ": " })
}

// named adds the faults of a package whose lines begin with the name of the input, or with what
// optimize calls things.
func (f *faults) named(err error) {
	f.add(err, func(line string) string {
		switch word, _, _ := strings.Cut(line, " "); word {
		case "optimizer":
			return "input optimizer-path: "
		case "workspace":
			return "environment GITHUB_WORKSPACE: "
		case "temporary": // folder
			return "environment TMPDIR: "
		}
		return "input "
	})
}

func (f *faults) add(err error, prefix func(line string) string) {
	if err == nil {
		return
	}
	lines := strings.Split(err.Error(), "\n") // of errors.Join
	for _, line := range lines[:min(len(lines), maxFaults)] {
		f.lines = append(f.lines, errors.New(prefix(line)+shown(line)))
	}
	if n := len(lines) - maxFaults; n > 0 {
		f.lines = append(f.lines, fmt.Errorf("%sand %d more faults", prefix(lines[maxFaults]), n))
	}
}

// err is all faults joined; nil without one.
func (f *faults) err() error { return errors.Join(f.lines...) }

// summarizeFaults shows the faults in the job summary, which else would have nothing of this run;
// wanted is the input summary.
func (r *run) summarizeFaults(err error, wanted string) {
	if wanted == "false" || r.getenv("GITHUB_STEP_SUMMARY") == "" {
		return
	}
	r.attempt("the job summary", func() error {
		r.gha.AddStepSummary(summary.RenderFaults(strings.Split(err.Error(), "\n")))
		return nil
	})
}

// What a text shows at most of a value, and of anything. A path says the most at its end.
const (
	maxShown = 80
	maxLine  = 500
)

// shown makes a text that quotes inputs fit for the log: what looks like a token or a key is
// hidden, since people paste those into the wrong input, and long values are cut.
func shown(text string) string {
	text = secretForm().ReplaceAllString(text, "[hidden: looks like a token]")
	text = quotedForm().ReplaceAllStringFunc(text, func(q string) string {
		if r := []rune(q); len(r) > maxShown {
			return string(r[:maxShown/2]) + "…" + string(r[len(r)-maxShown/2:])
		}
		return q
	})
	return clip(text, maxLine)
}

// looksSecret tells whether a text holds what looks like a token or a key.
func looksSecret(text string) bool { return secretForm().MatchString(text) }

// The forms are compiled when first asked for: a good run needs none of them.
var (
	// secretForm is a private key, also in base64, a JWT, a token of GitHub or one of ours; where a
	// word begins, or after the \n or \u2028 of a quoted text.
	secretForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY[^"]*|(?:\\[a-zA-Z][0-9a-f]*|\b)(?:LS0tLS1CRUdJTi[\w+/=]*|eyJ[\w.-]{10,}|(?:gh[pousr]|github_pat|pf_at|pf_adm)_[\w.-]{16,})`)
	})
	quotedForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"(?:[^"\\]|\\.)*"`) })
)
