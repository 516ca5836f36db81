package secret

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"
)

// A Cause is why GitHub did not do what was asked, where its answer tells exactly that. It is a
// fact about GitHub; what to do about it depends on where the token comes from, and is for the
// caller to say.
type Cause int

// The causes. Errors of any other kind have none, and a Remedy instead.
const (
	// Unanswered says that there was no answer, one that makes no sense, 5xx, or a rate limit:
	// nothing is known of any right.
	Unanswered Cause = iota + 1
	// NotGitHub says that something between here and GitHub answered in its place.
	NotGitHub
	// UntrustedCertificate says that the certificate is of an authority that is not trusted here.
	UntrustedCertificate
	// SignOnRequired says that a classic token was not authorized for the organization's single
	// sign-on; Error.URL is where to do that.
	SignOnRequired
	// ClassicForbidden says that the organization takes no classic tokens.
	ClassicForbidden
	// FineGrainedForbidden says that the organization takes no fine-grained tokens.
	FineGrainedForbidden
	// LifetimeForbidden says that the organization takes no tokens that live as long; the message
	// has the limit.
	LifetimeForbidden
	// Archived says that the repository is archived.
	Archived
	// NoStore says that this server has no secrets of that kind.
	NoStore
)

// Silent tells whether the error says nothing about the rights of the token: GitHub may as well
// have done what was asked.
func (e *Error) Silent() bool {
	return e.Cause == Unanswered || e.Cause == NotGitHub || e.Cause == UntrustedCertificate
}

// fromGitHub tells GitHub's answers from those of a proxy: each has an id, also that of a GitHub
// Enterprise Server.
func fromGitHub(resp *http.Response) bool { return resp.Header.Get("X-GitHub-Request-Id") != "" }

// refusedBy finds the cause of a refusal in GitHub's words and headers.
func refusedBy(answer *github.ErrorResponse) (cause Cause, at string) {
	if required, rest, _ := strings.Cut(answer.Response.Header.Get("X-GitHub-SSO"), ";"); strings.TrimSpace(required) == "required" {
		return SignOnRequired, signOnURL(rest)
	}
	switch said := strings.ToLower(answer.Message); {
	case strings.Contains(said, "archived so is read-only"):
		return Archived, ""
	case !strings.Contains(said, "forbids access via a"):
		return 0, ""
	case strings.Contains(said, "lifetime"):
		return LifetimeForbidden, ""
	case strings.Contains(said, "token (classic). please use"):
		return ClassicForbidden, ""
	default:
		return FineGrainedForbidden, ""
	}
}

// signOnURL reads what follows in X-GitHub-SSO:
// url=https://github.com/orgs/acme/sso?authorization_request=… It is empty for what is no address
// that a person should open.
func signOnURL(text string) string {
	raw, ok := strings.CutPrefix(strings.TrimSpace(text), "url=")
	u, err := url.Parse(raw)
	if !ok || err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || plain(raw) != raw || strings.ContainsAny(raw, " <>\"'") {
		return ""
	}
	return raw
}

// silentBy finds why there was no usable answer.
func silentBy(ctx context.Context, err error) Cause {
	var authority x509.UnknownAuthorityError
	var transport *url.Error
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &authority):
		return UntrustedCertificate
	case ctx.Err() != nil, errors.As(err, &transport), errors.As(err, &syntax):
		return Unanswered
	}
	return 0
}

// hasEveryStore tells github.com and ghe.com, which have secrets of every kind, from servers of
// one's own.
func hasEveryStore(resp *http.Response) bool {
	host := resp.Request.URL.Hostname()
	return resp.Header.Get("X-GitHub-Enterprise-Version") == "" && (host == "api.github.com" || strings.HasSuffix(host, ".ghe.com"))
}

// noStore tells whether a 404 of a server of one's own means that it has no secrets of this kind,
// as GitHub Enterprise Server has none for Dependabot where that is switched off. With a GitHub App
// it does: its token was made for that right and that place. A token proves it by the Actions
// secrets of the same place: where it sees those, the place is there.
func (w *Writer) noStore(ctx context.Context, t Target) bool {
	if w.byApp {
		return true
	}
	_, scope, _ := strings.Cut(t.kind, "/")
	ctx, cancel := context.WithTimeout(once(ctx), lookTime)
	defer cancel()
	st, _, err := w.open(ctx, Target{scope, t.name}, "read")
	if err != nil {
		return false
	}
	_, err = w.publicKey(ctx, st)
	return err == nil
}
