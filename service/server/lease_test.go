package server_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/servicetest"
)

const jwksPath = "/.well-known/jwks.json"

// An independent library verifies a lease by what the service publishes.
func TestALeaseIsVerifiedByThePublishedKeys(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "a@example.com")
	issued := s.IssueToken(t, a.ID, 48*time.Hour)
	l := into[api.Lease](t, call(t, s, "GET", "/_api/license/lease", "", bearer(issued)...))
	if again := into[api.Lease](t, call(t, s, "GET", "/_api/license/lease", "", bearer(issued)...)); again != l {
		t.Errorf("the same token got %+v, then %+v", l, again)
	}
	published := call(t, s, "GET", jwksPath, "")
	if kind := published.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		t.Errorf("Content-Type = %s", kind)
	}
	parsed, err := jwt.ParseSigned(l.Lease, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var standard jwt.Claims
	var own struct {
		Tier       string    `json:"tier"`
		ValidUntil string    `json:"valid_until"`
		GraceUntil time.Time `json:"grace_until"`
	}
	if err := parsed.Claims(into[jose.JSONWebKeySet](t, published), &standard, &own); err != nil {
		t.Fatal(err)
	}
	if err := standard.Validate(jwt.Expected{Issuer: s.Origin, Subject: a.ID, Time: time.Now()}); err != nil {
		t.Error(err)
	}
	if own.Tier != "pro" || own.ValidUntil != l.ValidUntil || !own.GraceUntil.Equal(l.GraceUntil.Time) || !standard.Expiry.Time().Equal(l.GraceUntil.Time) || l.CappedBy != "token" {
		t.Errorf("claims %+v and %+v, answer %+v", standard, own, l)
	}
	if header := parsed.Headers[0]; header.ExtraHeaders["typ"] != "lease+jwt" {
		t.Errorf("header = %+v", header)
	}
}

func TestTheRefusalsOfALease(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "a@example.com")
	issued, revoked := s.IssueToken(t, a.ID, 0), s.IssueToken(t, a.ID, 0)
	l := into[api.Lease](t, call(t, s, "GET", "/_api/license/lease", "", bearer(issued)...))
	for name, text := range map[string]string{"an API token": key, "a lease": l.Lease, "an admin token": s.AdminToken(t, auth.Scopes...)} {
		got := call(t, s, "GET", "/_api/license/lease", "", bearer(text)...)
		got.wantUnauthorized(t)
		if t.Failed() {
			t.Fatalf("by %s", name)
		}
	}
	for _, route := range []string{"GET /_api/license/refresh", "POST /_api/license/issue", "POST /_api/oauth/introspect", "GET /_api/admin/keys"} {
		method, path, _ := strings.Cut(route, " ")
		call(t, s, method, path, "", bearer(l.Lease)...).wantUnauthorized(t)
	}
	if _, err := s.RevokeToken(t.Context(), revoked, false); err != nil {
		t.Fatal(err)
	}
	call(t, s, "GET", "/_api/license/lease", "", bearer(revoked)...).wantCode(t, http.StatusForbidden, api.CodeTokenRevoked)
	s.EndLicense(t, a.ID)
	call(t, s, "GET", "/_api/license/lease", "", bearer(issued)...).wantCode(t, http.StatusForbidden, api.CodeLicenseExpired)
	s.Break(t)
	call(t, s, "GET", "/_api/license/lease", "", bearer(issued)...).wantCode(t, http.StatusInternalServerError, api.CodeInternal)
	call(t, s, "GET", jwksPath, "").want(t, 200, call(t, s, "GET", jwksPath, "").body) // the last ones go on being known
}

func TestWithoutLeasesTheirRoutesSaySo(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{LeaseGrace: -1})
	a, _ := s.Account(t, "a@example.com")
	call(t, s, "GET", "/_api/license/lease", "", bearer(s.IssueToken(t, a.ID, 0))...).wantCode(t, http.StatusNotFound, api.CodeNotFound)
	got := call(t, s, "GET", jwksPath, "")
	got.want(t, 200, `{"keys":[]}`)
	if cache := got.header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("Cache-Control = %s, want no-store: the first key signs at once", cache)
	}
}

func TestEveryVectorOfALeaseIsRefusedAs401(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	text, err := os.ReadFile(filepath.Join("..", "token", "testdata", "vectors", "leases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Lease string `json:"lease"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		if strings.ContainsAny(v.Lease, "\r\n") || len(v.Lease) > 15<<10 {
			continue // cannot be sent in a header
		}
		call(t, s, "GET", "/_api/license/lease", "", bearer(v.Lease)...).wantUnauthorized(t)
	}
}

// drawn keeps all random bytes that a service draws: its keys are made of them.
type drawn struct {
	mu    sync.Mutex
	drawn [][]byte
}

func (d *drawn) Read(b []byte) (int, error) {
	n, err := rand.Read(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drawn = append(d.drawn, bytes.Clone(b[:n]))
	return n, err
}

// secrets are those of at least 16 bytes, in every encoding that comes to mind. They are the
// key-encryption key, HMAC keys, Ed25519 seeds.
func (d *drawn) secrets() (out [][]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range d.drawn {
		if len(b) < 32 {
			continue
		}
		out = append(out, []string{
			string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)), base64.StdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b),
			base64.RawURLEncoding.EncodeToString(b), base64.StdEncoding.EncodeToString(b[1:]), base64.StdEncoding.EncodeToString(b[2:]),
		})
	}
	return out
}

// What is published, and what stands in a lease, holds nothing of a secret: no HMAC key, and of the
// Ed25519 keys only the public half.
func TestNoSecretIsPublished(t *testing.T) {
	t.Parallel()
	var random drawn
	var mu sync.Mutex
	now := time.Now()
	s := servicetest.Start(t, servicetest.Options{Rand: &random, Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	a, _ := s.Account(t, "a@example.com")
	issued := s.IssueToken(t, a.ID, 0)
	for _, algorithm := range []keyring.Algorithm{keyring.HS256, keyring.EdDSA, keyring.HS256, keyring.EdDSA} {
		if _, err := s.Rotate(t.Context(), algorithm); err != nil {
			t.Fatal(err)
		}
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	published := call(t, s, "GET", jwksPath, "")
	keys := into[struct {
		Keys []map[string]string `json:"keys"`
	}](t, published).Keys
	l := into[api.Lease](t, call(t, s, "GET", "/_api/license/lease", "", bearer(issued)...))
	secrets := random.secrets()
	if len(secrets) != 1+6 {
		t.Fatalf("%d secrets were drawn, want the key-encryption key, 3 HMAC keys and 3 seeds", len(secrets))
	}
	segments := strings.Split(l.Lease, ".")
	said := published.body + l.Lease
	for _, part := range segments[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		said += string(text)
	}
	for i, forms := range secrets {
		for _, form := range forms {
			for at := 0; at+12 <= len(form); at += 4 {
				if strings.Contains(said, form[at:at+12]) {
					t.Errorf("a part of secret %d is published", i)
				}
			}
		}
	}
	if len(keys) != 3 {
		t.Errorf("%d keys are published, want 3", len(keys))
	}
	signing, err := s.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range signing {
		if got, want := strings.Contains(published.body, k.ID), k.Algorithm == keyring.EdDSA; got != want {
			t.Errorf("key %s (%s) is published: %t, want %t", k.ID, k.Algorithm, got, want)
		}
	}
	for _, k := range keys {
		x, err := base64.RawURLEncoding.DecodeString(k["x"])
		if err != nil || len(x) != 32 || k["kty"] != "OKP" || k["crv"] != "Ed25519" || k["use"] != "sig" || k["alg"] != "EdDSA" || len(k) != 6 {
			t.Errorf("published %v", k)
		}
	}
}

// A caller keeps the keys for less time than a new one waits to sign.
func TestPublishedKeysAreKeptForLessThanANewOneWaits(t *testing.T) {
	t.Parallel()
	a := newAdmin(t)
	made := into[api.SigningKey](t, a.do("POST", "keys?lease=true", ""))
	from, err := time.Parse(time.RFC3339, made.SignsFrom)
	if err != nil {
		t.Fatal(err)
	}
	created, err := time.Parse(time.RFC3339, made.CreatedAt)
	if err != nil {
		t.Fatal(err)
	}
	age := regexp.MustCompile(`^public, max-age=(\d+)$`).FindStringSubmatch(call(t, a.Service, "GET", jwksPath, "").header.Get("Cache-Control"))
	if age == nil {
		t.Fatal("the keys may not be kept")
	}
	kept, err := time.ParseDuration(age[1] + "s")
	if err != nil || kept < time.Minute || from.Sub(created) < 2*kept {
		t.Errorf("a new key waits for %s and the published ones may be kept for %s, %v; want twice as long", from.Sub(created), kept, err)
	}
}
