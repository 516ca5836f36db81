package out_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/webhook/out"
	"github.com/pageflare/ci/service/webhook/signature"
)

// kit is endpoints on a real database.
type kit struct {
	*out.Registry
	store  *store.Store
	master keyring.MasterKey
	now    time.Time
}

func newKit(t *testing.T) *kit {
	t.Helper()
	s, err := store.Open(t.Context(), sqlitetest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	k := &kit{store: s, now: time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)}
	if k.master, err = keyring.NewMasterKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return k.now }
	log, err := audit.NewLog(t.Context(), s, []byte("key"), now)
	if err != nil {
		t.Fatal(err)
	}
	k.Registry = out.New(out.Config{Store: s, Master: k.master, Log: log, Now: now, Rand: rand.Reader})
	return k
}

func (k *kit) add(t *testing.T) out.Endpoint {
	t.Helper()
	e, err := k.Add(t.Context(), out.NewEndpoint{URL: "https://example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sealed is an endpoint as it is stored, and opened.
func (k *kit) sealed(t *testing.T, id string) (out.Sealed, out.Endpoint) {
	t.Helper()
	sealed, err := k.store.Endpoint(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	e, err := k.Unseal(sealed, k.now)
	if err != nil {
		t.Fatal(err)
	}
	return sealed, e
}

func TestSecretsAreStoredSealed(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	made := k.add(t)
	if err := signature.CheckSecret(made.Secret.Reveal()); err != nil {
		t.Error(err)
	}
	sealed, opened := k.sealed(t, made.ID)
	if bytes.Contains(sealed.SealedSecret, []byte(made.Secret.Reveal())) || sealed.Secret != "" || opened.Secret != made.Secret {
		t.Error("the secret is stored as it is, or is not that of the answer")
	}
	other, err := keyring.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Unseal(other, sealed, k.now); !errors.Is(err, keyring.ErrWrongMasterKey) {
		t.Errorf("Unseal with another key = %v, want ErrWrongMasterKey", err)
	}
	swapped := sealed
	swapped.ID = k.add(t).ID
	if _, err := k.Unseal(swapped, k.now); err == nil {
		t.Error("the secret of an endpoint opens as that of another one")
	}
}

func TestASecretOfBeforeSignsForTheOverlap(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	made := k.add(t)
	rotated, err := k.RotateSecret(t.Context(), made.ID, 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for after, want := range map[time.Duration]bool{0: true, 2*time.Hour - 1: true, 2 * time.Hour: false} {
		sealed, err := k.store.Endpoint(t.Context(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		e, err := k.Unseal(sealed, k.now.Add(after))
		if err != nil || e.Secret != rotated.Secret || (e.Previous == made.Secret) != want || (e.Previous == "") == want {
			t.Errorf("%s later the one of before signs: %t, %v, want %t", after, e.Previous != "", err, want)
		}
	}
	again, err := k.RotateSecret(t.Context(), made.ID, 0) // one that leaked
	if err != nil {
		t.Fatal(err)
	}
	if _, e := k.sealed(t, made.ID); e.Secret != again.Secret || e.Previous != "" {
		t.Error("without an overlap an older secret signs too")
	}
	for _, overlap := range []time.Duration{-1, out.MaxOverlap + 1} {
		if _, err := k.RotateSecret(t.Context(), made.ID, overlap); !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("overlap %s = %v, want ErrInvalid", overlap, err)
		}
	}
}

// What the service disables says why until somebody enables it, and others hear of it.
func TestAnEndpointThatIsDisabledSaysWhy(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	made := k.add(t)
	if err := k.Disable(t.Context(), made.ID, "https://example.com/old", "410 of the address of before"); err != nil {
		t.Fatal(err)
	}
	if e, err := k.Endpoint(t.Context(), made.ID); err != nil || e.Status != out.Active {
		t.Errorf("what its address of before answered disables it: %+v, %v", e, err)
	}
	for _, reason := range []string{"its receiver answered 410 Gone", "another reason"} {
		if err := k.Disable(t.Context(), made.ID, made.URL, reason); err != nil {
			t.Fatal(err)
		}
	}
	e, err := k.Endpoint(t.Context(), made.ID)
	if err != nil || e.Status != out.Disabled || e.Reason != "its receiver answered 410 Gone" {
		t.Errorf("disabled = %+v, %v, want the first reason", e, err)
	}
	page, err := k.store.EventsAfter(t.Context(), out.FeedQuery{Limit: 9})
	if err != nil || len(page.Events) != 1 || page.Events[0].Type != audit.EventWebhookDisabled || !strings.Contains(page.Events[0].Data, "410 Gone") {
		t.Errorf("told %+v, %v, want webhook.disabled once", page.Events, err)
	}
	e, err = k.Update(t.Context(), made.ID, out.Change{Status: new(out.Active)})
	if err != nil || e.Status != out.Active || e.Reason != "" {
		t.Errorf("enabled = %+v, %v", e, err)
	}
	if err := k.Disable(t.Context(), "wh_0000000000000000", "https://example.com", "x"); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("Disable(none) = %v, want ErrNotFound", err)
	}
}

func TestAddressesThatEventsMayBeSentTo(t *testing.T) {
	t.Parallel()
	allow := []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("127.0.0.0/8")}
	for url, want := range map[string][2]bool{ // without and with networks that are allowed
		"https://example.com/hooks?a=b":        {true, true},
		"https://example.com:8443":             {true, true},
		"https://203.0.113.7/":                 {true, true},
		"http://example.com/":                  {false, true}, // it may lead there
		"http://localhost:3000/":               {false, true},
		"http://10.20.3.4/":                    {false, true},
		"https://10.20.3.4/":                   {false, true},
		"http://10.21.0.1/":                    {false, false},
		"https://192.168.0.1/":                 {false, false},
		"http://203.0.113.7/":                  {false, false},
		"https://[::ffff:10.20.3.4]/":          {false, true},
		"https://[::1]/":                       {false, false},
		"https://169.254.169.254/latest":       {false, false},
		"https://0.0.0.0/":                     {false, false},
		"":                                     {false, false},
		"https://":                             {false, false},
		"https:///hooks":                       {false, false},
		"example.com":                          {false, false},
		"//example.com":                        {false, false},
		"file:///etc/passwd":                   {false, false},
		"https:example.com":                    {false, false},
		"https://user@example.com":             {false, false},
		"https://example.com/#":                {false, false},
		"https://example.com/\n":               {false, false},
		"https://exämple.com/":                 {false, false},
		"https://" + strings.Repeat("a", 2048): {false, false},
	} {
		for i, networks := range [][]netip.Prefix{nil, allow} {
			err := out.CheckURL(url, networks)
			if (err == nil) != want[i] || err != nil && !errors.Is(err, failure.ErrInvalid) {
				t.Errorf("CheckURL(%.40q) with %d networks = %v, want %t", url, len(networks), err, want[i])
			}
			if err != nil && strings.Contains(err.Error(), "user@") {
				t.Errorf("%v quotes what may hold a password", err)
			}
		}
	}
}

func TestAnEndpointHearsWhatItAskedFor(t *testing.T) {
	t.Parallel()
	some := out.Endpoint{ID: "wh_1", AccountID: "user_1", Events: []audit.EventType{audit.EventPlanChanged}}
	for name, c := range map[string]struct {
		e    out.Endpoint
		of   out.Event
		want bool
	}{
		"its type":        {some, out.Event{Type: audit.EventPlanChanged, AccountID: "user_1"}, true},
		"another type":    {some, out.Event{Type: audit.EventPing, AccountID: "user_1"}, false},
		"another account": {some, out.Event{Type: audit.EventPlanChanged, AccountID: "user_2"}, false},
		"nobody's":        {some, out.Event{Type: audit.EventPlanChanged}, false},
		"all of all":      {out.Endpoint{ID: "wh_2"}, out.Event{Type: audit.EventKeyRotated}, true},
	} {
		if got := c.e.Hears(c.of.Type, c.of.AccountID); got != c.want {
			t.Errorf("%s: hears it = %t, want %t", name, got, c.want)
		}
	}
}

// fakeFeed is a feed that a test fills.
type fakeFeed struct {
	page out.FeedPage
	next chan struct{}
}

func (f *fakeFeed) EventsAfter(context.Context, out.FeedQuery) (out.FeedPage, error) {
	return f.page, nil
}
func (f *fakeFeed) NewestEvent(context.Context) (int64, error) { return f.page.Newest, nil }
func (f *fakeFeed) NextPublished() <-chan struct{}             { return f.next }
func (f *fakeFeed) HasAccount(context.Context, string) error   { return nil }

// Each who waits holds a connection, so there is a limit; and all end with their context.
func TestNotTooManyWaitForEvents(t *testing.T) {
	t.Parallel()
	feed := out.NewFeed(&fakeFeed{next: make(chan struct{})}, func(time.Duration) <-chan time.Time { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, out.MaxWaiters)
	for range out.MaxWaiters {
		go func() {
			_, err := feed.Read(ctx, out.FeedQuery{Limit: 1}, time.Minute)
			ended <- err
		}()
	}
	for feed.Waiters() < out.MaxWaiters {
		select {
		case err := <-ended:
			t.Fatalf("one who waits ended: %v", err)
		default:
		}
	}
	if _, err := feed.Read(ctx, out.FeedQuery{Limit: 1}, time.Minute); !errors.Is(err, out.ErrBusy) {
		t.Errorf("one more = %v, want ErrBusy", err)
	}
	if _, err := feed.Read(ctx, out.FeedQuery{Limit: 1}, 0); err != nil {
		t.Errorf("one who does not wait = %v", err)
	}
	cancel()
	for range out.MaxWaiters {
		if err := <-ended; err != nil {
			t.Errorf("one whose context ended = %v, want no events", err)
		}
	}
	if n := feed.Waiters(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}

// A page is small enough to be answered: what is more comes with the next one.
func TestAPageOfLargeEventsIsCut(t *testing.T) {
	t.Parallel()
	f := &fakeFeed{page: out.FeedPage{Oldest: 1, Newest: 200, Next: 200}}
	for i := range 200 {
		f.page.Events = append(f.page.Events, out.Event{Seq: int64(i + 1), Data: `{"x":"` + strings.Repeat("x", 18<<10) + `"}`})
	}
	page, err := out.NewFeed(f, time.After).Read(t.Context(), out.FeedQuery{Limit: 200}, 0)
	size := 0
	for _, e := range page.Events {
		size += len(e.Body())
	}
	if n := len(page.Events); err != nil || n == 0 || page.Next != page.Events[n-1].Seq || size > 600<<10 {
		t.Errorf("%d events of %d bytes, next %d, %v", n, size, page.Next, err)
	}
}

// One row that was damaged does not stop those behind it.
func TestDamagedDataAreLeftOut(t *testing.T) {
	t.Parallel()
	e := out.Event{Seq: 7, ID: "evt_0123456789abcdef", Type: audit.EventPing, At: time.Date(2026, 3, 12, 9, 0, 0, 5e6, time.UTC), Data: `{"a":`}
	const want = `{"id":"evt_0123456789abcdef","type":"ping","timestamp":"2026-03-12T09:00:00.005Z","created_at":"2026-03-12T09:00:00.005Z","sequence":7,"data":{}}`
	if got := string(e.Body()); got != want {
		t.Errorf("body = %s, want %s", got, want)
	}
	e.Data = `{"account":"<&>"}`
	if got := string(e.Body()); !strings.HasSuffix(got, `"data":{"account":"\u003c\u0026\u003e"}}`) {
		t.Errorf("body = %s", got)
	}
}
