package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// http returns the client for all calls. With input ca-certificates it trusts those authorities
// beside the system's.
func (in Inputs) http(workspace string) (*http.Client, error) {
	return trusting(in.HTTP, in.get("ca-certificates"), workspace)
}

// trusting returns a client that also trusts the authorities of pem, which is PEM text or a file of
// it, relative to a folder. Without any it is the given one.
func trusting(usual *http.Client, pem, workspace string) (*http.Client, error) {
	if pem == "" {
		return usual, nil
	}
	if !strings.Contains(pem, "-----BEGIN") {
		file := pem
		if !filepath.IsAbs(file) {
			file = filepath.Join(workspace, file)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			if why, ok := errors.AsType[*fs.PathError](err); ok {
				err = why.Err
			}
			return nil, fmt.Errorf("%q: %w; give PEM text, or a file of it in the workspace", pem, err)
		}
		pem = string(b)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("it holds no certificate; give PEM text (-----BEGIN CERTIFICATE-----), or a file of it in the workspace")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // keeps the proxies of the environment
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}, nil
}

// transportOf is what a client sends its requests by.
func transportOf(c *http.Client) http.RoundTripper {
	if c.Transport == nil {
		return http.DefaultTransport
	}
	return c.Transport
}
