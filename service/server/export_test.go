package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TakeAddress counts a request without a good credential from an address, without a request.
func (s *Server) TakeAddress(ctx context.Context, ip string) error {
	return s.limits.TakeAddress(ctx, ip)
}

// Texts are those of refusals that always say the same.
func Texts() (out []string) {
	for _, r := range refusals {
		out = append(out, r.Err.Error())
	}
	return out
}

// IdleTimeout is how long a connection may be idle.
const IdleTimeout = idleTimeout

// ShortenTimeouts shortens the time limits of reading a request to the API.
func (s *Server) ShortenTimeouts(header, read time.Duration) {
	s.timeouts = timeouts{header, read, writeTimeout}
}

// ShortenAnswers shortens the time limit of answering a request to the API.
func (s *Server) ShortenAnswers(write time.Duration) { s.timeouts.write = write }

// MetricDescs are all metrics there can be.
func (s *Server) MetricDescs() []string {
	ch := make(chan *prometheus.Desc)
	go func() {
		defer close(ch)
		s.metrics.registry.Describe(ch)
	}()
	var out []string
	for d := range ch {
		out = append(out, d.String())
	}
	return out
}

// TakeLogin counts a device login that was begun from an address, without a request.
func (s *Server) TakeLogin(ctx context.Context, ip string) error {
	return s.limits.takeLogin(ctx, ip)
}
