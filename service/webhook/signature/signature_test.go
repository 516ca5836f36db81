package signature_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/webhook/signature"
)

// vector is a line of testdata/vectors.json, which anybody can check their own verifier against.
type vector struct {
	Name    string            `json:"name"`
	Secrets []string          `json:"secrets"`
	Now     int64             `json:"now"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Want    string            `json:"want"`   // good, secret, headers, timestamp, signature
	Vendor  string            `json:"vendor"` // the same of X-Pageflare-Signature alone
}

var kinds = map[string]error{
	"good": nil, "secret": signature.ErrSecret, "headers": signature.ErrHeaders,
	"timestamp": signature.ErrTimestamp, "signature": signature.ErrSignature,
}

func TestVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			h := http.Header{}
			for name, value := range v.Headers {
				h.Set(name, value)
			}
			want, known := kinds[v.Want]
			wantVendor, knownVendor := kinds[v.Vendor]
			if !known || !knownVendor {
				t.Fatalf("want %q, vendor %q: not a kind", v.Want, v.Vendor)
			}
			m, err := signature.Verify(h, []byte(v.Body), time.Unix(v.Now, 0), v.Secrets...)
			if !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("Verify = %v, want %v", err, want)
			}
			if err == nil && (m.ID != v.Headers["webhook-id"] || string(m.Body) != v.Body) {
				t.Errorf("Verify gave id %q and body %q", m.ID, m.Body)
			}
			if err := signature.VerifyVendor(h, []byte(v.Body), v.Secrets...); !errors.Is(err, wantVendor) || wantVendor == nil && err != nil {
				t.Errorf("VerifyVendor = %v, want %v", err, wantVendor)
			}
			for _, secret := range v.Secrets {
				if err != nil && len(secret) > 12 && strings.Contains(err.Error(), secret[8:]) {
					t.Errorf("the error tells the secret: %v", err)
				}
			}
		})
		seen[v.Want], seen["vendor "+v.Vendor] = true, true
	}
	for kind := range kinds {
		if !seen[kind] {
			t.Errorf("no vector is %s", kind)
		}
	}
}

func newSecret(t *testing.T) string {
	t.Helper()
	secret, err := signature.NewSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// signed is the headers of a delivery as they are sent.
func signed(t *testing.T, m signature.Message, secrets ...string) http.Header {
	t.Helper()
	list, err := m.Sign(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{
		http.CanonicalHeaderKey(signature.HeaderID):        {m.ID},
		http.CanonicalHeaderKey(signature.HeaderTimestamp): {fmt.Sprint(m.At.Unix())},
		http.CanonicalHeaderKey(signature.HeaderSignature): {list},
	}
}

// The old secret and the new one both verify while both sign.
func TestBothSecretsOfARotationVerify(t *testing.T) {
	t.Parallel()
	older, newer, other := newSecret(t), newSecret(t), newSecret(t)
	m := signature.Message{ID: "evt_1", At: time.Unix(1_772_000_000, 0), Body: []byte(`{"a":1}`)}
	h := signed(t, m, newer, older)
	for _, secret := range []string{older, newer} {
		if _, err := signature.Verify(h, m.Body, m.At, secret); err != nil {
			t.Errorf("Verify with one of the two = %v", err)
		}
	}
	if _, err := signature.Verify(h, m.Body, m.At, other); !errors.Is(err, signature.ErrSignature) {
		t.Errorf("Verify with another secret = %v, want ErrSignature", err)
	}
	if _, err := signature.Verify(signed(t, m, older), m.Body, m.At, newer, older); err != nil {
		t.Errorf("Verify by a receiver that takes both = %v", err)
	}
}

// Each single change of what is signed is found, and a delivery holds for five minutes both ways.
func TestWhatIsSignedCannotChange(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	m := signature.Message{ID: "evt_1", At: time.Unix(1_772_000_000, 0), Body: []byte(`{"a":1}`)}
	for name, change := range map[string]func(h http.Header, m *signature.Message){
		"body":      func(_ http.Header, m *signature.Message) { m.Body = append(bytes.Clone(m.Body), ' ') },
		"id":        func(h http.Header, _ *signature.Message) { h.Set("webhook-id", "evt_2") },
		"timestamp": func(h http.Header, _ *signature.Message) { h.Set("webhook-timestamp", "1772000001") },
		"moved dot": func(h http.Header, _ *signature.Message) {
			h.Set("webhook-id", "evt_1")
			h.Set("webhook-timestamp", "17720000")
		},
	} {
		h, changed := signed(t, m, secret), m
		change(h, &changed)
		if _, err := signature.Verify(h, changed.Body, m.At, secret); !errors.Is(err, signature.ErrSignature) {
			t.Errorf("%s changed: Verify = %v, want ErrSignature", name, err)
		}
	}
	for _, way := range []time.Duration{1, -1} {
		if _, err := signature.Verify(signed(t, m, secret), m.Body, m.At.Add(way*signature.Tolerance), secret); err != nil {
			t.Errorf("at %s: %v", way*signature.Tolerance, err)
		}
		if _, err := signature.Verify(signed(t, m, secret), m.Body, m.At.Add(way*(signature.Tolerance+time.Second)), secret); !errors.Is(err, signature.ErrTimestamp) {
			t.Errorf("a second after that: %v, want ErrTimestamp", err)
		}
	}
}

// With an empty key anybody can sign: such a secret is refused also beside a good one, and also
// where a signature by it is right.
func TestAnEmptySecretVerifiesNothing(t *testing.T) {
	t.Parallel()
	at, body := time.Unix(1_772_000_000, 0), []byte(`{}`)
	forged := hmac.New(sha256.New, nil)
	fmt.Fprintf(forged, "evt_1.%d.{}", at.Unix())
	h := http.Header{}
	h.Set("webhook-id", "evt_1")
	h.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(forged.Sum(nil)))
	for _, secrets := range [][]string{
		nil, {""}, {"whsec_"}, {"whsec_AAAA"}, {newSecret(t), ""}, {"whsec_" + strings.Repeat("A", 30)}, {strings.Repeat("A", 32)},
		{"whsec_" + strings.Repeat("A", 16) + "\n" + strings.Repeat("A", 16)}, {"whsec_" + strings.Repeat("-", 32)},
		{"whsec_" + strings.Repeat("A", 88)}, // 66 bytes
	} {
		if _, err := signature.Verify(h, body, at, secrets...); !errors.Is(err, signature.ErrSecret) {
			t.Errorf("Verify with %q = %v, want ErrSecret", secrets, err)
		}
		if err := signature.VerifyVendor(h, body, secrets...); !errors.Is(err, signature.ErrSecret) {
			t.Errorf("VerifyVendor with %q = %v, want ErrSecret", secrets, err)
		}
		if _, err := (signature.Message{ID: "evt_1", At: at, Body: body}).Sign(secrets...); !errors.Is(err, signature.ErrSecret) {
			t.Errorf("Sign with %q = %v, want ErrSecret", secrets, err)
		}
	}
}

func TestHeadersThatAreGivenTwiceAreRefused(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	m := signature.Message{ID: "evt_1", At: time.Unix(1_772_000_000, 0), Body: []byte(`{}`)}
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		h := signed(t, m, secret)
		h.Add(name, h.Get(name))
		if _, err := signature.Verify(h, m.Body, m.At, secret); !errors.Is(err, signature.ErrHeaders) {
			t.Errorf("%s twice: %v, want ErrHeaders", name, err)
		}
	}
}

func TestANewSecretHasTheFormThatIsChecked(t *testing.T) {
	t.Parallel()
	secret := newSecret(t)
	if err := signature.CheckSecret(secret); err != nil || len(secret) != len("whsec_")+32 || secret == newSecret(t) {
		t.Errorf("NewSecret() = %q (%v), want whsec_ and 32 letters, another one each time", secret, err)
	}
	if _, err := signature.NewSecret(strings.NewReader("short")); err == nil {
		t.Error("NewSecret made one without randomness")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("evt_1", "1772000000", "v1,AAAA v1a,BBBB", "{}")
	f.Add("evt.1", "-1", "v1, v1,", "")
	f.Fuzz(func(t *testing.T, id, at, list, body string) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {list}, "X-Pageflare-Signature": {list}}
		if _, err := signature.Verify(h, []byte(body), time.Unix(1_772_000_000, 0), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"); err == nil {
			t.Errorf("a forgery was verified: %q %q %q", id, at, list)
		}
		if err := signature.VerifyVendor(h, []byte(body), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"); err == nil {
			t.Errorf("a forgery was verified: %q", list)
		}
	})
}
