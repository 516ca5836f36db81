package token_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/token"
)

const leaseIssuer = "https://license.example.com"

func leaseKey(t testing.TB, id string, fill byte) token.LeaseKey {
	t.Helper()
	k, err := token.NewLeaseKey(id, bytes.Repeat([]byte{fill}, ed25519.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func leaseKeys(t testing.TB) *token.LeaseKeys {
	t.Helper()
	s, err := token.NewLeaseKeys(leaseKey(t, "k_new", 1).Public(), leaseKey(t, "k_old", 2).Public())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func leaseClaims() token.Lease {
	return token.Lease{
		Issuer: leaseIssuer, Subject: "user_abc123", ID: "ls_1", LicenseID: "01J", Tier: "pro", Features: []string{"spa_mode"},
		ValidUntil: time.Date(2027, 3, 12, 0, 0, 0, 0, time.UTC), IssuedAt: now.Add(-time.Hour), GraceUntil: now.Add(48 * time.Hour),
	}
}

// testLease is a good lease.
func testLease(t testing.TB) string {
	t.Helper()
	raw, err := leaseKey(t, "k_new", 1).Sign(leaseClaims())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func jwksOf(keys ...token.PublicKey) []byte {
	var members []string
	for _, k := range keys {
		members = append(members, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":%q,"x":%q}`, k.ID, base64.RawURLEncoding.EncodeToString(k.Key)))
	}
	return []byte(`{"keys":[` + strings.Join(members, ",") + `]}`)
}

func TestSignedLeaseParsesToTheSame(t *testing.T) {
	t.Parallel()
	for _, key := range []token.LeaseKey{leaseKey(t, "k_new", 1), leaseKey(t, "k_old", 2)} {
		raw, err := key.Sign(leaseClaims())
		if err != nil {
			t.Fatal(err)
		}
		got, err := leaseKeys(t).Parse(raw, leaseIssuer, now)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(leaseClaims(), got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWireFormOfALease(t *testing.T) {
	t.Parallel()
	l := leaseClaims()
	l.Features = nil
	raw, err := leaseKey(t, "k_new", 1).Sign(l)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(raw, ".")
	for i, want := range []string{
		`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_new"}`,
		`{"iss":"https://license.example.com","sub":"user_abc123","jti":"ls_1","license_jti":"01J","tier":"pro","features":[],` +
			`"valid_until":"2027-03-12T00:00:00.000Z","grace_until":"2026-03-03T12:00:00.000Z","iat":1772362800,"exp":1772539200}`,
	} {
		got, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("part %d = %s, want %s", i, got, want)
		}
	}
}

// Two libraries that we did not write take the lease by the published keys.
func TestOtherLibrariesVerifyTheLease(t *testing.T) {
	t.Parallel()
	raw := testLease(t)
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwksOf(leaseKey(t, "k_old", 2).Public(), leaseKey(t, "k_new", 1).Public()), &set); err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	own := map[string]any{}
	if err := parsed.Claims(set, &claims, &own); err != nil {
		t.Fatal(err)
	}
	if err := claims.Validate(jwt.Expected{Issuer: leaseIssuer, Subject: "user_abc123", Time: now}); err != nil || own["grace_until"] != "2026-03-03T12:00:00.000Z" {
		t.Errorf("go-jose: %v, %v", err, own)
	}
	_, err = golangjwt.Parse(raw, func(*golangjwt.Token) (any, error) { return leaseKey(t, "k_new", 1).Public().Key, nil },
		golangjwt.WithValidMethods([]string{"EdDSA"}), golangjwt.WithTimeFunc(func() time.Time { return now }), golangjwt.WithIssuer(leaseIssuer))
	if err != nil {
		t.Errorf("golang-jwt: %v", err)
	}
}

// A lease of another library is taken only in the one form that we write.
func TestALeaseInAnotherFormIsRefused(t *testing.T) {
	t.Parallel()
	seed := bytes.Repeat([]byte{1}, ed25519.SeedSize)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(seed), KeyID: "k_new"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(map[string]any{"iss": leaseIssuer, "sub": "user_abc123"}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaseKeys(t).Parse(raw, leaseIssuer, now); !errors.Is(err, token.ErrNotLease) {
		t.Errorf("Parse(JWT without typ, by the right key) = %v, want ErrNotLease", err)
	}
}

func TestIncompleteLeasesAreNotSigned(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*token.Lease){
		"no issuer":                     func(l *token.Lease) { l.Issuer = "" },
		"no subject":                    func(l *token.Lease) { l.Subject = "" },
		"no id":                         func(l *token.Lease) { l.ID = "" },
		"no license token":              func(l *token.Lease) { l.LicenseID = "" },
		"no tier":                       func(l *token.Lease) { l.Tier = "" },
		"no issue time":                 func(l *token.Lease) { l.IssuedAt = time.Time{} },
		"no grace at all":               func(l *token.Lease) { l.GraceUntil = l.IssuedAt },
		"grace beyond the license":      func(l *token.Lease) { l.ValidUntil = l.GraceUntil.Add(-time.Millisecond) },
		"a license without end or none": func(l *token.Lease) { l.ValidUntil = time.Time{} },
	} {
		l := leaseClaims()
		spoil(&l)
		if raw, err := leaseKey(t, "k_new", 1).Sign(l); !errors.Is(err, token.ErrClaims) || raw != "" {
			t.Errorf("Sign(%s) = %v, want ErrClaims", name, err)
		}
	}
}

func TestUnusableLeaseKeysAreRefused(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func() error{
		"31 bytes of seed":   func() error { _, err := token.NewLeaseKey("k", bytes.Repeat([]byte{1}, 31)); return err },
		"64 bytes of seed":   func() error { _, err := token.NewLeaseKey("k", bytes.Repeat([]byte{1}, 64)); return err },
		"an id with a quote": func() error { _, err := token.NewLeaseKey(`k"`, bytes.Repeat([]byte{1}, 32)); return err },
		"a public key of 31": func() error {
			_, err := token.NewLeaseKeys(token.PublicKey{ID: "k", Key: bytes.Repeat([]byte{1}, 31)})
			return err
		},
		"a public id empty": func() error {
			_, err := token.NewLeaseKeys(token.PublicKey{Key: bytes.Repeat([]byte{1}, 32)})
			return err
		},
		"an id twice": func() error {
			_, err := token.NewLeaseKeys(leaseKey(t, "k", 1).Public(), leaseKey(t, "k", 2).Public())
			return err
		},
	} {
		if err := make(); !errors.Is(err, token.ErrWeakKey) {
			t.Errorf("%s = %v, want ErrWeakKey", name, err)
		}
	}
}

func TestPublishedKeysAreRead(t *testing.T) {
	t.Parallel()
	good := string(jwksOf(leaseKey(t, "k_new", 1).Public()))
	other := func(old, new string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("%s has no %s", good, old)
		}
		return strings.Replace(good, old, new, 1)
	}
	one := strings.TrimSuffix(strings.TrimPrefix(good, `{"keys":[`), `]}`)
	for name, test := range map[string]struct {
		jwks  string
		parse error // of the document
		lease error // of a lease of k_new
	}{
		"the key":                    {good, nil, nil},
		"with members that are new":  {other(`"kty"`, `"x5t":"a","kty"`), nil, nil},
		"beside keys of other kinds": {other(`[{`, `[{"kty":"RSA","n":"AQ","e":"AQAB","kid":"r"},{"kty":"oct","k":"AQ"},{`), nil, nil},
		"no key":                     {`{"keys":[]}`, nil, token.ErrUnknownKey},
		"a key for encryption":       {other(`"sig"`, `"enc"`), nil, token.ErrUnknownKey},
		"a key for another alg":      {other(`"EdDSA"`, `"ES256"`), nil, token.ErrUnknownKey},
		"a key without alg":          {other(`"alg":"EdDSA",`, ``), nil, token.ErrUnknownKey},
		"a key of another curve":     {other(`Ed25519`, `X25519`), nil, token.ErrUnknownKey},
		"the key of another id":      {other(`k_new`, `k_none`), nil, token.ErrUnknownKey},
		"another key of that id":     {string(jwksOf(token.PublicKey{ID: "k_new", Key: leaseKey(t, "k_old", 2).Public().Key})), nil, token.ErrSignature},
		"empty":                      {``, token.ErrWeakKey, nil},
		"no list":                    {`{}`, token.ErrWeakKey, nil},
		"a list alone":               {`[` + one + `]`, token.ErrWeakKey, nil},
		"null":                       {`{"keys":null}`, token.ErrWeakKey, nil},
		"a page of HTML":             {`<html>`, token.ErrWeakKey, nil},
		"trailing data":              {good + good, token.ErrWeakKey, nil},
		"keys twice":                 {other(`{"keys"`, `{"keys":[],"keys"`), token.ErrWeakKey, nil},
		"x twice":                    {other(`"x":`, `"x":"AA","x":`), token.ErrWeakKey, nil},
		"an id twice":                {`{"keys":[` + one + `,` + one + `]}`, token.ErrWeakKey, nil},
		"a key that is a text":       {`{"keys":["k_new"]}`, token.ErrWeakKey, nil},
		"x with padding":             {other(`"}`, `="}`), token.ErrWeakKey, nil},
		"x cut short":                {other(`"x":"`, `"x":"AAAA","y":"`), token.ErrWeakKey, nil},
	} {
		keys, err := token.ParseJWKS([]byte(test.jwks))
		if !errors.Is(err, test.parse) || (err == nil) != (test.parse == nil) {
			t.Errorf("ParseJWKS(%s) = %v, want %v", name, err, test.parse)
			continue
		}
		if err != nil {
			continue
		}
		if _, err := keys.Parse(testLease(t), leaseIssuer, now); !errors.Is(err, test.lease) || (err == nil) != (test.lease == nil) {
			t.Errorf("Parse by %s = %v, want %v", name, err, test.lease)
		}
	}
}

func TestLeaseKeysHideTheirSecret(t *testing.T) {
	t.Parallel()
	k := leaseKey(t, "k_1", 'Z') // a seed of Z: 90, 0x5a
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		fmt.Fprintf(&log, verb+"\n", k)
		fmt.Fprintf(&log, verb+"\n", []token.LeaseKey{k})
	}
	for _, shown := range []string{"ZZZZ", "90 90", "0x5a", "5a5a", "Wlpa"} {
		if strings.Contains(log.String(), shown) {
			t.Errorf("the log shows the seed (%s):\n%s", shown, log.String())
		}
	}
	if strings.Count(log.String(), "k_1") < 10 {
		t.Errorf("the log does not name the key:\n%s", log.String())
	}
}

type leaseVector struct {
	Name  string `json:"name"`
	Lease string `json:"lease"`
	Parse string `json:"parse"` // "ok" or the sentinel's text
}

func TestLeaseVectors(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, v := range readVectors(t, "leases.json", makeLeaseVectors(t)) {
		if names[v.Name] {
			t.Errorf("two vectors are named %s", v.Name)
		}
		names[v.Name] = true
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			_, err := leaseKeys(t).Parse(v.Lease, leaseIssuer, now)
			if got := kind(err); got != v.Parse {
				t.Errorf("Parse = %s (%v), want %s", got, err, v.Parse)
			}
			if _, err := testSet(t).Parse(v.Lease, now); err == nil && v.Name != "a license token" {
				t.Error("it is taken for a license token")
			}
		})
	}
}

// No vector of a license token is a lease.
func TestNoLicenseTokenIsALease(t *testing.T) {
	t.Parallel()
	for _, v := range makeVectors(t) {
		if _, err := leaseKeys(t).Parse(v.Token, leaseIssuer, now); err == nil && v.Name != "a lease" {
			t.Errorf("%s is taken for a lease", v.Name)
		}
	}
}

func FuzzParseLease(f *testing.F) {
	for _, v := range makeLeaseVectors(f) {
		f.Add(v.Lease)
	}
	s := leaseKeys(f)
	good := testLease(f)
	f.Fuzz(func(t *testing.T, raw string) {
		l, err := s.Parse(raw, leaseIssuer, now)
		if err != nil {
			if k := kind(err); k == "" || strings.Contains(k, " and ") {
				t.Errorf("Parse(%q) wraps %q, want exactly one sentinel: %v", raw, k, err)
			}
			return
		}
		if l.GraceUntil.After(l.ValidUntil) || !now.Before(l.GraceUntil) || l.Issuer != leaseIssuer || l.Subject == "" || raw != good && !slices.ContainsFunc(makeLeaseVectors(t), func(v leaseVector) bool { return v.Lease == raw }) {
			t.Errorf("Parse(%q) accepts %+v", raw, l)
		}
	})
}

func FuzzParseJWKS(f *testing.F) {
	f.Add(jwksOf(leaseKey(f, "k_new", 1).Public()))
	f.Add([]byte(`{"keys":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := token.ParseJWKS(raw); err != nil && !errors.Is(err, token.ErrWeakKey) {
			t.Errorf("ParseJWKS(%q) = %v, want ErrWeakKey", raw, err)
		}
	})
}
