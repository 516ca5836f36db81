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
	"github.com/pageflare/ci/service/rights"
	"github.com/pageflare/ci/service/token"
)

// Store is what authentication needs of a database. Reads see all changes that were acknowledged
// before, by this process or another.
type Store interface {
	// Rights returns the state of rights, at most 250 ms old. What is read after it was known is
	// true as long as it is the same; see service/rights. ErrUnavailable: nobody can tell.
	Rights(ctx context.Context) (int64, error)
	// RevokedSince returns up to limit token ids and families that were revoked after a state of
	// rights; 0: all.
	RevokedSince(ctx context.Context, state int64, limit int) ([]string, error)
	// Account returns the account. ErrNotFound: no such account.
	Account(ctx context.Context, id string) (account.Account, error)
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
type Authenticator struct {
	cfg   AuthenticatorConfig
	known known
}

// NewAuthenticator returns an Authenticator.
func NewAuthenticator(c AuthenticatorConfig) *Authenticator {
	return &Authenticator{cfg: c, known: known{revoked: rights.Set{Since: c.Store.RevokedSince}}}
}

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
	asOf, err := a.cfg.Store.Rights(ctx) // before anything that it vouches for is read
	if err != nil {
		return Caller{}, err
	}
	caller, err := a.authenticate(ctx, c, asOf)
	caller.AsOf = asOf
	return caller, err
}

func (a *Authenticator) authenticate(ctx context.Context, c Credential, asOf int64) (Caller, error) {
	switch c.Kind {
	case ByAPIToken:
		return a.apiToken(ctx, c.text, asOf)
	case ByAdminToken:
		return a.adminToken(ctx, c.text, asOf)
	case ByLoginToken:
		return a.loginToken(ctx, c.text, asOf)
	case ByIdentity:
		return a.job(ctx, c.text, asOf)
	}
	return a.licenseToken(ctx, c.text, asOf)
}

func (a *Authenticator) licenseToken(ctx context.Context, text string, asOf int64) (Caller, error) {
	claims, bad, err := a.cfg.Keys.Parse(ctx, text, a.cfg.Now())
	if err != nil {
		return Caller{}, err
	}
	if bad != nil {
		return Caller{}, fmt.Errorf("%w: %w", ErrUnauthenticated, bad)
	}
	id := opaque.TokenID(claims.ID)
	owner, revoked, err := a.status(ctx, asOf, claims.Subject, id)
	if errors.Is(err, failure.ErrNotFound) {
		return Caller{}, fmt.Errorf("%w: its account is unknown", ErrUnauthenticated)
	}
	return Caller{Kind: ByLicenseToken, Account: owner, Token: claims, Revoked: revoked}, err
}

func (a *Authenticator) apiToken(ctx context.Context, text string, asOf int64) (Caller, error) {
	t, owner, err := a.ofAPIToken(ctx, asOf, opaque.Hash(text))
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

func (a *Authenticator) adminToken(ctx context.Context, text string, asOf int64) (Caller, error) {
	t, err := a.ofAdminToken(ctx, asOf, opaque.Hash(text))
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

func (a *Authenticator) loginToken(ctx context.Context, text string, asOf int64) (Caller, error) {
	d, owner, err := a.ofLoginToken(ctx, asOf, opaque.Hash(text))
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
func (a *Authenticator) job(ctx context.Context, text string, asOf int64) (Caller, error) {
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
