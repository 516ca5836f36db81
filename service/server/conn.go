package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pageflare/ci/service/api"
)

// What happens on a connection before there is a request, no handler sees: a header that comes too
// slowly or is too large, or that is no HTTP. The types of this file count it.

// listener accepts connections that are counted.
type listener struct {
	net.Listener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, metrics: l.server.metrics}, nil
}

// phase is what a connection waits for.
type phase = int32

const (
	waiting  phase = iota // for the first byte of a request
	reading               // for the rest of its header
	handling              // for a handler
	over                  // for nothing: the rest of the header did not come in time
)

// conn is a connection that knows its phase.
type conn struct {
	net.Conn
	metrics *metrics
	phase   atomic.Int32
	counted prometheus.Gauge // of the state that it is in, nil: of none; ConnState is called for one state after the other
}

// Read counts a header that did not come in time.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.phase.CompareAndSwap(waiting, reading)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && c.phase.CompareAndSwap(reading, over) {
		c.metrics.refusals.WithLabelValues(string(api.CodeRequestTimeout)).Inc()
	}
	return n, err
}

// Write counts an answer that net/http gives by itself, before there is a request: `HTTP/1.1 431
// Request Header Fields Too Large`.
func (c *conn) Write(p []byte) (int, error) {
	const begin = "HTTP/1.1 "
	if now := c.phase.Load(); now != handling && len(p) > len(begin)+3 &&
		string(p[:len(begin)]) == begin {
		c.metrics.requests.WithLabelValues(none, none, string(p[len(begin):len(begin)+3])).Inc()
		if now != over {
			c.metrics.refusals.WithLabelValues(string(api.CodeInvalidRequest)).Inc()
		}
	}
	return c.Conn.Write(p)
}

// CloseWrite lets net/http end its answer before it gives up reading, so that the answer arrives.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// handlingBegins says that the request on this connection was read; what is written from now on is
// the answer of a handler.
func handlingBegins(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*conn); ok {
		c.phase.Store(handling)
	}
}

// connState counts the open connections by state.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	if c.counted != nil {
		c.counted.Dec()
	}
	if state == http.StateIdle {
		c.phase.Store(waiting)
	}
	if c.counted = s.metrics.inState[state]; c.counted != nil {
		c.counted.Inc()
	}
}
