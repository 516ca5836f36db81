package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// What the doctor asks of the world: whether the public URL leads here, and whether issuers answer.

// checkPublicURL asks the service by the address that clients call: whether the name is known, the
// certificate is good, and it is this service that answers. Nothing is found where no address is
// set, or the port is left open. While the service does not run, what is wrong is a warning: a
// proxy cannot reach it.
func (a *app) checkPublicURL(ctx context.Context, in inside) []finding {
	if _, port, _ := net.SplitHostPort(a.cfg.Listen); a.cfg.PublicURL == "" || port == "0" {
		return nil
	}
	runs := askHealth(ctx, a.cfg.Listen) == nil
	if f := a.askPublicURL(ctx, outside(), in, runs); f.OK || runs {
		return []finding{f}
	} else {
		f.OK, f.Warning = true, true
		f.Text += "; the service does not run at " + a.cfg.Listen + " now"
		return []finding{f}
	}
}

func (a *app) askPublicURL(ctx context.Context, client *http.Client, in inside, runs bool) finding {
	const what = "public url"
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	at := a.cfg.PublicURL
	status, body, err := getText(ctx, client, at+"/_api/health")
	var health struct{ Status string }
	switch {
	case err != nil:
		return wrong(what, at+" "+unreached(err))
	case status.location != "":
		return wrong(what, fmt.Sprintf("%s sends clients on to %s, where they do not go: answer there, or set LICENSE_PUBLIC_URL to it", at, status.location))
	case slices.Contains([]int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status.code):
		return wrong(what, fmt.Sprintf("%s answers %d: its proxy does not reach this service; let it ask %s", at, status.code, a.cfg.Listen))
	case status.code != http.StatusOK || json.Unmarshal(body, &health) != nil || health.Status != "ok":
		return wrong(what, fmt.Sprintf("%s answers (status %d), and it is not a License service: let the proxy ask %s", at, status.code, a.cfg.Listen))
	}
	kids, err := publishedKeys(ctx, client, at)
	if err == nil && in.err == nil && len(kids) > 0 && !slices.ContainsFunc(kids, func(kid string) bool { return slices.Contains(in.kids, kid) }) {
		return wrong(what, fmt.Sprintf("a License service answers at %s, and works on another database than %s: let the proxy ask %s",
			at, opaque.HideUserInfo(a.cfg.DatabaseURL), a.cfg.Listen))
	}
	if !runs {
		return finding{OK: true, Warning: true, What: what, Text: fmt.Sprintf("a License service answers at %s, and none at %s: is it this one?", at, a.cfg.Listen)}
	}
	return well(what, at+" leads to this service"+status.certificate)
}

// unreached says why nothing could be asked, and what to do.
func unreached(err error) string {
	var name *net.DNSError
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return "has a name that is not known: make its DNS record, or set LICENSE_PUBLIC_URL to what clients call"
	case errors.As(err, &unknown):
		return "shows a certificate of an authority that this machine does not know: clients that do not know it either refuse it"
	case errors.As(err, &other):
		return "shows the certificate of another name: give the proxy one for this name"
	case errors.As(err, &invalid):
		return fmt.Sprintf("shows a certificate that is not valid (%v): renew it, or set the clock", invalid)
	case errors.As(err, &plain), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "speaks no TLS: let the proxy do so, or begin LICENSE_PUBLIC_URL with http"
	}
	var fault *url.Error
	if errors.As(err, &fault) {
		err = fault.Err
	}
	return fmt.Sprintf("does not answer (%v): start the proxy, open the firewall, or set LICENSE_PUBLIC_URL to what clients call", err)
}

// reply is what is of interest of an answer.
type reply struct {
	code        int
	location    string // origin that it redirects to
	certificate string // until when, in words
}

func getText(ctx context.Context, client *http.Client, address string) (reply, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return reply{}, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return reply{}, nil, err
	}
	defer res.Body.Close()
	out := reply{code: res.StatusCode}
	if to, err := res.Location(); err == nil {
		out.location = to.Scheme + "://" + to.Host
	}
	if res.TLS != nil && len(res.TLS.PeerCertificates) > 0 {
		out.certificate = ", by a certificate that is valid until " + second(res.TLS.PeerCertificates[0].NotAfter)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return out, body, err
}

// publishedKeys are the names of the keys that the service at a base address publishes: those of
// leases.
func publishedKeys(ctx context.Context, client *http.Client, base string) ([]string, error) {
	status, body, err := getText(ctx, client, base+"/.well-known/jwks.json")
	if err != nil || status.code != http.StatusOK {
		return nil, err
	}
	return keyNames(body), nil
}

// checkIssuers asks each issuer for its keys, as the service does when the first job comes. One
// that does not answer is a warning: keys that were fetched before bridge that.
func (a *app) checkIssuers(ctx context.Context) []finding {
	var out []finding
	for _, issuer := range a.cfg.OIDCIssuers {
		if n, err := oidc.CountKeys(ctx, issuer, outside()); err != nil {
			out = append(out, finding{OK: true, Warning: true, What: "issuer", Text: fmt.Sprintf(
				"%s does not give its keys (%v), so that jobs cannot be allowed: let this machine reach it, or take it out of LICENSE_OIDC_ISSUERS", issuer, err)})
		} else {
			out = append(out, well("issuer", fmt.Sprintf("%s gives its keys (%d)", issuer, n)))
		}
	}
	return out
}
