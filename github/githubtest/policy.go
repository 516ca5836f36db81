package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// A Policy is what an account forbids to personal access tokens. It holds for public repositories
// too.
// https://docs.github.com/en/organizations/managing-programmatic-access-to-your-organization
type Policy struct {
	Account   string
	NoClassic bool // no classic tokens
	MaxDays   int  // the longest lifetime of fine-grained tokens; 0: any
}

// forbidden gives the refusal of a token that may not be used in the account of the place at all.
func (s *Server) forbidden(req *request) (answer, bool) {
	account, t := req.place.account(), req.token
	if account == "" || req.app != nil || t.GitHubToken || t.account != "" {
		return answer{}, false
	}
	classic := t.Scopes != nil
	if classic && slices.ContainsFunc(t.NoSignOn, func(name string) bool { return strings.EqualFold(name, account) }) {
		return signOn(account), true
	}
	for _, p := range s.cfg.Policies {
		switch {
		case !strings.EqualFold(p.Account, account):
		case classic && p.NoClassic:
			return refuse(http.StatusForbidden, fmt.Sprintf("`%s` forbids access via a personal access token (classic). Please use a GitHub App, "+
				"OAuth App, or a personal access token with fine-grained permissions.", p.Account)), true
		case !classic && p.MaxDays != 0 && (t.Days == 0 || t.Days > p.MaxDays):
			return refuse(http.StatusForbidden, fmt.Sprintf("The '%s' organization forbids access via a fine-grained personal access tokens if the "+
				"token's lifetime is greater than %d days. Please adjust your token's lifetime at the following URL: %s", p.Account, p.MaxDays, LifetimePage)), true
		}
	}
	return answer{}, false
}

// LifetimePage is where GitHub says that a lifetime can be changed.
const LifetimePage = "https://github.com/settings/personal-access-tokens/4711"

// SignOnPage is where GitHub says that a token can be authorized for the single sign-on of an
// account.
func SignOnPage(account string) string {
	return "https://github.com/orgs/" + account + "/sso?authorization_request=" + strings.Repeat("AZSCKtL4U8yX", 6)
}

// signOn refuses a classic token and says where it can be authorized:
//
//	X-GitHub-SSO: required; url=https://github.com/orgs/acme/sso?authorization_request=…
//
// https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api#personal-access-tokens-and-saml-sso
func signOn(account string) answer {
	a := refuse(http.StatusForbidden, "Resource protected by organization SAML enforcement. You must grant your Personal Access token access to this organization.")
	return a.with(http.Header{"X-Github-Sso": {"required; url=" + SignOnPage(account)}})
}

// account is the owner of a place; empty for what is no place.
func (p place) account() string {
	if p.org != "" {
		return p.org
	}
	return p.repo.Owner
}
