// Package auth answers one question: who calls. It turns a credential into a Caller, and gives out
// the credentials that are nothing else: admin tokens, device logins, sessions.
//
// What a caller may do is decided where it is done; API tokens are given out by service/account,
// license tokens by service/license.
package auth

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

var (
	// ErrUnauthenticated says that the caller showed no credential, or none that is good.
	ErrUnauthenticated = errors.New("missing or invalid token")
	// ErrScope says that the caller may not do this; the error that wraps it says what it lacks.
	ErrScope = errors.New("insufficient scope")
	// ErrNoPolicy says that the job is who it says, and that no trust policy allows it.
	ErrNoPolicy = errors.New("no trust policy allows this job: the operator of this License service sees why by `pageflare-license policy explain`")
	// ErrIssuer says that the issuer of an identity token cannot be asked for its keys now.
	ErrIssuer = errors.New("the issuer of this identity token does not answer: try again later")
	// ErrUntrustedJob marks every refusal of an identity: any job of GitHub can obtain a valid
	// identity token, so refused ones are limited by the address of the client, whatever for.
	ErrUntrustedJob = errors.New("refused identity")
)

// Config is what all types of this package have in common. All fields must be set.
type Config struct {
	Log  *audit.Log
	Now  func() time.Time // in the resolution that is stored
	Rand io.Reader        // cryptographic randomness
}

// Kind is what a caller showed.
type Kind string

// The kinds of credentials.
const (
	ByLicenseToken Kind = "license token"
	ByAPIToken     Kind = "API token"
	ByLoginToken   Kind = "login token"
	ByAdminToken   Kind = "admin token"
	ByIdentity     Kind = "identity token" // of a job of GitHub Actions
	BySession      Kind = "session"        // of a person in a browser
)

// Caller is who showed a good credential: an account, by a token, a session or a job that its trust
// policy allows; or the operator, by an admin token.
type Caller struct {
	Kind    Kind
	Account account.Account // empty for an admin token
	ID      string          // of the API token or the device login; else empty
	Token   token.Claims    // of a license token; else its ID is empty
	Revoked bool            // the license token or its family was revoked
	AsOf    int64           // the state of rights (service/rights) in which all this is true
	Session *Session        // else nil
	Admin   *AdminToken     // else nil
	Job     *Job            // else nil
}

// Job is a job of GitHub Actions, and the policy that allows it.
type Job struct {
	Identity oidc.Identity
	Policy   oidc.Policy
}

// Actor is the caller in the audit log.
func (c Caller) Actor() audit.Actor {
	switch c.Kind {
	case ByAdminToken:
		return audit.Actor{Kind: audit.ActorAdmin, ID: c.Key()}
	case ByIdentity:
		return audit.Actor{Kind: audit.ActorJob, ID: c.Key()}
	}
	return audit.Actor{Kind: audit.ActorAccount, ID: c.Key()}
}

// Key names the credential, for logs. It is no secret.
func (c Caller) Key() string {
	switch c.Kind {
	case ByAdminToken:
		return c.Admin.ID
	case BySession:
		return c.Session.ID
	case ByLicenseToken:
		return c.Token.ID
	case ByIdentity:
		return "repository " + c.Job.Identity.RepositoryID + " run " + c.Job.Identity.RunID
	}
	return c.ID
}

// LimitKey is what requests are counted by: the credential; of a license token its family, for its
// holder can make more of the family, and would otherwise never meet a limit; of a job its
// repository, for each run has a new identity.
func (c Caller) LimitKey() string {
	switch c.Kind {
	case ByLicenseToken:
		return opaque.TokenID(c.Token.ID).Family()
	case ByIdentity:
		return c.Job.Identity.Issuer + " " + c.Job.Identity.RepositoryID
	}
	return c.Key()
}

// Tier is the tier whose limits the caller has. Admin tokens have those of the highest.
func (c Caller) Tier() account.Tier {
	if c.Kind == ByAdminToken {
		return account.Team
	}
	return c.Account.Tier
}

// Require says whether the caller has a scope, which only admin tokens need. ErrScope.
func (c Caller) Require(s Scope) error {
	if c.Kind != ByAdminToken || c.Admin.May(s) {
		return nil
	}
	return fmt.Errorf("%w: this admin token lacks the scope %s: make one that has it", ErrScope, s)
}

// Reaches says whether what belongs to an account is any of the caller's business.
func (c Caller) Reaches(account string) bool {
	return c.Kind == ByAdminToken || c.Account.ID == account
}

// MayEnd says whether the caller may end a token of an account. ErrScope.
func (c Caller) MayEnd(account string) error {
	if c.Reaches(account) {
		return nil
	}
	return fmt.Errorf("%w: this token belongs to another account", ErrScope)
}
