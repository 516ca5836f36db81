package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/servicetest"
)

// TestEveryFormOfAPageRefusesAlike is for the pages what TestEveryRouteRefusesAlike is for the API.
func TestEveryFormOfAPageRefusesAlike(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v := signedIn(t, s, a.ID)
	slow := servicetest.Start(t, servicetest.Options{})
	b, _ := slow.Account(t, "dev@example.com")
	cookie, addr := signedIn(t, slow, b.ID).cookie, serveShortened(t, slow, long, short)
	const form = "application/x-www-form-urlencoded"
	for _, path := range []string{"/device", "/device/approve", "/device/deny", "/sign-in", "/sign-out"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			send := func(body, media, origin string, want int) {
				t.Helper()
				call(t, s, "POST", path, body, "Cookie", v.cookie, "Content-Type", media, "Origin", origin).wantStatus(t, want)
			}
			send("form=x", form, "https://evil.example", http.StatusForbidden)
			send("form=x&form=y", form, s.Origin, http.StatusBadRequest)
			send(strings.Repeat("x", 64<<10+1), form, s.Origin, http.StatusRequestEntityTooLarge)
			send("form=x", "text/plain", s.Origin, http.StatusUnsupportedMediaType)
			send("form=x", form, s.Origin, http.StatusForbidden)
			sendHalf(t, addr, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nCookie: "+cookie+"\r\nContent-Type: "+form+"\r\nOrigin: "+slow.Origin+"\r\n\r\n", "form=").
				wantStatus(t, http.StatusRequestTimeout)
		})
	}
}

// TestGuessesOnPagesAreLimited by address, signed in or not.
func TestGuessesOnPagesAreLimited(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{BadCredentials: 1, Now: frozen()})
	for _, want := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		call(t, s, "POST", "/sign-in", "link=x", "Content-Type", "application/x-www-form-urlencoded", "Origin", s.Origin).wantStatus(t, want)
	}
	a, _ := s.Account(t, "dev@example.com")
	v := signedIn(t, s, a.ID)
	for range 10 {
		v.enter("BCDF-GHJK").wantStatus(t, http.StatusNotFound)
	}
	v.enter("BCDF-GHJK").wantStatus(t, http.StatusTooManyRequests)
	signedIn(t, s, a.ID).enter("BCDF-GHJK").wantStatus(t, http.StatusTooManyRequests) // another session, the same address
	v.enter("no code").wantStatus(t, http.StatusBadRequest)
	wantMetrics(t, s, `rate_limited_total{by="address"} 1`, `rate_limited_total{by="code"} 1`, `rate_limited_total{by="code_address"} 1`,
		`refusals_total{reason="rate_limited"} 3`, `refusals_total{reason="not_found"} 10`, `refusals_total{reason="invalid_request"} 2`)
}

// TestALinkOfTheAdminAPISignsIn: and who came by it decides a login once.
func TestALinkOfTheAdminAPISignsIn(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	account, _ := a.Account(t, "dev@example.com")
	_, secret, _ := strings.Cut(into[api.SignInLink](t, a.do("POST", "accounts/"+account.ID+"/sign-in", "")).URL, "/sign-in?link=")
	v := &visitor{t: t, s: a.Service}
	v.post("/sign-in", url.Values{"link": {secret}}).wantStatus(t, http.StatusSeeOther)
	code := beginLogin(t, a.Service).UserCode
	form := url.Values{"form": {v.enter(code).formToken(t)}, "user_code": {code}}
	v.post("/device/deny", form).wantStatus(t, http.StatusOK)
	v.post("/device/deny", form).wantStatus(t, http.StatusNotFound)
}
