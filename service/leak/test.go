package leak

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"time"
)

// A test sends an alert through the whole path of GitHub's alerts, signed by a key that was made
// for it. Who can write to the database can end every token already; so that nobody else gains by a
// test, its key is good for a single token, which the test made for the purpose, once, and for a
// minute.

// Test is the key of a test.
type Test struct {
	ID        string // in the place of a key id of GitHub's
	PublicKey string // PEM
	TokenHash string // SHA-256 of the token, hexadecimal
	ExpiresAt time.Time
}

// testPrefix tells the ids of keys of tests from those of GitHub's, which are hashes.
const testPrefix = "test-"

// testTime is how long the key of a test is good.
const testTime = time.Minute

// SignedAlert is an alert as GitHub would send it.
type SignedAlert struct {
	KeyID     string
	Signature string // base64 of DER
	Body      []byte
}

// SignTest makes an alert about a token, and lets the service take it once. The token must be one
// that was made to be ended.
func (s *Service) SignTest(ctx context.Context, token string) (SignedAlert, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return SignedAlert{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return SignedAlert{}, err
	}
	t := Test{
		ID: testPrefix + strings.ToLower(rand.Text()), TokenHash: HashOf(token),
		ExpiresAt: s.cfg.Now().Add(testTime),
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}
	body, err := json.Marshal([]map[string]string{
		{"token": token, "type": "pageflare_admin_token", "url": "", "source": "test"},
	})
	if err != nil {
		return SignedAlert{}, err
	}
	sum := sha256.Sum256(body)
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		return SignedAlert{}, err
	}
	signed := SignedAlert{t.ID, base64.StdEncoding.EncodeToString(signature), body}
	return signed, s.cfg.Store.AddTest(ctx, t)
}

// EndTest takes the key of a test away, if it was not used.
func (s *Service) EndTest(ctx context.Context, a SignedAlert) {
	_, _ = s.cfg.Store.UseTest(ctx, a.KeyID) // it ends on its own within the minute
}
