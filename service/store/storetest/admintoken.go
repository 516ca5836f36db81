package storetest

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
)

var adminTokenRecords = suite{
	"an admin token is found by its hash until it ends": adminTokens,
}

func adminTokens(t *testing.T, s Store) {
	first := auth.AdminToken{
		ID: "adm_1", Name: "console", Hash: "h1", Scopes: []auth.Scope{auth.ScopeAuditRead},
		CreatedAt: at, ExpiresAt: at.Add(time.Hour),
	}
	second := auth.AdminToken{
		ID: "adm_2", Hash: "h2", Scopes: []auth.Scope{}, CreatedAt: at.Add(time.Second),
	}
	must(t, s.AddAdminToken(t.Context(), first, did(at)))
	must(t, s.AddAdminToken(t.Context(), second, did(at)))
	wantErr(t, "AddAdminToken(again)", s.AddAdminToken(t.Context(), first, did(at)),
		failure.ErrConflict)
	got, err := s.AdminToken(t.Context(), "h1")
	must(t, err)
	same(t, first, got)
	must(t, s.RevokeAdminToken(t.Context(), "adm_1", did(at)))
	must(t, s.RevokeAdminToken(t.Context(), "adm_1", did(at.Add(time.Hour))))
	first.RevokedAt = at
	for after, want := range map[string][]auth.AdminToken{
		"": {first, second}, "adm_1": {second}, "adm_2": nil,
	} {
		list, err := s.AdminTokens(t.Context(), after, 2)
		must(t, err)
		same(t, want, list)
	}
	list, err := s.AdminTokens(t.Context(), "", 1)
	must(t, err)
	same(t, []auth.AdminToken{first}, list)
	_, err = s.AdminTokens(t.Context(), "adm_none", 1)
	wantErr(t, "AdminTokens(after none)", err, failure.ErrInvalid)
	_, err = s.AdminToken(t.Context(), "none")
	wantErr(t, "AdminToken(none)", err, failure.ErrNotFound)
	wantErr(t, "RevokeAdminToken(none)", s.RevokeAdminToken(t.Context(), "adm_none", did(at)),
		failure.ErrNotFound)
}
