package servicetest

import (
	"testing"

	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
)

// GivenApp is an App of the settings, by its id and its key in PEM.
func GivenApp(id, key string) githubapp.Given {
	return githubapp.Given{ID: id, Key: opaque.Secret(key)}
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
