package license_test

import (
	"testing"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/servicetest"
)

// A token whose machine was not stored would live for a year, and no logout would find it.
func TestAMachineThatCannotBeStoredGetsNoToken(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, key := s.Account(t, "dev@example.com")
	c, err := s.Authenticate(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	s.Alter(t, `CREATE TRIGGER full BEFORE INSERT ON machines BEGIN SELECT RAISE(ABORT, 'no room'); END`)
	if issued, _, err := s.Activate(t.Context(), c, "m-1", "build-7"); err == nil || issued.Token != "" {
		t.Errorf("Activate(a machine that cannot be stored) = %v, %v, want an error and no token", issued.ID, err)
	}
	if list, err := s.Tokens(t.Context(), license.TokenQuery{Account: a.ID, Limit: 10}); err != nil || len(list) != 0 {
		t.Errorf("the account has %d tokens, %v, want none", len(list), err)
	}
}
