package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/server"
)

// A proxy that holds idle connections longer than we do sends requests on connections that we are
// closing.
func TestIdleConnectionsLiveLongerThanThoseOfProxies(t *testing.T) {
	t.Parallel()
	if longest := 120 * time.Second; server.IdleTimeout <= longest {
		t.Errorf("idle timeout = %s, want more than %s", server.IdleTimeout, longest)
	}
	for file, says := range map[string]string{
		"operations.md": "idle for %.0f seconds", "api.md": "nothing was asked for %.0f seconds is closed",
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "docs", file))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(says, server.IdleTimeout.Seconds()); !strings.Contains(string(text), want) {
			t.Errorf("docs/%s does not say: %s", file, want)
		}
	}
}
