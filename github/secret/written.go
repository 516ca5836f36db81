package secret

import (
	"context"
	"net/http"
	"time"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// lookTime is how long a look may take that a write does not depend on.
const lookTime = 4 * time.Second

// writtenAfter says whether the secret was written after since, by our clock.
func (w *Writer) writtenAfter(ctx context.Context, st store, name string, since time.Time) bool {
	ctx, cancel := context.WithTimeout(github.Once(ctx), lookTime)
	defer cancel()
	asked := w.now()
	found, resp, err := st.read(ctx, name)
	w.noteExpiry(resp)
	return err == nil && found.UpdatedAt.Add(-ahead(resp, asked, w.now())).After(since)
}

// ahead is GitHub's clock minus ours: clocks of self-hosted runners go wrong. An answer tells
// GitHub's time in whole seconds, of a moment between our asking and its coming. Clocks that may
// well agree are taken to agree; else it is the most that the difference can be, so that no write
// is taken for a later one than it was.
func ahead(resp *gh.Response, asked, answered time.Time) time.Duration {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	latest := date.Add(time.Second)
	if err != nil || !date.After(answered) && latest.After(asked) {
		return 0
	}
	return latest.Sub(asked)
}
