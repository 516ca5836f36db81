package guard_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"testing"

	"github.com/pageflare/ci/action/guard"
)

func sha256Source(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func sha512Source(content string) string {
	sum := sha512.Sum512([]byte(content))
	return "'sha512-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "=='"
}

// metaPolicy is the policy of a page whose meta elements say this.
func metaPolicy(meta ...string) guard.Policy {
	return guard.ParsePolicies(nil).For("index.html", meta)
}

func TestInlineScript(t *testing.T) {
	t.Parallel()
	const code = "go()"
	tests := []struct {
		name, policy, nonce string
		want                bool
	}{
		{"no policy allows everything", "", "", true},
		{"a policy without a directive for scripts allows them", "img-src 'self'", "", true},
		{"default-src stands in", "default-src 'self'", "", false},
		{"script-src stands before default-src", "default-src 'none'; script-src 'unsafe-inline'", "", true},
		{"script-src-elem stands before script-src", "script-src 'unsafe-inline'; script-src-elem 'self'", "", false},
		{"script-src-attr is for handlers alone", "script-src-attr 'none'", "", true},
		{"an empty list allows nothing", "script-src", "", false},
		{"'none' allows nothing", "script-src 'none'", "", false},
		{"of a directive that stands there twice the first counts", "script-src 'self'; script-src 'unsafe-inline'", "", false},
		{"names and keywords are read in any case", "SCRIPT-SRC 'Unsafe-Inline'", "", true},
		{"the hash of these bytes allows", "script-src " + sha256Source(code), "", true},
		{"a hash in the other alphabet allows", "script-src " + sha512Source(code), "", true},
		{"the hash of other bytes does not", "script-src " + sha256Source(code+" "), "", false},
		{"a hash switches unsafe-inline off", "script-src 'unsafe-inline' " + sha256Source("x"), "", false},
		{"a nonce switches unsafe-inline off", "script-src 'unsafe-inline' 'nonce-abc'", "", false},
		{"the nonce allows", "script-src 'nonce-abc'", "abc", true},
		{"a nonce in another case does not", "script-src 'nonce-abc'", "ABC", false},
		{"strict-dynamic switches unsafe-inline off", "script-src 'unsafe-inline' 'strict-dynamic'", "", false},
		{"a hash counts beside strict-dynamic", "script-src 'strict-dynamic' " + sha256Source(code), "", true},
		{"a host is no leave for inline scripts", "script-src *", "", false},
		{"a sandbox in a meta element has no effect", "sandbox", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := metaPolicy(tt.policy).Script([]byte(code), tt.nonce); got != tt.want {
				t.Errorf("Script under %q = %v, want %v", tt.policy, got, tt.want)
			}
		})
	}
}

func TestOtherInlineTexts(t *testing.T) {
	t.Parallel()
	const text = "a:b"
	hash := sha256Source(text)
	handler := func(p guard.Policy) bool { return p.Handler([]byte(text)) }
	style := func(p guard.Policy) bool { return p.Style([]byte(text), "n") }
	attribute := func(p guard.Policy) bool { return p.StyleAttr([]byte(text)) }
	rules := func(p guard.Policy) bool { return p.SpeculationRules([]byte(text), "") }
	tests := []struct {
		name, policy string
		ask          func(guard.Policy) bool
		want         bool
	}{
		{"a handler needs more than a hash", "script-src " + hash, handler, false},
		{"a handler runs by its hash with unsafe-hashes", "script-src 'unsafe-hashes' " + hash, handler, true},
		{"a handler runs with unsafe-inline", "script-src 'unsafe-inline'", handler, true},
		{"script-src-attr stands before script-src", "script-src 'unsafe-inline'; script-src-attr 'none'", handler, false},
		{"script-src-elem is not for handlers", "script-src-elem 'none'", handler, true},
		{"a style element applies by its nonce", "style-src 'nonce-n'", style, true},
		{"a style element applies by its hash", "default-src 'none'; style-src " + hash, style, true},
		{"a style element is blocked by default-src", "default-src 'self'", style, false},
		{"strict-dynamic does not touch styles", "style-src 'unsafe-inline' 'strict-dynamic'", style, true},
		{"a style attribute needs more than a hash", "style-src " + hash, attribute, false},
		{"a style attribute applies with unsafe-hashes", "style-src 'unsafe-hashes' " + hash, attribute, true},
		{"style-src-attr stands before style-src", "style-src 'none'; style-src-attr 'unsafe-inline'", attribute, true},
		{"speculation rules have a keyword", "script-src 'self' 'inline-speculation-rules'", rules, true},
		{"speculation rules are scripts without it", "script-src 'self'", rules, false},
		{"speculation rules need it in script-src-elem", "script-src 'inline-speculation-rules'; script-src-elem 'self'", rules, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.ask(metaPolicy(tt.policy)); got != tt.want {
				t.Errorf("under %q = %v, want %v", tt.policy, got, tt.want)
			}
		})
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, policy, directive, url string
		want                         bool
	}{
		{"no policy loads everything", "", "img-src", "https://a.example/x", true},
		{"the site itself by 'self'", "img-src 'self'", "img-src", "/a.webp", true},
		{"a relative path is the site itself", "img-src 'self'", "img-src", "../a.webp", true},
		{"another host is not 'self'", "img-src 'self'", "img-src", "https://a.example/x", false},
		{"'none' loads nothing", "img-src 'none'", "img-src", "/a.webp", false},
		{"'none' beside others is ignored", "img-src 'none' 'self'", "img-src", "/a.webp", true},
		{"default-src stands in for pictures", "default-src 'self'; img-src data:", "img-src", "/a.webp", false},
		{"default-src stands in for fonts", "default-src 'none'", "font-src", "/a.woff2", false},
		{"default-src does not stand in for base-uri", "default-src 'none'", "base-uri", "/", true},
		{"script-src stands in for workers", "script-src 'none'; default-src *", "worker-src", "/w.js", false},
		{"data URLs by their scheme", "img-src data:", "img-src", "data:image/png;base64,AA==", true},
		{"a star is not for data URLs", "img-src *", "img-src", "data:image/png;base64,AA==", false},
		{"a star is for other hosts", "img-src *", "img-src", "//a.example/x", true},
		{"https for the site itself", "img-src https:", "img-src", "/a.png", true},
		{"a host in any case", "img-src CDN.example", "img-src", "https://cdn.EXAMPLE/x", true},
		{"a subdomain by a wildcard", "img-src *.example", "img-src", "https://cdn.example/x", true},
		{"the domain itself is not under the wildcard", "img-src *.example.org", "img-src", "https://example.org/x", false},
		{"a host that ends like the pattern", "img-src *.example.org", "img-src", "https://badexample.org/x", false},
		{"another port", "img-src cdn.example", "img-src", "https://cdn.example:8443/x", false},
		{"any port", "img-src cdn.example:*", "img-src", "https://cdn.example:8443/x", true},
		{"http allows https", "img-src http://cdn.example", "img-src", "https://cdn.example/x", true},
		{"https does not allow http", "img-src https://cdn.example", "img-src", "http://cdn.example/x", false},
		{"below a path", "img-src cdn.example/a/", "img-src", "https://cdn.example/a/b.png", true},
		{"beside a path", "img-src cdn.example/a/", "img-src", "https://cdn.example/b.png", false},
		{"the very path", "img-src cdn.example/a.png", "img-src", "https://cdn.example/a.png?v=1", true},
		{"strict-dynamic switches hosts off", "script-src 'self' 'strict-dynamic'", "script-src-elem", "/a.js", false},
		{"script-src-elem for scripts", "script-src 'none'; script-src-elem 'self'", "script-src-elem", "/a.js", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := metaPolicy(tt.policy).Source(tt.directive, tt.url); got != tt.want {
				t.Errorf("Source(%s, %s) under %q = %v, want %v", tt.directive, tt.url, tt.policy, got, tt.want)
			}
		})
	}
}

// Each case asks whether an inline script without nonce runs on a page.
func TestPoliciesOfFiles(t *testing.T) {
	t.Parallel()
	const (
		csp      = "Content-Security-Policy"
		azure    = `{"globalHeaders":{"content-security-policy":"script-src 'self'"},"routes":[{"route":"/free/*","headers":{"Content-Security-Policy":"script-src 'unsafe-inline'"}},{"route":"/bare/*","headers":{"Content-Security-Policy":""}},{"route":"/*.{txt,htm}","headers":{"X":"y"}}]}`
		vercel   = `{"headers":[{"source":"/docs/:path*","headers":[{"key":"Content-Security-Policy","value":"default-src 'self'"}]}]}`
		lookhead = `{"headers":[{"source":"/((?!api/).*)","headers":[{"key":"Content-Security-Policy","value":"default-src 'self'"}]}]}`
		netlify  = "[[headers]]\nfor = \"/app/*\"\n[headers.values]\nContent-Security-Policy = '''\ndefault-src 'self';\nscript-src 'self'\n'''\n"
		firebase = `{"hosting":[{"headers":[{"source":"**/*.@(jpg)","headers":[{"key":"Cache-Control","value":"x"}]},{"source":"docs/**","headers":[{"key":"Content-Security-Policy","value":"default-src 'self'"}]}]}]}`
	)
	tests := []struct {
		name, file, text, page string
		meta                   []string
		want                   bool
	}{
		{"no file", "", "", "index.html", nil, true},
		{"a rule for every page", "_headers", "/*\n  " + csp + ": script-src 'self'\n", "a/b.html", nil, false},
		{"a rule for another folder", "_headers", "/a/*\n  " + csp + ": script-src 'self'\n", "b/index.html", nil, true},
		{"a folder by its index.html", "_headers", "/a/\n  " + csp + ": script-src 'self'\n", "a/index.html", nil, false},
		{"a page without its extension", "_headers", "/about\n  " + csp + ": script-src 'self'\n", "about.html", nil, false},
		{"the start page", "_headers", "/\n  " + csp + ": script-src 'self'\n", "index.html", nil, false},
		{"a placeholder is one segment", "_headers", "/:lang/x\n  " + csp + ": script-src 'self'\n", "en/x.html", nil, false},
		{"a placeholder is not two segments", "_headers", "/:lang/x\n  " + csp + ": script-src 'self'\n", "en/de/x.html", nil, true},
		{"a rule with a host", "_headers", "https://a.pages.dev/*\n  " + csp + ": script-src 'self'\n", "x.html", nil, false},
		{"reports alone block nothing", "_headers", "/*\n  " + csp + "-Report-Only: script-src 'self'\n", "x.html", nil, true},
		{"a comment says nothing", "_headers", "/*\n  # " + csp + ": script-src 'self'\n", "x.html", nil, true},
		{"all blocks that match count", "_headers", "/*\n  " + csp + ": script-src 'unsafe-inline'\n/a/*\n  " + csp + ": script-src 'self'\n", "a/x.html", nil, false},
		{"a later block takes the header away", "_headers", "/*\n  " + csp + ": script-src 'self'\n/a/*\n  ! " + csp + "\n", "a/x.html", nil, true},
		{"a comma separates policies", "_headers", "/*\n  " + csp + ": script-src 'unsafe-inline', default-src 'self'\n", "x.html", nil, false},
		{"a sandbox runs no scripts", "_headers", "/*\n  " + csp + ": sandbox allow-forms\n", "x.html", nil, false},
		{"Windows line ends", "_headers", "/*\r\n  " + csp + ": script-src 'self'\r\n", "x.html", nil, false},
		{"meta elements count too", "_headers", "/*\n  " + csp + ": script-src 'unsafe-inline'\n", "x.html", []string{"script-src 'self'"}, false},

		{"global headers of Azure", "staticwebapp.config.json", azure, "x.html", nil, false},
		{"a route of Azure replaces them", "staticwebapp.config.json", azure, "free/x.html", nil, true},
		{"a route of Azure removes them", "staticwebapp.config.json", azure, "bare/x.html", nil, true},
		{"a route without the header does not", "staticwebapp.config.json", azure, "x.htm", nil, false},

		{"a source of Vercel", "vercel.json", vercel, "docs/a/b.html", nil, false},
		{"the folder itself", "vercel.json", vercel, "docs/index.html", nil, false},
		{"another folder", "vercel.json", vercel, "blog/index.html", nil, true},
		{"a pattern that cannot be compared matches", "vercel.json", lookhead, "x.html", nil, false},
		{"tables of netlify.toml", "netlify.toml", netlify, "app/index.html", nil, false},
		{"another folder of netlify.toml", "netlify.toml", netlify, "x.html", nil, true},
		{"globs of Firebase", "firebase.json", firebase, "docs/a/index.html", nil, false},
		{"another folder of Firebase", "firebase.json", firebase, "x.html", nil, true},
		{"Apache", ".htaccess", "<IfModule mod_headers.c>\nHeader always set " + csp + " \"script-src 'self'\"\n</IfModule>", "x.html", nil, false},
		{"Apache over two lines", ".htaccess", "Header set " + csp + " \\\n  \"script-src 'self'\"\n", "x.html", nil, false},
		{"Apache reports alone", ".htaccess", "Header set " + csp + "-Report-Only \"script-src 'self'\"\n", "x.html", nil, true},

		{"Apache in a folder", "a/.htaccess", "Header set " + csp + " \"script-src 'self'\"\n", "a/b/x.html", nil, false},
		{"Apache in another folder", "a/.htaccess", "Header set " + csp + " \"script-src 'self'\"\n", "ab/x.html", nil, true},
		{"a file that its host does not read", "a/_headers", "/*\n  " + csp + ": script-src 'self'\n", "a/x.html", nil, true},
		{"Azure reads it in any folder", "a/staticwebapp.config.json", azure, "x.html", nil, false},
		{"what cannot be parsed blocks everything", "vercel.json", `{"headers":[{"key":"` + csp + `"`, "x.html", nil, false},
		{"unless it does not mention a policy", "vercel.json", `{"headers":[`, "x.html", nil, true},
		{"broken TOML", "netlify.toml", "[[headers]\ncontent-security-policy = 1", "x.html", nil, false},
		{"a value of another type blocks everything", "staticwebapp.config.json", `{"globalHeaders":{"` + csp + `":1}}`, "x.html", nil, false},
		{"a mark before the text", "vercel.json", "\ufeff" + vercel, "docs/index.html", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := guard.ParsePolicies(map[string][]byte{tt.file: []byte(tt.text)})
			if got := p.For(tt.page, tt.meta).Script([]byte("go()"), ""); got != tt.want {
				t.Errorf("Script on %s = %v, want %v", tt.page, got, tt.want)
			}
		})
	}
}

func FuzzPolicies(f *testing.F) {
	f.Add("_headers", "/*\n Content-Security-Policy: script-src 'self'", "default-src 'none'", "a.html")
	f.Add("vercel.json", `{"headers":[{"source":"/:a(b)*","headers":[{"key":"content-security-policy","value":"x"}]}]}`, "", "")
	f.Add("netlify.toml", "[[headers]]\nfor='*'\n", "img-src *.a:* http://b/c/", "x/")
	f.Add("firebase.json", `{"hosting":{"headers":[{"source":"{a,b}","headers":[]}]}}`, "sandbox", "index.html")
	f.Add(".htaccess", `Header set content-security-policy "a`, "'sha256-", "")
	f.Fuzz(func(t *testing.T, file, text, meta, page string) {
		p := guard.ParsePolicies(map[string][]byte{file: []byte(text)}).For(page, []string{meta})
		p.Script([]byte(text), meta)
		p.Handler(nil)
		p.StyleAttr([]byte(meta))
		p.Source("img-src", text)
		p.Source(meta, page)
		if blocks := guard.ParsePolicies(nil).For(page, []string{"default-src 'none'"}); blocks.Source("img-src", page) {
			t.Errorf("'none' loads %q", page)
		}
	})
}
