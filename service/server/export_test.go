package server

import "context"

// TakeAddress counts a request without a good credential from an address, without a request.
func (s *Server) TakeAddress(ctx context.Context, ip string) error {
	return s.limits.takeAddress(ctx, ip)
}
