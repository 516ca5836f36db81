package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"sync"
)

// AppKey is the private key of a GitHub App. It is made once: that takes a while.
var AppKey = sync.OnceValue(NewAppKey)

// NewAppKey makes another one.
func NewAppKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // the system's randomness never fails
	}
	return key
}

// PEM is a private key in the form that GitHub gives.
func PEM(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}
