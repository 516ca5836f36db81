package license

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/oidc"
)

var _ oidc.Keeper = (*Service)(nil)

// KeepIssuerKeys keeps what an issuer published; the last call counts.
func (s *Service) KeepIssuerKeys(ctx context.Context, issuer string, jwks []byte, fetched time.Time) error {
	return s.store.KeepIssuerKeys(ctx, issuer, jwks, fetched)
}

// IssuerKeys returns what is kept, and when it was fetched; nil when there is nothing.
func (s *Service) IssuerKeys(ctx context.Context, issuer string) (jwks []byte, fetched time.Time, err error) {
	return s.store.IssuerKeys(ctx, issuer)
}
