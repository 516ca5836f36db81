// Package secret puts a value into a GitHub secret: it seals the value for the public key of the
// place that keeps it, and writes it there with retries that know GitHub's limits. Which places
// there are is decided in kind.go, how people name them in target.go, who may read an
// organization's secret in organization.go, and how a GitHub App comes by a token in
// installation.go.
//
// Whether a token is worth writing at all is decided elsewhere: action/refresh says when,
// action/run.go says what follows.
package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/box"
)

// keySize is the size of an X25519 public key.
const keySize = 32

// Seal encrypts value so that only the holder of the private key can read it, in the form that
// GitHub takes:
//
//	base64( ephemeral public key (32) || box (16 + len(value)) )     libsodium: crypto_box_seal
//
// publicKey is the base64 key that GitHub hands out; rand makes the ephemeral key and must be
// cryptographically strong.
func Seal(publicKey, value string, rand io.Reader) (string, error) {
	key, err := decodeKey(publicKey)
	if err != nil {
		return "", err
	}
	sealed, err := box.SealAnonymous(nil, []byte(value), key, rand)
	if err != nil {
		return "", fmt.Errorf("seal for the public key: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sealed), nil
}

// decodeKey insists on the exact size: a short key that is padded with zeros would seal a value
// that nobody can open.
func decodeKey(publicKey string) (*[keySize]byte, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(publicKey)
	if err != nil {
		return nil, errors.New("public key: not base64")
	}
	if len(raw) != keySize {
		return nil, fmt.Errorf("public key: %d bytes, want %d", len(raw), keySize)
	}
	return (*[keySize]byte)(raw), nil
}
