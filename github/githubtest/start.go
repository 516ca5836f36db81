package githubtest

// TB is what Start needs of a testing.TB. It is declared here so that programs outside of tests do not link package testing.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Start runs a fake GitHub for one test, which fails at its end when there were faults.
func Start(tb TB, cfg Config) *Server {
	tb.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		tb.Fatalf("start the fake github: %v", err)
	}
	tb.Cleanup(func() {
		s.Close()
		for _, fault := range s.Faults() {
			tb.Errorf("fake github: %s", fault)
		}
	})
	return s
}
