package in_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/webhook/in"
)

const (
	secret    = "It's a Secret to Everybody"
	oldSecret = "the secret of before"
)

func TestSignatures(t *testing.T) {
	t.Parallel()
	// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
	const known = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	secrets := []opaque.Secret{"another", secret}
	for about, headers := range map[string][]string{
		"none": nil, "empty": {""}, "two": {known, known}, "two in one": {known + "," + known}, "SHA-1": {"sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"},
		"no prefix": {known[7:]}, "upper case": {strings.ToUpper(known)}, "short": {known[:70]}, "long": {known + "0"}, "a space": {" " + known}, "another": {"sha256=" + strings.Repeat("0", 64)},
	} {
		sum, err := in.ParseSignature(headers)
		if err == nil {
			_, err = in.Verify(secrets, sum, []byte("Hello, World!"))
		}
		if !errors.Is(err, in.ErrSignature) {
			t.Errorf("%s: %v, want ErrSignature", about, err)
		}
	}
	sum, err := in.ParseSignature([]string{known})
	if err != nil {
		t.Fatal(err)
	}
	if which, err := in.Verify(secrets, sum, []byte("Hello, World!")); err != nil || which != 1 {
		t.Errorf("Verify(GitHub's vector) = %d, %v, want the second secret", which, err)
	}
	for _, bad := range [][]opaque.Secret{nil, {""}, {"x"}} {
		if _, err := in.Verify(bad, sum, []byte("Hello, World!")); err == nil {
			t.Errorf("Verify with %d secrets = nil", len(bad))
		}
	}
	empty := hmac.New(sha256.New, nil)
	empty.Write([]byte("x"))
	if _, err := in.Verify([]opaque.Secret{""}, empty.Sum(nil), []byte("x")); err == nil {
		t.Error("an empty secret signs")
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", []byte("Hello, World!"))
	f.Add("sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59", []byte(""))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		sum, err := in.ParseSignature([]string{header})
		if err != nil {
			return
		}
		if header != "sha256="+hex.EncodeToString(sum) {
			t.Errorf("ParseSignature(%q) = %x, which is written otherwise", header, sum)
		}
		if _, err := in.Verify([]opaque.Secret{secret}, sum, body); err == nil && header != sign(secret, body) {
			t.Errorf("Verify took %q for %q", header, body)
		}
	})
}

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// bench is a receiver on a database, whose handler of the event "known" is the test's.
type bench struct {
	*in.Receiver
	t     *testing.T
	store *store.Store
	cfg   in.Config

	mu     sync.Mutex
	now    time.Time
	handle in.Handler
	seen   []in.Delivery
	log    bytes.Buffer
}

func newBench(t *testing.T) *bench {
	t.Helper()
	s, err := store.Open(t.Context(), sqlitetest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	b := &bench{t: t, store: s, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	b.cfg = in.Config{
		Store: s, Now: b.Now, Rand: zero{}, Patience: time.Millisecond,
		Secrets: func(context.Context) ([]opaque.Secret, error) { return []opaque.Secret{secret, oldSecret}, nil },
		Handlers: map[string]in.Handler{"known": func(ctx context.Context, d in.Delivery) error {
			b.mu.Lock()
			b.seen = append(b.seen, d)
			handle := b.handle
			b.mu.Unlock()
			if handle == nil {
				return nil
			}
			return handle(ctx, d)
		}},
	}
	b.Receiver = in.New(b.cfg)
	return b
}

func (b *bench) Now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

// zero is randomness that spreads nothing.
type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func headers(event, id string, body []byte) http.Header {
	return http.Header{
		"Content-Type": {"application/json"}, "X-Github-Event": {event}, "X-Github-Delivery": {id}, "X-Hub-Signature-256": {sign(secret, body)},
	}
}

func (b *bench) send(event, id, body string) in.Receipt {
	b.t.Helper()
	got, err := b.Receive(b.t.Context(), headers(event, id, []byte(body)), strings.NewReader(body), int64(len(body)))
	if err != nil {
		b.t.Fatalf("Receive(%s) = %v", id, err)
	}
	return got
}

func (b *bench) work() int {
	b.t.Helper()
	n, err := b.Work(b.t.Context(), slog.New(slog.NewTextHandler(&b.log, nil)))
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) record(id string) in.Record {
	b.t.Helper()
	list, err := b.Deliveries(b.t.Context(), in.Query{Limit: 100})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range list {
		if r.ID == id {
			return r
		}
	}
	b.t.Fatalf("there is no delivery %s", id)
	return in.Record{}
}

func (b *bench) wantState(id string, want in.State) in.Record {
	b.t.Helper()
	r := b.record(id)
	if r.State != want {
		b.t.Errorf("delivery %s is %s (%s), want %s", id, r.State, r.Error, want)
	}
	return r
}

func TestADeliveryIsStoredThenProcessedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := `{"action":"created","n":null}`
	if got := b.send("known", "g-1", body); got.State != in.Received || got.Repeated {
		t.Errorf("receipt = %+v", got)
	}
	if len(b.seen) != 0 {
		t.Error("it was processed before it was answered")
	}
	if r := b.wantState("g-1", in.Received); r.Action != "created" || !r.ReceivedAt.Equal(b.now) {
		t.Errorf("record = %+v", r)
	}
	if got := b.send("known", "g-1", body); got.Repeated { // GitHub sends it again before it was processed
		t.Errorf("receipt = %+v", got)
	}
	if n := b.work(); n != 1 || len(b.seen) != 1 || string(b.seen[0].Body) != body || b.seen[0].Action != "created" {
		t.Errorf("worked on %d, seen %+v", n, b.seen)
	}
	b.wantState("g-1", in.Processed)
	if got := b.send("known", "g-1", body); !got.Repeated || got.State != in.Processed {
		t.Errorf("receipt of a replay = %+v", got)
	}
	if n := b.work(); n != 0 || len(b.seen) != 1 {
		t.Errorf("a replay was processed: %d", n)
	}
	counts, _ := b.Counts()
	for outcome, want := range map[string]int64{in.CountReceived: 2, in.CountProcessed: 1, in.CountRepeated: 1} {
		if got := counts[in.Count{Event: "known", Outcome: outcome}]; got != want {
			t.Errorf("%s = %d, want %d", outcome, got, want)
		}
	}
}

func TestUnknownEventsAreKeptAndCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.send("invented", "g-1", "not JSON at all")
	b.send("ping", "g-2", `{"zen":"x"}`)
	b.wantState("g-1", in.Ignored)
	b.wantState("g-2", in.Processed)
	if b.work() != 0 {
		t.Error("something was to be done")
	}
	counts, _ := b.Counts()
	if counts[in.Count{Event: "other", Outcome: in.CountIgnored}] != 1 || counts[in.Count{Event: "ping", Outcome: in.CountReceived}] != 1 {
		t.Errorf("counts = %v", counts)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := []byte(`{"a":1}`)
	receive := func(change func(http.Header), body []byte, length int64) error {
		h := headers("known", "g-1", body)
		change(h)
		_, err := b.Receive(t.Context(), h, bytes.NewReader(body), length)
		return err
	}
	for about, tc := range map[string]struct {
		change func(http.Header)
		want   error
	}{
		"a form":              {func(h http.Header) { h.Set("Content-Type", "application/x-www-form-urlencoded") }, in.ErrForm},
		"no content type":     {func(h http.Header) { h.Del("Content-Type") }, in.ErrForm},
		"compressed":          {func(h http.Header) { h.Set("Content-Encoding", "gzip") }, in.ErrForm},
		"no signature":        {func(h http.Header) { h.Del("X-Hub-Signature-256") }, in.ErrSignature},
		"SHA-1 alone":         {func(h http.Header) { h.Del("X-Hub-Signature-256"); h.Set("X-Hub-Signature", "sha1=00") }, in.ErrSignature},
		"two signatures":      {func(h http.Header) { h.Add("X-Hub-Signature-256", h.Get("X-Hub-Signature-256")) }, in.ErrSignature},
		"of another body":     {func(h http.Header) { h.Set("X-Hub-Signature-256", sign(secret, []byte("x"))) }, in.ErrSignature},
		"of another secret":   {func(h http.Header) { h.Set("X-Hub-Signature-256", sign("x", body)) }, in.ErrSignature},
		"of an empty secret":  {func(h http.Header) { h.Set("X-Hub-Signature-256", sign("", body)) }, in.ErrSignature},
		"no id":               {func(h http.Header) { h.Del("X-Github-Delivery") }, failure.ErrInvalid},
		"an id of odd form":   {func(h http.Header) { h.Set("X-Github-Delivery", "../x") }, failure.ErrInvalid},
		"no event":            {func(h http.Header) { h.Del("X-Github-Event") }, failure.ErrInvalid},
		"an event of no form": {func(h http.Header) { h.Set("X-Github-Event", "Known!") }, failure.ErrInvalid},
	} {
		if err := receive(tc.change, body, int64(len(body))); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", about, err, tc.want)
		}
	}
	none := func(http.Header) {}
	if err := receive(none, body, in.MaxBody+1); !errors.Is(err, in.ErrTooLarge) {
		t.Errorf("a length above the limit: %v", err)
	}
	if err := receive(none, make([]byte, in.MaxBody+1), -1); !errors.Is(err, in.ErrTooLarge) {
		t.Errorf("a body above the limit: %v", err)
	}
	broken := io.MultiReader(strings.NewReader("x"), errReader{})
	var unread *in.BodyError
	if _, err := b.Receive(t.Context(), headers("known", "g-1", body), broken, -1); !errors.As(err, &unread) {
		t.Errorf("a body that ends early: %v", err)
	}
	if list, err := b.Deliveries(t.Context(), in.Query{Limit: 9}); err != nil || len(list) != 0 {
		t.Errorf("stored = %v, %v, want nothing", list, err)
	}
	b.cfg.Secrets = func(context.Context) ([]opaque.Secret, error) { return nil, nil }
	b.Receiver = in.New(b.cfg)
	if err := receive(none, body, 7); !errors.Is(err, in.ErrNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTheSecretOfBeforeCountsAndIsCounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := headers("known", "g-1", []byte("{}"))
	h.Set("X-Hub-Signature-256", sign(oldSecret, []byte("{}")))
	got, err := b.Receive(t.Context(), h, strings.NewReader("{}"), 2)
	if err != nil || !got.OldSecret {
		t.Fatalf("Receive = %+v, %v", got, err)
	}
	if _, old := b.Counts(); old != 1 {
		t.Errorf("%d uses of the old secret, want 1", old)
	}
}

// A stranger's large bodies take the turns of large bodies, and no memory beside; small ones pass.
func TestFewLargeBodiesAreReadAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	large := bytes.Repeat([]byte(" "), 1<<20)
	hold, held := make(chan struct{}), make(chan struct{}, 9)
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			slow := io.MultiReader(bytes.NewReader(large[:100<<10]), waiting{held, hold}, bytes.NewReader(large))
			_, err := b.Receive(context.WithoutCancel(t.Context()), headers("known", "g-0", nil), slow, -1)
			ended <- err
		}()
	}
	<-held
	<-held
	if _, err := b.Receive(t.Context(), headers("known", "g-1", large), bytes.NewReader(large), int64(len(large))); !errors.Is(err, in.ErrBusy) {
		t.Errorf("a third large body: %v, want ErrBusy", err)
	}
	b.send("known", "g-2", "{}")
	close(hold)
	for range 2 {
		if err := <-ended; !errors.Is(err, in.ErrSignature) {
			t.Errorf("a large body of a stranger: %v", err)
		}
	}
	if _, err := b.Receive(t.Context(), headers("known", "g-1", large), bytes.NewReader(large), int64(len(large))); err != nil {
		t.Errorf("a large body afterwards: %v", err)
	}
}

// waiting says that it is read, and ends when it may.
type waiting struct {
	held chan<- struct{}
	hold <-chan struct{}
}

func (w waiting) Read([]byte) (int, error) {
	w.held <- struct{}{}
	<-w.hold
	return 0, io.EOF
}

func TestWhatFailsIsTriedAgainAndStopsNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.handle = func(_ context.Context, d in.Delivery) error {
		switch string(d.Body) {
		case "always":
			return errors.New("the database is at lunch")
		case "never":
			return failure.Invalid("it is not JSON")
		case "panics":
			panic("a bug")
		}
		return nil
	}
	b.send("known", "g-1", "always")
	b.send("known", "g-2", "never")
	b.send("known", "g-3", "panics")
	b.send("known", "g-4", "{}")
	if n := b.work(); n != 4 {
		t.Fatalf("worked on %d, want 4", n)
	}
	first := b.wantState("g-1", in.Failed)
	if first.DueAt.Sub(b.now) != 5*time.Second || first.Attempts != 1 {
		t.Errorf("after the first attempt = %+v, want the next in 5 s", first)
	}
	if r := b.wantState("g-2", in.Failed); !r.DueAt.IsZero() || r.Error != "it is not JSON" {
		t.Errorf("what cannot work = %+v, want no other attempt", r)
	}
	if r := b.wantState("g-3", in.Failed); !strings.HasPrefix(r.Error, "panic: a bug") || r.DueAt.IsZero() {
		t.Errorf("what panics = %+v", r)
	}
	b.wantState("g-4", in.Processed)
	for range 200 {
		b.advance(2 * time.Hour)
		b.work()
	}
	last := b.wantState("g-1", in.Failed)
	if !last.DueAt.IsZero() || last.Attempts < 30 || last.Attempts > 100 {
		t.Errorf("after two weeks = %+v, want it given up after three days", last)
	}
	b.handle = nil
	if _, err := b.Retry(t.Context(), "g-1"); err != nil {
		t.Fatal(err)
	}
	b.work()
	b.wantState("g-1", in.Processed)
	if got := b.send("known", "g-2", "never"); got.Repeated { // GitHub was asked to deliver it again
		t.Error("what was not processed is not processed again")
	}
	b.work()
	b.wantState("g-2", in.Processed)
	if _, err := b.Retry(t.Context(), "g-9"); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("Retry(unknown) = %v, want ErrNotFound", err)
	}
}

type later time.Time

func (l later) Error() string  { return "not yet" }
func (l later) Due() time.Time { return time.Time(l) }

func TestWhatTakesEffectLaterIsProcessedThen(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	when := b.now.Add(30 * 24 * time.Hour)
	b.handle = func(context.Context, in.Delivery) error {
		if b.Now().Before(when) {
			return later(when)
		}
		return nil
	}
	b.send("known", "g-1", "{}")
	b.work()
	if r := b.wantState("g-1", in.Received); !r.DueAt.Equal(when) {
		t.Errorf("record = %+v, want it due then", r)
	}
	if err := b.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.advance(30 * 24 * time.Hour)
	b.work()
	b.wantState("g-1", in.Processed)
}

// A replica that is killed while it processes a delivery leaves it to another one, after the time of
// its claim; if it was only slow, it cannot say what became of it any more.
func TestACrashLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.send("known", "g-1", "{}")
	claims, err := b.store.ClaimReceived(t.Context(), "killed", b.now, b.now.Add(2*time.Minute), 5)
	if err != nil || len(claims) != 1 {
		t.Fatalf("ClaimReceived = %v, %v", claims, err)
	}
	b.send("known", "g-1", "{}") // also when GitHub sends it meanwhile
	if n := b.work(); n != 0 {
		t.Errorf("worked on %d that another one has claimed", n)
	}
	b.advance(2 * time.Minute)
	if n := b.work(); n != 1 {
		t.Errorf("worked on %d after the claim ended, want 1", n)
	}
	b.wantState("g-1", in.Processed)
	if err := b.store.FinishReceived(t.Context(), claims[0], in.Outcome{State: in.Failed, Error: "late", At: b.now}); err != nil {
		t.Fatal(err)
	}
	if r := b.wantState("g-1", in.Processed); r.Error != "" {
		t.Errorf("the outcome of a claim that had ended counts: %+v", r)
	}
}

func TestSeveralReplicasProcessEachDeliveryOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const n = 60
	for i := range n {
		b.send("known", fmt.Sprintf("g-%d", i), "{}")
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	b.handle = func(context.Context, in.Delivery) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.seen) == n {
			close(done)
		}
		return nil
	}
	for range 3 {
		replica := in.New(b.cfg)
		wg.Go(func() { replica.Run(ctx, slog.New(slog.DiscardHandler), time.After) })
	}
	<-done
	stop()
	wg.Wait()
	times := map[string]int{}
	for _, d := range b.seen {
		times[d.ID]++
	}
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was processed %d times", id, n)
		}
	}
	for i := range n {
		b.wantState(fmt.Sprintf("g-%d", i), in.Processed)
	}
}

func TestWhatNobodyNeedsIsPruned(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.send("known", "g-1", "{}")
	b.send("other", "g-2", "{}")
	b.work()
	b.handle = func(context.Context, in.Delivery) error { return failure.Invalid("no") }
	b.send("known", "g-3", "{}")
	b.work()
	prune := func() {
		t.Helper()
		if err := b.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	body := func(id string) bool {
		_, err := b.store.ReceivedBody(t.Context(), id)
		return err == nil
	}
	prune()
	if !body("g-1") || !body("g-2") || !body("g-3") {
		t.Error("a body is gone at once")
	}
	b.advance(4 * 24 * time.Hour)
	prune()
	if body("g-1") || body("g-2") || !body("g-3") {
		t.Errorf("bodies after four days: %v %v %v, want that of the failed one alone", body("g-1"), body("g-2"), body("g-3"))
	}
	if _, err := b.Retry(t.Context(), "g-1"); !errors.Is(err, failure.ErrInvalid) {
		t.Errorf("Retry without a body = %v, want ErrInvalid", err)
	}
	b.advance(90 * 24 * time.Hour)
	prune()
	if got := b.send("known", "g-1", "{}"); !got.Repeated {
		t.Error("an id is forgotten after 94 days")
	}
	b.advance(60 * 24 * time.Hour)
	prune()
	if list, err := b.Deliveries(t.Context(), in.Query{Limit: 9}); err != nil || len(list) != 0 {
		t.Errorf("after half a year: %v, %v", list, err)
	}
}

// newGitHub is a fake GitHub with an App, and the service's registry of it.
func newGitHub(t *testing.T, b *bench) (*githubtest.Server, *githubapp.Registry) {
	t.Helper()
	gh := githubtest.Start(t, githubtest.Config{Now: b.Now, Apps: []githubtest.App{{ID: 12345, Key: &githubtest.AppKey().PublicKey}}})
	s := servicetest.Start(t, servicetest.Options{
		Now: b.Now, GitHub: gh.URL(), App: githubapp.Given{ID: "12345", Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))},
	})
	return gh, s.Parts.App
}

func TestWhatGitHubCouldNotDeliverIsAskedForAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	gh, app := newGitHub(t, b)
	var list []githubtest.Delivery
	add := func(guid string, ago time.Duration, status int) {
		list = append(list, githubtest.Delivery{ID: int64(len(list) + 1), GUID: guid, At: b.now.Add(-ago), Status: status})
	}
	const day = 24 * time.Hour
	add("too-old", 4*day, 502)
	for n := range 150 { // two pages of what went well
		add(fmt.Sprintf("well-%d", n), 2*day-time.Duration(n)*time.Second, 202)
	}
	add("lost", day, 502)
	add("lost-then-delivered", day, 0)
	add("lost-then-delivered", 20*time.Hour, 202)
	add("here", 10*time.Hour, 504) // it came, and GitHub did not hear the answer
	for range 6 {
		add("stubborn", 5*time.Hour, 500)
	}
	add("just-now", time.Second, 500)
	var again []string
	gh.SetDeliveries(list, func(d githubtest.Delivery) {
		again = append(again, d.GUID)
		b.send("known", d.GUID, "{}")
	})
	b.send("known", "here", "{}")
	heal := func(want ...string) {
		t.Helper()
		again = nil
		n, err := b.Heal(t.Context(), app)
		if err != nil || n != len(want) || strings.Join(again, " ") != strings.Join(want, " ") {
			t.Errorf("Heal = %d, %v and %v, want %v", n, err, again, want)
		}
	}
	heal("lost")
	heal() // it came
	b.advance(2 * time.Hour)
	heal("stubborn", "just-now")
	counts, _ := b.Counts()
	if n := counts[in.Count{Event: "other", Outcome: in.CountAsked}]; n != 3 {
		t.Errorf("asked = %d, want 3", n)
	}
}

func TestGitHubDoesNotAnswerTheHealer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	lost := []githubtest.Delivery{
		{ID: 1, GUID: "gone", At: b.now.Add(-2 * time.Hour), Status: 500}, {ID: 2, GUID: "lost", At: b.now.Add(-time.Hour), Status: 500},
	}
	for about, f := range map[string]githubtest.Fault{
		"its key was revoked":          {Status: 401, Body: `{"message":"A JSON web token could not be decoded"}`},
		"its hour is used up":          {Status: 403, Header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1893456000"}, Body: `{"message":"API rate limit exceeded"}`},
		"it asks to wait":              {Status: 429, Header: map[string]string{"Retry-After": "3600"}},
		"a secondary limit":            {Status: 403, Header: map[string]string{"Retry-After": "3600"}, Body: `{"message":"You have exceeded a secondary rate limit"}`},
		"another page than GitHub's":   {Status: 403, Body: "<html>no</html>", Proxy: true},
		"an answer that is no list":    {Status: 200, Body: `{"x":1}`},
		"an answer that is cut short":  {Truncate: true},
		"little is left of the budget": {Header: map[string]string{"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "100", "X-RateLimit-Reset": "1893456000", "Link": `<http://127.0.0.1:1/x?cursor=v1_2>; rel="next"`}},
	} {
		gh, app := newGitHub(t, b)
		gh.SetDeliveries(lost, nil)
		gh.FailNext("GET /app/hook/deliveries", f)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		n, err := b.Heal(ctx, app)
		cancel()
		if err == nil || n != 0 {
			t.Errorf("%s: Heal = %d, %v, want an error", about, n, err)
		}
	}
	gh, app := newGitHub(t, b)
	gh.SetDeliveries(lost, nil)
	gh.FailNext("POST /1/attempts", githubtest.Fault{Status: 404})
	if n, err := b.Heal(t.Context(), app); err != nil || n != 1 {
		t.Errorf("Heal with one that is gone = %d, %v, want the other one", n, err)
	}
	none := servicetest.Start(t, servicetest.Options{})
	if n, err := b.Heal(t.Context(), none.Parts.App); n != 0 || err != nil {
		t.Errorf("Heal without an App = %d, %v", n, err)
	}
}
