package api_test

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/api"
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"7d": 168 * time.Hour, "0d": 0, "36500d": 876000 * time.Hour, "1h30m": 90 * time.Minute} {
		if got, err := api.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%s) = %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7", "-7d", "1.5d", "36501d", "1d12h", "99999999999d", "7 d"} {
		if got, err := api.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", text, got)
		}
	}
}
