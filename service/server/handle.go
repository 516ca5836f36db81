package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/auth"
)

// maxBody is the most bytes of a request body that are read.
const maxBody = 64 << 10

const requestIDKey = "request_id"

func requestID(c *gin.Context) string { return c.GetString(requestIDKey) }

// end makes the last handler of a route from a function that answers or returns an error.
func (s *Server) end(f func(*gin.Context) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := f(c); err != nil {
			s.fail(c, err)
		}
	}
}

// access names the request, and counts it and writes one line about it when it is over. The line holds nothing that a caller can choose: no header, no
// query, no body, no path as it was sent, and no method that we do not know. So nothing in it can be a secret.
func (s *Server) access(c *gin.Context) {
	begun := s.now()
	c.Set(requestIDKey, rand.Text())
	c.Header("X-Request-Id", requestID(c))
	c.Header("Cache-Control", "no-store")
	c.Next()
	took := s.now().Sub(begun)
	s.metrics.answered(c, took)
	attrs := []any{
		"request_id", requestID(c), "method", knownMethod(c.Request.Method), "route", c.FullPath(), "status", c.Writer.Status(),
		"bytes", c.Writer.Size(), "ms", float64(took.Microseconds()) / 1000, "remote", c.ClientIP(),
	}
	if who, ok := c.Get(callerKey); ok {
		who := who.(auth.Caller)
		attrs = append(attrs, "account", who.Account.ID, "credential", who.Key())
	}
	if code, refused := c.Get(reasonKey); refused {
		attrs = append(attrs, "code", code, "reason", c.GetString(toldKey))
	}
	s.log.Info("request", attrs...)
}

// recover turns a panic into a 500. The stack goes to the log.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			panic(p)
		}
		s.metrics.panics.Inc()
		s.log.Error("panic", "request_id", requestID(c), "stack", string(debug.Stack()))
		s.fail(c, fmt.Errorf("panic: %v", p))
		c.Abort()
	}()
	c.Next()
}

// longer gives an answer more time than others have: a context of so long, which also ends when the client leaves or the service stops. The clock of a
// connection is the real one.
func (s *Server) longer(c *gin.Context, d time.Duration) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(d + writeTimeout)) // without a connection there is no deadline
	ctx, cancel := context.WithTimeout(c.Request.Context(), d)
	stop := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// wholeBody reads the body before anything else is done, the look at the caller included: whoever lets a body come slowly must not be let in by a
// right that ends meanwhile. A body that is too large to be meant for us is refused here, also where there is no use for one. That of GET and DELETE
// means nothing (RFC 9110, 9.3.1 and 9.3.5) and is never read.
func (s *Server) wholeBody(c *gin.Context) {
	method := c.Request.Method
	if c.FullPath() == "" || method != http.MethodPost && method != http.MethodPatch {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxBody))
	if err != nil {
		s.fail(c, bodyFault(c, err))
		c.Abort()
		return
	}
	c.Request.Body = io.NopCloser(bytes.NewReader(body))
}

// bodyFault is what a body that cannot be read is answered with. After one that came too slowly the connection is closed (RFC 9110, 15.5.9).
func bodyFault(c *gin.Context, err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Header("Connection", "close")
		return errTooSlow
	}
	return unfit("the body did not come whole")
}

func rfc3339(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
