package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

// TestKeysChangeUnderLoadWithoutARejectedToken is the drill: three servers on one database, clocks
// almost four seconds apart, callers that issue, refresh, introspect and lease on whichever server
// comes, while keys are added and old ones retired. No token that is valid by every clock is
// refused.
func TestKeysChangeUnderLoadWithoutARejectedToken(t *testing.T) {
	t.Parallel()
	d := newDrill(t)
	defer d.stop() // also when the test gives up
	const callers, cycles = 4, 3
	for i := range callers {
		d.turns[i] = 0
	}
	for i := range callers {
		d.loads.Go(func() { d.load(i) })
	}
	for range cycles {
		d.rotate()
		for range 26 { // the new key comes to sign: small steps
			d.step(250 * time.Millisecond)
		}
		for range 8 { // what the old key signed comes to its end
			d.step(20 * time.Second)
			d.retire()
		}
	}
	d.stop()
	if d.refused > 0 || d.retired != cycles || len(d.signers) != cycles+1 {
		t.Errorf("%d valid tokens refused of %d; %d keys retired, want %d; tokens by %d keys, want %d", d.refused, d.calls, d.retired, cycles, len(d.signers), cycles+1)
	}
	for _, act := range acts {
		if d.did[act] == 0 {
			t.Errorf("nobody did %s", act)
		}
	}
	for _, held := range d.held {
		for _, s := range d.servers {
			if _, err := s.Authenticate(t.Context(), held.text); err != nil && held.until.After(d.now().Add(d.margin)) {
				t.Errorf("in the end a valid token is refused: %v", err)
			}
		}
	}
	t.Logf("%d calls, %d keys retired, none of %d valid tokens refused", d.calls, d.retired, len(d.held))
}

const drillLife = time.Minute // of tokens

var acts = []string{"issue", "refresh", "introspect", "lease"}

// heldToken is a token that some caller of the drill holds.
type heldToken struct {
	text  string
	until time.Time
}

type drill struct {
	t        *testing.T
	servers  []*servicetest.Service
	client   *http.Client
	apiToken string
	loads    sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	clock   time.Time
	margin  time.Duration // how long a token must live by the middle clock, for all to take it during a call
	ended   bool
	did     map[string]int
	resting int         // which server has no callers
	turns   map[int]int // calls of each caller
	held    []heldToken
	signers map[string]bool
	calls   int
	refused int
	retired int
}

func newDrill(t *testing.T) *drill {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	d := &drill{
		t: t, client: &http.Client{Transport: transport}, clock: time.Now(), did: map[string]int{}, turns: map[int]int{}, signers: map[string]bool{}, margin: 25 * time.Second,
	}
	d.changed = sync.NewCond(&d.mu)
	ahead := func(by time.Duration) func() time.Time { return func() time.Time { return d.now().Add(by) } }
	first := servicetest.Start(t, servicetest.Options{Now: d.now, TokenTTL: drillLife})
	d.servers = append(d.servers, first)
	for _, by := range []time.Duration{1900 * time.Millisecond, -1900 * time.Millisecond} {
		d.servers = append(d.servers, first.Replica(t, ahead(by)))
	}
	_, d.apiToken = first.Account(t, "drill@example.com")
	return d
}

func (d *drill) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clock
}

func (d *drill) advance(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock = d.clock.Add(by)
}

// step moves all clocks, and returns when every caller has finished a call that it began after
// that. So no call sees the time move more than once. In each step another server has no callers:
// the servers do not read the keys all at the same moment.
func (d *drill) step(by time.Duration) {
	d.advance(by)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resting++
	goal := map[int]int{}
	for caller, n := range d.turns {
		goal[caller] = n + 2
	}
	for caller, n := range goal {
		for d.turns[caller] < n {
			d.changed.Wait()
		}
	}
}

// stop ends the load and waits for it.
func (d *drill) stop() {
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.loads.Wait()
}

func (d *drill) any() *servicetest.Service {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.servers[(d.resting+1+rand.IntN(len(d.servers)-1))%len(d.servers)]
}

// rotate adds a key by the clock that is behind: to the other servers it signs almost four seconds
// too early.
func (d *drill) rotate() {
	d.t.Helper()
	if _, err := d.servers[2].Rotate(d.t.Context(), keyring.HS256); err != nil {
		d.t.Fatal(err)
	}
}

// retire tries to end every key that does not sign, and may only succeed when nothing depends on
// it.
func (d *drill) retire() {
	d.t.Helper()
	keys, err := d.any().Keys(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	for _, k := range keys {
		if k.State != keyring.Verifying {
			continue
		}
		err := d.any().Retire(d.t.Context(), k.ID, false)
		switch {
		case err == nil:
			d.retired++
		case !errors.Is(err, keyring.ErrInUse):
			d.t.Fatal(err)
		}
	}
}

// load is one caller. The first acts are issues, so that there is something to hold.
func (d *drill) load(caller int) {
	for turn := 0; ; turn++ {
		held, ok := d.pick()
		act := acts[rand.IntN(len(acts))]
		if !ok || turn == 0 {
			act = "issue"
		}
		err := d.call(act, held)
		d.mu.Lock()
		d.calls++
		d.did[act]++
		d.turns[caller]++
		if err != nil {
			d.refused++
			d.t.Errorf("%s: %v", act, err)
		}
		ended := d.ended
		d.changed.Broadcast()
		d.mu.Unlock()
		if ended {
			return
		}
	}
}

// pick returns a token that is valid by every clock for longer than a call takes, and forgets those
// that are not. Half of the time it is the newest: other servers have heard least of its key.
func (d *drill) pick() (heldToken, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.held) > 0 {
		i := rand.IntN(2 * len(d.held))
		i = min(i, len(d.held)-1)
		if d.held[i].until.After(d.clock.Add(d.margin)) {
			return d.held[i], true
		}
		d.held[i] = d.held[len(d.held)-1]
		d.held = d.held[:len(d.held)-1]
	}
	return heldToken{}, false
}

func (d *drill) hold(text string) error {
	c, err := token.Decode(text)
	if err != nil {
		return err
	}
	header, _, _ := strings.Cut(text, ".")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.signers[header] = true
	d.held = append(d.held, heldToken{text, c.ExpiresAt})
	return nil
}

// call does one act on any server. The error says how a valid token was refused.
func (d *drill) call(act string, held heldToken) error {
	switch s := d.any(); act {
	case "issue", "refresh":
		method, bearer := http.MethodPost, d.apiToken
		if act == "refresh" {
			method, bearer = http.MethodGet, held.text
		}
		got, err := ask[api.IssuedToken](d, method, s.URL+"/license/"+act, bearer, nil)
		if err != nil {
			return err
		}
		return d.hold(got.Token)
	case "introspect":
		got, err := ask[api.Introspection](d, http.MethodPost, s.URL+"/oauth/introspect", d.apiToken, url.Values{"token": {held.text}})
		if err == nil && !got.Active {
			err = errors.New("not active")
		}
		return err
	default:
		got, err := ask[api.Lease](d, http.MethodGet, s.URL+"/license/lease", held.text, nil)
		if err != nil {
			return err
		}
		return d.verify(got.Lease)
	}
}

// verify checks a lease by the keys that any server publishes.
func (d *drill) verify(lease string) error {
	jwks, err := ask[json.RawMessage](d, http.MethodGet, d.any().Origin+"/.well-known/jwks.json", "", nil)
	if err != nil {
		return err
	}
	keys, err := token.ParseJWKS(jwks)
	if err != nil {
		return err
	}
	_, err = keys.Parse(lease, d.servers[0].Origin, d.now())
	return err
}

func ask[T any](d *drill, method, address, bearer string, form url.Values) (out T, err error) {
	req, err := http.NewRequestWithContext(d.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return out, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := d.client.Do(req)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return out, err
	}
	if res.StatusCode != http.StatusOK {
		return out, fmt.Errorf("%s %s", res.Status, body)
	}
	return out, json.Unmarshal(body, &out)
}
