package server_test

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/servicetest"
)

func TestBadCredentialsAreLimitedByAddressAndGoodOnesAreNot(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{BadCredentials: 3, Now: func() time.Time { return now }})
	_, key := s.Account(t, "a@example.com")
	const path = "/_api/license/issue"
	for range 3 {
		call(t, s, "POST", path, "", bearer("wrong")...).wantUnauthorized(t)
		call(t, s, "POST", path, "", bearer(key)...).token(t)
	}
	got := call(t, s, "POST", path, "", bearer("wrong")...)
	got.wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	if after := got.header.Get("Retry-After"); after != "20" {
		t.Errorf("Retry-After = %s, want 20", after)
	}
	call(t, s, "POST", path, "").wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	call(t, s, "POST", path, "", bearer(key)...).token(t)
	// a header that no proxy of ours wrote does not make it another address
	call(t, s, "POST", path, "", append(bearer("wrong"), "X-Forwarded-For", "203.0.113.9")...).wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	now = now.Add(20 * time.Second)
	call(t, s, "POST", path, "", bearer("wrong")...).wantUnauthorized(t)
	call(t, s, "POST", path, "", bearer("wrong")...).wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
}

func TestAddressesBehindATrustedProxyAreCountedApart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{
		BadCredentials: 1, Now: func() time.Time { return now }, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	ask := func(from string) int {
		t.Helper()
		return call(t, s, "POST", "/_api/license/issue", "", "X-Forwarded-For", from).status
	}
	for _, test := range []struct {
		from string
		want int
	}{
		{"203.0.113.1", 401}, {"203.0.113.1", 429},
		{"198.51.100.7, 203.0.113.1", 429}, // what the client wrote itself stands on the left
		{"203.0.113.2", 401},
		{"2001:db8:1:2::1", 401}, {"2001:db8:1:2:ffff::9", 429}, // one /64 is one customer
		{"2001:db8:1:3::1", 401},
		{"not an address", 401}, {"another", 429}, // the proxy itself
	} {
		if got := ask(test.from); got != test.want {
			t.Errorf("from %s = %d, want %d", test.from, got, test.want)
		}
	}
}

// Only the entries that trusted proxies wrote into X-Forwarded-For count; where there is none that
// is an address, it is the proxy that calls.
func TestACallerCannotChooseItsAddress(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := servicetest.Start(t, servicetest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Log: &log})
	for _, test := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"X-Real-IP alone", []string{"X-Real-IP", "198.51.100.7"}, "127.0.0.1"},
		{"X-Real-IP beside a good entry", []string{"X-Forwarded-For", "203.0.113.1", "X-Real-IP", "198.51.100.7"}, "203.0.113.1"},
		{"X-Real-IP beside an entry with a port", []string{"X-Forwarded-For", "203.0.113.1:5555", "X-Real-IP", "198.51.100.7"}, "127.0.0.1"},
		{"an entry with a port", []string{"X-Forwarded-For", "198.51.100.7:5555"}, "127.0.0.1"},
		{"an entry in brackets", []string{"X-Forwarded-For", "[2001:db8::1]"}, "127.0.0.1"},
		{"an entry in brackets with a port", []string{"X-Forwarded-For", "[2001:db8::1]:5555"}, "127.0.0.1"},
		{"an entry with a zone", []string{"X-Forwarded-For", "fe80::1%eth0"}, "127.0.0.1"},
		{"the client's own entry, and the proxy's with a port", []string{"X-Forwarded-For", "198.51.100.7, 203.0.113.1:5555"}, "127.0.0.1"},
		{"two headers", []string{"X-Forwarded-For", "198.51.100.7", "X-Forwarded-For", "203.0.113.1"}, "203.0.113.1"},
		{"other headers of proxies", []string{"Forwarded", "for=198.51.100.7", "CF-Connecting-IP", "198.51.100.7", "True-Client-IP", "198.51.100.7"}, "127.0.0.1"},
	} {
		log.Reset()
		call(t, s, "GET", "/_api/health", "", test.headers...)
		if !strings.Contains(log.String(), `"remote":"`+test.want+`"`) {
			t.Errorf("%s: want remote %s in %s", test.name, test.want, log.String())
		}
	}
}

// A million callers, each new, do not grow memory past the bound: those that were not seen for
// longest are forgotten, the first one among them.
func TestAMillionCallersAreForgotten(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{BadCredentials: 1, Now: func() time.Time { return time.Unix(1e9, 0) }})
	const first = "192.0.2.1"
	if s.Server.TakeAddress(t.Context(), first) != nil || s.Server.TakeAddress(t.Context(), first) == nil {
		t.Fatal("want the first request of an address allowed and the second refused")
	}
	for n := range 1_000_000 {
		address := "10." + strconv.Itoa(n>>16) + "." + strconv.Itoa(n>>8&255) + "." + strconv.Itoa(n&255)
		if err := s.Server.TakeAddress(t.Context(), address); err != nil {
			t.Fatalf("caller %d: %v", n, err)
		}
	}
	if err := s.Server.TakeAddress(t.Context(), first); err != nil {
		t.Errorf("the first of a million callers is still remembered: %v", err)
	}
}

// A flood of logins from a new address each time ends at the bound of all together, and only for as
// long as it lasts.
func TestLoginsOfAllAddressesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Now: func() time.Time { return now }})
	from := func(n int) string { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String() }
	let := 0
	for n := range 4000 {
		if s.Server.TakeLogin(t.Context(), from(n)) == nil {
			let++
		}
	}
	if let != 3000 {
		t.Errorf("%d of 4000 logins at once from as many addresses were let in, want 3000", let)
	}
	asCLI(t, s, "/_api/auth/device/code", `{"client_id":"cl_pageflare_cli"}`).wantOAuth(t, "slow_down")
	wantMetrics(t, s, `rate_limited_total{by="all_logins"} 1`, `refusals_total{reason="slow_down"} 1`)
	now = now.Add(time.Minute)
	beginLogin(t, s)
}

// Anyone who was counted while the clock was ahead is not kept out once it is right again, and
// neither are those who come after.
func TestLimitsDoNotGoByTheClockOfTheMachine(t *testing.T) {
	t.Parallel()
	now, elapsed := time.Now(), time.Hour
	s := servicetest.Start(t, servicetest.Options{
		BadCredentials: 3, Now: func() time.Time { return now }, Elapsed: func() time.Duration { return elapsed },
	})
	ask := func() answer { return call(t, s, "POST", "/_api/license/issue", "", bearer("wrong")...) }
	login := func() answer { return asCLI(t, s, "/_api/auth/device/code", `{"client_id":"cl_pageflare_cli"}`) }
	now = now.Add(2 * time.Hour)
	ask().wantUnauthorized(t)
	if got := login(); got.status != http.StatusOK {
		t.Fatalf("a login while the clock is ahead = %d %s", got.status, got.body)
	}
	now = now.Add(-2 * time.Hour)
	for range 2 {
		ask().wantUnauthorized(t)
	}
	if got := login(); got.status != http.StatusOK {
		t.Errorf("a login after the clock was corrected = %d %s", got.status, got.body)
	}
	over := ask()
	over.wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	if after := over.header.Get("Retry-After"); after != "20" {
		t.Errorf("Retry-After = %s, want 20", after)
	}
	elapsed += 20 * time.Second
	ask().wantUnauthorized(t)
}
