package secret_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
)

// hurried is a world whose run is cancelled with five seconds left: in its first pause, or when come is called.
func hurried(t *testing.T) (w *world, come func()) {
	t.Helper()
	w = newWorld(t)
	shutdown := github.NewShutdown()
	come = func() { shutdown.Begin(w.clock.Now().Add(5 * time.Second)) }
	cfg := w.config(t, goodToken)
	cfg.Shutdown = shutdown
	first := true
	cfg.Sleep = func(ctx context.Context, d time.Duration) error {
		if first = first && d > 5*time.Second; first {
			come()
			<-ctx.Done() // a pause that is not cut hangs
			return ctx.Err()
		}
		return w.clock.Sleep(ctx, d)
	}
	w.writer = newWriter(t, cfg)
	return w, come
}

func TestARunThatIsCancelledTriesOnceMoreAtOnce(t *testing.T) {
	t.Parallel()
	later := header("Retry-After", "20")
	for about, tc := range map[string]struct {
		fault func(come func()) githubtest.Fault
		want  string // in the error; empty: it is written
		puts  []string
		waits []time.Duration
	}{
		"in a pause": {
			func(func()) githubtest.Fault { return githubtest.Fault{Status: 503, Header: later} }, "",
			[]string{"503", "201"}, nil,
		},
		"in a pause, and GitHub still has trouble": {
			func(func()) githubtest.Fault { return githubtest.Fault{Status: 503, Header: later, Times: -1} }, "GitHub has trouble (503): Service Unavailable",
			[]string{"503", "503"}, nil,
		},
		"in a pause for a limit, which stays": {
			func(func()) githubtest.Fault { return githubtest.Fault{Status: 429, Header: later, Times: -1} }, "GitHub's rate limit is used up (429)",
			[]string{"429", "429"}, nil,
		},
		"in a try that fails": {
			func(come func()) githubtest.Fault {
				return githubtest.Fault{Status: 503, Header: later, OnArrive: come}
			}, "",
			[]string{"503", "201"}, nil,
		},
		"in a try, and the time is enough for short pauses": {
			func(come func()) githubtest.Fault { return githubtest.Fault{Status: 503, Times: 2, OnArrive: come} }, "",
			[]string{"503", "503", "201"}, []time.Duration{2 * time.Second},
		},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w, come := hurried(t)
			w.github.FailNext("PUT /"+name, tc.fault(come))
			_, err := w.write(t)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Write = %v, want %q", err, tc.want)
			}
			var puts []string
			for _, q := range w.asked() {
				if status, ok := strings.CutPrefix(q, "PUT "+name+" "); ok {
					puts = append(puts, status)
				}
			}
			if diff := cmp.Diff(tc.puts, puts); diff != "" {
				t.Errorf("answers to PUT (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.waits, w.clock.slept); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
		})
	}
}
