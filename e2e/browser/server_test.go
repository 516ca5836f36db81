package browser

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

func TestServerAnswersAsAStaticHost(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	dir := filepath.Join(outer, "site")
	files := map[string]string{
		"index.html": "home", "a/index.html": "a", "b.html": "b", "404.html": "none", "sw.js": "", "packed.css": "plain", "packed.css.gz": "gzip",
		"_headers": "# a remark\n/*\n  X-All: 1\n/a/:page\n  X-Page: 2\n", "../secret.txt": "secret", "dir.html/x": "",
	}
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../secret.txt", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	s, err := serve(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	client := &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: s.address}), DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, tt := range []struct {
		url    string
		status int
		body   string
		header [2]string
	}{
		{"http://site.localhost/", 200, "home", [2]string{"Content-Type", "text/html"}},
		{"http://site.localhost/?q=1", 200, "home", [2]string{"X-All", "1"}},
		{"http://site.localhost/a/", 200, "a", [2]string{"X-Page", "2"}},
		{"http://site.localhost/a", 301, "", [2]string{"Location", "/a/"}},
		{"http://site.localhost/b", 200, "b", [2]string{"X-Page", ""}},
		{"http://site.localhost/b/", 404, "none", [2]string{}},
		{"http://site.localhost/sw.js", 200, "", [2]string{"Content-Type", "text/javascript"}},
		{"http://site.localhost/packed.css", 200, "plain", [2]string{"Content-Encoding", ""}},
		{"http://site.localhost/none", 404, "none", [2]string{}},
		{"http://site.localhost/../secret.txt", 404, "none", [2]string{}},
		{"http://site.localhost/%2e%2e/secret.txt", 404, "none", [2]string{}},
		{"http://site.localhost/link.txt", 404, "none", [2]string{}},
		{"http://other.example/", 502, "only the site itself is served\n", [2]string{}},
		{"http://127.0.0.1:9/", 502, "only the site itself is served\n", [2]string{}},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		got := response.Header.Get(tt.header[0])
		if response.StatusCode != tt.status || tt.status != 301 && string(body) != tt.body || tt.header[0] != "" && got != tt.header[1] {
			t.Errorf("%s: %d %q, %s %q; want %d %q, %q", tt.url, response.StatusCode, body, tt.header[0], got, tt.status, tt.body, tt.header[1])
		}
	}
}

func TestHeaderLinesWithoutAPathAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"  X-All: 1\n", "/*\n  no header\n"} {
		if rules, err := parseHeaders(text); err == nil {
			t.Errorf("parseHeaders(%q) = %v, want an error", text, rules)
		}
	}
}
