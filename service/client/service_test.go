package client_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
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
	if diff := cmp.Diff(claims.ExpiresAt, refreshed.ExpiresAt.Time); diff != "" || claims.Subject != account.ID {
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
	s := servicetest.Start(t, servicetest.Options{RateLimits: map[account.Tier]int{account.Pro: 1}})
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
	tests := map[api.Code]func(*servicetest.Service, account.Account, string) error{
		api.CodeTokenRevoked: func(s *servicetest.Service, _ account.Account, old string) error {
			_, err := s.RevokeToken(t.Context(), old, false)
			return err
		},
		api.CodeLicenseInactive: func(s *servicetest.Service, a account.Account, _ string) error {
			_, err := s.SuspendAccount(t.Context(), a.ID)
			return err
		},
		api.CodeLicenseRevoked: func(s *servicetest.Service, a account.Account, _ string) error {
			_, err := s.DeleteAccount(t.Context(), a.ID)
			return err
		},
		api.CodeLicenseExpired: func(s *servicetest.Service, a account.Account, _ string) error {
			over := time.Now().Add(-time.Hour)
			_, err := s.UpdateAccount(t.Context(), a.ID, account.Change{ValidUntil: &over})
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

// logIn is the license token of a machine, got by a device login.
func logIn(t *testing.T, s *servicetest.Service, c *client.Client, account, machine string) string {
	t.Helper()
	codes, err := c.BeginLogin(t.Context(), "cl_pageflare_action")
	if err != nil {
		t.Fatalf("BeginLogin() = %v", err)
	}
	s.DecideLogin(t, account, codes.UserCode, true)
	access, err := c.PollLogin(t.Context(), "cl_pageflare_action", codes.DeviceCode)
	if err != nil {
		t.Fatalf("PollLogin() = %v", err)
	}
	issued, err := c.Activate(t.Context(), access, machine, "build-7")
	if err != nil {
		t.Fatalf("Activate() = %v", err)
	}
	return issued.Token
}

func TestDeactivateTellsARefusalFromAnAnswerOfSomethingElse(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	account, _ := s.Account(t, "a@example.com")
	c := newClient(t, client.Config{BaseURL: s.URL})
	held := logIn(t, s, c, account.ID, "m1")

	e := wantFailure(t, c.Deactivate(t.Context(), held, "m2"), client.ErrRejected)
	wantText(t, e, "404 not_found", "made for another")
	if e.Status != 404 || e.Tries != 1 {
		t.Errorf("Deactivate of another machine: status %d after %d tries, want 404 at once", e.Status, e.Tries)
	}
	if _, err := c.Refresh(t.Context(), held); err != nil {
		t.Errorf("Refresh() after that = %v", err)
	}
	for range 2 {
		if err := c.Deactivate(t.Context(), held, "m1"); err != nil {
			t.Errorf("Deactivate() = %v", err)
		}
	}
	_, err := c.Refresh(t.Context(), held)
	wantFailure(t, err, client.ErrRefused)
}

func TestAnswersToDeactivate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"yes":                   {answer(200, "application/json", `{"status":"deactivated"}`), nil},
		"yes, without a body":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, nil}, // the vendor's CLI takes it for a yes
		"no such machine":       {refusal(404, api.CodeNotFound), client.ErrRejected},
		"not accepted":          {refusal(401, ""), client.ErrUnauthorized},
		"refused":               {refusal(403, api.CodeTokenRevoked), client.ErrRefused},
		"a page of a proxy":     {answer(404, "text/html", "<h1>Not found</h1>"), client.ErrAnswer},
		"a page in its place":   {answer(200, "text/html", "<h1>It works</h1>"), client.ErrAnswer},
		"not available for now": {refusal(503, api.CodeUnavailable), client.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := newWorld(t, c.answer).client.Deactivate(t.Context(), bearer, "m1")
			if c.want == nil && err != nil {
				t.Errorf("Deactivate() = %v", err)
			}
			if c.want != nil {
				wantFailure(t, err, c.want)
			}
		})
	}
}

func TestOnlyDeactivateTakes204ForAYes(t *testing.T) {
	t.Parallel()
	_, err := newWorld(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }).client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrAnswer)
}
