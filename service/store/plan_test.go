package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/webhook/out"
)

// While it runs nobody else can write, so it must not read every token there is.
func TestWhatAnAPITokenIssuedIsFoundByAnIndex(t *testing.T) {
	t.Parallel()
	s := open(t, sqlitetest.New(t))
	if plan := s.PlanOfRevokeIssuedBy(t); !strings.Contains(plan, "tokens_of_issuer") || strings.HasPrefix(plan, "SCAN") {
		t.Errorf("plan = %s, want the index", plan)
	}
}

// A list that is narrowed reads what it shows, not the whole table.
func TestNarrowedListsAreFoundByAnIndex(t *testing.T) {
	t.Parallel()
	for index, list := range map[string]func(*store.Store) error{
		"sqlite_autoindex_accounts_2": func(s *store.Store) error {
			_, err := s.Accounts(t.Context(), account.Query{Email: "dev@example.com", Limit: 1})
			return err
		},
		"policies_of_repository": func(s *store.Store) error {
			_, err := s.Policies(t.Context(), license.PolicyQuery{Repository: "1296269", Limit: 1})
			return err
		},
		"policies_of_name": func(s *store.Store) error {
			_, err := s.Policies(t.Context(), license.PolicyQuery{Repository: "acme/site", Limit: 1})
			return err
		},
		"tokens_of_account": func(s *store.Store) error {
			_, err := s.Tokens(t.Context(), license.TokenQuery{Account: "user_1", Limit: 1})
			return err
		},
		"tokens_of_key": func(s *store.Store) error {
			_, err := s.Tokens(t.Context(), license.TokenQuery{Key: "k_1", Limit: 1})
			return err
		},
		"sqlite_autoindex_repositories_1": func(s *store.Store) error {
			_, err := s.Repositories(t.Context(), license.RepositoryQuery{Account: "user_1", Limit: 1})
			return err
		},
		"rotations_of_name": func(s *store.Store) error {
			_, err := s.Rotations(t.Context(), rotation.Query{Repository: "acme/site", Limit: 1})
			return err
		},
		"rotation_targets_due": func(s *store.Store) error {
			_, err := s.DueTargets(t.Context(), rotation.Claim{Limit: 1})
			return err
		},
		"audit_refusals": func(s *store.Store) error {
			if _, err := s.Refusal(t.Context(), "r1"); !errors.Is(err, failure.ErrNotFound) {
				return err
			}
			return nil
		},
		"audit_of_account": func(s *store.Store) error {
			_, err := s.AuditLines(t.Context(), audit.Query{Account: "user_1", Limit: 1})
			return err
		},
		"accounts_by_notice": func(s *store.Store) error {
			_, err := s.LookAtEnds(t.Context(), time.Now(), 1, func(account.Account, account.Notice) account.Look { return account.Look{} })
			return err
		},
		"events_of_account": func(s *store.Store) error {
			_, err := s.EventsAfter(t.Context(), out.FeedQuery{Account: "user_1", Limit: 1})
			return err
		},
		"sqlite_autoindex_events_1": func(s *store.Store) error {
			_, err := s.EventsAfter(t.Context(), out.FeedQuery{Type: audit.EventPing, Limit: 1})
			return err
		},
		"webhook_endpoints_of_account": func(s *store.Store) error {
			_, err := s.Endpoints(t.Context(), out.Query{Account: "user_1", Limit: 1})
			return err
		},
		"sqlite_autoindex_audit_log_1": func(s *store.Store) error {
			_, err := s.AuditLines(t.Context(), audit.Query{Repository: "1296269", Limit: 1})
			return err
		},
	} {
		t.Run(index, func(t *testing.T) {
			t.Parallel()
			s := open(t, sqlitetest.New(t))
			if err := list(s); err != nil {
				t.Fatal(err)
			}
			for text, plan := range s.QueryPlans(t) {
				want := index
				if strings.Contains(text, " FROM ledger") { // by their numbers, a page at a time
					want = "sqlite_autoindex_ledger"
				}
				if strings.Contains(text, "LIMIT") && (!strings.HasPrefix(plan, "SEARCH") || !strings.Contains(plan, want)) {
					t.Errorf("%s: plan = %s, want %s", text, plan, want)
				}
			}
		})
	}
}

// Each exchange of an identity looks for its policies: those of its repository by one index, those
// of its whole owner by another, however many owners are trusted.
func TestPoliciesOfAnIdentityAreFoundByTwoIndexes(t *testing.T) {
	t.Parallel()
	s := open(t, sqlitetest.New(t))
	plan := strings.Join(s.PlanOfPoliciesFor(t), "\n")
	for _, want := range []string{"USING INDEX policies_of_repository (repository_id=?)", "USING INDEX policies_of_owner (owner_id=?)"} {
		if !strings.Contains(plan, want) {
			t.Errorf("plan = %s, want %s", plan, want)
		}
	}
	if strings.Contains(plan, "SCAN") {
		t.Errorf("plan = %s, want no scan", plan)
	}
}
