package secret_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/nacl/box"

	"github.com/pageflare/ci/github/secret"
)

// The key pair of all vectors: the private key is the bytes 1 to 32.
const vectorPublic = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw="

func vectorPrivate() *[32]byte {
	var key [32]byte
	for i := range key {
		key[i] = byte(i + 1)
	}
	return &key
}

func vectorPublicBytes(t *testing.T) *[32]byte {
	t.Helper()
	return (*[32]byte)(decode(t, vectorPublic))
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatalf("decode %q: %v", text, err)
	}
	return raw
}

// The sealed value was made with libsodium 1.0.18 (crypto_box_seal) for vectorPublic.
func TestOpeningALibsodiumBoxShowsThatTheFormatIsTheSame(t *testing.T) {
	t.Parallel()
	const sealed = "QZ3OXkKVia0+cbYSkpvvHzCV4zlZt+xD1JrpXjQ0PQ1yZygOs2AhyxlXrGYKDkVU2YXzpsaz+DbYMDKH8PRjSA=="
	got, ok := box.OpenAnonymous(nil, decode(t, sealed), vectorPublicBytes(t), vectorPrivate())
	if !ok || string(got) != "not-a-real-token" {
		t.Errorf("OpenAnonymous(libsodium's box) = %q, %v, want not-a-real-token, true", got, ok)
	}
}

// The wanted text was opened with libsodium 1.0.18 (crypto_box_seal_open) when this vector was made.
func TestSealGivesTheVectorForAFixedEphemeralKey(t *testing.T) {
	t.Parallel()
	const want = "V9tLNZ8jrl4Ubk4lEgVnBHIlBjSMFQwUdT0Mkz0E1CFaGTZP+Hb+C1baewJj2UCtjfbqcs/iF4ZCQC78KEszsw=="
	got, err := secret.Seal(vectorPublic, "not-a-real-token", bytes.NewReader(bytes.Repeat([]byte{9}, 32)))
	if err != nil || got != want {
		t.Errorf("Seal(fixed randomness) = %q, %v, want %q", got, err, want)
	}
}

func TestSealedValuesOpen(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"a short value":                "x",
		"a value with lines and UTF-8": "a\nb\tü",
		"the largest value":            strings.Repeat("v", secret.MaxValue),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sealed, err := secret.Seal(vectorPublic, value, rand.Reader)
			if err != nil {
				t.Fatalf("Seal: %v", err)
			}
			got, ok := box.OpenAnonymous(nil, decode(t, sealed), vectorPublicBytes(t), vectorPrivate())
			if !ok || string(got) != value {
				t.Errorf("OpenAnonymous(Seal(v)) = %.20q, %v, want %.20q, true", got, ok, value)
			}
			if got, ok := openByHand(t, decode(t, sealed)); !ok || got != value {
				t.Errorf("opened by hand = %.20q, %v, want %.20q, true", got, ok, value)
			}
		})
	}
}

// openByHand follows libsodium's description: the nonce is BLAKE2b-192 of the ephemeral and the recipient's public key.
func openByHand(t *testing.T, sealed []byte) (string, bool) {
	t.Helper()
	ephemeral, public := (*[32]byte)(sealed[:32]), vectorPublicBytes(t)
	hash, err := blake2b.New(24, nil)
	if err != nil {
		t.Fatalf("blake2b: %v", err)
	}
	hash.Write(ephemeral[:])
	hash.Write(public[:])
	value, ok := box.Open(nil, sealed[32:], (*[24]byte)(hash.Sum(nil)), ephemeral, vectorPrivate())
	return string(value), ok
}

func TestSealRefusesKeysThatAreNotExactlyOne(t *testing.T) {
	t.Parallel()
	sized := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for name, tc := range map[string]struct{ key, want string }{
		"an empty key":               {"", "0 bytes, want 32"},
		"a key one byte short":       {sized(31), "31 bytes, want 32"},
		"a key one byte long":        {sized(33), "33 bytes, want 32"},
		"a key that is not base64":   {"not base64!", "not base64"},
		"a key in base64url":         {strings.ReplaceAll(vectorPublic, "/", "_"), "not base64"},
		"a key with trailing text":   {vectorPublic + "x", "not base64"},
		"a key with stray last bits": {strings.TrimSuffix(vectorPublic, "w=") + "x=", "not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := secret.Seal(tc.key, "v", rand.Reader)
			if err == nil || !strings.Contains(err.Error(), tc.want) || got != "" {
				t.Errorf("Seal(%q) = %q, %v, want an error with %q", tc.key, got, err, tc.want)
			}
		})
	}
}

func TestSealGivesNothingWithoutRandomness(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, reader := range map[string]io.Reader{
		"a source that fails":     iotest.ErrReader(broken),
		"a source that runs dry":  bytes.NewReader(make([]byte, 31)),
		"a source that has ended": bytes.NewReader(nil),
	} {
		if got, err := secret.Seal(vectorPublic, "v", reader); err == nil || got != "" {
			t.Errorf("%s: Seal = %q, %v, want an error", name, got, err)
		}
	}
}
