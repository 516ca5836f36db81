package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/pageflare/ci/service/opaque"
)

// MasterKeySize is the number of bytes of a master key.
const MasterKeySize = 32

// ErrWrongMasterKey says that a stored secret was not sealed by this master key.
var ErrWrongMasterKey = errors.New("sealed by another key-encryption key")

// MasterKey is the key-encryption key: it seals the secrets in the database (AES-256-GCM), so that
// a copy of the database alone gives nobody access. It hides itself from logs and formatted text.
type MasterKey struct{ key *[MasterKeySize]byte }

// NewMasterKey generates a master key.
func NewMasterKey(random io.Reader) (MasterKey, error) {
	var b [MasterKeySize]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return MasterKey{}, fmt.Errorf("generate a key-encryption key: %w", err)
	}
	return MasterKey{&b}, nil
}

// ParseMasterKey reads the text form: standard base64 of 32 bytes, white space around it ignored.
// The error never quotes the text.
func ParseMasterKey(text string) (MasterKey, error) {
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil {
		return MasterKey{},
			fmt.Errorf("not base64: make one with `openssl rand -base64 %d`", MasterKeySize)
	}
	if len(raw) != MasterKeySize {
		return MasterKey{},
			fmt.Errorf("%d bytes, needs %d: make one with `openssl rand -base64 %d`", len(raw),
				MasterKeySize, MasterKeySize)
	}
	return MasterKey{(*[MasterKeySize]byte)(raw)}, nil
}

// Text is the form that ParseMasterKey reads, for the key file.
func (k MasterKey) Text() opaque.Secret {
	return opaque.Secret(base64.StdEncoding.EncodeToString(k.key[:]))
}

// String is "[hidden]".
func (MasterKey) String() string { return "[hidden]" }

// GoString is "[hidden]".
func (MasterKey) GoString() string { return "[hidden]" }

// LogValue is "[hidden]".
func (MasterKey) LogValue() slog.Value { return slog.StringValue("[hidden]") }

// Derive makes a key of 32 bytes for another purpose. The same purpose gives the same key.
func (k MasterKey) Derive(purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, k.key[:], nil, "pageflare/ci "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key for %s: %w", purpose, err)
	}
	return key, nil
}

// Seal encrypts a secret for a purpose that names what it is and whose: only for the same purpose does
// Open give it back. The wire form is nonce || ciphertext || tag.
func (k MasterKey) Seal(purpose string, secret []byte, random io.Reader) ([]byte, error) {
	gcm := k.gcm()
	nonce := make([]byte, gcm.NonceSize())
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("seal %s: %w", purpose, err)
	}
	return gcm.Seal(nonce, nonce, secret, []byte(purpose)), nil
}

// Open decrypts what Seal made for the same purpose. ErrWrongMasterKey.
func (k MasterKey) Open(purpose string, sealed []byte) ([]byte, error) {
	gcm := k.gcm()
	if len(sealed) < gcm.NonceSize() {
		return nil, ErrWrongMasterKey
	}
	secret, err := gcm.Open(nil, sealed[:gcm.NonceSize()], sealed[gcm.NonceSize():],
		[]byte(purpose))
	if err != nil {
		return nil, ErrWrongMasterKey
	}
	return secret, nil
}

// Opens says whether the key opens all of these signing keys. ErrWrongMasterKey.
func (k MasterKey) Opens(keys []SealedKey) error {
	for _, sealed := range keys {
		if _, err := k.Open(sealed.purpose(), sealed.Sealed); err != nil {
			return err
		}
	}
	return nil
}

func (k MasterKey) gcm() cipher.AEAD {
	block, err := aes.NewCipher(k.key[:])
	if err != nil {
		panic(err) // only for another key size, which the type rules out
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for another block size
	}
	return gcm
}
