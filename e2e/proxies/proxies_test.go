//go:build e2e

package proxies_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/e2e/certtest"
	"github.com/pageflare/ci/service/servicetest"
)

const name = "license.example.com"

// Each example of deploy/proxy, with the address, the port and the certificate of this test in the
// place of its own.
func TestTheExamplesOfProxies(t *testing.T) {
	t.Parallel()
	for proxy, run := range map[string]func(*proxyTest) *exec.Cmd{"nginx": nginx, "haproxy": haproxy, "caddy": caddy} {
		t.Run(proxy, func(t *testing.T) {
			t.Parallel()
			log := &bytes.Buffer{}
			s := servicetest.Start(t, servicetest.Options{
				Log: log, PublicURL: "https://" + name, BadCredentials: 3,
				TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			})
			_, key := s.Account(t, "a@example.com")
			p := newProxyTest(t, "127.0.0.1:8080", strings.TrimPrefix(s.Origin, "http://"))
			p.start(run(p))
			p.wait()

			if status, body := p.call("POST", "/_api/license/issue", key, nil); status != http.StatusOK || !strings.Contains(body, `"token"`) {
				t.Errorf("issue = %d %s, want a token", status, body)
			}
			// what the client writes into X-Forwarded-For does not count: each has another address,
			// and the limit of bad credentials holds
			statuses := map[int]int{}
			for i := range 8 {
				status, _ := p.call("POST", "/_api/license/issue", "wrong", http.Header{"X-Forwarded-For": {fmt.Sprintf("198.51.100.%d", i)}})
				statuses[status]++
			}
			if statuses[http.StatusTooManyRequests] < 4 {
				t.Errorf("statuses of bad credentials = %v, want 429 after the limit", statuses)
			}
			// a form of the pages is believed when the browser names the origin that clients call
			if status, body := p.call("GET", "/device", "", nil); status != http.StatusOK && status != http.StatusUnauthorized {
				t.Errorf("the page /device = %d %.200s", status, body)
			}
		})
	}
}

type proxyTest struct {
	t       *testing.T
	dir     string
	addr    string // of the proxy
	trusted *x509.CertPool
	client  *http.Client
	from    *strings.Replacer
}

// newProxyTest is a test of an example; each pair is an address in it and the one in its place.
func newProxyTest(t *testing.T, addresses ...string) *proxyTest {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxyTest{t: t, dir: t.TempDir(), addr: l.Addr().String()}
	must(t, l.Close())
	must(t, os.Chmod(p.dir, 0o755))
	cert, key, trusted := certtest.SelfSigned(t, name)
	p.write("cert.pem", string(cert))
	p.write("key.pem", string(key))
	p.write("both.pem", string(cert)+string(key))
	p.trusted = trusted
	p.client = p.newClient()
	p.from = strings.NewReplacer(addresses...)
	return p
}

// newClient is a client with connections of its own, all of them to the proxy.
func (p *proxyTest) newClient() *http.Client {
	c := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.trusted, ServerName: name},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", p.addr)
		},
	}}
	p.t.Cleanup(c.CloseIdleConnections)
	return c
}

// example is a file of deploy/proxy for this test; each pair is what stands there and what stands
// in its place.
func (p *proxyTest) example(file string, pairs ...string) string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "deploy", "proxy", file))
	must(p.t, err)
	text := p.from.Replace(string(b))
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			p.t.Fatalf("%s has no %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

func (p *proxyTest) write(file, text string) string {
	p.t.Helper()
	path := filepath.Join(p.dir, file)
	must(p.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func nginx(p *proxyTest) *exec.Cmd {
	site := p.example("nginx.conf", "listen 443 ssl", "listen "+p.addr+" ssl",
		"/etc/ssl/license.example.com/fullchain.pem", filepath.Join(p.dir, "cert.pem"),
		"/etc/ssl/license.example.com/privkey.pem", filepath.Join(p.dir, "key.pem"))
	temp := ""
	for _, of := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += of + "_temp_path " + filepath.Join(p.dir, of) + ";\n"
	}
	main := p.write("main.conf", "pid "+filepath.Join(p.dir, "pid")+";\ndaemon off;\nmaster_process off;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"+
		temp+"include "+p.write("site.conf", site)+";\n}\n")
	return exec.CommandContext(p.t.Context(), program(p.t, "nginx"), "-c", main, "-e", "stderr")
}

func haproxy(p *proxyTest) *exec.Cmd {
	return p.haproxy("haproxy.cfg", ":443")
}

// haproxy runs an example of HAProxy that listens at an address.
func (p *proxyTest) haproxy(file, listens string) *exec.Cmd {
	p.t.Helper()
	conf := p.write(file, p.example(file, "bind "+listens+" ssl crt /etc/haproxy/license.example.com.pem", "bind "+p.addr+" ssl crt "+filepath.Join(p.dir, "both.pem")))
	return exec.CommandContext(p.t.Context(), program(p.t, "haproxy"), "-db", "-f", conf)
}

func caddy(p *proxyTest) *exec.Cmd {
	_, port, err := net.SplitHostPort(p.addr)
	must(p.t, err)
	// it would ask a certificate authority for one
	site := p.example("Caddyfile", "license.example.com {", name+":"+port+" {\n\tbind 127.0.0.1\n\ttls "+filepath.Join(p.dir, "cert.pem")+" "+filepath.Join(p.dir, "key.pem"))
	conf := p.write("Caddyfile", "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"+site)
	cmd := exec.CommandContext(p.t.Context(), program(p.t, "caddy"), "run", "--config", conf, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	return cmd
}

// program finds a proxy, which Debian has in /usr/sbin.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := exec.LookPath("/usr/sbin/" + name)
	if err != nil {
		t.Fatalf("%v: run e2e/proxies/install.sh", err)
	}
	return path
}

// start runs the proxy until the test ends.
func (p *proxyTest) start(cmd *exec.Cmd) {
	p.t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(p.t, cmd.Start())
	p.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if p.t.Failed() {
			p.t.Logf("%s says:\n%s", cmd.Path, out.String())
		}
	})
}

// wait returns when the service answers through the proxy.
func (p *proxyTest) wait() {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		req, err := http.NewRequestWithContext(p.t.Context(), "GET", "https://"+name+"/_api/health", nil)
		must(p.t, err)
		if res, err := p.client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
	p.t.Fatal("the proxy does not answer")
}

func (p *proxyTest) call(method, path, bearer string, header http.Header) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "https://"+name+path, nil)
	must(p.t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := p.client.Do(req)
	must(p.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(p.t, err)
	return res.StatusCode, string(body)
}

// Idle connections to the service are closed by the proxy first: the service does so after 130 s.
func TestTheExamplesCloseIdleConnectionsFirst(t *testing.T) {
	t.Parallel()
	for file, setting := range map[string]string{"nginx.conf": `keepalive_timeout 60s;`, "haproxy.cfg": `server license 127.0.0.1:8080 check inter 5s pool-purge-delay 5s`, "Caddyfile": `keepalive 60s`} {
		b, err := os.ReadFile(filepath.Join("..", "..", "deploy", "proxy", file))
		must(t, err)
		if !regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(setting) + `$`).Match(b) {
			t.Errorf("%s lacks %s", file, setting)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
