package route

import (
	"slices"

	"github.com/pageflare/ci/service/auth"
)

// Guard is who may call a route.
type Guard struct {
	who     string // for people
	kinds   []auth.Kind
	scope   auth.Scope // of an admin token
	session bool       // of a person who is signed in, in a browser
	client  bool       // also without any credential: the handler judges what is shown
	signed  bool       // the handler proves the sender by a signature or a secret in the request itself
}

// String is who may call, as the documents say it.
func (g Guard) String() string { return g.who }

// Open tells a route that anyone may call.
func (g Guard) Open() bool { return len(g.kinds) == 0 && !g.session && !g.signed }

// Signed tells a route whose handler proves the sender by a signature or a secret in the request.
func (g Guard) Signed() bool { return g.signed }

// SignIn tells a route that asks for a person who is signed in; others are sent to the sign-in
// page.
func (g Guard) SignIn() bool { return g.session }

var (
	// Open is for anyone.
	Open = Guard{who: "anyone"}
	// TokenOrIdentity asks for an API token, a license token, a login token, or the identity token
	// of a job of GitHub Actions.
	TokenOrIdentity = Guard{who: "API token, license token, login token, or identity token of a job under a trust policy",
		kinds: []auth.Kind{
			auth.ByAPIToken, auth.ByLicenseToken, auth.ByLoginToken, auth.ByIdentity,
		}}
	// LoginToken asks for the token that a device login ends with.
	LoginToken = Guard{who: "login token", kinds: []auth.Kind{auth.ByLoginToken}}
	// SignedIn asks for a person who is signed in, in a browser.
	SignedIn = Guard{who: "a person who is signed in", session: true}
	// ByGitHub asks for a signature of GitHub's over the body.
	ByGitHub = Guard{who: "GitHub, by X-Hub-Signature-256", signed: true}
	// ByAlertKey asks for a signature over the body by a key that GitHub publishes for its alerts.
	ByAlertKey = Guard{who: "GitHub, by Github-Public-Key-Signature", signed: true}
	// ByLink asks for the secret of a link that a command printed, or for what GitHub hands back of it.
	ByLink = Guard{who: "the operator, by a link of github-app create --web", signed: true}
	// LicenseToken asks for a license token.
	LicenseToken = Guard{who: "license token", kinds: []auth.Kind{auth.ByLicenseToken}}
)

// Admin asks for an admin token with a scope.
func Admin(s auth.Scope) Guard {
	return Guard{
		who: "admin token with " + string(s), kinds: []auth.Kind{auth.ByAdminToken}, scope: s,
	}
}

// OwnerOrAdmin asks for an API token, which reaches what belongs to its account, or for an admin
// token with a scope.
func OwnerOrAdmin(s auth.Scope) Guard {
	return Guard{
		who:   "API token, or admin token with " + string(s),
		kinds: []auth.Kind{auth.ByAPIToken, auth.ByAdminToken}, scope: s,
	}
}

// OrClient lets a public client call as well, which has no credential (RFC 6749, 2.1): the handler
// judges what it shows in the body.
func (g Guard) OrClient() Guard {
	g.client, g.who = true, g.who+", or a public client for its own login token"
	return g
}

// Client tells a guard that lets public clients call.
func (g Guard) Client() bool { return g.client }

// Accepts says whether a kind of credential can be enough.
func (g Guard) Accepts(k auth.Kind) bool { return slices.Contains(g.kinds, k) }

// Scope is what an admin token needs.
func (g Guard) Scope() auth.Scope { return g.scope }
