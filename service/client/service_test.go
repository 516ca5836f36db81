package client_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

// The service and its client are of one mind: everything here is real but the network.
func TestClientOfTheRealService(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	account, apiToken := s.Account(t, "a@example.com")
	c := newClient(t, client.Config{BaseURL: s.URL})

	if err := c.Health(t.Context()); err != nil {
		t.Errorf("Health() = %v", err)
	}
	issued, err := c.Issue(t.Context(), apiToken)
	if err != nil {
		t.Fatalf("Issue(API token) = %v", err)
	}
	again, err := c.Issue(t.Context(), issued.Token)
	if err != nil || again.Token == issued.Token {
		t.Errorf("Issue(license token) = %v, want another token", err)
	}

	old := s.IssueToken(t, account.ID, 72*time.Hour)
	refreshed, err := c.Refresh(t.Context(), old)
	if err != nil {
		t.Fatalf("Refresh() = %v", err)
	}
	claims, err := token.Decode(refreshed.Token)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(claims.ExpiresAt, refreshed.ExpiresAt); diff != "" || claims.Subject != account.ID {
		t.Errorf("refreshed for %s, expires (-exp +expires_at):\n%s", claims.Subject, diff)
	}

	_, err = c.Refresh(t.Context(), old[:len(old)-4]+"AAAA")
	wantFailure(t, err, client.ErrUnauthorized)
	_, err = c.Refresh(t.Context(), apiToken)
	wantFailure(t, err, client.ErrUnauthorized)
	_, err = newClient(t, client.Config{BaseURL: s.Origin}).Refresh(t.Context(), old)
	wantText(t, wantFailure(t, err, client.ErrAnswer), "status 404", "check api-url")
}

func TestClientOfTheRealServiceAtItsLimit(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{RateLimits: map[license.Tier]int{license.Pro: 1}})
	account, _ := s.Account(t, "a@example.com")
	old := s.IssueToken(t, account.ID, 72*time.Hour)
	c := newClient(t, client.Config{BaseURL: s.URL, Budget: 30 * time.Second}) // less than the wait of a minute, more than any answer takes
	var err error
	for range 100 {
		if _, err = c.Refresh(t.Context(), old); err != nil {
			break
		}
	}
	e := wantFailure(t, err, client.ErrUnavailable)
	if e.Code != api.CodeRateLimited || e.RetryAfter < time.Second || e.RequestID == "" {
		t.Errorf("at the limit: %+v, want rate_limited with a wait and a request id", e)
	}
}

func TestRefusalsOfTheRealService(t *testing.T) {
	t.Parallel()
	tests := map[api.Code]func(*servicetest.Service, license.Account, string) error{
		api.CodeTokenRevoked: func(s *servicetest.Service, _ license.Account, old string) error {
			_, err := s.RevokeToken(t.Context(), old, false)
			return err
		},
		api.CodeLicenseInactive: func(s *servicetest.Service, a license.Account, _ string) error {
			_, err := s.SuspendAccount(t.Context(), a.ID)
			return err
		},
		api.CodeLicenseRevoked: func(s *servicetest.Service, a license.Account, _ string) error {
			_, err := s.DeleteAccount(t.Context(), a.ID)
			return err
		},
		api.CodeLicenseExpired: func(s *servicetest.Service, a license.Account, _ string) error {
			over := time.Now().Add(-time.Hour)
			_, err := s.UpdateAccount(t.Context(), a.ID, license.AccountChange{ValidUntil: &over})
			return err
		},
	}
	for code, happen := range tests {
		s := servicetest.Start(t, servicetest.Options{})
		account, _ := s.Account(t, "a@example.com")
		old := s.IssueToken(t, account.ID, 72*time.Hour)
		if err := happen(s, account, old); err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		_, err := newClient(t, client.Config{BaseURL: s.URL}).Refresh(t.Context(), old)
		if e := wantFailure(t, err, client.ErrRefused); e.Code != code || e.Message == "" {
			t.Errorf("after what makes it %s: %v", code, err)
		}
	}
}
