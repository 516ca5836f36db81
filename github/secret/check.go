package secret

import (
	"context"
	"net/http"
	"strings"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/internal/parallel"
)

// A Finding is what reading alone tells about one target.
type Finding struct {
	Target Target
	Err    error // an *Error: the secret could not be written; the rest is then zero

	// Proven says that the secret may be written. It is false where GitHub proves less: of a
	// fine-grained token only that it may read, as its answers to reading name no other right.
	Proven bool

	Known     bool      // Exists is known; with a GitHub App it is not, since that would take a token, unless the Writer has Installations
	Exists    bool      // there is such a secret
	UpdatedAt time.Time // when it was last written
	Access    string    // who may read it in an organization: "all", "selected (3 repositories)"
}

// Check finds out what a write to each target would meet, by GET requests alone. Targets are looked
// at concurrently.
func (w *Writer) Check(ctx context.Context, targets []Target, name string) []Finding {
	findings := make([]Finding, len(targets))
	parallel.Do(len(targets), func(i int) {
		f, err := w.check(ctx, targets[i], name)
		if err != nil {
			f = Finding{Err: w.explain(ctx, "read", targets[i], name, err)}
		}
		f.Target = targets[i]
		findings[i] = f
	})
	return findings
}

func (w *Writer) check(ctx context.Context, t Target, name string) (Finding, error) {
	level := "read"
	if app, ok := w.credential.(*installed); ok {
		if err := app.check(ctx, t); err != nil || !app.shared {
			return Finding{Proven: true}, err
		}
		level = "write" // so that a write to come has a token
	}
	st, s, err := w.open(ctx, t, level)
	if err != nil {
		return Finding{}, err
	}
	_, resp, err := w.publicKeyAnswer(ctx, st)
	if err != nil {
		return Finding{}, err
	}
	f := Finding{Proven: w.byApp || proven(t, resp), Known: true}
	found, _, err := st.read(ctx, name)
	if github.StatusOf(err) == http.StatusNotFound {
		return f, w.checkFirst(ctx, s, t)
	}
	if err != nil {
		return Finding{}, err
	}
	f.Exists, f.UpdatedAt = true, found.UpdatedAt.Time
	if o, ok := st.(organization); ok {
		who, err := readAccess(ctx, o, found)
		f.Access = who.String()
		return f, err
	}
	return f, nil
}

// proven tells what the answer to a read proves of writing: a classic token's scopes are named in
// it, and some stores let nobody read who may not write.
func proven(t Target, resp *gh.Response) bool {
	if t.of().permission.toRead == "write" {
		return true
	}
	for scope := range strings.SplitSeq(resp.Header.Get("X-OAuth-Scopes"), ",") {
		if strings.TrimSpace(scope) == t.ClassicScope() {
			return true
		}
	}
	return false
}

// checkFirst tells whether the first write to a target could be made.
func (w *Writer) checkFirst(ctx context.Context, s *session, t Target) error {
	if t.of().scope != ofOrganization {
		return nil
	}
	_, err := firstAccess(ctx, s, t)
	return err
}
