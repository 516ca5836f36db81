// Package remedy says what a user of the Action can do about what GitHub and the License API
// refuse, in words of the Action's inputs. What they refused, and why, is found out where they are
// asked: in github, github/secret and service/client.
package remedy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
)

// Advise adds the remedy to an error about a secret, where there is one. Other errors, and nil, are
// given as they are. apiURL is the address of the GitHub API.
func Advise(err error, apiURL string) error {
	e, ok := errors.AsType[*secret.Error](err)
	if !ok {
		return err
	}
	remedy := of(e, apiURL)
	if remedy == "" {
		return err
	}
	return reworded{err, err.Error() + "; " + remedy}
}

// reworded is an error with another text.
type reworded struct {
	error
	text string
}

func (r reworded) Error() string { return r.text }
func (r reworded) Unwrap() error { return r.error }

func of(e *secret.Error, apiURL string) string {
	switch {
	case e.Kind == 0: // GitHub was not asked, or gave nothing to say
		return ""
	case e.Silent(), e.Kind == github.Unusable:
		return ofSilence(e, apiURL)
	case e.Kind >= github.AppUnknown:
		return ofApp(e)
	}
	return ofRefusal(e)
}

// ofSilence is for errors that say nothing about rights.
func ofSilence(e *secret.Error, apiURL string) string {
	switch e.Kind {
	case github.Trouble:
		return "try again later; https://www.githubstatus.com tells more"
	case github.RateLimited, github.Throttled:
		return fmt.Sprintf("try again after %s, which is too late for this run", e.RetryAt.UTC().Format(time.RFC3339))
	case github.NotGitHub:
		return fmt.Sprintf("let its operator allow requests to %s, or change HTTPS_PROXY or NO_PROXY of this runner", Host(apiURL))
	case github.UntrustedCertificate:
		return "give the authority that signed the certificate, of your GitHub server or of a proxy that opens TLS, in input ca-certificates"
	}
	switch {
	case errors.Is(e.Err, context.Canceled):
		return ""
	case errors.Is(e.Err, context.DeadlineExceeded):
		return "see https://www.githubstatus.com, and check the network and the proxy"
	}
	return "check the network, the proxy and the address of the GitHub API"
}

// Host is the host of an address that was checked before.
func Host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}

// ofRefusal is for what GitHub refuses to a token.
func ofRefusal(e *secret.Error) string {
	permission := e.Target.Permission()
	switch e.Kind {
	case github.BadCredentials:
		if e.ByApp {
			return "the token that was made for the GitHub App is no longer good: run the job again"
		}
		return "github-token is invalid or expired: make a new one and store it again"
	case github.SignOnRequired:
		return signOn(e.URL)
	case github.ClassicForbidden:
		return fmt.Sprintf("give github-token a fine-grained token with the %s, or set app-id and app-private-key of a GitHub App that has it", permission)
	case github.FineGrainedForbidden:
		return fmt.Sprintf("set app-id and app-private-key of a GitHub App that has the %s, or let an owner of the organization allow fine-grained tokens", permission)
	case github.LifetimeForbidden:
		return "give github-token a token with a shorter lifetime, or set app-id and app-private-key of a GitHub App, which has no such limit"
	case github.Archived:
		return "the repository is archived, so its secrets cannot change: unarchive it in its settings, or remove this workflow"
	case github.NoStore:
		return "remove this entry from secret-targets, or let an administrator of the server switch that feature on"
	case github.AddressForbidden:
		return addressForbidden
	case github.PermissionMissing, github.IntegrationForbidden, github.Forbidden:
		return ofMissingRight(e)
	case github.NotFound:
		return ofUnseen(e)
	case github.Invalid:
		return "see that secret-name is right, and that there is room for it: a repository and an environment hold 100 secrets, an organization " +
			"1,000; a rule of the organization may forbid it too"
	}
	return ""
}

const addressForbidden = "let an owner of the organization add the address of this runner to its IP allow list, or run the job on a " +
	"runner whose address is there"

func signOn(at string) string {
	const later = `"Configure SSO" beside the token at https://github.com/settings/tokens`
	if at == "" {
		return "authorize the token in github-token for the organization: " + later
	}
	return fmt.Sprintf("authorize the token in github-token for the organization at %s within an hour, or later by %s", at, later)
}

// ofMissingRight tells the job's own GITHUB_TOKEN, for which no setting helps, from a token that
// lacks a right. GitHub speaks of an integration for the tokens of Apps alike, and nothing else
// tells the two apart.
func ofMissingRight(e *secret.Error) string {
	permission := e.Target.Permission()
	switch {
	case e.Kind == github.IntegrationForbidden && e.ByApp:
		return fmt.Sprintf("the GitHub App needs %s: give it the %s, and accept the change in its installation", needed(e), permission)
	case e.Kind == github.IntegrationForbidden:
		return fmt.Sprintf("the job's own GITHUB_TOKEN can never write secrets, and the token of a GitHub App needs %s: give github-token a "+
			"fine-grained token with the %s, or set app-id and app-private-key of a GitHub App that has it", needed(e), permission)
	case e.Kind == github.PermissionMissing:
		return fmt.Sprintf("the token needs %s: give the fine-grained token the %s", needed(e), permission)
	}
	needs := ""
	if e.Needed != "" {
		needs = fmt.Sprintf("the token needs %s: ", needed(e))
	}
	return needs + fmt.Sprintf("see that the token's owner may administer the %s, that a classic token has the scope %q, and that the organization "+
		"allows the token", e.Target.Owner(), e.Target.ClassicScope())
}

// needed prefers GitHub's own words, but not those for reading the public key: the write that
// follows needs more.
func needed(e *secret.Error) string {
	key := e.Target.PermissionKey()
	if e.Needed == "" || strings.HasPrefix(e.Needed, key+"=") {
		return key + "=write"
	}
	return e.Needed
}

// ofUnseen says what it may mean that GitHub knows nothing of the place, and what to do about it.
func ofUnseen(e *secret.Error) string {
	owner, reach := e.Repo.String(), `let the fine-grained token reach this repository, or give a classic token the scope "repo"`
	if e.Target.InOrganization() {
		owner, reach = e.Account(), "make the fine-grained token with the organization as its resource owner, or give a classic "+
			`token the scope "admin:org"`
	}
	if e.ByApp {
		reach = "let the installation of the GitHub App reach it"
	}
	if e.Target.InEnvironment() {
		owner, reach = e.Place(), "create the environment in the settings of the repository; if it is there, "+reach
	}
	text := fmt.Sprintf("%s does not exist or the token cannot see it: %s", owner, reach)
	if e.MaybeNoStore {
		text += "; or this server has no " + e.Target.Store() + " secrets"
	}
	return text
}

// ofApp is for a GitHub App that got no token.
func ofApp(e *secret.Error) string {
	switch e.Kind {
	case github.AppUnknown:
		return "app-private-key is of another App or was deleted, or app-id is wrong: take both from the settings of one App, " +
			"and check the clock of this runner"
	case github.NotInstalled:
		if e.Target.InOrganization() {
			return "let an owner of the organization install it, or check app-id"
		}
		return "install it there and let it reach this repository, or check app-id"
	case github.Suspended:
		return "let an owner of the account allow it again, in the settings under GitHub Apps"
	case github.NotGranted:
		return fmt.Sprintf("give the App the %s, and accept the change in its installation", e.Target.Permission())
	case github.OutOfReach:
		renamed := ""
		if e.ByName {
			renamed = "; if that was renamed, use its new name"
		}
		return fmt.Sprintf("let the installation of the App reach %s%s", e.Repo, renamed)
	case github.AppForbidden:
		if e.Needed != "" {
			return fmt.Sprintf("the App needs %s: give it that, and accept the change in its installation", e.Needed)
		}
		return "let an owner of the " + e.Account() + " see what it does not allow the App, in the settings under GitHub Apps"
	case github.AppInvalid:
		return "compare the App's permissions with those that its installation has accepted"
	}
	return ""
}
