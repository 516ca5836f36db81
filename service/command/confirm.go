package command

import (
	"fmt"
	"io"
	"strings"
)

// Confirm is the flag of every command that does what cannot be undone. Programs, which have no
// terminal, are not asked.
type Confirm struct {
	Yes bool `help:"Do it without asking, which happens on a terminal alone: it cannot be undone."`
}

// confirm asks the person at the terminal whether to do what cannot be undone. Without --yes,
// anything but yes is a UsageError.
func (c Confirm) confirm(a *App, what string, args ...any) error {
	if c.Yes || !a.Terminal {
		return nil
	}
	fmt.Fprintf(a.Stderr, what+". This cannot be undone. Go on? [y/N] ", args...)
	switch strings.ToLower(strings.TrimSpace(line(a.Stdin))) {
	case "y", "yes":
		return nil
	}
	return Usagef("nothing was done: answer yes, or give --yes")
}

// line reads to the end of a line, and nothing beyond it.
func line(r io.Reader) string {
	var text []byte
	for one := make([]byte, 1); len(text) < 1<<10; {
		n, err := r.Read(one)
		if n == 1 && one[0] != '\n' {
			text = append(text, one[0])
		} else if n == 1 || err != nil {
			break
		}
	}
	return string(text)
}
