package store_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// While it runs nobody else can write, so it must not read every token there is.
func TestWhatAnAPITokenIssuedIsFoundByAnIndex(t *testing.T) {
	t.Parallel()
	s := open(t, "sqlite:"+filepath.Join(t.TempDir(), "license.db"))
	if plan := s.PlanOfRevokeIssuedBy(t); !strings.Contains(plan, "tokens_of_issuer") || strings.HasPrefix(plan, "SCAN") {
		t.Errorf("plan = %s, want the index", plan)
	}
}
