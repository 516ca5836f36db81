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

// Prepared returns how many statements are kept.
func (s *Store) Prepared() (n int) {
	for _, p := range []*pool{s.read, s.write} {
		p.prepared.Range(func(any, any) bool { n++; return true })
	}
	return n
}
