package refresh_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/service/token"
)

const day = 24 * time.Hour

func TestPolicyIsReadAndWritten(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text   string
		window time.Duration // for a token that lives 100 days
		back   string
	}{
		"hours":                        {"36h", 36 * time.Hour, "36h"},
		"days":                         {"7d", 7 * day, "7d"},
		"days that are hours":          {"168h", 7 * day, "7d"},
		"minutes":                      {"90m", 90 * time.Minute, "1h30m"},
		"seconds":                      {"1s", time.Second, "1s"},
		"several units":                {"1h30m15s", 5415 * time.Second, "1h30m15s"},
		"a fraction of an hour":        {"1.5h", 90 * time.Minute, "1h30m"},
		"days and hours":               {"1d12h", 36 * time.Hour, "36h"},
		"days and minutes":             {"2d30m", 48*time.Hour + 30*time.Minute, "48h30m"},
		"no days and an hour":          {"0d1h", time.Hour, "1h"},
		"ten years":                    {"3650d", 3650 * day, "3650d"},
		"a share of the lifetime":      {"20%", 20 * day, "20%"},
		"the least share":              {"1%", day, "1%"},
		"the whole lifetime":           {"100%", 100 * day, "100%"},
		"a share with a leading zero":  {"020%", 20 * day, "20%"},
		"days with a leading zero":     {"07d", 7 * day, "7d"},
		"milliseconds, if you must":    {"1500ms", 1500 * time.Millisecond, "1.5s"},
		"an hour and no minutes":       {"1h0m", time.Hour, "1h"},
		"ten hours, whose zero stays":  {"10h", 10 * time.Hour, "10h"},
		"ten minutes, whose zero too":  {"10m", 10 * time.Minute, "10m"},
		"twenty hours and ten minutes": {"20h10m", 1210 * time.Minute, "20h10m"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := refresh.ParsePolicy(tt.text)
			if err != nil {
				t.Fatalf("ParsePolicy(%q) = %v", tt.text, err)
			}
			if p.String() != tt.back {
				t.Errorf("ParsePolicy(%q) = %s, want %s", tt.text, p, tt.back)
			}
			wantWindow(t, p, tt.window)
		})
	}
}

// wantWindow finds by Decide from when on a token that lives 100 days is refreshed.
func wantWindow(t testing.TB, p refresh.Policy, window time.Duration) {
	t.Helper()
	claims := token.Claims{IssuedAt: noon, ExpiresAt: noon.Add(100 * day)}
	edge := claims.ExpiresAt.Add(-window)
	if got := refresh.Decide(claims, p, edge).Action; got != refresh.Refresh {
		t.Errorf("Decide(%s, %s before expiry) = %s, want refresh", p, window, got)
	}
	if got := refresh.Decide(claims, p, edge.Add(-1)).Action; got != refresh.Keep {
		t.Errorf("Decide(%s, a moment more than %s before expiry) = %s, want keep", p, window, got)
	}
}

func TestZeroPolicyIsAWeek(t *testing.T) {
	t.Parallel()
	var p refresh.Policy
	if p.String() != "7d" {
		t.Errorf("Policy{} = %s, want 7d", p)
	}
	wantWindow(t, p, 7*day)
}

func TestPolicyThatIsRefused(t *testing.T) {
	t.Parallel()
	const form, positive, share, long = "write it like 36h, 7d or 20%", "must be more than 0", "from 1% to 100%", "at most 3650d"
	tests := map[string]struct{ text, says string }{
		"nothing":                          {"", form},
		"a word":                           {"never", form},
		"a number without a unit":          {"7", form},
		"a unit without a number":          {"d", form},
		"days in words":                    {"7 days", form},
		"a capital":                        {"7D", form},
		"weeks":                            {"1w", form},
		"half a day as a fraction":         {"1.5d", form},
		"days after hours":                 {"12h1d", form},
		"days twice":                       {"1d1d", form},
		"a space at its end":               {"7d ", form},
		"a line break":                     {"7d\n", form},
		"a sign before days":               {"+7d", form},
		"a minus before days":              {"-7d", form},
		"a minus after days":               {"2d-1h", form},
		"a plus after days":                {"2d+1h", form},
		"zero":                             {"0", positive},
		"no hours":                         {"0h", positive},
		"no days":                          {"0d", positive},
		"less than nothing":                {"-1h", positive},
		"more than ten years":              {"3651d", long},
		"more than ten years in hours":     {"87601h", long},
		"ten years and a moment":           {"3650d1ns", long},
		"more days than a number holds":    {"99999999999999999999d", long},
		"so many days that they overflow":  {"213504d", long},
		"so many hours that they overflow": {"1d2562047h", long},
		"no share":                         {"0%", share},
		"more than all":                    {"101%", share},
		"much more than all":               {"99999999999999999999%", share},
		"a negative share":                 {"-1%", form},
		"a fraction of a percent":          {"12.5%", form},
		"a percent sign alone":             {"%", form},
		"a share of a time":                {"7d%", form},
		"two percent signs":                {"7%%", form},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := refresh.ParsePolicy(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "refresh-before \"") {
				t.Errorf("ParsePolicy(%q) = %s, %v, want an error that says %q", tt.text, p, err, tt.says)
			}
		})
	}
}

// FuzzParsePolicy holds every text against three rules: what is read can be written and read again,
// it never means nothing, and an error names the text.
func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{"36h", "7d", "1d12h", "20%", "100%", "0", "-1h", "", "99999999999999999999d", "1d2562047h", "1ns", "١d", "7\x00d", "3650d0.000000001s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := refresh.ParsePolicy(s)
		if err != nil {
			if p != (refresh.Policy{}) || !strings.HasPrefix(err.Error(), "refresh-before ") {
				t.Errorf("ParsePolicy(%q) = %s, %v", s, p, err)
			}
			return
		}
		if p == (refresh.Policy{}) {
			t.Errorf("ParsePolicy(%q) is the zero policy", s)
		}
		back, err := refresh.ParsePolicy(p.String())
		if err != nil || back != p {
			t.Errorf("ParsePolicy(%q) = %s, and back %s, %v", s, p, back, err)
		}
		claims := token.Claims{IssuedAt: noon, ExpiresAt: noon.Add(100 * day)}
		if got := refresh.Decide(claims, p, claims.ExpiresAt.Add(-1)).Action; got != refresh.Refresh {
			t.Errorf("Decide(%q, a moment before expiry) = %s, want refresh", s, got)
		}
	})
}
