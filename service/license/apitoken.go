package license

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
)

// The wire form of an API token: "pf_at_", 30 random letters or digits, and 6 that are the CRC-32 of those 30. The prefix is for
// people and secret scanners, the checksum tells a mistyped token from a revoked one without a look at the database.
const (
	apiTokenPrefix = "pf_at_"
	randomLetters  = 30
	sumLetters     = 6
	base62         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// IsAPIToken tells an API token, good or revoked, from any other text.
func IsAPIToken(s string) bool {
	body, ok := strings.CutPrefix(s, apiTokenPrefix)
	if !ok || len(body) != randomLetters+sumLetters {
		return false
	}
	return body[randomLetters:] == checksum(body[:randomLetters])
}

func checksum(s string) string {
	n := crc32.ChecksumIEEE([]byte(s))
	var out [sumLetters]byte
	for i := sumLetters - 1; i >= 0; i-- {
		out[i], n = base62[n%62], n/62
	}
	return string(out[:])
}

func hashAPIToken(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// drawAPIToken makes a new API token: its text, which only the caller sees, and its record.
func drawAPIToken(account, name string, now time.Time, rand io.Reader) (Secret, APIToken, error) {
	letters := make([]byte, 0, randomLetters)
	for len(letters) < randomLetters {
		var b [1]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return "", APIToken{}, fmt.Errorf("draw an API token: %w", err)
		}
		if b[0] < 248 { // 4 * 62: without the rest, which would favour the first letters
			letters = append(letters, base62[b[0]%62])
		}
	}
	id, err := newID("at_", rand)
	if err != nil {
		return "", APIToken{}, err
	}
	text := apiTokenPrefix + string(letters) + checksum(string(letters))
	return Secret(text), APIToken{ID: id, AccountID: account, Name: name, Hash: hashAPIToken(text), CreatedAt: now}, nil
}

// CreateAPIToken gives an account one more API token. Its text is in the answer and nowhere else. Refusals: ErrNotFound, ErrRevoked.
func (s *Service) CreateAPIToken(ctx context.Context, account, name string) (Secret, APIToken, error) {
	a, err := s.store.Account(ctx, account)
	if err != nil {
		return "", APIToken{}, err
	}
	if a.Status == Deleted {
		return "", APIToken{}, ErrRevoked
	}
	if len(name) > 100 {
		return "", APIToken{}, fmt.Errorf("%w: name is longer than 100 bytes", ErrInvalid)
	}
	text, record, err := drawAPIToken(account, name, s.time(), s.cfg.Rand)
	if err != nil {
		return "", APIToken{}, err
	}
	return text, record, s.store.AddAPIToken(ctx, record)
}

// APITokens lists the API tokens of an account, revoked ones too, oldest first. ErrNotFound: no such account.
func (s *Service) APITokens(ctx context.Context, account string) ([]APIToken, error) {
	if _, err := s.store.Account(ctx, account); err != nil {
		return nil, err
	}
	return s.store.APITokens(ctx, account)
}

// RevokeAPIToken ends an API token, by its id or by its text, and returns its id. Ending it twice is no error. ErrNotFound: no such token.
// The license tokens that were issued by it stay good: see RevokeIssuedBy.
func (s *Service) RevokeAPIToken(ctx context.Context, idOrText string) (id string, err error) {
	if IsAPIToken(idOrText) {
		t, _, err := s.store.APIToken(ctx, hashAPIToken(idOrText))
		if err != nil {
			return "", err
		}
		idOrText = t.ID
	}
	return idOrText, s.store.RevokeAPIToken(ctx, idOrText, s.time())
}
