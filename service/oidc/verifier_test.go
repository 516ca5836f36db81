package oidc_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"crypto/rand"
	"crypto/rsa"

	"github.com/pageflare/ci/service/oidc"
)

const audience = "https://license.example.com"

// issuer is a server that publishes keys, and counts who asks.
type issuer struct {
	*httptest.Server
	mu       sync.Mutex
	keys     map[string]*rsa.PrivateKey
	respond  func(w http.ResponseWriter, r *http.Request) bool // in the place of the usual answer
	requests atomic.Int64
	now      time.Time
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{keys: map[string]*rsa.PrivateKey{"one": newKey(t)}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	t.Cleanup(i.Close)
	return i
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (i *issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.requests.Add(1)
	if i.respond != nil && i.respond(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/.well-known/openid-configuration" {
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["RS256"]}`, i.URL, i.URL+"/keys")
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	list := []map[string]string{}
	for kid, k := range i.keys {
		list = append(list, jwk(kid, &k.PublicKey))
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": list})
}

func jwk(kid string, k *rsa.PublicKey) map[string]string {
	encode := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": encode(k.N.Bytes()), "e": encode(big.NewInt(int64(k.E)).Bytes())}
}

func (i *issuer) verifier(t *testing.T) *oidc.Verifier {
	t.Helper()
	return i.keeping(t, nil, io.Discard)
}

// keeping is a verifier with a key store.
func (i *issuer) keeping(t *testing.T, keyStore oidc.KeyStore, log io.Writer) *oidc.Verifier {
	t.Helper()
	v, err := oidc.New(oidc.Config{
		Issuers: []string{i.URL}, Audience: audience, HTTP: &http.Client{Transport: &http.Transport{}}, Now: func() time.Time { return i.now },
		Log: slog.New(slog.NewTextHandler(log, nil)), KeyStore: keyStore,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (i *issuer) claims() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": i.URL, "aud": audience, "sub": "repo:acme/site:ref:refs/heads/main", "jti": rand.Text(), "iat": i.now.Unix(), "nbf": i.now.Unix(),
		"exp": i.now.Add(5 * time.Minute).Unix(), "repository_id": "7", "repository_owner_id": "8", "event_name": "push", "ref": "refs/heads/main",
	}
}

// token is signed with the key of that name, or with one that nobody published.
func (i *issuer) token(t *testing.T, kid string, header map[string]any) string {
	t.Helper()
	made := jwt.NewWithClaims(jwt.SigningMethodRS256, i.claims())
	made.Header["kid"] = kid
	for k, v := range header {
		made.Header[k] = v
	}
	key := i.keys[kid]
	if key == nil {
		key = newKey(t)
	}
	raw, err := made.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (i *issuer) want(t *testing.T, v *oidc.Verifier, raw string, want error) {
	t.Helper()
	_, err := v.Verify(t.Context(), raw)
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("Verify = %v, want %v", err, want)
	}
	if err != nil && (strings.Contains(err.Error(), raw) || strings.Contains(err.Error(), strings.Split(raw, ".")[len(strings.Split(raw, "."))-1])) {
		t.Errorf("the error quotes the token: %v", err)
	}
}

func TestNobodyMakesUsAskTheIssuerByAMadeUpKey(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	if i.requests.Load() != 0 {
		t.Error("the issuer was asked before any token came")
	}
	i.want(t, v, i.token(t, "one", nil), nil)
	for range 5 {
		i.want(t, v, i.token(t, "one", nil), nil)
		i.want(t, v, i.token(t, "made-up", nil), oidc.ErrUnknownKey)
	}
	if n := i.requests.Load(); n != 2 {
		t.Errorf("requests = %d, want 2: discovery and keys, once", n)
	}
	// a key that is really new is found after the pause
	i.mu.Lock()
	i.keys["two"] = newKey(t)
	i.mu.Unlock()
	i.want(t, v, i.token(t, "two", nil), oidc.ErrUnknownKey)
	i.now = i.now.Add(30 * time.Second)
	i.want(t, v, i.token(t, "two", nil), nil)
	if n := i.requests.Load(); n != 4 {
		t.Errorf("requests = %d, want 4", n)
	}
}

func TestAWithdrawnKeyIsRefusedSoon(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	i.want(t, v, i.token(t, "one", nil), nil)
	i.now = i.now.Add(10 * time.Minute)
	raw := i.token(t, "one", nil)
	i.mu.Lock()
	i.keys = map[string]*rsa.PrivateKey{"two": newKey(t)}
	i.mu.Unlock()
	i.want(t, v, raw, oidc.ErrUnknownKey)
}

func TestManyJobsAtOnceAskOnce(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	raw := i.token(t, "one", nil)
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	i.respond = func(http.ResponseWriter, *http.Request) bool {
		select {
		case arrived <- struct{}{}:
		default:
		}
		<-release
		return false
	}
	var wg sync.WaitGroup
	errs := make([]error, 50)
	for n := range errs {
		wg.Go(func() { _, errs[n] = v.Verify(t.Context(), raw) })
	}
	<-arrived
	close(release)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := i.requests.Load(); n != 2 {
		t.Errorf("requests = %d, want 2", n)
	}
}

// What an issuer, or somebody in its place, answers must not hurt us: too long, elsewhere,
// something else.
func TestBadAnswersOfAnIssuer(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server that is no issuer was asked") }))
	t.Cleanup(elsewhere.Close)
	for name, respond := range map[string]func(i *issuer, w http.ResponseWriter, r *http.Request) bool{
		"a document without end": func(_ *issuer, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			for range 200 {
				if _, err := fmt.Fprintf(w, "{%s", strings.Repeat(" ", 1<<10)); err != nil {
					break
				}
			}
			return true
		},
		"keys on another host": func(i *issuer, w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.URL, elsewhere.URL+"/keys")
			return true
		},
		"a redirect": func(_ *issuer, w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return true
		},
		"another issuer in the document": func(i *issuer, w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"issuer":"https://other.example","jwks_uri":%q}`, i.URL+"/keys")
			return true
		},
		"an error": func(_ *issuer, w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
		"HTML": func(_ *issuer, w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, "<html>")
			return true
		},
		"keys that are none": func(_ *issuer, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}`)
			return true
		},
		"a weak key": func(i *issuer, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/keys" {
				return false
			}
			n := new(big.Int).Lsh(big.NewInt(1), 1023)
			n.SetBit(n, 0, 1)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{jwk("one", &rsa.PublicKey{N: n, E: 65537})}})
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			i.respond = func(w http.ResponseWriter, r *http.Request) bool { return respond(i, w, r) }
			v := i.verifier(t)
			i.want(t, v, i.token(t, "one", nil), oidc.ErrUnreachable)
			asked := i.requests.Load()
			i.want(t, v, i.token(t, "one", nil), oidc.ErrUnreachable) // at once: it was asked just now
			if i.requests.Load() != asked {
				t.Error("the issuer was asked again at once")
			}
			i.respond, i.now = nil, i.now.Add(3*time.Second)
			i.want(t, v, i.token(t, "one", nil), nil)
		})
	}
}

// A header that would make a careless reader fetch or use another key is refused before anybody is
// asked.
func TestHostileHeaders(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	v := i.verifier(t)
	for name, header := range map[string]map[string]any{
		"jku": {"jku": i.URL + "/keys"}, "x5u": {"x5u": i.URL}, "jwk": {"jwk": jwk("one", &i.keys["one"].PublicKey)}, "crit": {"crit": []string{"b64"}},
		"x5c": {"x5c": []string{}}, "zip": {"zip": "DEF"}, "enc": {"enc": ""}, "crit that is null": {"crit": nil},
		"b64": {"b64": false}, "typ": {"typ": "lease+jwt"}, "no kid": {"kid": ""}, "a long kid": {"kid": strings.Repeat("k", 201)},
	} {
		t.Run(name, func(t *testing.T) { i.want(t, v, i.token(t, "one", header), oidc.ErrMalformed) })
	}
	if n := i.requests.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// The claim that cannot be read is named, and its value is not.
func TestClaimsThatCannotBeReadAreNamed(t *testing.T) {
	t.Parallel()
	const good = `{"iss":"https://i","aud":"a","sub":"s","jti":"j","exp":3,"iat":1,"nbf":1,"repository_id":"7","repository_owner_id":"8","event_name":"push"}`
	if _, err := oidc.ParseClaims([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, now, want string }{
		{`"jti":"j"`, `"jti":17`, "jti is not text"},
		{`"jti":"j"`, `"jti":null`, "jti is missing"},
		{`"jti":"j",`, ``, "jti is missing"},
		{`"jti":"j"`, `"JTI":"j"`, "jti is missing"},
		{`"event_name":"push"`, `"event_name":"push","ref":["x"]`, "ref is not text"},
		{`"event_name":"push"`, `"event_name":"push","ref":"\u001b[2J"`, "ref holds a character that is not for text"},
		{`"exp":3`, `"exp":"3"`, "exp is not a time in whole seconds"},
		{`"exp":3`, `"exp":3.5`, "exp is not a time in whole seconds"},
		{`"exp":3`, `"exp":-3`, "exp is not a time in whole seconds"},
		{`"exp":3`, `"exp":1e99`, "exp is not a time in whole seconds"},
		{`"exp":3`, `"exp":253402300800`, "exp is not a time in whole seconds"},
		{`"nbf":1,`, ``, "nbf is missing"},
		{`"aud":"a",`, ``, "aud is missing"},
		{`"aud":"a"`, `"aud":null`, "aud is neither text nor a list of texts"},
		{`"aud":"a"`, `"aud":[]`, "aud is neither text nor a list of texts"},
		{`"aud":"a"`, `"aud":["a",null]`, "aud is neither text nor a list of texts"},
		{`"aud":"a"`, `"aud":{"a":"b"}`, "aud is neither text nor a list of texts"},
		{`"aud":"a"`, `"aud":["a\u0007"]`, "aud holds a character that is not for text"},
		{`"repository_id":"7"`, `"repository_id":"07"`, "repository_id is not a number"},
		{`"sub":"s"`, `"sub":"s","x":1,"x":2`, "not one JSON object without repeated members"},
		{`"sub":"s"`, `"sub":"s","x":{"y":1,"y":2}`, "not one JSON object without repeated members"},
		{`"sub":"s"`, "\"sub\":\"\xff\"", "not one JSON object without repeated members"},
		{good, `["iss"]`, "not one JSON object without repeated members"},
		{good, good + good, "not one JSON object without repeated members"},
	} {
		payload := strings.Replace(good, c.old, c.now, 1)
		_, err := oidc.ParseClaims([]byte(payload))
		if !errors.Is(err, oidc.ErrClaims) || !strings.HasSuffix(err.Error(), ": "+c.want) {
			t.Errorf("%s in place of %s: %v, want %q", c.now, c.old, err, c.want)
		}
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add([]byte(`{"iss":"https://i","aud":"a","sub":"s","jti":"j","exp":3,"iat":1,"nbf":1,"repository_id":"7","repository_owner_id":"8","event_name":"push"}`))
	f.Add([]byte(`{"iss":"https://i","iss":"https://j","aud":["a","b"]}`))
	f.Add([]byte(`{"ISS":"x","exp":1e99,"repository_id":"-1"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		id, err := oidc.ParseClaims(payload)
		if err != nil {
			return
		}
		for name, s := range map[string]string{"iss": id.Issuer, "jti": id.ID, "repository_id": id.RepositoryID, "repository_owner_id": id.OwnerID, "event_name": id.Event} {
			if s == "" || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("%s = %q was accepted", name, s)
			}
		}
		// an empty policy allows nobody, whatever a token says
		if (oidc.Policy{}).Match(id) {
			t.Error("an empty policy allowed a job")
		}
	})
}
