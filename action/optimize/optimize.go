// Package optimize runs the pageflare CLI over a built site, so that the output is either the whole
// new site or what was there before. It decides which folders and arguments are safe, what the CLI
// gets to see, and what of the site must come back that the CLI drops. When a run is due, with
// which token, and what is said about it: packages action, refresh and summary.
//
// The CLI alone can lose files, follow links out of the site, empty its own source and break pages.
// Check therefore refuses what is dangerous before anything is touched, and Run lets the CLI write
// into a staging folder beside the output, completes that folder, has package guard hold each file
// against its source, and swaps the two by rename.
package optimize

import (
	"fmt"
	"io"
	"time"

	"github.com/pageflare/ci/service/opaque"
)

// Config says what to optimize and what the CLI may see. A field without a remark must be set.
type Config struct {
	Binary     string           // absolute path of the pageflare CLI
	Workspace  string           // absolute; source and output must lie inside
	Source     string           // folder of the built site, absolute or relative to Workspace
	Output     string           // likewise; "" or the source itself: in place
	Args       string           // more words for the CLI, quoted as in a shell; optional
	APIURL     string           // base of the License API; "": the CLI's own default
	License    opaque.Secret    // the user's PAGEFLARE_LICENSE; optional
	Profile    Profile          // of a site without a configuration of its own; "": ProfileSafe
	Guard      Guard            // what is done about a result that is not the same site; "": GuardRestore
	SourceDate time.Time        // of SOURCE_DATE_EPOCH, for the mark in pages; zero: the mark has no time
	Environ    []string         // of the Action; Run passes on the few variables named in environ.go
	Log        io.Writer        // what the CLI says on stderr, and a line per act of ours
	TempDir    string           // outside of Workspace, for the private HOME; "": the system's
	Grace      time.Duration    // between SIGTERM and SIGKILL when cancelled; 0: two seconds
	Now        func() time.Time // measures the run; nil: time.Now
}

// Guard says what is done about files that the optimizer changed more than it should.
type Guard string

// The choices.
const (
	GuardRestore Guard = "restore" // they are published as they were
	GuardFail    Guard = "fail"    // the site stays as it was
	GuardOff     Guard = "off"     // nothing is compared, and they are published as the optimizer made them
)

// ExitError says that the CLI itself refused or broke. The output is then as it was before.
type ExitError struct {
	Code    int    // exit status of the CLI; 128 + n when signal n ended it
	Message string // what it said on stderr, in one line
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("pageflare optimizer stopped with exit status %d: %s", e.Code, e.Message)
}
