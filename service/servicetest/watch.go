package servicetest

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Whatever a test sends, these hold, and every test that starts a service holds them without
// thinking of it: no answer is a 5xx and nothing panics, unless the test says that it breaks
// something (MayFail); no token that was shown as a bearer token is in the log; and each refusal is
// in the metrics, once.

// watch sees what one service answers and logs.
type watch struct {
	t testing.TB

	mu      sync.Mutex
	log     bytes.Buffer
	shown   map[string]bool // bearer tokens
	refused map[int]int     // answers of 400 and above, by status
	mayFail bool
	beside  bool // answers were given that did not pass here
}

func newWatch(t testing.TB) *watch {
	return &watch{t: t, shown: map[string]bool{}, refused: map[int]int{}}
}

// Write takes the log.
func (w *watch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

// MayFail says that the test breaks something, so that 5xx are answers that it waits for.
func (s *Service) MayFail() {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.mayFail = true
}

// ServesBeside says that the test serves s.Server on a listener of its own too, whose answers are
// not seen here: then the count of refusals proves nothing.
func (s *Service) ServesBeside() {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.beside = true
}

// Break takes its database from a service.
func (s *Service) Break(t testing.TB) {
	t.Helper()
	s.MayFail()
	must(t, s.Store.Close())
}

// answered notes a request and its answer.
func (w *watch) answered(r *http.Request, status int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, header := range r.Header.Values("Authorization") {
		for word := range strings.FieldsSeq(header) {
			if len(word) > tail {
				w.shown[word] = true
			}
		}
	}
	if status >= http.StatusBadRequest {
		w.refused[status]++
	}
	if status >= http.StatusInternalServerError && !w.mayFail {
		w.t.Errorf("%s %s was answered %d, and the test did not say that it breaks something (MayFail):\n%s", r.Method, r.URL.Path, status, lastLines(w.log.String()))
	}
}

// tail is how many letters at the end of a token give it away.
const tail = 20

// words are what tokens could be, in a log.
var words = regexp.MustCompile(`[A-Za-z0-9._~+/-]{20,}`)

// check is called when the last answer was given.
func (w *watch) check(s *Service) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	tails := map[string]bool{}
	for token := range w.shown {
		token = strings.TrimRight(token, "=")
		tails[token[max(0, len(token)-tail):]] = true
	}
	for _, word := range words.FindAllString(w.log.String(), -1) {
		if w.shown[word] || tails[word[len(word)-tail:]] {
			w.t.Errorf("a bearer token is in the log: …%s", word[len(word)-tail:])
		}
	}
	if strings.Contains(w.log.String(), `"msg":"panic"`) {
		w.t.Errorf("the service panicked:\n%s", lastLines(w.log.String()))
	}
	if counted, refused := s.refusals(w.t), sum(w.refused); counted != refused && !w.beside {
		w.t.Errorf("%d requests were refused, by status %v, and the metrics count %d", refused,
			w.refused, counted)
	}
}

func sum(counts map[int]int) int {
	total := 0
	for n := range maps.Values(counts) {
		total += n
	}
	return total
}

var refusalsLine = regexp.MustCompile(`(?m)^pageflare_license_refusals_total\{[^}]*\} (\d+)$`)

// refusals is how many refusals the metrics count, for whatever reason.
func (s *Service) refusals(t testing.TB) int {
	t.Helper()
	total := 0
	for _, m := range refusalsLine.FindAllStringSubmatch(s.Metrics(t), -1) {
		n, err := strconv.Atoi(m[1])
		must(t, err)
		total += n
	}
	return total
}

func lastLines(log string) string {
	lines := slices.Collect(strings.Lines(log))
	return strings.Join(lines[max(0, len(lines)-5):], "")
}

// logs is where the service logs to: to the watch, and to the writer of the test.
func (w *watch) logs(also io.Writer) io.Writer {
	if also == nil {
		return w
	}
	return io.MultiWriter(w, also)
}
