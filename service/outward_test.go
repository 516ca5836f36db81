package main

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

// inFront is a server with TLS as of a proxy. Its certificate is for 127.0.0.1; the program trusts
// it by the file proxy.pem.
func inFront(t *testing.T, b *box, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that refuse the certificate
	s.StartTLS()
	t.Cleanup(s.Close)
	b.write("proxy.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	b.env["SSL_CERT_FILE"] = "proxy.pem"
	return s
}

// passes hands requests on to an address.
func passes(addr string) http.Handler {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	p.ErrorLog = log.New(io.Discard, "", 0)
	return p
}

// That a proxy leads elsewhere is the commonest fault of those who host on their own.
func TestDoctorAsksThePublicURL(t *testing.T) {
	t.Parallel()
	another := newBox(t).serve()
	tests := map[string]struct {
		front func(addr string) http.Handler
		url   func(proxy string, b *box) string // as it is when nil
		exit  int
		want  string
	}{
		"the proxy leads here":         {front: passes, want: "ok public url URL leads to this service, by a certificate that is valid until 20"},
		"it leads to another database": {front: func(string) http.Handler { return passes(another.addr) }, exit: 1, want: "WRONG public url a License service answers at URL, and works on another database than sqlite:pageflare-license.db: let the proxy ask ADDR"},
		"it leads nowhere":             {front: func(string) http.Handler { return passes("127.0.0.1:1") }, exit: 1, want: "WRONG public url URL answers 502: its proxy does not reach this service; let it ask ADDR"},
		"another program answers": {front: func(string) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<h1>It works</h1>") })
		}, exit: 1, want: "WRONG public url URL answers (status 200), and it is not a License service: let the proxy ask ADDR"},
		"it sends clients on": {front: func(string) http.Handler {
			return http.RedirectHandler("https://www.example.com/_api/health", http.StatusMovedPermanently)
		}, exit: 1,
			want: "WRONG public url URL sends clients on to https://www.example.com, where they do not go: answer there, or set LICENSE_PUBLIC_URL to it"},
		"nobody knows its authority": {front: passes, url: func(proxy string, b *box) string { b.write("proxy.pem", ""); return proxy }, exit: 1,
			want: "WRONG public url URL shows a certificate of an authority that this machine does not know"},
		"its certificate has another name": {front: passes, url: func(proxy string, _ *box) string { return strings.Replace(proxy, "127.0.0.1", "localhost", 1) }, exit: 1,
			want: "WRONG public url URL shows the certificate of another name: give the proxy one for this name"},
		"it speaks no TLS": {front: passes, url: func(string, *box) string { return "https://" + another.addr }, exit: 1,
			want: "WRONG public url URL speaks no TLS: let the proxy do so, or begin LICENSE_PUBLIC_URL with http"},
		"nothing answers": {front: passes, url: func(string, *box) string { return "https://127.0.0.1:1" }, exit: 1,
			want: "WRONG public url URL does not answer (dial tcp 127.0.0.1:1: connect: connection refused): start the proxy"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			r := b.serve()
			public := inFront(t, b, test.front(r.addr)).URL
			if test.url != nil {
				public = test.url(public, b)
			}
			b.env["LICENSE_PUBLIC_URL"], b.env["LICENSE_LISTEN"], b.env["LICENSE_TRUSTED_PROXIES"] = public, r.addr, "127.0.0.1/32"
			got := b.run("doctor")
			want := strings.NewReplacer("URL answers", public+" answers", "URL leads", public+" leads", "at URL", "at "+public,
				"URL s", public+" s", "URL does", public+" does", "ADDR", r.addr).Replace(test.want)
			if got.exit != test.exit || !strings.Contains(oneSpaced(got.out), want) {
				t.Errorf("doctor = exit %d, want %d with %s:\n%s%s", got.exit, test.exit, want, got.out, got.err)
			}
		})
	}
}

// Before the first start nothing can answer there, so that is a warning.
func TestDoctorAsksThePublicURLBeforeTheStart(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	l, err := net.Listen("tcp", "127.0.0.2:0") // where no other test listens when this one has left it
	must(t, err)
	b.env["LICENSE_LISTEN"] = l.Addr().String()
	must(t, l.Close())
	b.env["LICENSE_PUBLIC_URL"] = inFront(t, b, passes(b.env["LICENSE_LISTEN"])).URL
	want := "WARN public url " + b.env["LICENSE_PUBLIC_URL"] + " answers 502: its proxy does not reach this service; let it ask " +
		b.env["LICENSE_LISTEN"] + "; the service does not run at " + b.env["LICENSE_LISTEN"] + " now"
	if out := b.ok("doctor"); !strings.Contains(oneSpaced(out), want) {
		t.Errorf("doctor = %s\nwant %s", out, want)
	}
}

func TestAPublicURLWhoseNameIsNotKnown(t *testing.T) {
	t.Parallel()
	err := &url.Error{Op: "Get", URL: "https://nohost.invalid", Err: &net.DNSError{Err: "no such host", Name: "nohost.invalid", IsNotFound: true}}
	want := "has a name that is not known: make its DNS record, or set LICENSE_PUBLIC_URL to what clients call"
	if got := unreached(err); got != want {
		t.Errorf("unreached = %q, want %q", got, want)
	}
}

func TestDoctorAsksTheIssuers(t *testing.T) {
	t.Parallel()
	jobs, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	must(t, err)
	t.Cleanup(jobs.Close)
	b := newBox(t)
	b.env[issuersSetting] = jobs.URL() + ",http://127.0.0.1:1"
	out := oneSpaced(b.ok("doctor", "--listen", "127.0.0.1:0"))
	for _, want := range []string{
		"ok issuer " + jobs.URL() + " gives its keys (1)",
		"WARN issuer http://127.0.0.1:1 does not give its keys (discovery: ",
		"so that jobs cannot be allowed: let this machine reach it, or take it out of LICENSE_OIDC_ISSUERS",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %s:\n%s", want, out)
		}
	}
}
