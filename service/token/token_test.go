package token_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/token"
)

// now is the time at which all vectors are judged.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testKey(id string, fill byte) token.Key {
	return token.Key{ID: id, Secret: bytes.Repeat([]byte{fill}, 32)}
}

func testSet(t testing.TB) *token.KeySet {
	t.Helper()
	s, err := token.NewKeySet(testKey("k_new", 1), testKey("k_old", 2))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testClaims() token.Claims {
	return token.Claims{
		Subject: "user_abc123", Email: "user@example.com", Tier: "pro", Features: []string{"spa_mode", "critical_css"},
		ValidUntil: time.Date(2027, 3, 12, 0, 0, 0, 0, time.UTC), IssuedAt: now.Add(-time.Hour), ExpiresAt: now.Add(48 * time.Hour),
		ID: "01JABCDEF", Issuer: "http://127.0.0.1:8080",
	}
}

func TestSignedTokenParsesToTheSameClaims(t *testing.T) {
	t.Parallel()
	s := testSet(t)
	raw, err := s.Sign(testClaims())
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Parse(raw, now)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testClaims(), got); diff != "" {
		t.Error(diff)
	}
	decoded, err := token.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, decoded); diff != "" {
		t.Errorf("Decode differs from Parse:\n%s", diff)
	}
}

func TestWireFormIsTheContract(t *testing.T) {
	t.Parallel()
	c := testClaims()
	c.Features = nil
	raw, err := testSet(t).Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(raw, ".")
	for i, want := range []string{
		`{"alg":"HS256","typ":"JWT","kid":"k_new"}`,
		`{"sub":"user_abc123","email":"user@example.com","tier":"pro","features":[],"valid_until":"2027-03-12T00:00:00.000Z",` +
			`"iat":1772362800,"exp":1772539200,"jti":"01JABCDEF","iss":"http://127.0.0.1:8080"}`,
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

func TestAnyJWTLibraryAcceptsTheToken(t *testing.T) {
	t.Parallel()
	raw, err := testSet(t).Sign(testClaims())
	if err != nil {
		t.Fatal(err)
	}
	_, err = jwt.Parse(raw, func(*jwt.Token) (any, error) { return testKey("k_new", 1).Secret, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithExpirationRequired())
	if err != nil {
		t.Error(err)
	}
}

func TestEveryKeyOfTheSetIsAccepted(t *testing.T) {
	t.Parallel()
	old, err := token.NewKeySet(testKey("k_old", 2))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := old.Sign(testClaims())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testSet(t).Parse(raw, now); err != nil {
		t.Errorf("Parse(token of the overlapping key) = %v, want nil", err)
	}
}

func TestASetSignsWithAnyOfItsKeys(t *testing.T) {
	t.Parallel()
	s, known := testSet(t).By("k_old")
	if !known || s.SigningKey() != "k_old" {
		t.Fatalf("By(k_old) = %v, %t", s.SigningKey(), known)
	}
	raw, err := s.Sign(testClaims())
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []*token.KeySet{s, testSet(t)} {
		if _, err := set.Parse(raw, now); err != nil {
			t.Errorf("Parse = %v, want nil", err)
		}
	}
	if _, known := testSet(t).By("k_none"); known {
		t.Error("By(k_none) = true")
	}
}

func TestUnusableKeysAreRefused(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]token.Key{
		"31 bytes":           {{ID: "k", Secret: make([]byte, 31)}},
		"an empty id":        {{Secret: make([]byte, 32)}},
		"an id with a quote": {{ID: `k"`, Secret: make([]byte, 32)}},
		"an id twice":        {testKey("k", 1), testKey("k", 2)},
	} {
		if _, err := token.NewKeySet(keys[0], keys[1:]...); !errors.Is(err, token.ErrWeakKey) {
			t.Errorf("NewKeySet(%s) = %v, want ErrWeakKey", name, err)
		}
	}
}

func TestIncompleteClaimsAreNotSigned(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*token.Claims){
		"no subject":         func(c *token.Claims) { c.Subject = "" },
		"no issue time":      func(c *token.Claims) { c.IssuedAt = time.Time{} },
		"no lifetime at all": func(c *token.Claims) { c.ExpiresAt = c.IssuedAt },
	} {
		c := testClaims()
		spoil(&c)
		if _, err := testSet(t).Sign(c); !errors.Is(err, token.ErrClaims) {
			t.Errorf("Sign(%s) = %v, want ErrClaims", name, err)
		}
	}
}

func TestKeysHideTheirSecret(t *testing.T) {
	t.Parallel()
	k := token.Key{ID: "k_1", Secret: []byte("0123456789abcdef0123456789abcdef")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, k); strings.Contains(got, "0123") || strings.Contains(got, "0x30") || strings.Contains(got, "48") {
			t.Errorf("Sprintf(%s, key) = %s shows the secret", verb, got)
		}
	}
	if got := k.LogValue().String(); got != "k_1" {
		t.Errorf("LogValue = %s, want the id", got)
	}
}

// vector is one token and what becomes of it. `make update-golden` writes testdata/vectors from the
// list in vectors_test.go.
type vector struct {
	Name   string `json:"name"`
	Token  string `json:"token"`
	Parse  string `json:"parse"`  // "ok" or the sentinel's text
	Decode string `json:"decode"` // same, for the reader without a key
}

var update = flag.Bool("update", false, "rewrite testdata/vectors")

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t, "tokens.json", makeVectors(t)) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			_, err := testSet(t).Parse(v.Token, now)
			if got := kind(err); got != v.Parse {
				t.Errorf("Parse = %s (%v), want %s", got, err, v.Parse)
			}
			_, err = token.Decode(v.Token)
			if got := kind(err); got != v.Decode {
				t.Errorf("Decode = %s (%v), want %s", got, err, v.Decode)
			}
		})
	}
}

// readVectors reads a golden file, which made must still be as long as; with -update it writes made
// to it first.
func readVectors[T any](t *testing.T, name string, made []T) []T {
	t.Helper()
	file := filepath.Join("testdata", "vectors", name)
	if *update {
		b, err := json.MarshalIndent(made, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []T
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != len(made) || len(made) == 0 {
		t.Errorf("%s has %d vectors, the list has %d: run make update-golden", file, len(vectors), len(made))
	}
	return vectors
}

var sentinels = []error{
	token.ErrMalformed, token.ErrTooLarge, token.ErrAlgorithm, token.ErrUnknownKey, token.ErrSignature, token.ErrClaims,
	token.ErrExpired, token.ErrNotYetValid, token.ErrNotLease,
}

// kind names the one sentinel that err wraps; errors that wrap none or several are named as such.
func kind(err error) string {
	if err == nil {
		return "ok"
	}
	var kinds []string
	for _, s := range sentinels {
		if errors.Is(err, s) {
			kinds = append(kinds, s.Error())
		}
	}
	return strings.Join(kinds, " and ")
}

func FuzzParse(f *testing.F) {
	for _, v := range makeVectors(f) {
		f.Add(v.Token)
	}
	s := testSet(f)
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := s.Parse(raw, now)
		if err != nil {
			if k := kind(err); k == "" || strings.Contains(k, " and ") {
				t.Errorf("Parse(%q) wraps %q, want exactly one sentinel: %v", raw, k, err)
			}
			return
		}
		// what is accepted is a text that a key of the set would write: re-encoding it changes
		// nothing
		if _, err := token.Decode(raw); err != nil {
			t.Errorf("Parse accepts what Decode refuses: %v", err)
		}
		if c.ID == "" || !now.Before(c.ExpiresAt) {
			t.Errorf("Parse accepts %+v", c)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, v := range makeVectors(f) {
		f.Add(v.Token)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := token.Decode(raw)
		if err != nil {
			if k := kind(err); k == "" || strings.Contains(k, " and ") {
				t.Errorf("Decode(%q) wraps %q, want exactly one sentinel: %v", raw, k, err)
			}
			return
		}
		if c.Subject == "" || c.ExpiresAt.IsZero() || strings.ContainsAny(raw, " \r\n\t") {
			t.Errorf("Decode(%q) = %+v", raw, c)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	s := testSet(b)
	raw, err := s.Sign(testClaims())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Parse(raw, now); err != nil {
			b.Fatal(err)
		}
	}
}
