package oidc_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pageflare/ci/service/oidc"
)

// roundTrip is a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// over is the verifier of an issuer behind another network.
func (i *issuer) over(t testing.TB, network roundTrip) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(oidc.Config{
		Issuers: []string{i.URL}, Audience: audience, HTTP: &http.Client{Transport: network}, Now: func() time.Time { return i.now },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// answersKeys answers with these keys in the place of the issuer's.
func answersKeys(keys ...any) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/keys" {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
		return true
	}
}

// signed is a token with exactly this header and these claims, signed with the key "one".
func (i *issuer) signed(t testing.TB, header, claims string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(claims))
	mac, err := jwt.SigningMethodRS256.Sign(text, i.keys["one"])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(mac)
}

// plain is the claims as a JSON text, without its last brace.
func (i *issuer) plain(t testing.TB, change func(jwt.MapClaims)) string {
	t.Helper()
	c := i.claims()
	if change != nil {
		change(c)
	}
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(text), "}")
}

const usualHeader = `{"typ":"JWT","alg":"RS256","kid":"one"}`

// Each is signed by the issuer itself: a form that two readers could read in two ways is refused
// all the same.
func TestTokensThatCanBeReadInTwoWays(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	good := i.plain(t, nil) + "}"
	aud := func(list ...any) string {
		return i.plain(t, func(c jwt.MapClaims) { c["aud"] = list }) + "}"
	}
	for name, test := range map[string]struct {
		header, claims string
		want           error
	}{
		"as usual":                        {usualHeader, good, nil},
		"a claim in other letters beside": {usualHeader, i.plain(t, nil) + `,"Repository_Id":"9"}`, nil}, // another name, so no claim of ours
		"repository_id twice":             {usualHeader, i.plain(t, nil) + `,"repository_id":"9"}`, oidc.ErrClaims},
		"repository_id twice, escaped":    {usualHeader, i.plain(t, nil) + `,"repository\u005fid":"9"}`, oidc.ErrClaims},
		"iss twice":                       {usualHeader, i.plain(t, nil) + `,"iss":"https://other.example"}`, oidc.ErrClaims},
		"repository_id in other letters":  {usualHeader, strings.Replace(good, `"repository_id"`, `"Repository_id"`, 1), oidc.ErrClaims},
		"something behind the claims":     {usualHeader, good + "{}", oidc.ErrClaims},
		"claims that are a list":          {usualHeader, "[" + good + "]", oidc.ErrClaims},
		"claims that are null":            {usualHeader, "null", oidc.ErrClaims},
		"claims that are deep":            {usualHeader, strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000), oidc.ErrTooLarge},
		"alg twice":                       {`{"alg":"RS256","kid":"one","alg":"none"}`, good, oidc.ErrMalformed},
		"alg in other letters":            {`{"ALG":"RS256","kid":"one"}`, good, oidc.ErrAlgorithm},
		"alg rs256":                       {`{"alg":"rs256","kid":"one"}`, good, oidc.ErrAlgorithm},
		"alg as a list":                   {`{"alg":["RS256"],"kid":"one"}`, good, oidc.ErrMalformed},
		"a kid that is a path":            {`{"alg":"RS256","kid":"../keys"}`, good, oidc.ErrUnknownKey},
		"a kid that is a number":          {`{"alg":"RS256","kid":1}`, good, oidc.ErrMalformed},
		"the audience alone in a list":    {usualHeader, aud(audience), nil},
		"no audience in a list":           {usualHeader, aud(), oidc.ErrClaims},
		"the audience twice":              {usualHeader, aud(audience, audience), oidc.ErrAudience},
		"the audience among others":       {usualHeader, aud("https://other.example", audience), oidc.ErrAudience},
		"the audience beside null":        {usualHeader, aud(audience, nil), oidc.ErrClaims},
		"the audience in a list of lists": {usualHeader, aud([]string{audience}), oidc.ErrClaims},
		"the audience in capitals":        {usualHeader, strings.Replace(good, audience, strings.ToUpper(audience), 1), oidc.ErrAudience},
		"an audience for a terminal":      {usualHeader, strings.Replace(good, audience, `\u001b]0;x\u0007`, 1), oidc.ErrClaims},
		"one of several for a terminal":   {usualHeader, aud(audience, "\u009b2J"), oidc.ErrClaims},
		"joiners in the name of a branch": {usualHeader, i.plain(t, func(c jwt.MapClaims) {
			c["ref"] = "refs/heads/می\u200cخواهم"
			c["sub"] = "repo:acme/site:ref:refs/heads/می\u200cخواهم"
		}) + "}", nil},
		"a letter that is not known here": {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["environment"] = "\U0001fadf \u00a0👩\u200d💻\ufeff" }) + "}", nil},
		"a branch for a terminal":         {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["ref"] = "refs/heads/\u009b2J" }) + "}", oidc.ErrClaims},
		"exp as text":                     {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["exp"] = "9999999999" }) + "}", oidc.ErrClaims},
		"exp with a fraction":             {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["exp"] = 1.5 }) + "}", oidc.ErrClaims},
		"exp beyond all times":            {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["exp"] = int64(1) << 60 }) + "}", oidc.ErrClaims},
		"a negative iat":                  {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["iat"] = -1 }) + "}", oidc.ErrClaims},
		"a line break in the event":       {usualHeader, i.plain(t, func(c jwt.MapClaims) { c["event_name"] = "push\nevent" }) + "}", oidc.ErrClaims},
	} {
		t.Run(name, func(t *testing.T) { i.want(t, v, i.signed(t, test.header, test.claims), test.want) })
	}
	raw := i.signed(t, usualHeader, good)
	for name, changed := range map[string]string{
		"a line break in it": raw[:20] + "\n" + raw[20:], "padding": raw + "=", "a fourth part": raw + ".e30", "a part too few": raw[:strings.LastIndex(raw, ".")],
	} {
		t.Run(name, func(t *testing.T) { i.want(t, v, changed, oidc.ErrMalformed) })
	}
}

func TestClocksMayBeAMinuteApart(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	begun := i.now
	for name, test := range map[string]struct {
		claim string
		at    time.Duration // what the claim says, from now
		want  error
	}{
		"exp in the last second of the leeway": {"exp", -59 * time.Second, nil},
		"exp when it is over":                  {"exp", -60 * time.Second, oidc.ErrExpired},
		"nbf within the leeway":                {"nbf", 60 * time.Second, nil},
		"nbf after it":                         {"nbf", 61 * time.Second, oidc.ErrNotYetValid},
		"iat within the leeway":                {"iat", 60 * time.Second, nil},
		"iat after it":                         {"iat", 61 * time.Second, oidc.ErrNotYetValid},
		"iat ten minutes ago":                  {"iat", -10 * time.Minute, nil},
		"iat longer ago":                       {"iat", -10*time.Minute - time.Second, oidc.ErrTooOld},
	} {
		t.Run(name, func(t *testing.T) {
			raw := i.signed(t, usualHeader, i.plain(t, func(c jwt.MapClaims) { c[test.claim] = begun.Add(test.at).Unix() })+"}")
			i.want(t, v, raw, test.want)
		})
	}
}

// Of the keys that an issuer publishes those count that can sign identity tokens; others are none
// of our business, and do no harm.
func TestKeysOfOtherKinds(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	one := &i.keys["one"].PublicKey
	with := func(name, value string) any {
		k := jwk("one", one)
		k[name] = value
		return k
	}
	doing := func(operations any) any {
		k := map[string]any{"key_ops": operations}
		for name, value := range jwk("one", one) {
			k[name] = value
		}
		return k
	}
	foreign := []any{
		map[string]string{"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AAAA"},
		map[string]string{"kty": "EC", "crv": "P-999", "kid": "ec", "x": "AA", "y": "AA"},
		map[string]string{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "AAAA"},
		map[string]string{"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}, map[string]int{"kty": 1}, "no key", nil,
	}
	for name, test := range map[string]struct {
		keys []any
		want error
	}{
		"beside others that we do not know": {append(foreign, jwk("one", one)), nil},
		"twice under one name":              {[]any{jwk("one", &newKey(t).PublicKey), jwk("one", one)}, nil},
		"none of ours":                      {foreign, oidc.ErrUnreachable},
		"for checking signatures":           {[]any{doing([]string{"verify"})}, nil},
		"for wrapping keys":                 {[]any{doing([]string{"wrapKey"})}, oidc.ErrUnreachable},
		"for nothing":                       {[]any{doing([]string{})}, oidc.ErrUnreachable},
		"for what is no list":               {[]any{doing("verify")}, oidc.ErrUnreachable},
		"for encryption":                    {[]any{with("use", "enc")}, oidc.ErrUnreachable},
		"for another algorithm":             {[]any{with("alg", "RS512")}, oidc.ErrUnreachable},
		"for HMAC":                          {[]any{with("alg", "HS256")}, oidc.ErrUnreachable},
		"without a name":                    {[]any{jwk("", one)}, oidc.ErrUnreachable},
		"too many": {func() (all []any) {
			for range 65 {
				all = append(all, jwk("one", one))
			}
			return all
		}(), oidc.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			i.respond = answersKeys(test.keys...)
			i.want(t, i.verifier(t), i.token(t, "one", nil), test.want)
		})
	}
}

// An issuer that takes its time holds a request for five seconds at most, and no second one within
// the pause.
func TestAnIssuerThatIsSlow(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	raw := i.token(t, "one", nil)
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		v := i.over(t, func(r *http.Request) (*http.Response, error) {
			asked++
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		begun := time.Now()
		i.want(t, v, raw, oidc.ErrUnreachable)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("the request was held for %s, want 5s", took)
		}
		i.want(t, v, raw, oidc.ErrUnreachable)
		if took := time.Since(begun); took != 5*time.Second || asked != 1 {
			t.Errorf("asked %d times, %s", asked, took)
		}
	})
}

// A body that comes byte by byte counts to the same five seconds.
func TestAnIssuerThatDripsItsAnswer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	raw := i.token(t, "one", nil)
	synctest.Test(t, func(t *testing.T) {
		v := i.over(t, func(r *http.Request) (*http.Response, error) {
			body, drip := io.Pipe()
			go func() {
				for {
					select {
					case <-time.After(time.Second):
					case <-r.Context().Done():
						drip.CloseWithError(r.Context().Err())
						return
					}
					if _, err := drip.Write([]byte(" ")); err != nil {
						return
					}
				}
			}()
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, Request: r}, nil
		})
		begun := time.Now()
		i.want(t, v, raw, oidc.ErrUnreachable)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("the request was held for %s, want 5s", took)
		}
	})
}

// A panic on the way ends one request. It must not leave a lock behind, for the process would end
// or every later request hang.
func TestAPanicInAFetchEndsOneRequest(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	raw := i.token(t, "one", nil)
	first := true
	v := i.over(t, func(r *http.Request) (*http.Response, error) {
		if first {
			first = false
			panic("a fault of the network")
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		_, _ = v.Verify(t.Context(), raw)
	}()
	i.want(t, v, raw, oidc.ErrUnreachable)
	i.now = i.now.Add(3 * time.Second)
	i.want(t, v, raw, nil)
}

// Bad news after good news: the last good keys stay.
func TestTheLastGoodKeysOutliveBadAnswers(t *testing.T) {
	t.Parallel()
	for name, respond := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"no keys":  answersKeys(),
		"a secret": answersKeys(map[string]string{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}),
		"huge": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.CopyN(w, spaces{}, 101<<10)
			return true
		},
		"huge, compressed": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			zipSpaces(w, 1<<20)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			v := i.verifier(t)
			i.want(t, v, i.token(t, "one", nil), nil)
			i.respond = respond
			for range 3 {
				i.now = i.now.Add(time.Hour)
				i.want(t, v, i.token(t, "one", nil), nil)
			}
			i.want(t, v, i.token(t, "two", nil), oidc.ErrUnreachable) // it may be new: nobody knows
		})
	}
}

func TestCheckIssuer(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://token.actions.githubusercontent.com":      "",
		"https://token.actions.githubusercontent.com/acme": "",
		"https://token.actions.acme.ghe.com":               "",
		"https://github.example.com/_services/token":       "",
		"http://127.0.0.1:8080":                            "",
		"http://[::1]:8080":                                "",
		"http://localhost:1":                               "",
		"":                                                 "is not an https URL",
		"token.actions.githubusercontent.com":              "is not an https URL",
		"https://":                                         "is not an https URL",
		"https://:443":                                     "is not an https URL",
		"file:///etc/passwd":                               "is not an https URL",
		"http://github.example.com":                        "is not https",
		"http://127.0.0.1.example.com":                     "is not https",
		"http://169.254.169.254/latest":                    "is not https",
		"https://token.actions.githubusercontent.com/":     "ends with a slash",
		"https://Token.actions.githubusercontent.com":      "is not in its usual form",
		"HTTPS://token.actions.githubusercontent.com":      "is not in its usual form",
		"https://me:s3cr3t@github.example.com":             "holds a user name or password",
		"https://github.example.com?x=1":                   "has a query or a fragment",
		"https://github.example.com?":                      "has a query or a fragment",
		"https://github.example.com#x":                     "has a query or a fragment",
		"https://github.example.com#":                      "has a query or a fragment",
	} {
		err := oidc.CheckIssuer(issuer)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("CheckIssuer(%q) = %v, want %q", issuer, err, want)
		case err != nil && strings.Contains(err.Error(), "s3cr3t"):
			t.Errorf("the password is in: %v", err)
		}
	}
}

// Explain must never be kinder than Verify, nor harsher.
func TestExplainSaysWhatVerifySays(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	claim := func(name string, value any) string {
		return i.signed(t, usualHeader, i.plain(t, func(c jwt.MapClaims) { c[name] = value })+"}")
	}
	unix := func(d time.Duration) int64 { return i.now.Add(d).Unix() }
	good := i.token(t, "one", nil)
	parts := strings.Split(good, ".")
	for name, test := range map[string]struct {
		raw     string
		outcome map[string]oidc.Outcome // of the clauses that are not met
	}{
		"a good one":        {good, nil},
		"another audience":  {claim("aud", "https://github.com/acme"), map[string]oidc.Outcome{"audience": oidc.Failed}},
		"another issuer":    {claim("iss", "https://other.example"), map[string]oidc.Outcome{"issuer": oidc.Failed, "signature": oidc.NotChecked}},
		"expired":           {claim("exp", unix(-time.Hour)), map[string]oidc.Outcome{"not expired": oidc.Failed}},
		"not yet valid":     {claim("nbf", unix(time.Hour)), map[string]oidc.Outcome{"valid already": oidc.Failed}},
		"old":               {claim("iat", unix(-time.Hour)), map[string]oidc.Outcome{"recent": oidc.Failed}},
		"an unknown key":    {i.token(t, "made-up", nil), map[string]oidc.Outcome{"signature": oidc.Failed}},
		"changed":           {parts[0] + "." + strings.Split(claim("ref", "x"), ".")[1] + "." + parts[2], map[string]oidc.Outcome{"signature": oidc.Failed}},
		"changed, and late": {parts[0] + "." + strings.Split(claim("exp", unix(-time.Hour)), ".")[1] + "." + parts[2], map[string]oidc.Outcome{"not expired": oidc.Failed, "signature": oidc.Failed}},
	} {
		t.Run(name, func(t *testing.T) {
			_, refused := v.Verify(t.Context(), test.raw)
			id, clauses, err := v.Explain(t.Context(), test.raw)
			if err != nil || id.RepositoryID != "7" {
				t.Fatalf("Explain = %+v, %v", id, err)
			}
			if oidc.Met(clauses) != (refused == nil) {
				t.Errorf("Explain = %+v, and Verify = %v", clauses, refused)
			}
			for _, c := range clauses {
				want, unmet := test.outcome[c.Name]
				if !unmet {
					want = oidc.Passed
				}
				if c.Outcome != want || unmet != (c.Hint != "") {
					t.Errorf("clause %+v, want %s", c, want)
				}
			}
		})
	}
	if _, _, err := v.Explain(t.Context(), "x.y"); !errors.Is(err, oidc.ErrMalformed) {
		t.Errorf("Explain(no token) = %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	encode := base64.RawURLEncoding.EncodeToString
	claims := `{"iss":"https://issuer.example","aud":"` + audience + `","sub":"s","jti":"j","exp":1772366700,"iat":1772366400,"nbf":1772366100,` +
		`"repository_id":"7","repository_owner_id":"8","event_name":"push"}`
	for _, header := range []string{usualHeader, `{"alg":"none"}`, `{"alg":"HS256","kid":"one"}`, `{"alg":"RS256","kid":"one","jku":"https://x"}`} {
		f.Add(encode([]byte(header)) + "." + encode([]byte(claims)) + ".AAAA")
	}
	f.Add("")
	f.Add("..")
	f.Add("e30.e30.e30")
	v, err := oidc.New(oidc.Config{
		Issuers: []string{"https://issuer.example"}, Audience: audience, Now: func() time.Time { return time.Unix(1772366400, 0) },
		HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "issuer.example" {
				return nil, fmt.Errorf("asked %s", r.URL.Host)
			}
			return nil, errors.New("no network")
		})},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := v.Verify(t.Context(), raw); err == nil {
			t.Error("a token that nobody signed was accepted")
		}
		if _, clauses, err := v.Explain(t.Context(), raw); err == nil && oidc.Met(clauses) {
			t.Error("a token that nobody signed was explained to be good")
		}
		_ = oidc.LooksLikeIdentity(raw)
	})
}
