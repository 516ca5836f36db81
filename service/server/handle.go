package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/server/route"
)

// handler makes the last handler of a route from a function that answers or returns an error.
func (s *Server) handler(f route.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := f(c); err != nil {
			s.fail(c, err)
		}
	}
}

// access names the request, and counts it and writes one line about it when it is over. The line
// holds nothing that a caller can choose: no header, no query, no body, no path as it was sent, and
// no method that we do not know. So nothing in it can be a secret. What an authentic job says of
// itself is there when the job is refused, bounded and without what looks like a token.
func (s *Server) access(c *gin.Context) {
	begun := s.now()
	route.Begin(c, rand.Text())
	c.Header("X-Request-Id", route.RequestID(c))
	c.Header("Cache-Control", "no-store")
	c.Next()
	took := s.now().Sub(begun)
	s.metrics.answered(c, took)
	if !s.log.Enabled(c.Request.Context(), slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0) // where in the program it was written says nothing
	attrs := append(make([]slog.Attr, 0, 13), slog.String("request_id", route.RequestID(c)), slog.String("method", knownMethod(c.Request.Method)),
		slog.String("route", c.FullPath()), slog.Int("status", c.Writer.Status()), slog.Int("bytes", c.Writer.Size()),
		slog.Float64("ms", float64(took.Microseconds())/1000), slog.String("remote", route.Address(c)))
	if who, ok := route.CallerOf(c); ok {
		attrs = append(attrs, slog.String("account", who.Account.ID), slog.String("credential", who.Key()))
	}
	if code, told, refused := route.RefusalOf(c); refused {
		attrs = append(attrs, slog.String("code", string(code)), slog.String("reason", told))
	}
	line.AddAttrs(attrs...)
	if job := route.RefusedJob(c); job != nil {
		line.Add(job.Facts()...)
	}
	_ = s.log.Handler().Handle(c.Request.Context(), line) // as of a Logger: there is nowhere to say it
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
		s.log.Error("panic", "request_id", route.RequestID(c), "stack", string(debug.Stack()))
		s.fail(c, fmt.Errorf("panic: %v", p))
		c.Abort()
	}()
	c.Next()
}

// extendDeadline gives an answer more time than others have: a context of so long, which also ends
// when the client leaves or the service stops. The clock of a connection is the real one.
func (s *Server) extendDeadline(c *gin.Context,
	d time.Duration) (context.Context, context.CancelFunc) {
	until := time.Now().Add(d + writeTimeout)
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(until) // without a connection there is none
	ctx, cancel := context.WithTimeout(c.Request.Context(), d)
	stop := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// await is extendDeadline for an answer that waits for something to happen: it comes at once when the
// service begins to drain, and ends its connection then.
func (s *Server) await(c *gin.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, end := s.extendDeadline(c, d)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.leaving, cancel)
	return ctx, func() {
		stop()
		cancel()
		end()
		s.closeWhileDraining(c.Writer)
	}
}

// bufferBody reads the body before authentication, so that a slow upload cannot outlive the
// credential that it was admitted with. A body that is too large to be meant for us is refused
// here, also where there is no use for one.
func (s *Server) bufferBody(limit int64) gin.HandlerFunc {
	if limit == 0 {
		return func(*gin.Context) {}
	}
	return func(c *gin.Context) {
		body, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, limit))
		if err != nil {
			s.fail(c, bodyFault(c, err))
			c.Abort()
			return
		}
		c.Request.Body = io.NopCloser(bytes.NewReader(body))
	}
}

// bodyFault is what a body that cannot be read is answered with. After one that came too slowly the
// connection is closed (RFC 9110, 15.5.9).
func bodyFault(c *gin.Context, err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Header("Connection", "close")
		return errTooSlow
	}
	return route.BadRequest("the request body ended early")
}
