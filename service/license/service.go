package license

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// Config is what a Service is made of. All fields must be set unless they say what 0 means.
type Config struct {
	Store            Store
	Keys             *keyring.Keyring
	Accounts         *account.Registry
	Auth             *auth.Authenticator
	Devices          *auth.Devices
	Log              *audit.Log
	DeriveKey        []byte           // names refreshed tokens, see opaque.Deriver
	Issuer           string           // the `iss` of tokens: the public URL of the service
	TokenTTL         time.Duration    // lifetime of a token, capped by the end of the license
	IdentityTokenTTL time.Duration    // the same of a token that was got by an identity; 0: an hour
	LeaseGrace       time.Duration    // how long a lease bridges a service that does not answer, at most; 0: there are no leases
	Now              func() time.Time // in the resolution that is stored
	Rand             io.Reader        // cryptographic randomness
}

// Service gives license tokens and ends them, as the rules allow. It is safe for use by several
// goroutines, and several Services can share one database.
type Service struct {
	cfg   Config
	store Store
	keys  *keyring.Keyring
	log   *audit.Log
	names *opaque.Deriver
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.IdentityTokenTTL == 0 {
		cfg.IdentityTokenTTL = time.Hour
	}
	return &Service{cfg: cfg, store: cfg.Store, keys: cfg.Keys, log: cfg.Log, names: opaque.NewDeriver(cfg.DeriveKey)}
}

// mayUse is the rule for a caller: its token must not be revoked and its account must be allowed to
// hold tokens.
func mayUse(c auth.Caller, now time.Time) error {
	if err := account.MayHoldToken(c.Account, now); err != nil {
		return err
	}
	if c.Revoked {
		return ErrTokenRevoked
	}
	return nil
}

// Issue makes a new token for the caller's license. A token that is issued on the word of a license
// token belongs to that token's family: anyone who revokes a leaked token with its family also ends
// what was made with it. A job gets what Exchange gives. A request that its sender named
// (opaque.WithRequest) gets the same token when it is sent again: see issueOnce. Refusals:
// account.ErrExpired, ErrInactive, ErrRevoked, ErrTokenRevoked, ErrIdentityUsed.
func (s *Service) Issue(ctx context.Context, c auth.Caller) (Issued, error) {
	if c.Kind == auth.ByIdentity {
		return s.Exchange(ctx, c)
	}
	return s.issueAs(ctx, c, nil)
}

// recorder makes the record of a token durable, with its act, and what else belongs to it. nil: there
// is nothing else.
type recorder func(context.Context, TokenRecord, audit.Act) error

// issueAs is Issue with a record of another kind.
func (s *Service) issueAs(ctx context.Context, c auth.Caller, record recorder) (Issued, error) {
	now := s.cfg.Now()
	if err := mayUse(c, now); err != nil {
		return Issued{}, err
	}
	ttl := s.cfg.TokenTTL
	if left := c.Token.ExpiresAt.Sub(now.Truncate(time.Second)); opaque.TokenID(c.Token.ID).ByIdentity() && left < ttl {
		ttl = left
	}
	return s.issue(ctx, c.Account,
		TokenRecord{Parent: opaque.TokenID(c.Token.ID), IssuedBy: c.ID, Recorded: now, AsOf: c.AsOf}, ttl, record)
}

// IssueFor makes a new token for an account, with a lifetime of its own choice (0: the usual one).
// It is for the operator.
func (s *Service) IssueFor(ctx context.Context, id string, ttl time.Duration) (Issued, error) {
	a, err := s.store.Account(ctx, id)
	if err != nil {
		return Issued{}, err
	}
	now := s.cfg.Now()
	if err := account.MayHoldToken(a, now); err != nil {
		return Issued{}, err
	}
	if ttl == 0 {
		ttl = s.cfg.TokenTTL
	}
	if ttl < time.Second {
		return Issued{}, fmt.Errorf("%w: ttl %s is shorter than a second", failure.ErrInvalid, ttl)
	}
	return s.issue(ctx, a, TokenRecord{Recorded: now}, ttl, nil)
}

func (s *Service) issue(ctx context.Context, a account.Account, r TokenRecord, ttl time.Duration,
	record recorder) (Issued, error) {
	if record == nil {
		if name, ok := opaque.RequestName(ctx); ok {
			return s.issueOnce(ctx, name, a, r, ttl)
		}
		record = s.store.RecordToken
	}
	claims, capped, err := s.newClaims(a, r, ttl, s.cfg.Rand)
	if err != nil {
		return Issued{}, err
	}
	return keyring.Sign(ctx, s.keys, func(view *keyring.View) (Issued, error) {
		out, r, act, err := s.sign(ctx, view, claims, capped, r, audit.TokenIssued)
		if err != nil {
			return Issued{}, err
		}
		return out, record(ctx, r, act)
	})
}

// Refresh makes the token that follows the caller's license token, which stays valid to its own
// end. Within one Window the same token in gives the same token out, on every replica: its content
// and its id are derived, nothing is looked up or locked. An account that was changed in between
// gets a token that says the new. Refusals: as for Issue, and ErrUnauthenticated for any other
// token.
func (s *Service) Refresh(ctx context.Context, c auth.Caller) (Issued, error) {
	if c.Token.ID == "" {
		return Issued{},
			fmt.Errorf("%w: only a license token can be refreshed", auth.ErrUnauthenticated)
	}
	now := s.cfg.Now()
	if err := mayUse(c, now); err != nil {
		return Issued{}, err
	}
	return keyring.Sign(ctx, s.keys,
		func(view *keyring.View) (Issued, error) { return s.refreshWith(ctx, c, now, view) })
}

func (s *Service) refreshWith(ctx context.Context, c auth.Caller, now time.Time,
	view *keyring.View) (Issued, error) {
	set := view.Tokens
	parent := opaque.TokenID(c.Token.ID)
	window := Window(c.Token.Lifetime(), s.cfg.TokenTTL)
	iat := Bucket(c.Token.IssuedAt, now, window)
	if before := iat.Add(-window); !before.Before(c.Token.IssuedAt) {
		// the window counts from the first answer, not from the clock: one that was given just
		// before the bucket turned still holds
		claims, capped, err := s.successor(c, parent, before, set)
		if err != nil {
			return Issued{}, err
		}
		at, err := s.store.RecordedAt(ctx, opaque.TokenID(claims.ID))
		if err == nil && now.Before(at.Add(window)) {
			return signWith(set, claims, capped)
		}
		if err != nil && !errors.Is(err, failure.ErrNotFound) {
			return Issued{}, err
		}
	}
	claims, capped, err := s.successor(c, parent, iat, set)
	if err != nil {
		return Issued{}, err
	}
	out, r, act, err := s.sign(ctx, view, claims, capped, TokenRecord{Parent: parent, Recorded: now, AsOf: c.AsOf},
		audit.TokenRefreshed)
	if err != nil {
		return Issued{}, err
	}
	return out, s.store.RecordToken(ctx, r, act)
}

// successor is what the caller's token is refreshed to when iat is the start of the window. Its id
// depends on everything in the token, the signing key included: two tokens with one id would be one
// record, which says who depends on which key.
func (s *Service) successor(c auth.Caller, parent opaque.TokenID, iat time.Time,
	set *token.KeySet) (token.Claims, bool, error) {
	claims, capped := s.claims(c.Account, iat, s.cfg.TokenTTL)
	if parent.ByIdentity() && claims.ExpiresAt.After(c.Token.ExpiresAt) {
		claims.ExpiresAt = c.Token.ExpiresAt
	}
	says, err := token.Payload(claims)
	if err != nil {
		return token.Claims{}, false, unsigned(claims, err)
	}
	content := append(append(append(make([]byte, 0, len(set.SigningKey())+1+len(says)), set.SigningKey()...), 0), says...)
	claims.ID = string(s.names.TokenID(iat, parent, content))
	return claims, capped, nil
}

// newClaims is what a new token says, under an id of its own.
func (s *Service) newClaims(a account.Account, r TokenRecord, ttl time.Duration,
	rand io.Reader) (token.Claims, bool, error) {
	iat := r.Recorded.Truncate(time.Second)
	id, err := opaque.NewTokenID(iat, r.Parent.Family(), rand)
	if err != nil {
		return token.Claims{}, false, err
	}
	claims, capped := s.claims(a, iat, ttl)
	claims.ID = string(id)
	return claims, capped, nil
}

func (s *Service) claims(a account.Account, iat time.Time, ttl time.Duration) (token.Claims, bool) {
	exp, capped := Expiry(iat, ttl.Truncate(time.Second), a.ValidUntil)
	return token.Claims{
		Subject: a.ID, Email: a.Email, Tier: string(a.Tier), Features: a.Features, ValidUntil: a.ValidUntil,
		IssuedAt: iat, ExpiresAt: exp, Issuer: s.cfg.Issuer,
	}, capped
}

// sign signs a token, completes its record with what it says, and makes the act of giving it.
func (s *Service) sign(ctx context.Context, view *keyring.View, c token.Claims, capped bool,
	r TokenRecord, did audit.Action) (Issued, TokenRecord, audit.Act, error) {
	out, err := signWith(view.Tokens, c, capped)
	if err != nil {
		return Issued{}, TokenRecord{}, audit.Act{}, err
	}
	r.ID, r.AccountID, r.KeyID, r.IssuedAt, r.ExpiresAt = out.ID, c.Subject, view.Tokens.SigningKey(), c.IssuedAt, c.ExpiresAt
	r.Hash, r.AsOf = sha256.Sum256([]byte(out.Token.Reveal())), min(r.AsOf, view.AsOf)
	return out, r, s.log.Act(ctx, did, r.AccountID, string(r.ID), nil), nil
}

func signWith(set *token.KeySet, c token.Claims, capped bool) (Issued, error) {
	text, err := set.Sign(c)
	if err != nil {
		return Issued{}, unsigned(c, err)
	}
	return Issued{
		Token: opaque.Secret(text), ID: opaque.TokenID(c.ID), ExpiresAt: c.ExpiresAt, RefreshAfter: RefreshAfter(c.IssuedAt, c.ExpiresAt), Capped: capped,
	}, nil
}

// Validate says whether a caller's license token may be used now. Refusals: ErrExpired,
// ErrInactive, ErrRevoked, ErrTokenRevoked.
func (s *Service) Validate(c auth.Caller) error { return mayUse(c, s.cfg.Now()) }

// unsigned says why claims cannot be signed.
func unsigned(c token.Claims, err error) error {
	// the license ends within this very second: there is no whole second left for a token to live
	if errors.Is(err, token.ErrClaims) && !c.ExpiresAt.After(c.IssuedAt) {
		return account.ErrExpired
	}
	return err
}
