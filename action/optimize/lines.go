package optimize

import "io"

// lines writes to the log and knows whether its last line is whole: what the CLI prints may end in
// the middle of one, and what comes next, a command to the runner above all, must begin a line of
// its own.
type lines struct {
	w    io.Writer
	open bool
}

func (l *lines) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.open = b[len(b)-1] != '\n'
	}
	return l.w.Write(b)
}

// end makes the last line whole.
func (l *lines) end() {
	if l.open {
		_, _ = l.Write([]byte("\n"))
	}
}
