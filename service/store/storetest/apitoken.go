package storetest

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

var apiTokens = suite{
	"an API token is found by its hash":        apiTokenByHash,
	"a revoked API token keeps its first time": apiTokenRevoked,
}

func apiTokenByHash(t *testing.T, s Store) {
	a := create(t, s, 1)
	token, owner, err := s.APIToken(t.Context(), "hash1")
	must(t, err)
	same(t, newAPIToken(1), token)
	same(t, a, owner)

	second := account.APIToken{
		ID: "at_second", AccountID: a.ID, Name: "ci", Hash: "hash2", CreatedAt: at.Add(time.Second),
	}
	must(t, s.AddAPIToken(t.Context(), second, did(at)))
	twin := second // made in the same moment
	twin.ID, twin.Hash = "at_twin", "hash3"
	must(t, s.AddAPIToken(t.Context(), twin, did(at)))
	create(t, s, 4)
	for after, want := range map[string][]account.APIToken{
		"": {newAPIToken(1), second}, "at_001": {second, twin}, "at_second": {twin}, "at_twin": nil,
	} {
		list, err := s.APITokens(t.Context(), a.ID, after, 2)
		must(t, err)
		same(t, want, list)
	}
	for _, after := range []string{"at_none", "at_004"} {
		_, err = s.APITokens(t.Context(), a.ID, after, 2)
		wantErr(t, "APITokens(after "+after+")", err, failure.ErrInvalid)
	}
}

func apiTokenRevoked(t *testing.T, s Store) {
	create(t, s, 1)
	revokeAPIToken(t, s, did(at), nil)
	revokeAPIToken(t, s, did(at.Add(time.Hour)), nil)
	token, _, err := s.APIToken(t.Context(), "hash1")
	must(t, err)
	same(t, at, token.RevokedAt)
}

// revokeAPIToken revokes the first API token of the first account.
func revokeAPIToken(t *testing.T, s Store, act audit.Act, issued *audit.Act) (families int64) {
	t.Helper()
	families, err := s.RevokeAPIToken(t.Context(), "at_001", act, issued)
	must(t, err)
	return families
}
