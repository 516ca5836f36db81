package leak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
)

// GitHub signs its alerts to providers with keys that it publishes:
//
//	GET https://api.github.com/meta/public_keys/secret_scanning
//	{"public_keys":[{"key_identifier":"bcb5…","key":"-----BEGIN PUBLIC KEY-----…","is_current":true},…]}
//
// Each is on P-256. One that is not current any more may have signed an alert that is on its way.
// https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program

const (
	// keysMaxAge is how old the keys may be before GitHub is asked again, by a conditional request.
	keysMaxAge = time.Hour
	// keysMinAge is how long after a look an unknown key id is no reason for another one.
	keysMinAge = 30 * time.Second
)

// ErrKeys says that GitHub cannot be asked for its keys now, so nobody can tell whether an alert is
// GitHub's.
var ErrKeys = errors.New("GitHub does not give the keys of its alerts now: send the alert again later")

// publishedKeys are those of GitHub, as they were when it was asked last.
type publishedKeys struct {
	cfg    Config
	asking sync.Mutex // held by the one that asks GitHub

	mu    sync.Mutex // guards the rest, and is not held while GitHub is asked
	keys  map[string]*ecdsa.PublicKey
	etag  string
	asked time.Time // with an answer or without
	err   error     // of the last look
}

func newPublishedKeys(c Config) *publishedKeys { return &publishedKeys{cfg: c} }

var keyID = regexp.MustCompile(`\A[0-9A-Za-z_-]{1,128}\z`)

// find returns the key of an id. ErrUnauthenticated: GitHub has none; ErrKeys: nobody can tell.
// While GitHub does not answer, the keys of before go on being used.
func (k *publishedKeys) find(ctx context.Context, id string) (*ecdsa.PublicKey, error) {
	if key, err, current := k.known(id); current {
		return key, err
	}
	k.asking.Lock()
	defer k.asking.Unlock()
	if key, err, current := k.known(id); current { // somebody has asked while we waited
		return key, err
	}
	k.ask(ctx)
	key, err, _ := k.known(id)
	return key, err
}

// known is find by what GitHub said before; not current: it is time to ask again.
func (k *publishedKeys) known(id string) (key *ecdsa.PublicKey, err error, current bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := k.cfg.Now().Sub(k.asked).Abs() // a clock that is set back makes nothing last
	key = k.keys[id]
	current = !k.asked.IsZero() && (key != nil && age < keysMaxAge || key == nil && age < keysMinAge)
	switch {
	case key != nil:
	case k.err != nil:
		err = fmt.Errorf("%w: %w", ErrKeys, k.err)
	default:
		err = fmt.Errorf("%w: no key of GitHub's has the id of this signature", auth.ErrUnauthenticated)
	}
	return key, err, current
}

// askTime is how long GitHub may take: it waits for our answer itself.
const askTime = 8 * time.Second

// ask asks GitHub. k.asking must be held.
func (k *publishedKeys) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime) // others wait for it too
	defer cancel()
	var answer struct {
		Keys []struct {
			ID  string `json:"key_identifier"`
			Key string `json:"key"`
		} `json:"public_keys"`
	}
	etag, changed, err := k.get(github.Once(ctx), &answer)
	found := map[string]*ecdsa.PublicKey{}
	for _, published := range answer.Keys {
		if key, err := parsePublicKey(published.Key); err == nil && keyID.MatchString(published.ID) {
			found[published.ID] = key // another curve is a key of nobody
		}
	}
	if changed && len(found) == 0 {
		err = errors.New("the answer has no key on P-256")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked, k.err = k.cfg.Now(), err
	if changed && err == nil {
		k.keys, k.etag = found, etag
	}
}

func (k *publishedKeys) get(ctx context.Context, answer any) (etag string, changed bool, err error) {
	if k.cfg.GitHub.Transport == nil {
		return "", false, errors.New("GitHub cannot be asked here")
	}
	c, err := github.New(k.cfg.GitHub)
	if err != nil {
		return "", false, err
	}
	k.mu.Lock()
	before := k.etag
	k.mu.Unlock()
	return c.GetChanged(ctx, "meta/public_keys/secret_scanning", before, answer)
}

// parsePublicKey reads a key on P-256 in PEM.
func parsePublicKey(text string) (*ecdsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("not a public key in PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("not a key on P-256")
	}
	return key, nil
}

// Verifier checks the signature of one alert.
type Verifier struct {
	key  *ecdsa.PublicKey
	test string // hash of the one token that the alert may be about; empty: any
}

// Verifier finds the key of an id that stands in the header Github-Public-Key-Identifier.
// ErrUnauthenticated: there is none; ErrKeys: nobody can tell.
func (s *Service) Verifier(ctx context.Context, id string) (Verifier, error) {
	if !keyID.MatchString(id) {
		return Verifier{}, fmt.Errorf("%w: no id of a key", auth.ErrUnauthenticated)
	}
	if strings.HasPrefix(id, testPrefix) {
		return s.testVerifier(ctx, id)
	}
	key, err := s.keys.find(ctx, id)
	return Verifier{key: key}, err
}

// Check says whether a signature, base64 of DER, is that of the body. ErrUnauthenticated.
func (v Verifier) Check(signature string, body []byte) error {
	der, err := base64.StdEncoding.Strict().DecodeString(signature)
	sum := sha256.Sum256(body)
	if err != nil || v.key == nil || !ecdsa.VerifyASN1(v.key, sum[:], der) {
		return fmt.Errorf("%w: wrong signature of an alert", auth.ErrUnauthenticated)
	}
	return nil
}

// testVerifier takes the key of leak test, which is used up: see test.go.
func (s *Service) testVerifier(ctx context.Context, id string) (Verifier, error) {
	t, err := s.cfg.Store.UseTest(ctx, id)
	if errors.Is(err, failure.ErrNotFound) || err == nil && !s.cfg.Now().Before(t.ExpiresAt) {
		return Verifier{}, fmt.Errorf("%w: no test of that id", auth.ErrUnauthenticated)
	}
	if err != nil {
		return Verifier{}, err
	}
	key, err := parsePublicKey(t.PublicKey)
	return Verifier{key: key, test: t.TokenHash}, err
}
