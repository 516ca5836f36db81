package rotation

import (
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
)

// Code is why a secret was not written, for programs. The codes never change their meaning.
type Code string

// The codes. docs/webhooks.md lists them.
const (
	NoAnswer          Code = "github_unavailable"
	AppUnknown        Code = "app_unknown"
	NotInstalled      Code = "app_not_installed"
	Suspended         Code = "app_suspended"
	PermissionMissing Code = "permission_missing"
	OutOfReach        Code = "repository_out_of_reach"
	Archived          Code = "repository_archived"
	OwnerChanged      Code = "owner_changed"
	NoEnvironment     Code = "environment_missing"
	NoStore           Code = "store_missing"
	SecretMissing     Code = "secret_missing"
	AddressRefused    Code = "address_refused"
	Refused           Code = "refused"
	Trouble           Code = "internal"
)

// Codes are all codes there are.
var Codes = []Code{
	NoAnswer, AppUnknown, NotInstalled, Suspended, PermissionMissing, OutOfReach, Archived, OwnerChanged, NoEnvironment,
	NoStore, SecretMissing, AddressRefused, Refused, Trouble,
}

// Failure is why the last try of a target failed.
type Failure struct {
	Code     Code
	Text     string // what happened, one line
	Remedy   string // what somebody can do about it
	Since    time.Time
	ToldAt   time.Time // when the owner was told last; zero: not yet
	Attempts int       // how often the target itself was the reason, in a row
}

// ours tells failures that are no target's: every other one would meet the same.
func (c Code) ours() bool {
	return c == NoAnswer || c == AppUnknown || c == Trouble
}

// errOwnerChanged says that a repository, or the name of an organization, belongs to somebody else
// now.
var errOwnerChanged = errors.New("it belongs to another owner now, who must not get this account's tokens")

// limitedUntil tells when a limit of GitHub's ends that an error speaks of; false: it speaks of none.
func limitedUntil(err error) (time.Time, bool) {
	var e *github.Error
	if errors.As(err, &e) && (e.Kind == github.RateLimited || e.Kind == github.Throttled) {
		return e.RetryAt, true
	}
	return time.Time{}, false
}

// failureOf says what an error of a try is, and what to do about it.
func failureOf(err error, r Rotation, t secret.Target) Failure {
	var e *github.Error
	if errors.Is(err, errOwnerChanged) {
		return Failure{Code: OwnerChanged, Text: err.Error(), Remedy: "to give it to the new owner on purpose, run rotation remove and rotation add"}
	}
	if !errors.As(err, &e) {
		return Failure{Code: Trouble, Text: github.Plain(err.Error()), Remedy: "see the log of the service"}
	}
	code, remedy := explain(e, r, t)
	return Failure{Code: code, Text: github.Plain(err.Error()), Remedy: remedy}
}

// explain is the remedy for a fact, in words of the commands and of the App's settings.
func explain(e *github.Error, r Rotation, t secret.Target) (Code, string) {
	where := "repository " + r.Repository
	if t.InOrganization() {
		where = "organization " + t.Organization()
	}
	switch e.Kind {
	case 0: // github/secret refused, and says what to do
		return SecretMissing, "then run rotation run " + r.ID
	case github.Unanswered, github.Trouble, github.NotGitHub, github.Elsewhere, github.UntrustedCertificate, github.RateLimited, github.Throttled:
		return NoAnswer, "nothing, if GitHub answers soon: see its status page, and what pageflare-license doctor says of the way there"
	case github.AppUnknown, github.BadCredentials:
		return AppUnknown, "make a new private key in the settings of the App and give it in LICENSE_GITHUB_APP_KEY_FILE, or run github-app create again; check the clock"
	case github.NotInstalled:
		if r.ID == "" { // it is about to be added
			return NotInstalled, "install the App for " + where + ", or check that name"
		}
		return NotInstalled, "install the App for " + where + "; if that is gone, run rotation remove"
	case github.Suspended:
		return Suspended, "unsuspend the installation of the App in the settings of " + where
	case github.NotGranted, github.IntegrationForbidden, github.PermissionMissing:
		return PermissionMissing, fmt.Sprintf("give the App the %s, and have the owner accept it in the settings of the installation", t.Permission())
	case github.OutOfReach:
		remedy := "choose the repository in the settings of the installation, under Repository access"
		if r.RepositoryID == 0 { // it was looked for by a name
			remedy += "; if it was renamed, give the name that it has today"
		}
		return OutOfReach, remedy
	case github.Archived:
		return Archived, "unarchive the repository, or run rotation remove"
	case github.NotFound:
		if t.InEnvironment() {
			return NoEnvironment, "make the environment in the settings of the repository; the service never makes one"
		}
		return OutOfReach, "check that " + where + " is there and that the installation reaches it"
	case github.NoStore:
		return NoStore, "add it with other targets"
	case github.AddressForbidden:
		return AddressRefused, "add the address of the service to the list of allowed IP addresses of " + where
	}
	return Refused, "see the text; then run rotation run"
}

// The pauses before a target is tried again.
const (
	noAnswerPause = 5 * time.Minute // GitHub did not answer, or we are at fault
	firstPause    = time.Hour       // doubles with each failure of the target itself
	longestPause  = day
)

// pause is how long a target waits after a failure: the longer, the more it has had in a row.
func (f Failure) pause(place string) time.Duration {
	wait := noAnswerPause
	if !f.Code.ours() {
		wait = min(longestPause, firstPause<<min(f.Attempts-1, 10))
	}
	return wait + time.Duration(share(place)*float64(wait/4))
}

const (
	toldAgain = day       // a failure that lasts is told once a day
	toldAfter = time.Hour // one that is no target's only when it lasts that long
)

// after is a failure behind the one before it, if that is not over.
func (f Failure) after(before *Failure, now time.Time) Failure {
	f.Since = now
	if before != nil {
		f.Since, f.ToldAt, f.Attempts = before.Since, before.ToldAt, before.Attempts
	}
	if !f.Code.ours() {
		f.Attempts++
	}
	return f
}

// tell says whether the owner is to be told now.
func (f Failure) tell(now time.Time) bool {
	if f.Code.ours() && now.Sub(f.Since) < toldAfter {
		return false
	}
	return f.ToldAt.IsZero() || now.Sub(f.ToldAt) >= toldAgain
}
