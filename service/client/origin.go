package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pageflare/ci/service/origin"
)

// maxRedirects is how many redirects within the origin one try follows.
const maxRedirects = 5

// errRedirect is why a redirect was not followed.
var errRedirect = errors.New("redirect")

// parseBase reads the base URL. Its errors do not quote the text, which may hold a password.
func parseBase(text string) (*url.URL, error) {
	if text == "" {
		return nil, errors.New("missing; set it to something like https://pageflare.dev/_api")
	}
	if strings.ContainsAny(text, " \t\r\n") {
		return nil, errors.New("must not hold a space or a line break")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("not a URL; set it to something like https://pageflare.dev/_api")
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("must start with https:// or http://")
	}
	if u.User != nil {
		return nil, errors.New("must not hold a user name or password; the token alone says who calls")
	}
	if u.Hostname() == "" {
		return nil, errors.New("has no host; set it to something like https://pageflare.dev/_api")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#") {
		return nil, errors.New("must not have a part after ? or #")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// sameOrigin follows a redirect only where the token may go and the request stays what it is: the
// same scheme, host, port and method.
func sameOrigin(next *http.Request, via []*http.Request) error {
	first := via[0]
	if !origin.Same(next.URL, first.URL) {
		return fmt.Errorf("%w to %s://%s", errRedirect, next.URL.Scheme, next.URL.Host)
	}
	if next.Method != first.Method {
		return fmt.Errorf("%w that makes %s of %s", errRedirect, next.Method, first.Method)
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("%w number %d", errRedirect, len(via))
	}
	return nil
}
