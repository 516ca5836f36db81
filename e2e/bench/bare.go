package main

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
)

// claims are those of a license token.
type claims struct {
	Email      string   `json:"email"`
	Tier       string   `json:"tier"`
	Features   []string `json:"features"`
	ValidUntil string   `json:"valid_until"`
	jwt.RegisteredClaims
}

// bareHandlers are the limit of the stack: Gin and golang-jwt, one verification and one signature a
// request, and nothing else.
type bareHandlers struct {
	key    []byte
	issuer *rsa.PublicKey // of identities
}

func (b bareHandlers) sign() (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		Email: "bench@example.com", Tier: "pro", Features: []string{}, ValidUntil: "2099-01-01T00:00:00.000Z",
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: "user_bench", IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour)), ID: "x",
		},
	}).SignedString(b.key)
}

// answer is the handler for bearers that are signed with a key by a method.
func (b bareHandlers) answer(method string, key any, into func() jwt.Claims) gin.HandlerFunc {
	find := func(*jwt.Token) (any, error) { return key, nil }
	return func(c *gin.Context) {
		raw := strings.TrimPrefix(c.GetHeader("Authorization"), "Bearer ")
		if _, err := jwt.ParseWithClaims(raw, into(), find, jwt.WithValidMethods([]string{method})); err != nil {
			c.Status(http.StatusUnauthorized)
			return
		}
		fresh, err := b.sign()
		if err != nil {
			c.Status(http.StatusInternalServerError)
			return
		}
		c.JSON(http.StatusOK, gin.H{"token": fresh})
	}
}

// engine verifies HS256 at the route of refresh, and RS256 at that of exchange.
func (b bareHandlers) engine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET(refreshPath, b.answer("HS256", b.key, func() jwt.Claims { return &claims{} }))
	engine.POST(issuePath, b.answer("RS256", b.issuer, func() jwt.Claims { return jwt.MapClaims{} }))
	return engine
}

// issuerKey is the environment variable with the public key of identities, PKIX in base64.
const issuerKey = "BENCH_ISSUER_KEY"

func newBareHandlers(publicKey string) (bareHandlers, error) {
	b := bareHandlers{key: []byte(strings.Repeat("bench key ", 4))}
	der, err := base64.StdEncoding.DecodeString(publicKey)
	if err != nil {
		return b, fmt.Errorf("%s: %w", issuerKey, err)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return b, fmt.Errorf("%s: %w", issuerKey, err)
	}
	var ok bool
	if b.issuer, ok = key.(*rsa.PublicKey); !ok {
		return b, fmt.Errorf("%s is not RSA", issuerKey)
	}
	return b, nil
}

// serveBare serves the bare handlers on a free port until ctx ends. It says where, and a first
// token, by a line of JSON.
func serveBare(ctx context.Context) error {
	b, err := newBareHandlers(os.Getenv(issuerKey))
	if err != nil {
		return err
	}
	first, err := b.sign()
	if err != nil {
		return err
	}
	return serveHere(ctx, b.engine(), map[string]string{"token": first})
}

// serveHere serves a handler on a free port until ctx ends, and says so by a line of JSON with more
// members.
func serveHere(ctx context.Context, h http.Handler, more map[string]string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	more["addr"] = l.Addr().String()
	if err := json.NewEncoder(os.Stderr).Encode(more); err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	<-ctx.Done()
	if err := srv.Close(); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
