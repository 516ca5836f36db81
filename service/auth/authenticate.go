package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Store is what authentication needs of a database. Reads see all changes that were acknowledged
// before, by this process or another.
type Store interface {
	// AccountStatus returns the account, and whether one of the subjects (token ids, families) was
	// revoked. ErrNotFound: no such account.
	AccountStatus(ctx context.Context, account string,
		subjects ...string) (a account.Account, revoked bool, err error)
	// APIToken returns the token with that hash, revoked or not, and its account. ErrNotFound.
	APIToken(ctx context.Context, hash string) (account.APIToken, account.Account, error)
	// AdminToken returns the admin token with that hash, ended or not. ErrNotFound.
	AdminToken(ctx context.Context, hash string) (AdminToken, error)
	// LoginToken returns the device login with that hash of its login token, and the account.
	// ErrNotFound.
	LoginToken(ctx context.Context, hash string) (DeviceLogin, account.Account, error)
}

// LicenseKeys verify license tokens. bad says why a token is not good, err that nobody can tell
// now.
type LicenseKeys interface {
	Parse(ctx context.Context, text string, now time.Time) (claims token.Claims, bad, err error)
}

// Jobs finds the policy that allows an authentic identity, and its account. ErrNoPolicy; or why the
// license of the policy's account is not good: account.ErrExpired, ErrInactive, ErrRevoked.
type Jobs interface {
	PolicyFor(ctx context.Context, id oidc.Identity) (oidc.Policy, account.Account, error)
}

// AuthenticatorConfig is what an Authenticator is made of. Store, Keys and Now must be set.
type AuthenticatorConfig struct {
	Store      Store
	Keys       LicenseKeys
	Identities *oidc.Verifier              // proves identity tokens; nil: none is accepted
	Jobs       Jobs                        // must be set with Identities
	Clock      func(context.Context) error // why the clock cannot be right; nil: it is
	Now        func() time.Time
}

// Authenticator tells who calls. It is safe for use by several goroutines.
type Authenticator struct{ cfg AuthenticatorConfig }

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(c AuthenticatorConfig) *Authenticator { return &Authenticator{c} }

// Credential is a text that a caller shows, and what kind it can be.
type Credential struct {
	Kind Kind
	text string
}

// Parse tells what kind of credential a bearer token can be, good or not.
func Parse(text string) Credential {
	switch {
	case opaque.APIToken.Fits(text):
		return Credential{ByAPIToken, text}
	case opaque.AdminToken.Fits(text):
		return Credential{ByAdminToken, text}
	case opaque.LoginToken.Fits(text):
		return Credential{ByLoginToken, text}
	case oidc.LooksLikeIdentity(text):
		return Credential{ByIdentity, text}
	}
	return Credential{ByLicenseToken, text}
}

// Authenticate tells who shows a credential. It knows who, not yet whether they may: a revoked
// license token and a license that is over pass here, so that the rules can say so; only a job that
// no policy allows is nobody's. ErrUnauthenticated: no good credential; the error that wraps it
// says why. Every refusal of a job is an ErrUntrustedJob, or an ErrUnauthenticated.
func (a *Authenticator) Authenticate(ctx context.Context, c Credential) (Caller, error) {
	switch c.Kind {
	case ByAPIToken:
		return a.apiToken(ctx, c.text)
	case ByAdminToken:
		return a.adminToken(ctx, c.text)
	case ByLoginToken:
		return a.loginToken(ctx, c.text)
	case ByIdentity:
		return a.job(ctx, c.text)
	}
	return a.licenseToken(ctx, c.text)
}

func (a *Authenticator) licenseToken(ctx context.Context, text string) (Caller, error) {
	claims, bad, err := a.cfg.Keys.Parse(ctx, text, a.cfg.Now())
	if err != nil {
		return Caller{}, err
	}
	if bad != nil {
		return Caller{}, fmt.Errorf("%w: %w", ErrUnauthenticated, bad)
	}
	id := opaque.TokenID(claims.ID)
	owner, revoked, err := a.cfg.Store.AccountStatus(ctx, claims.Subject, claims.ID, id.Family())
	if errors.Is(err, failure.ErrNotFound) {
		return Caller{}, fmt.Errorf("%w: its account is unknown", ErrUnauthenticated)
	}
	return Caller{Kind: ByLicenseToken, Account: owner, Token: claims, Revoked: revoked}, err
}

func (a *Authenticator) apiToken(ctx context.Context, text string) (Caller, error) {
	t, owner, err := a.cfg.Store.APIToken(ctx, opaque.Hash(text))
	switch {
	case errors.Is(err, failure.ErrNotFound):
		return Caller{}, fmt.Errorf("%w: unknown API token", ErrUnauthenticated)
	case err != nil:
		return Caller{}, err
	case !t.RevokedAt.IsZero():
		return Caller{}, fmt.Errorf("%w: API token %s was revoked", ErrUnauthenticated, t.ID)
	}
	return Caller{Kind: ByAPIToken, Account: owner, ID: t.ID}, nil
}

func (a *Authenticator) adminToken(ctx context.Context, text string) (Caller, error) {
	t, err := a.cfg.Store.AdminToken(ctx, opaque.Hash(text))
	switch {
	case errors.Is(err, failure.ErrNotFound):
		return Caller{}, fmt.Errorf("%w: unknown admin token", ErrUnauthenticated)
	case err != nil:
		return Caller{}, err
	case !t.RevokedAt.IsZero():
		return Caller{}, fmt.Errorf("%w: admin token %s was revoked", ErrUnauthenticated, t.ID)
	case !t.ExpiresAt.IsZero() && !a.cfg.Now().Before(t.ExpiresAt):
		return Caller{}, fmt.Errorf("%w: admin token %s has expired", ErrUnauthenticated, t.ID)
	}
	return Caller{Kind: ByAdminToken, Admin: &t}, nil
}

func (a *Authenticator) loginToken(ctx context.Context, text string) (Caller, error) {
	d, owner, err := a.cfg.Store.LoginToken(ctx, opaque.Hash(text))
	switch {
	case errors.Is(err, failure.ErrNotFound):
		return Caller{}, fmt.Errorf("%w: unknown login token", ErrUnauthenticated)
	case err != nil:
		return Caller{}, err
	case !a.cfg.Now().Before(d.TokenEnds):
		return Caller{}, fmt.Errorf("%w: the login token of %s has ended", ErrUnauthenticated, d.ID)
	}
	return Caller{Kind: ByLoginToken, Account: owner, ID: d.ID}, nil
}

// job proves an identity token and finds the policy that allows the job.
func (a *Authenticator) job(ctx context.Context, text string) (Caller, error) {
	if a.cfg.Identities == nil {
		return Caller{},
			fmt.Errorf("%w: no issuer of identities is trusted here", ErrUnauthenticated)
	}
	id, err := a.cfg.Identities.Verify(ctx, text)
	switch {
	case errors.Is(err, oidc.ErrUnreachable):
		return Caller{}, untrusted{fmt.Errorf("%w: %w", ErrIssuer, err)}
	case errors.Is(err, oidc.ErrNotYetValid) && a.cfg.Clock != nil && a.cfg.Clock(ctx) != nil:
		return Caller{}, a.cfg.Clock(ctx)
	case err != nil:
		return Caller{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	policy, owner, err := a.cfg.Jobs.PolicyFor(ctx, id)
	switch {
	case errors.Is(err, ErrNoPolicy), errors.Is(err, account.ErrExpired), errors.Is(err,
		account.ErrInactive), errors.Is(err, account.ErrRevoked):
		return Caller{}, untrusted{err}
	case err != nil:
		return Caller{}, err
	}
	return Caller{Kind: ByIdentity, Account: owner, Job: &Job{id, policy}}, nil
}

// untrusted marks an error as ErrUntrustedJob. Its text stays as it is.
type untrusted struct{ error }

func (u untrusted) Unwrap() []error { return []error{u.error, ErrUntrustedJob} }
