package api_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/api"
)

// What Chromium sends as Origin for each, and what it refuses to open.
func TestOrigin(t *testing.T) {
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
		if got, err := api.Origin(u); err != nil || got != want {
			t.Errorf("Origin(%s) = %q, %v, want %q", text, got, err, want)
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
		if got, err := api.Origin(u); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Origin(%s) = %q, %v, want an error with %q", text, got, err, want)
		}
	}
}
