package servicetest

import (
	"context"
	"testing"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

// Trust lets jobs of a repository, as an issuer calls it, exchange their identity for tokens of an
// account, and returns the id of the policy.
func (s *Service) Trust(t testing.TB, account, issuer, repositoryID, ownerID string) string {
	t.Helper()
	p, err := s.AddPolicy(context.Background(), license.TrustPolicy{
		AccountID: account, Policy: oidc.Policy{
			Issuer: issuer, RepositoryID: repositoryID, OwnerID: ownerID,
		},
	})
	must(t, err)
	return p.ID
}
