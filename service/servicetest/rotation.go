package servicetest

import (
	"testing"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
)

// GivenApp is the App of an id whose key is githubtest.AppKey.
func GivenApp(id string) githubapp.Given {
	return githubapp.Given{ID: id, Key: opaque.Secret(githubtest.PEM(githubtest.AppKey()))}
}

// KeepFresh puts the secret of a repository under managed rotation.
func (s *Service) KeepFresh(t testing.TB, account, repository string) {
	t.Helper()
	_, err := s.Parts.Rotation.Add(t.Context(), rotation.NewRotation{Account: account, Repository: repository})
	must(t, err)
}

// WriteSecrets writes the secrets under rotation that are due.
func (s *Service) WriteSecrets(t testing.TB) {
	t.Helper()
	must(t, s.Parts.Rotation.Run(t.Context()))
}
