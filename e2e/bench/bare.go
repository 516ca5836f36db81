package main

import (
	"context"
	"encoding/json"
	"errors"
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

// serveBare is the limit of the stack: Gin and golang-jwt, one verification and one signature a request, and nothing else.
func serveBare(ctx context.Context) error {
	key := []byte(strings.Repeat("bench key ", 4))
	sign := func() (string, error) {
		now := time.Now()
		return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
			Email: "bench@example.com", Tier: "pro", Features: []string{}, ValidUntil: "2099-01-01T00:00:00.000Z",
			RegisteredClaims: jwt.RegisteredClaims{Subject: "user_bench", IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour)), ID: "x"},
		}).SignedString(key)
	}
	engine := gin.New()
	engine.GET("/_api/license/refresh", func(c *gin.Context) {
		raw := strings.TrimPrefix(c.GetHeader("Authorization"), "Bearer ")
		_, err := jwt.ParseWithClaims(raw, &claims{}, func(*jwt.Token) (any, error) { return key, nil }, jwt.WithValidMethods([]string{"HS256"}))
		if err != nil {
			c.Status(http.StatusUnauthorized)
			return
		}
		fresh, err := sign()
		if err != nil {
			c.Status(http.StatusInternalServerError)
			return
		}
		c.JSON(http.StatusOK, gin.H{"token": fresh})
	})
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	first, err := sign()
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stderr).Encode(map[string]string{"addr": l.Addr().String(), "token": first}); err != nil {
		return err
	}
	srv := &http.Server{Handler: engine, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	<-ctx.Done()
	if err := errors.Join(srv.Close()); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
