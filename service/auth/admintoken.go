package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// Scope is a part of the Admin API that an admin token may use.
type Scope string

// The scopes. A scope that writes does not include the one that reads.
const (
	ScopeAccountsRead   Scope = "accounts:read"
	ScopeAccountsWrite  Scope = "accounts:write"
	ScopeTokensRead     Scope = "tokens:read"  // records of API tokens, license tokens and machines; introspection
	ScopeTokensWrite    Scope = "tokens:write" // issue and revoke API tokens and license tokens, of any account, and sign its people in: who signs in gets tokens
	ScopePoliciesRead   Scope = "policies:read"
	ScopePoliciesWrite  Scope = "policies:write"
	ScopeKeysRead       Scope = "keys:read"
	ScopeKeysWrite      Scope = "keys:write"
	ScopeAuditRead      Scope = "audit:read"
	ScopeWebhooksRead   Scope = "webhooks:read"
	ScopeWebhooksWrite  Scope = "webhooks:write"
	ScopeEventsRead     Scope = "events:read" // what happened, of all accounts
	ScopeAdminRead      Scope = "admin-tokens:read"
	ScopeAdminWrite     Scope = "admin-tokens:write"
	ScopeRotationsRead  Scope = "rotations:read"
	ScopeRotationsWrite Scope = "rotations:write"
	ScopePlansRead      Scope = "plans:read" // plans and purchases
	ScopePlansWrite     Scope = "plans:write"
)

// Scopes are all scopes there are.
var Scopes = []Scope{
	ScopeAccountsRead, ScopeAccountsWrite, ScopeTokensRead, ScopeTokensWrite, ScopePoliciesRead, ScopePoliciesWrite, ScopeKeysRead, ScopeKeysWrite,
	ScopeAuditRead, ScopeWebhooksRead, ScopeWebhooksWrite, ScopeEventsRead, ScopeRotationsRead, ScopeRotationsWrite, ScopeAdminRead, ScopeAdminWrite, ScopePlansRead, ScopePlansWrite,
}

// AdminToken is the record of an admin token: what the operator calls the Admin API with. Its text
// is not stored.
type AdminToken struct {
	ID        string // "adm_" and 16 letters or digits
	Name      string
	Hash      string // SHA-256 of the text, hexadecimal
	Scopes    []Scope
	CreatedAt time.Time
	ExpiresAt time.Time // zero when it lasts until it is revoked
	RevokedAt time.Time // zero while it is good
}

// May says whether the token has a scope.
func (t AdminToken) May(s Scope) bool { return slices.Contains(t.Scopes, s) }

// AdminStore is what admin tokens need of a database. Every method that changes something has made
// it durable, its act included, when it returns nil.
type AdminStore interface {
	// AddAdminToken stores a new admin token.
	AddAdminToken(ctx context.Context, t AdminToken, act audit.Act) error
	// AdminToken returns the admin token with that hash, ended or not. ErrNotFound.
	AdminToken(ctx context.Context, hash string) (AdminToken, error)
	// AdminTokens returns up to limit admin tokens, oldest first, that come after the given one
	// ("" for the oldest). ErrInvalid: there is none by that id.
	AdminTokens(ctx context.Context, after string, limit int) ([]AdminToken, error)
	// RevokeAdminToken ends an admin token at the time of the act; one that has ended keeps its
	// first time. ErrNotFound.
	RevokeAdminToken(ctx context.Context, id string, act audit.Act) error
}

// Admins is the admin tokens of a database.
type Admins struct {
	store AdminStore
	cfg   Config
}

// NewAdmins returns the admin tokens of a database.
func NewAdmins(s AdminStore, c Config) *Admins { return &Admins{s, c} }

// NewAdminToken is what an admin token starts with.
type NewAdminToken struct {
	Name     string
	Scopes   []Scope
	Lifetime time.Duration // 0: until it is revoked
}

// CreateAdminToken makes an admin token. Its text is in the answer and nowhere else. by is the
// admin token that asks for it, nil on the command line: it cannot give away scopes that it lacks,
// nor a longer lifetime than its own. A request that its sender named makes one, however often it is
// sent. Refusals: ErrInvalid, ErrScope.
func (s *Admins) CreateAdminToken(ctx context.Context, n NewAdminToken,
	by *AdminToken) (opaque.Secret, AdminToken, error) {
	now := s.cfg.Now()
	t := AdminToken{
		Name: n.Name, Scopes: sortedScopes(n.Scopes), CreatedAt: now, ExpiresAt: n.endsAt(now),
	}
	if err := checkAdminToken(n, t); err != nil {
		return "", AdminToken{}, err
	}
	if err := mayGrant(by, t); err != nil {
		return "", AdminToken{}, err
	}
	rand := opaque.RandOf(ctx, s.cfg.Rand)
	text, err := opaque.AdminToken.New(rand)
	if err != nil {
		return "", AdminToken{}, err
	}
	if t.ID, err = opaque.OfAdminToken.New(rand); err != nil {
		return "", AdminToken{}, err
	}
	t.Hash = opaque.Hash(text.Reveal())
	err = s.store.AddAdminToken(ctx, t,
		s.cfg.Log.Act(ctx, audit.AdminTokenCreated, "", t.ID,
			audit.Details{"scopes": t.Scopes, "expires_at": optionalUnix(t.ExpiresAt)}))
	if errors.Is(err, failure.ErrConflict) {
		there, fault := s.store.AdminToken(ctx, t.Hash)
		if fault == nil && there.Name == t.Name && slices.Equal(there.Scopes, t.Scopes) &&
			there.RevokedAt.IsZero() && there.ExpiresAt.Equal(n.endsAt(there.CreatedAt)) {
			return text, there, nil // this very request made it before
		}
	}
	return text, t, err
}

// endsAt is when a token that is made at a time expires; zero: it does not.
func (n NewAdminToken) endsAt(made time.Time) time.Time {
	if n.Lifetime <= 0 {
		return time.Time{}
	}
	return made.Add(n.Lifetime).Truncate(time.Second)
}

func checkAdminToken(n NewAdminToken, t AdminToken) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults,
			fmt.Errorf("%w: "+format, append([]any{failure.ErrInvalid}, args...)...))
	}
	if len(t.Scopes) == 0 {
		fault("no scope: give one of %s", scopeNames())
	}
	for _, scope := range t.Scopes {
		if !slices.Contains(Scopes, scope) {
			fault("scope %q is none of %s", scope, scopeNames())
		}
	}
	if len(n.Name) > 100 {
		fault("name is longer than 100 bytes")
	}
	if n.Lifetime < 0 || n.Lifetime > 0 && n.Lifetime < time.Minute {
		fault("lifetime %s is shorter than a minute", n.Lifetime)
	}
	return errors.Join(faults...)
}

// mayGrant is the rule that nobody gives away more than they have.
func mayGrant(by *AdminToken, t AdminToken) error {
	if by == nil {
		return nil
	}
	for _, scope := range t.Scopes {
		if !by.May(scope) {
			return fmt.Errorf("%w: your admin token lacks the scope %s itself", ErrScope, scope)
		}
	}
	if !by.ExpiresAt.IsZero() && (t.ExpiresAt.IsZero() || t.ExpiresAt.After(by.ExpiresAt)) {
		return fmt.Errorf("%w: the new admin token would outlive yours, which ends at %s", ErrScope,
			by.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

func scopeNames() string { return failure.Names(Scopes) }

// sortedScopes is a list without repeats, in the order of Scopes, unknown ones last.
func sortedScopes(in []Scope) []Scope {
	out := slices.Clone(in)
	slices.SortFunc(out,
		func(a, b Scope) int { return slices.Index(Scopes, a) - slices.Index(Scopes, b) })
	return slices.Compact(out)
}

func optionalUnix(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

// AdminTokens returns up to limit admin tokens, ended ones too, oldest first, that come after the
// given one. ErrInvalid: after is no admin token.
func (s *Admins) AdminTokens(ctx context.Context, after string, limit int) ([]AdminToken, error) {
	if err := opaque.OfAdminToken.CheckAfter(after); err != nil {
		return nil, err
	}
	return s.store.AdminTokens(ctx, after, limit)
}

// RevokeAdminToken ends an admin token, by its id or by its text, and returns its id. Ending it
// twice is no error. ErrNotFound.
func (s *Admins) RevokeAdminToken(ctx context.Context, idOrText string) (string, error) {
	if opaque.AdminToken.Fits(idOrText) {
		t, err := s.store.AdminToken(ctx, opaque.Hash(idOrText))
		if err != nil {
			return "", err
		}
		idOrText = t.ID
	}
	return idOrText,
		s.store.RevokeAdminToken(ctx, idOrText,
			s.cfg.Log.Act(ctx, audit.AdminTokenRevoked, "", idOrText, nil))
}
