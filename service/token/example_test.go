package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/token"
)

// goOn stands in docs/api.md as it is here.
func goOn(jwks []byte, lease, subject string, now time.Time) (token.Lease, error) {
	keys, err := token.ParseJWKS(jwks)
	if err != nil {
		return token.Lease{}, err
	}
	l, err := keys.Parse(lease, "https://license.example.com", now)
	if err != nil {
		return token.Lease{}, err // token.ErrExpired: the grace is over
	}
	if l.Subject != subject {
		return token.Lease{}, errors.New("the lease of another account")
	}
	return l, nil
}

func ExampleLeaseKeys_Parse() {
	seed := make([]byte, ed25519.SeedSize) // the service draws it
	key, err := token.NewLeaseKey("k_example", seed)
	if err != nil {
		panic(err)
	}
	made := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	lease, err := key.Sign(token.Lease{
		Issuer: "https://license.example.com", Subject: "user_abc123", ID: "ls_1", LicenseID: "01J", Tier: "pro", Features: []string{"critical_css"},
		ValidUntil: made.AddDate(1, 0, 0), IssuedAt: made, GraceUntil: made.Add(168 * time.Hour),
	})
	if err != nil {
		panic(err)
	}
	jwks := []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"k_example","x":"` +
		base64.RawURLEncoding.EncodeToString(key.Public().Key) + `"}]}`)

	l, err := goOn(jwks, lease, "user_abc123", made.Add(24*time.Hour))
	fmt.Println(l.Tier, l.Features, err)
	_, err = goOn(jwks, lease, "user_abc123", made.Add(169*time.Hour))
	fmt.Println(err)
	_, err = goOn(jwks, lease, "user_of_another", made.Add(24*time.Hour))
	fmt.Println(err)
	// Output:
	// pro [critical_css] <nil>
	// token expired
	// the lease of another account
}
