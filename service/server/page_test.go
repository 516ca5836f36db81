package server_test

import (
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/servicetest"
)

// visitor is a person's browser, as far as HTTP goes.
type visitor struct {
	t      *testing.T
	s      *servicetest.Service
	cookie string
}

// signedIn is the browser of somebody who has just signed in to an account.
func signedIn(t *testing.T, s *servicetest.Service, account string) *visitor {
	t.Helper()
	v := &visitor{t: t, s: s}
	got := v.post("/sign-in", url.Values{"link": {newLink(t, s, account)}})
	if got.status != http.StatusSeeOther || v.cookie == "" {
		t.Fatalf("sign-in = %d %s", got.status, got.body)
	}
	return v
}

// newLink is the secret of a new sign-in link.
func newLink(t *testing.T, s *servicetest.Service, account string) string {
	t.Helper()
	link, _, err := s.CreateSignInLink(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(link.Reveal(), "/sign-in?link=")
	return secret
}

func (v *visitor) call(method, path, body string, headers ...string) answer {
	v.t.Helper()
	if v.cookie != "" {
		headers = append(headers, "Cookie", v.cookie)
	}
	got := call(v.t, v.s, method, path, body, headers...)
	if set := got.header.Get("Set-Cookie"); set != "" {
		v.cookie, _, _ = strings.Cut(set, ";")
		if strings.HasSuffix(v.cookie, "=") {
			v.cookie = ""
		}
	}
	return got
}

func (v *visitor) get(path string) answer { v.t.Helper(); return v.call("GET", path, "") }

// post sends a form as a browser does from a page of ours.
func (v *visitor) post(path string, form url.Values) answer {
	v.t.Helper()
	return v.call("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", v.s.Parts.PublicURL, "Sec-Fetch-Site", "same-origin")
}

var formToken = regexp.MustCompile(`name="form" value="([^"]+)"`)

// token is the token of the first form of a page.
func (a answer) formToken(t *testing.T) string {
	t.Helper()
	m := formToken.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no form in %d\n%s", a.status, a.body)
	}
	return html.UnescapeString(m[1])
}

// enter types a code into the page and returns what it answers.
func (v *visitor) enter(code string) answer {
	v.t.Helper()
	return v.post("/device", url.Values{"form": {v.get("/device").formToken(v.t)}, "user_code": {code}})
}

// wantPage checks a page: its status, and that it says something.
func (a answer) wantPage(t *testing.T, status int, says string) {
	t.Helper()
	if a.status != status || !strings.Contains(html.UnescapeString(a.body), says) {
		t.Errorf("page = %d, want %d with %q\n%s", a.status, status, says, a.body[max(0, strings.Index(a.body, "<main>")):])
	}
}

func TestPagesHaveTheHeadersThatKeepThemSafe(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v := signedIn(t, s, a.ID)
	for _, got := range []answer{v.get("/device"), v.get("/sign-in"), v.get("/sign-in?link=x"), v.call("POST", "/sign-in", ""), v.enter("BCDF-GHJK")} {
		csp := got.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'sha256-", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("policy %q lacks %s", csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || got.header.Get("Referrer-Policy") != "same-origin" || got.header.Get("X-Content-Type-Options") != "nosniff" ||
			got.header.Get("Cache-Control") != "no-store" || strings.Contains(got.body, "<script") {
			t.Errorf("%d has headers %v", got.status, got.header)
		}
	}
}

func TestCodesAreReadHoweverTheyAreTyped(t *testing.T) {
	t.Parallel()
	var c clock
	s := servicetest.Start(t, servicetest.Options{Now: c.now})
	a, _ := s.Account(t, "dev@example.com")
	v, code := signedIn(t, s, a.ID), beginLogin(t, s).UserCode
	bare := strings.ReplaceAll(code, "-", "")
	for _, typed := range []string{
		code, bare, strings.ToLower(code), " " + code + " ", bare[:2] + " " + bare[2:5] + "\t" + bare[5:], strings.ReplaceAll(code, "-", "–"),
		strings.ReplaceAll(code, "-", "\u00a0"), strings.ReplaceAll(code, "-", "."), "-" + code + "-", strings.ToLower(bare[:3]) + bare[3:],
		"\"" + code + "\"", "(" + code + ")", code + "\r\n", "\ufeff" + code, bare[:4] + "\u200b" + bare[4:], wide(code), alike(code),
	} {
		if got := auth.NormalUserCode(typed); got != code {
			t.Errorf("NormalUserCode(%q) = %q, want %q", typed, got, code)
		}
		c.add(12 * time.Second) // a person types no faster, nor may anyone
		v.enter(typed).wantPage(t, 200, "Approve this login?")
	}
	for _, typed := range []string{"", "BCDF", "BCDF-GHJ", "BCDF-GHJKL", "ABCD-EFGH", "BCDF-GHJ3", "BCDF-GHJÖ", "BCDF-GHJБ", "BCDF GHJK BCDF", "<script>", "--------"} {
		if got := auth.NormalUserCode(typed); got != "" {
			t.Errorf("NormalUserCode(%q) = %q, want none", typed, got)
		}
		v.enter(typed).wantPage(t, 400, "That is no code. A code has eight letters")
	}
}

// wide is a text as an East Asian keyboard writes it.
func wide(text string) string {
	return strings.Map(func(r rune) rune { return r - '!' + '\uff01' }, text)
}

// alike is a code as somebody types it who reads digits and vowels in it.
func alike(code string) string {
	return strings.NewReplacer("Q", "0", "L", "1", "Z", "2", "S", "5", "G", "6", "B", "8", "V", "u").Replace(code)
}

func TestEachLookAlikeIsRead(t *testing.T) {
	t.Parallel()
	if got := auth.NormalUserCode("BCDF-GHJK\xff"); got != "" {
		t.Errorf("NormalUserCode(no UTF-8) = %q, want none", got)
	}
	for typed, want := range map[string]string{
		"8CDF-6HJK": "BCDF-GHJK", "Q0oO-0000": "QQQQ-QQQQ", "1iIl-LLLL": "LLLL-LLLL", "2Z5S-2Z5S": "ZZSS-ZZSS", "uUvV-yYVV": "VVVV-VVVV",
	} {
		if got := auth.NormalUserCode(typed); got != want {
			t.Errorf("NormalUserCode(%q) = %q, want %q", typed, got, want)
		}
	}
}

func TestApproveAndDenyOnThePage(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v := signedIn(t, s, a.ID)
	for path, c := range map[string]struct{ page, poll string }{"/device/approve": {"You approved the login of pageflare CLI", "access_token"}, "/device/deny": {"You denied the login", "access_denied"}} {
		codes := beginLogin(t, s)
		page := v.enter(codes.UserCode)
		page.wantPage(t, 200, "127.0.0.1")
		form := url.Values{"form": {page.formToken(t)}, "user_code": {codes.UserCode}}
		v.post(path, form).wantPage(t, 200, c.page)
		if got := poll(t, s, codes.DeviceCode); !strings.Contains(got.body, c.poll) {
			t.Errorf("poll after %s = %d %s", path, got.status, got.body)
		}
		v.post("/device/approve", form).wantPage(t, 404, "was used already") // the form once more
		v.enter(codes.UserCode).wantPage(t, 404, "This code is not known, was used already, or has expired")
	}
	codes := beginLogin(t, s)
	form := url.Values{"form": {v.enter(codes.UserCode).formToken(t)}, "user_code": {codes.UserCode}}
	s.EndLicense(t, a.ID)
	v.post("/device/approve", form).wantPage(t, 403, "the license has expired: renew it")
	poll(t, s, codes.DeviceCode).wantOAuth(t, "authorization_pending")
}

// What another site, another person or a page for something else sends is not believed.
func TestForgedFormsAreRefused(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v, other := signedIn(t, s, a.ID), signedIn(t, s, a.ID)
	codes, another := beginLogin(t, s), beginLogin(t, s)
	page, form := v.enter(codes.UserCode), "application/x-www-form-urlencoded"
	good := url.Values{"form": {page.formToken(t)}, "user_code": {codes.UserCode}}
	for name, headers := range map[string][]string{
		"no origin":                         {},
		"another origin":                    {"Origin", "https://evil.example"},
		"an opaque origin":                  {"Origin", "null"},
		"an origin that begins like ours":   {"Origin", s.Origin + ".evil.example"},
		"another port":                      {"Origin", "http://127.0.0.1:1"},
		"two origins":                       {"Origin", s.Origin, "Origin", "https://evil.example"},
		"from another site":                 {"Origin", s.Origin, "Sec-Fetch-Site", "cross-site"},
		"from a neighbour":                  {"Origin", s.Origin, "Sec-Fetch-Site", "same-site"},
		"by nobody, as in a typed address":  {"Origin", s.Origin, "Sec-Fetch-Site", "none"},
		"a referrer, and no origin":         {"Referer", s.Origin + "/device"},
		"another host, which says it is us": {"Origin", "http://evil.example", "Host", "evil.example", "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example"},
	} {
		for _, path := range []string{"/device", "/device/approve", "/device/deny", "/sign-out", "/sign-in"} {
			got := v.call("POST", path, good.Encode(), append([]string{"Content-Type", form}, headers...)...)
			if got.status != http.StatusForbidden || got.header.Get("Set-Cookie") != "" {
				t.Errorf("POST %s from %s = %d, want 403", path, name, got.status)
			}
		}
	}
	for name, values := range map[string]url.Values{
		"no token":                      {"user_code": {codes.UserCode}},
		"an empty token":                {"form": {""}, "user_code": {codes.UserCode}},
		"the token of another page":     {"form": {v.get("/device").formToken(t)}, "user_code": {codes.UserCode}},
		"the token of another code":     {"form": good["form"], "user_code": {another.UserCode}},
		"the token of another session":  {"form": {other.enter(codes.UserCode).formToken(t)}, "user_code": {codes.UserCode}},
		"the token with the code bent":  {"form": good["form"], "user_code": {strings.ToLower(codes.UserCode)}},
		"the token and another purpose": {"form": good["form"], "user_code": {""}},
	} {
		for _, path := range []string{"/device/approve", "/device/deny"} {
			if got := v.post(path, values); got.status != http.StatusForbidden {
				t.Errorf("POST %s with %s = %d, want 403", path, name, got.status)
			}
		}
	}
	for name, got := range map[string]answer{
		"a doubled parameter": v.post("/device/approve", url.Values{"form": good["form"], "user_code": {codes.UserCode, codes.UserCode}}),
		"no form at all":      v.call("POST", "/device/approve", "%zz", "Content-Type", form, "Origin", s.Origin),
		"not UTF-8":           v.post("/device/approve", url.Values{"form": good["form"], "user_code": {"\xff"}}),
	} {
		if got.status != http.StatusBadRequest {
			t.Errorf("%s = %d, want 400", name, got.status)
		}
	}
	v.call("POST", "/device/approve", `{"form":"x"}`, "Content-Type", "application/json", "Origin", s.Origin).wantPage(t, 415, "application/x-www-form-urlencoded")
	v.post("/device/approve", url.Values{"form": {strings.Repeat("x", 65<<10)}}).wantPage(t, 413, "larger than 65536 bytes")
	v.call("POST", "/device/approve?"+good.Encode(), "", "Content-Type", form, "Origin", s.Origin).wantPage(t, 403, "not of your present session")
	poll(t, s, codes.DeviceCode).wantOAuth(t, "authorization_pending")
	poll(t, s, another.DeviceCode).wantOAuth(t, "authorization_pending")
	v.post("/device/approve", good).wantPage(t, 200, "You approved") // and what was refused did no harm
}

func TestGuessingOfCodesIsLimited(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	a, _ := s.Account(t, "dev@example.com")
	v := signedIn(t, s, a.ID)
	token, right := v.get("/device").formToken(t), beginLogin(t, s).UserCode
	guess := func(v *visitor, token, code, from string) answer {
		return v.call("POST", "/device", url.Values{"form": {token}, "user_code": {code}}.Encode(),
			"Content-Type", "application/x-www-form-urlencoded", "Origin", s.Origin, "X-Forwarded-For", from)
	}
	for i := range 10 { // each from an address of its own: the session counts
		guess(v, token, "BCDF-GHJK", "2001:db8:"+string(rune('a'+i%6))+"::1").wantPage(t, 404, "This code is not known")
	}
	got := guess(v, token, right, "203.0.113.77") // also a right one is not told
	got.wantPage(t, 429, "too many requests with a code: try again in 6 s")
	if got.header.Get("Retry-After") != "6" {
		t.Errorf("Retry-After = %q, want 6", got.header.Get("Retry-After"))
	}
	for i := range 10 { // each with a session of its own: the address counts, by its /64, whatever else the header says
		next := signedIn(t, s, a.ID)
		guess(next, next.get("/device").formToken(t), "BCDF-GHJK", "6.6.6."+string(rune('0'+i))+", 2001:db8:77::"+string(rune('1'+i%9))).wantPage(t, 404, "This code is not known")
	}
	next := signedIn(t, s, a.ID)
	guess(next, next.get("/device").formToken(t), right, "2001:db8:77::ffff").wantPage(t, 429, "from this address")
	clock.add(6 * time.Second)
	guess(v, token, right, "203.0.113.78").wantPage(t, 200, "Approve this login?")
}

func TestASignInLinkWorksOnce(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now})
	a, _ := s.Account(t, "dev@example.com")
	secret := newLink(t, s, a.ID)
	v := &visitor{t: t, s: s}
	for range 3 { // a preview does not use it up
		v.get("/sign-in?link="+secret).wantPage(t, 200, "dev@example.com")
	}
	if v.cookie != "" {
		t.Error("looking at a link begins a session")
	}
	answers := make([]answer, 8)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = (&visitor{t: t, s: s}).post("/sign-in", url.Values{"link": {secret}}) })
	}
	wg.Wait()
	in := 0
	for _, got := range answers {
		if got.status == http.StatusSeeOther {
			in++
		} else {
			got.wantPage(t, 403, "this sign-in link is not known, was used already, or has expired")
		}
	}
	if in != 1 {
		t.Errorf("one link signed %d in, want 1", in)
	}
	v.get("/sign-in?link="+secret).wantPage(t, 403, "was used already")
	v.post("/sign-in", url.Values{"link": {"  " + s.Origin + "/sign-in?link=" + newLink(t, s, a.ID) + "\n"}}) // pasted whole
	if v.cookie == "" {
		t.Error("a link that is pasted whole does not sign in")
	}
	late := newLink(t, s, a.ID)
	clock.add(15 * time.Minute)
	for _, bad := range []string{late, "", "x", "pf_sl_x", strings.Repeat("x", 5000), "<b>"} {
		v.post("/sign-in", url.Values{"link": {bad}}).wantPage(t, 403, "ask the operator of this service for a new one")
	}
	gone := newLink(t, s, a.ID)
	if _, err := s.DeleteAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	v.post("/sign-in", url.Values{"link": {gone}}).wantPage(t, 403, "ask the operator of this service")
	if got := v.get("/device"); got.status != http.StatusSeeOther {
		t.Errorf("the session of a deleted account = %d, want 303", got.status)
	}
}

func TestBadSignInLinksAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{BadCredentials: 5})
	v := &visitor{t: t, s: s}
	for range 5 {
		v.post("/sign-in", url.Values{"link": {"x"}}).wantPage(t, 403, "not known")
	}
	v.post("/sign-in", url.Values{"link": {"x"}}).wantPage(t, 429, "try again in")
}

func TestASessionIsNewAndEnds(t *testing.T) {
	t.Parallel()
	var clock clock
	s := servicetest.Start(t, servicetest.Options{Now: clock.now})
	a, _ := s.Account(t, "dev@example.com")
	b, _ := s.Account(t, "other@example.com")
	planted := signedIn(t, s, b.ID)
	v := &visitor{t: t, s: s, cookie: planted.cookie} // somebody planted a session
	v.post("/sign-in", url.Values{"link": {newLink(t, s, a.ID)}})
	v.get("/device").wantPage(t, 200, "dev@example.com")
	if v.cookie == planted.cookie {
		t.Error("signing in took a session that was there")
	}
	if got := planted.get("/device"); got.status != http.StatusSeeOther {
		t.Errorf("the session before = %d, want 303: it ended", got.status)
	}
	unknown := &visitor{t: t, s: s, cookie: "pageflare-session=pf_ss_chosenbysomebodyelse0000000000000000"}
	unknown.post("/sign-in", url.Values{"link": {newLink(t, s, a.ID)}})
	if strings.Contains(unknown.cookie, "chosenbysomebodyelse") {
		t.Error("signing in took a session id that somebody chose")
	}
	double := &visitor{t: t, s: s, cookie: v.cookie + "; " + unknown.cookie}
	if got := double.get("/device"); got.status != http.StatusSeeOther {
		t.Errorf("two cookies = %d, want 303", got.status)
	}

	copied := *v
	v.post("/sign-out", url.Values{"form": {formOf(t, v.get("/device"), "/sign-out")}})
	if got := copied.get("/device"); v.cookie != "" || got.status != http.StatusSeeOther {
		t.Errorf("after sign-out: cookie %q, page %d, want none and 303", v.cookie, got.status)
	}
	clock.add(8 * time.Hour)
	if got := unknown.get("/device"); got.status != http.StatusSeeOther {
		t.Errorf("a session after 8 hours = %d, want 303", got.status)
	}
}

// formOf is the token of the form that goes to a path.
func formOf(t *testing.T, page answer, path string) string {
	t.Helper()
	_, form, ok := strings.Cut(page.body, `action="`+path+`"`)
	if !ok {
		t.Fatalf("no form to %s\n%s", path, page.body)
	}
	return answer{body: form}.formToken(t)
}

func TestTheCookieOfASession(t *testing.T) {
	t.Parallel()
	for public, want := range map[string]string{
		"": "pageflare-session=", "https://license.example.com": "__Host-pageflare-session=", "https://License.Example.com:443": "__Host-pageflare-session=",
	} {
		s := servicetest.Start(t, servicetest.Options{PublicURL: public})
		a, _ := s.Account(t, "dev@example.com")
		v := &visitor{t: t, s: s}
		origin := strings.ToLower(strings.TrimSuffix(s.Parts.PublicURL, ":443")) // as browsers write it
		got := v.call("POST", "/sign-in", "link="+newLink(t, s, a.ID), "Content-Type", "application/x-www-form-urlencoded", "Origin", origin)
		c, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
		if err != nil {
			t.Fatalf("%s: %v: %d %s", public, err, got.status, got.body)
		}
		if !strings.HasPrefix(v.cookie, want) || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != (public != "") || c.MaxAge != 8*3600 {
			t.Errorf("%s: cookie = %s", public, got.header.Get("Set-Cookie"))
		}
	}
}

// Nothing that an untrusted caller puts into an address or a header decides where somebody is sent,
// or which host a link names.
func TestNobodyIsSentElsewhere(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v := &visitor{t: t, s: s}
	for _, path := range []string{"/device?user_code=//evil.example", "/device?user_code=https://evil.example", "/device?next=//evil.example", "/device?user_code=BCDF%0d%0aX:%20y"} {
		got := v.call("GET", path, "", "Host", "evil.example", "X-Forwarded-Host", "evil.example")
		if got.status != http.StatusSeeOther || got.header.Get("Location") != "/sign-in" {
			t.Errorf("GET %s = %d to %q, want /sign-in", path, got.status, got.header.Get("Location"))
		}
	}
	if got := v.get("/device?user_code=wdjb%20mjht").header.Get("Location"); got != "/sign-in?user_code=WDJB-MJHT" {
		t.Errorf("with a code = %q", got)
	}
	for typed, want := range map[string]string{"wdjbmjht": "/device?user_code=WDJB-MJHT", "//evil.example": "/device", "": "/device"} {
		got := v.post("/sign-in", url.Values{"link": {newLink(t, s, a.ID)}, "user_code": {typed}, "next": {"//evil.example"}})
		if got.header.Get("Location") != want {
			t.Errorf("after sign-in with %q = %q, want %q", typed, got.header.Get("Location"), want)
		}
	}
	hosted := v.call("GET", "/sign-in", "", "Host", "evil.example", "X-Forwarded-Host", "evil.example", "Forwarded", "host=evil.example")
	codes := beginLoginWith(t, s, "Host", "evil.example", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https")
	if strings.Contains(hosted.body, "evil") || !strings.HasPrefix(codes.VerificationURIComplete, s.Origin+"/device?") {
		t.Errorf("a header decides about %s", codes.VerificationURIComplete)
	}
	if got := v.get("/device?user_code=%22%3E%3Cscript%3Ealert(1)%3C/script%3E"); strings.Contains(got.body, "alert(1)") {
		t.Error("the query is repeated in the page")
	}
}

func TestPagesWithoutADatabase(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v := signedIn(t, s, a.ID)
	page := v.enter(beginLogin(t, s).UserCode)
	s.Break(t)
	for _, got := range []answer{
		v.get("/device"), v.get("/sign-in?link=pf_sl_x"), v.post("/sign-in", url.Values{"link": {"x"}}), v.post("/device/approve", url.Values{"form": {page.formToken(t)}}),
	} {
		if got.status < 500 || !strings.Contains(got.body, "<h1>") || strings.Contains(got.body, "sql") {
			t.Errorf("without a database = %d %s", got.status, got.body)
		}
	}
}

// The log names routes and ids, and none of the secrets of a login.
func TestNoSecretOfALoginIsLogged(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := servicetest.Start(t, servicetest.Options{Log: &log})
	a, _ := s.Account(t, "dev@example.com")
	secret := newLink(t, s, a.ID)
	v := &visitor{t: t, s: s}
	v.get("/sign-in?link=" + secret)
	v.post("/sign-in", url.Values{"link": {secret}})
	v.post("/sign-in", url.Values{"link": {secret}})
	codes := beginLogin(t, s)
	v.get("/device?user_code=" + codes.UserCode)
	page := v.enter(codes.UserCode)
	v.enter("BCDF-GHJK")
	v.post("/device/approve", url.Values{"form": {page.formToken(t)}, "user_code": {codes.UserCode}})
	login := poll(t, s, codes.DeviceCode)
	poll(t, s, codes.DeviceCode)
	asCLI(t, s, "/_api/auth/device/token", `{"client_id":"`+codes.DeviceCode+`"`)
	for name, text := range map[string]string{
		"link": secret, "cookie": v.cookie[strings.Index(v.cookie, "=")+1:], "device code": codes.DeviceCode, "user code": codes.UserCode,
		"guess": "BCDF-GHJK", "form token": page.formToken(t), "login token": login.body[20:40], "any of ours": "pf_", "address of a person": "dev@example.com",
	} {
		if strings.Contains(log.String(), text) {
			t.Errorf("the log holds the %s", name)
		}
	}
}

// Each line says who, from where and in which request, also those of routes that ask for no
// credential.
func TestTheAuditLogSaysWhoLoggedIn(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	a, _ := s.Account(t, "dev@example.com")
	v := &visitor{t: t, s: s}
	asPerson := func(path string, form url.Values) answer {
		t.Helper()
		return v.call("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", v.s.Parts.PublicURL, "X-Forwarded-For", "192.0.2.8")
	}
	codes := beginLoginWith(t, s, "X-Forwarded-For", "192.0.2.9")
	begun := asPerson("/sign-in", url.Values{"link": {newLink(t, s, a.ID)}})
	approved := asPerson("/device/approve", url.Values{"form": {v.enter(codes.UserCode).formToken(t)}, "user_code": {codes.UserCode}})
	login := asCLI(t, s, "/_api/auth/device/token", `{"client_id":"cl_pageflare_cli","grant_type":"`+grant+`","device_code":"`+codes.DeviceCode+`"}`, "X-Forwarded-For", "192.0.2.10")
	again := asPerson("/sign-in", url.Values{"link": {newLink(t, s, a.ID)}}) // which ends the session of before
	signOut := asPerson("/sign-out", url.Values{"form": {formOf(t, v.get("/device"), "/sign-out")}})

	lines := map[string][]audit.Line{}
	found, err := s.Lines(t.Context(), audit.Query{Limit: 99, Account: a.ID})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range found {
		lines[l.Actor.RequestID] = append(lines[l.Actor.RequestID], l)
	}
	session := lines[id(begun)][0].Object
	for _, want := range []struct {
		of      answer
		actions []audit.Action // newest first
		actor   string
		address string
		details string
	}{
		{begun, []audit.Action{audit.SignedIn}, a.ID, "192.0.2.8", "{}"},
		{approved, []audit.Action{audit.DeviceWasApproved}, session, "192.0.2.8", `{"address":"192.0.2.9","client":"cl_pageflare_cli"}`},
		{login, []audit.Action{audit.DeviceLoggedIn}, a.ID, "192.0.2.10", `{"client":"cl_pageflare_cli"}`},
		{again, []audit.Action{audit.SignedOut, audit.SignedIn}, session, "192.0.2.8", "{}"},
		{signOut, []audit.Action{audit.SignedOut}, lines[id(again)][1].Object, "192.0.2.8", "{}"},
	} {
		got := lines[id(want.of)]
		if len(got) != len(want.actions) {
			t.Errorf("%d lines of a request for %s, want %d", len(got), want.actions, len(want.actions))
			continue
		}
		for i, l := range got {
			if l.Action != want.actions[i] || l.Actor.Kind != audit.ActorAccount || l.Actor.Address != want.address {
				t.Errorf("line = %+v, want %s by the account from %s", l, want.actions[i], want.address)
			}
		}
		if got[0].Actor.ID != want.actor || got[0].Details != want.details {
			t.Errorf("line = %+v, want it by %s with %s", got[0], want.actor, want.details)
		}
	}
}

// id names the request that was answered so.
func id(a answer) string { return a.header.Get("X-Request-Id") }

// People sign in by a link that came another way: the code that they came with is filled in behind
// it, and decides nothing.
func TestAUserCodeSurvivesTheSignInLink(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	v := &visitor{t: t, s: s}
	got := v.get("/device?user_code=wdjb%20mjht")
	if set := got.header.Get("Set-Cookie"); !strings.HasPrefix(set, "pageflare-user-code=WDJB-MJHT; Path=/sign-in; Max-Age=900; HttpOnly") {
		t.Fatalf("Set-Cookie = %q", set)
	}
	page := v.get("/sign-in?link=" + newLink(t, s, a.ID))
	if !strings.Contains(page.body, `name="user_code" value="WDJB-MJHT"`) {
		t.Errorf("the page of a link lost the code:\n%s", page.body)
	}
	if page := v.get("/sign-in?user_code=BCDF-GHJK"); !strings.Contains(page.body, `value="BCDF-GHJK"`) {
		t.Errorf("a code of the address does not take precedence:\n%s", page.body)
	}
	got = v.post("/sign-in", url.Values{"link": {newLink(t, s, a.ID)}, "user_code": {"WDJB-MJHT"}})
	if all := got.header.Values("Set-Cookie"); len(all) != 2 || !strings.HasPrefix(all[1], "pageflare-user-code=; Path=/sign-in; Max-Age=0") {
		t.Errorf("cookies of a sign-in = %q, want the code taken away", all)
	}
	v = &visitor{t: t, s: s, cookie: `pageflare-user-code="><script>`}
	if page := v.get("/sign-in"); strings.Contains(page.body, "<script>") {
		t.Errorf("a cookie reached the page:\n%s", page.body)
	}
}
