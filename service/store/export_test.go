package store

import "testing"

// Pragma returns the value of a pragma on a connection of each pool.
func (s *Store) Pragma(t *testing.T, name string) map[string]int {
	t.Helper()
	out := map[string]int{}
	var n int
	if err := s.read.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	out["read"] = n
	if err := s.write.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&n); err != nil {
		t.Fatal(err)
	}
	out["write"] = n
	return out
}

// PlanOfRevokeIssuedBy is how SQLite finds what an API token issued.
func (s *Store) PlanOfRevokeIssuedBy(t *testing.T) string {
	t.Helper()
	var plan string
	err := s.write.DB.QueryRowContext(t.Context(), `EXPLAIN QUERY PLAN `+revokeIssuedBy, "at_1", 0).Scan(new(any), new(any), new(any), &plan)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// Prepared returns how many statements are kept.
func (s *Store) Prepared() (n int) {
	for _, p := range []*pool{s.read, s.write} {
		p.prepared.Range(func(any, any) bool { n++; return true })
	}
	return n
}
