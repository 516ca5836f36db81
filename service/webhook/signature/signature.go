// Package signature is how a webhook proves who sent it: by Standard Webhooks 1.0.0
// (https://www.standardwebhooks.com), and by the header that the vendor's API sends.
//
// It decides what is signed and what counts as signed, for the sender and for receivers. Which
// secrets an endpoint has is decided in service/webhook/out, when a delivery is sent in
// service/webhook/deliver.
//
// It signs and verifies by itself: the released Go library of Standard Webhooks (v0.0.1) takes an
// empty secret for a good one, and so verifies what anybody could have signed.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
const (
	HeaderID        = "webhook-id"        // of the event; the same in every attempt
	HeaderTimestamp = "webhook-timestamp" // of the attempt, in Unix seconds
	HeaderSignature = "webhook-signature" // "v1,…", or several, with a space between them

	HeaderVendorEvent     = "X-Pageflare-Event"     // the type of the event
	HeaderVendorSignature = "X-Pageflare-Signature" // see Vendor
)

// Tolerance is how far the time of a delivery may be from the receiver's, both ways.
const Tolerance = 5 * time.Minute

// SecretPrefix begins every secret. What follows is 24 to 64 bytes in base64.
const (
	SecretPrefix = "whsec_"

	minSecret, maxSecret = 24, 64
)

// What Verify can refuse.
var (
	// ErrSecret says that a secret is missing or malformed: with an empty one, anybody could sign.
	ErrSecret = errors.New("webhook secret")
	// ErrHeaders says that a header is missing, given twice, or malformed.
	ErrHeaders = errors.New("webhook headers")
	// ErrTimestamp says that the delivery is too old, or from the future: it may be a replay.
	ErrTimestamp = errors.New("webhook timestamp")
	// ErrSignature says that no signature is by one of the secrets: the body was changed, or
	// somebody else sent it.
	ErrSignature = errors.New("webhook signature: none is right: " +
		"check the secret, and that the body is verified as it came, before it is parsed")
)

// NewSecret generates the secret of an endpoint.
func NewSecret(rand io.Reader) (string, error) {
	var key [minSecret]byte // 24 bytes need no padding in base64
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return "", fmt.Errorf("generate a webhook secret: %w", err)
	}
	return SecretPrefix + base64.StdEncoding.EncodeToString(key[:]), nil
}

// CheckSecret says whether a text can be the secret of an endpoint. ErrSecret, without the text.
func CheckSecret(secret string) error {
	_, err := keyOf(secret)
	return err
}

// keyOf is the key of a secret. The form is strict, so that a key has one spelling.
func keyOf(secret string) ([]byte, error) {
	if secret == "" {
		return nil, fmt.Errorf("%w: it is empty: give the one that was shown when the endpoint was made",
			ErrSecret)
	}
	text, ok := strings.CutPrefix(secret, SecretPrefix)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrSecret, SecretPrefix)
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, fmt.Errorf("%w: what follows %s is not base64", ErrSecret, SecretPrefix)
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("%w: it has %d bytes, and must have %d to %d",
			ErrSecret, len(key), minSecret, maxSecret)
	}
	return key, nil
}

// Message is what is signed.
type Message struct {
	ID   string    // of the event
	At   time.Time // of the attempt; whole seconds count
	Body []byte
}

// Sign is the value of HeaderSignature: a signature by each secret, the newest first.
// ErrSecret: none is given, or one is malformed.
func (m Message) Sign(secrets ...string) (string, error) {
	if len(secrets) == 0 {
		return "", fmt.Errorf("%w: none is given", ErrSecret)
	}
	if !isID(m.ID) {
		return "", fmt.Errorf("%w: the id %.100q is empty, or has other signs than letters, digits, - and _",
			ErrHeaders, m.ID)
	}
	var list []string
	for _, secret := range secrets {
		key, err := keyOf(secret)
		if err != nil {
			return "", err
		}
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(m.mac(key)))
	}
	return strings.Join(list, " "), nil
}

// mac is the HMAC-SHA256 of "id.timestamp.body".
func (m Message) mac(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%d.", m.ID, m.At.Unix())
	h.Write(m.Body)
	return h.Sum(nil)
}

// isID tells an id that cannot be read as part of what stands behind it.
func isID(id string) bool {
	return id != "" && len(id) <= 256 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// Vendor is the value of HeaderVendorSignature: the HMAC-SHA256 of the body in hex, keyed by the
// secret as it is shown, its prefix included. It has no time, so it says nothing about replays.
// ErrSecret.
func Vendor(body []byte, secret string) (string, error) {
	mac, err := vendorMAC(body, secret)
	return hex.EncodeToString(mac), err
}

func vendorMAC(body []byte, secret string) ([]byte, error) {
	if err := CheckSecret(secret); err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return h.Sum(nil), nil
}

// Verify returns what a delivery is, if one of its signatures is by one of the secrets and it was
// sent within Tolerance of now. The body must be as it came. A receiver gives two secrets while it
// changes from one to the other. ErrSecret, ErrHeaders, ErrTimestamp, ErrSignature.
func Verify(h http.Header, body []byte, now time.Time, secrets ...string) (Message, error) {
	m := Message{Body: body}
	if len(secrets) == 0 {
		return m, fmt.Errorf("%w: none is given", ErrSecret)
	}
	keys := make([][]byte, len(secrets))
	for i, secret := range secrets {
		var err error
		if keys[i], err = keyOf(secret); err != nil { // also beside a good one
			return m, err
		}
	}
	signatures, err := m.read(h)
	if err != nil {
		return m, err
	}
	right := 0
	for _, key := range keys {
		mac := m.mac(key)
		for _, s := range signatures {
			if hmac.Equal(mac, s) {
				right++
			}
		}
	}
	if right == 0 {
		return m, ErrSignature
	}
	// last, so that a time is explained to nobody but the sender
	if age := now.Sub(m.At); age > Tolerance || age < -Tolerance {
		return m, fmt.Errorf("%w: the delivery is of %s, and it is %s here: more than %s apart: check both clocks",
			ErrTimestamp, m.At.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), Tolerance)
	}
	return m, nil
}

// maxSignatures bounds the work for what anybody can send.
const maxSignatures = 16

// read reads the headers, and returns the signatures of version 1. Other versions are left to
// others.
func (m *Message) read(h http.Header) (signatures [][]byte, err error) {
	var at, list string
	for name, into := range map[string]*string{
		HeaderID: &m.ID, HeaderTimestamp: &at, HeaderSignature: &list,
	} {
		if *into, err = one(h, name); err != nil {
			return nil, err
		}
	}
	if !isID(m.ID) {
		return nil, fmt.Errorf("%w: %s is not the id of an event", ErrHeaders, HeaderID)
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || seconds < 0 || strconv.FormatInt(seconds, 10) != at {
		return nil, fmt.Errorf("%w: %s is not a Unix time in seconds", ErrHeaders, HeaderTimestamp)
	}
	m.At = time.Unix(seconds, 0)
	entries := strings.Split(list, " ")
	if len(entries) > maxSignatures {
		return nil, fmt.Errorf("%w: %s has more than %d signatures", ErrHeaders, HeaderSignature, maxSignatures)
	}
	for _, entry := range entries {
		text, ok := strings.CutPrefix(entry, "v1,")
		if !ok {
			continue
		}
		s, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil && len(s) == sha256.Size {
			signatures = append(signatures, s)
		}
	}
	return signatures, nil
}

// one is the value of a header that must be there once: of two, the verifier and what reads the
// delivery later could take different ones.
func one(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) == 0 || values[0] == "":
		return "", fmt.Errorf("%w: %s is missing", ErrHeaders, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s is given %d times", ErrHeaders, name, len(values))
	}
	return values[0], nil
}

// VerifyVendor verifies HeaderVendorSignature alone, for a receiver that cannot do more: use Verify
// where you can. A delivery that was recorded can be sent again by anybody and passes; remember the
// ids. ErrSecret, ErrHeaders, ErrSignature.
func VerifyVendor(h http.Header, body []byte, secrets ...string) error {
	if len(secrets) == 0 {
		return fmt.Errorf("%w: none is given", ErrSecret)
	}
	macs := make([][]byte, len(secrets))
	for i, secret := range secrets {
		var err error
		if macs[i], err = vendorMAC(body, secret); err != nil {
			return err
		}
	}
	text, err := one(h, HeaderVendorSignature)
	if err != nil {
		return err
	}
	given, err := hex.DecodeString(text)
	if err != nil || len(given) != sha256.Size {
		return fmt.Errorf("%w: %s is not a SHA-256 in hex", ErrHeaders, HeaderVendorSignature)
	}
	right := 0
	for _, mac := range macs {
		if hmac.Equal(mac, given) {
			right++
		}
	}
	if right == 0 {
		return ErrSignature
	}
	return nil
}
