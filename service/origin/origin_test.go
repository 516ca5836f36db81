package origin_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/origin"
)

// What Chromium sends as Origin for each, and what it refuses to open.
func TestOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://lizenz.müller.example":        "https://lizenz.xn--mller-kva.example",
		"https://lizenz.MÜLLER.example/_api":   "https://lizenz.xn--mller-kva.example",
		"https://lizenz.m%C3%BCller.example":   "https://lizenz.xn--mller-kva.example",
		"https://xn--mller-kva.example":        "https://xn--mller-kva.example",
		"https://straße.example":               "https://xn--strae-oqa.example",
		"https://license。example":              "https://license.example", // the full stop of Chinese and Japanese
		"https://li\u200bcen\u00adse.example":  "https://license.example",
		"HTTPS://License.Example.COM:443/_api": "https://license.example.com",
		"https://h:08443":                      "https://h:8443",
		"https://my_host":                      "https://my_host",
		"https://a--b.example":                 "https://a--b.example",
		"http://[0:0:0:0:0:0:0:1]:8080":        "http://[::1]:8080",
		"http://192.0.2.7":                     "http://192.0.2.7",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := origin.Of(u); err != nil || got != want {
			t.Errorf("Of(%s) = %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"https://a\u00a0b.example":           "has a host that browsers do not accept",
		"https://xn--a.example":              "has a host that browsers do not accept",
		"https://a..example":                 "has a host that browsers do not accept",
		"https://":                           "has a host that browsers do not accept",
		"https://b\u0301\u200d.example":      "has a host that browsers do not accept",
		"https://h:70000":                    "has no port",
		"http://127.1":                       "ends in a number",
		"http://0x7f.0.0.1":                  "ends in a number",
		"http://2130706433":                  "ends in a number",
		"http://192.0.2.08":                  "ends in a number",
		"http://[::ffff:127.0.0.1]":          "not an IPv6 address",
		"http://[fe80::1%25eth0]":            "not an IPv6 address",
		"https://" + strings.Repeat("a", 64): "has a host that browsers do not accept",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := origin.Of(u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Of(%s) = %q, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for other, want := range map[string]bool{
		"https://ghe.example": true, "https://ghe.example:443/x": true, "https://GHE.Example/": true,
		"https://user@ghe.example/x": true,
		"https://ghe.example:444":    false, "http://ghe.example": false,
		"http://ghe.example:443": false, "https://ghe.example.org": false, "https://127.1": false, "/x": false,
	} {
		a, errA := url.Parse("https://ghe.example/api/v3")
		b, errB := url.Parse(other)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := origin.Same(a, b); got != want || origin.Same(b, a) != want {
			t.Errorf("Same(%s, %s) = %t, want %t", a, b, got, want)
		}
	}
	none := &url.URL{Scheme: "http", Host: "127.1"} // browsers and resolvers differ about it
	if origin.Same(none, none) {
		t.Error("an address without an origin is the same as itself, want none")
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.8.8": true, "::1": true,
		"": false, "0.0.0.0": false, "10.0.0.1": false, "localhost.example": false, "127.1": false,
		"license.example": false, "::ffff:127.0.0.1": true,
	} {
		if got := origin.Loopback(host); got != want {
			t.Errorf("Loopback(%q) = %t, want %t", host, got, want)
		}
	}
}
