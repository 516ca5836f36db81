package server

import (
	"context"
	"net/http"
)

// A server that is told to stop drains first, when Config.Drain says so: /readyz answers 503, so
// that load balancers and proxies send their requests elsewhere, and each answer closes its
// connection, so that nobody sends the next request on one that is about to end. All else works as
// before. What would be lost without that are requests that a proxy sends while the listener closes.

// drained is a context that ends when ctx has ended and the server has drained.
func (s *Server) drained(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.drain <= 0 {
		return context.WithCancel(ctx)
	}
	drained, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-drained.Done():
			return
		}
		s.draining.Store(true)
		s.leave()
		over := s.after(s.drain)
		s.log.Info("draining", "for", s.drain.String())
		select {
		case <-over:
		case <-s.cutDrain:
			s.log.Info("draining was cut short")
		case <-drained.Done():
		}
	}()
	return drained, cancel
}

// closeWhileDraining asks net/http to close the connection after this answer. It leaves idle
// connections alone, which http.Server.SetKeepAlivesEnabled would close at once, with a request
// already on its way.
func (s *Server) closeWhileDraining(w http.ResponseWriter) {
	if s.draining.Load() {
		w.Header().Set("Connection", "close")
	}
}
