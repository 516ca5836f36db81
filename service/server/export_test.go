package server

import "context"

// TakeAddress counts a request without a good credential from an address, without a request.
func (s *Server) TakeAddress(ctx context.Context, ip string) error {
	return s.limits.takeAddress(ctx, ip)
}

// TakeLogin counts a device login that was begun from an address, without a request.
func (s *Server) TakeLogin(ctx context.Context, ip string) error {
	return s.limits.takeLogin(ctx, ip)
}
