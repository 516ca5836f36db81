package server_test

import (
	"testing"

	"github.com/pageflare/ci/service/servicetest"
)

func TestABrowserMayKeepTheExplorer(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	const path = "/docs/bundle.js"
	plain := call(t, s, "GET", path, "", "Accept-Encoding", "identity")
	packed := call(t, s, "GET", path, "", "Accept-Encoding", "gzip")
	if plain.status != 200 || packed.status != 200 || plain.header.Get("ETag") == packed.header.Get("ETag") || packed.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("the bundle = %d %v and %d %v, want 200 with a tag for each coding", plain.status, plain.header, packed.status, packed.header)
	}
	for _, c := range []struct {
		coding, known string
		want          int
	}{
		{"identity", plain.header.Get("ETag"), 304}, {"gzip", packed.header.Get("ETag"), 304}, {"gzip", `"x", W/` + packed.header.Get("ETag"), 304}, {"gzip", "*", 304},
		{"gzip", plain.header.Get("ETag"), 200}, {"gzip", `"of-another-version"`, 200}, {"gzip", "", 200},
	} {
		got := call(t, s, "GET", path, "", "Accept-Encoding", c.coding, "If-None-Match", c.known)
		if got.status != c.want || got.header.Get("Cache-Control") != "public, no-cache" || c.want == 304 && got.body != "" {
			t.Errorf("the bundle as %s to who has %s = %d, %s, %d bytes, want %d", c.coding, c.known, got.status, got.header.Get("Cache-Control"), len(got.body), c.want)
		}
	}
}
