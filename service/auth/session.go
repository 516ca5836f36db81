package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// A person signs in to the pages of the service by a link that the operator hands out. The link is
// good once and for a quarter of an hour; the session that it begins ends after eight hours, used
// or not.
const (
	SignInLinkTTL = 15 * time.Minute
	SessionTTL    = 8 * time.Hour
)

// SignInLink is the record of a link by which a person signs in. Its text is not stored.
type SignInLink struct {
	Hash      string // SHA-256 of its secret, hexadecimal
	AccountID string
	ExpiresAt time.Time
}

// Session is the record of a session in a browser. Its secret is not stored.
type Session struct {
	ID        string // "ses_" and 16 letters or digits
	Hash      string // SHA-256 of its secret, hexadecimal
	AccountID string
	CreatedAt time.Time
	ExpiresAt time.Time

	secret opaque.Secret // only while its holder is here
}

// FormToken proves that a form was made for this session and for one purpose. Nobody who lacks the
// session's secret can make it.
func (s Session) FormToken(purpose string) string {
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write([]byte("form " + purpose))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// CheckFormToken says whether a form was made for this session and this purpose.
func (s Session) CheckFormToken(purpose, token string) bool {
	return hmac.Equal([]byte(s.FormToken(purpose)), []byte(token))
}

// SessionStore is what sessions need of a database. Every method that changes something has made it
// durable, its act included, when it returns nil.
type SessionStore interface {
	// Account returns one account. ErrNotFound.
	Account(ctx context.Context, id string) (account.Account, error)
	// AddSignInLink stores a link, and purges some that have expired. ErrNotFound: no such account.
	AddSignInLink(ctx context.Context, l SignInLink, act audit.Act) error
	// SignInLink returns the link with that hash. ErrNotFound: there is none, or it was used.
	SignInLink(ctx context.Context, hash string) (SignInLink, error)
	// BeginSession removes the link with that hash and stores a session, and purges some that have
	// expired. ErrNotFound: no such link.
	BeginSession(ctx context.Context, link string, n Session, act audit.Act) error
	// Session returns the session with that hash, and its account. ErrNotFound.
	Session(ctx context.Context, hash string) (Session, account.Account, error)
	// EndSession removes a session. Removing it twice is no error.
	EndSession(ctx context.Context, id string, act audit.Act) error
}

// Sessions is the sessions of a database, and the links by which people begin them.
type Sessions struct {
	store     SessionStore
	publicURL string
	cfg       Config
}

// NewSessions returns the sessions of a database. The public URL is where people reach the service;
// it has no slash at its end.
func NewSessions(s SessionStore, publicURL string, c Config) *Sessions {
	return &Sessions{s, publicURL, c}
}

// CreateSignInLink makes a link by which a person signs in to an account, once. A request that its
// sender named makes one, however often it is sent. Refusals: ErrNotFound, ErrRevoked for a deleted
// account.
func (s *Sessions) CreateSignInLink(ctx context.Context,
	id string) (url opaque.Secret, ends time.Time, err error) {
	a, err := s.store.Account(ctx, id)
	if err != nil {
		return "", time.Time{}, err
	}
	if a.Status == account.Deleted {
		return "", time.Time{}, fmt.Errorf("account %s: %w", a.ID, account.ErrDeleted)
	}
	text, err := opaque.SignInLink.New(opaque.RandOf(ctx, s.cfg.Rand))
	if err != nil {
		return "", time.Time{}, err
	}
	l := SignInLink{
		Hash: opaque.Hash(text.Reveal()), AccountID: a.ID,
		ExpiresAt: s.cfg.Now().Add(SignInLinkTTL),
	}
	err = s.store.AddSignInLink(ctx, l,
		s.cfg.Log.Act(ctx, audit.SignInLinkCreated, a.ID, a.ID,
			audit.Details{"expires_at": l.ExpiresAt.Unix()}))
	if errors.Is(err, failure.ErrConflict) {
		there, fault := s.store.SignInLink(ctx, l.Hash)
		if fault == nil && there.AccountID == a.ID {
			l, err = there, nil // this very request made it before
		}
	}
	return opaque.Secret(s.publicURL + "/sign-in?link=" + text.Reveal()), l.ExpiresAt, err
}

// SignInAccount tells whose link a secret is, without using it up. ErrUnauthenticated: it is not
// known, was used, or has expired.
func (s *Sessions) SignInAccount(ctx context.Context, secret string) (account.Account, error) {
	l, err := s.store.SignInLink(ctx, opaque.Hash(secret))
	switch {
	case errors.Is(err, failure.ErrNotFound) || err == nil && !s.cfg.Now().Before(l.ExpiresAt):
		return account.Account{}, fmt.Errorf("%w: sign-in link", ErrUnauthenticated)
	case err != nil:
		return account.Account{}, err
	}
	a, err := s.store.Account(ctx, l.AccountID)
	if err == nil && a.Status == account.Deleted {
		return account.Account{}, fmt.Errorf("%w: the account was deleted", ErrUnauthenticated)
	}
	return a, err
}

// SignIn uses a link up and begins a session with a new secret. ErrUnauthenticated.
func (s *Sessions) SignIn(ctx context.Context, secret string) (opaque.Secret, Session, error) {
	a, err := s.SignInAccount(ctx, secret)
	if err != nil {
		return "", Session{}, err
	}
	text, err := opaque.Session.New(s.cfg.Rand)
	if err != nil {
		return "", Session{}, err
	}
	id, err := opaque.OfSession.New(s.cfg.Rand)
	if err != nil {
		return "", Session{}, err
	}
	now := s.cfg.Now()
	session := Session{
		ID: id, Hash: opaque.Hash(text.Reveal()), AccountID: a.ID, CreatedAt: now,
		ExpiresAt: now.Add(SessionTTL), secret: text,
	}
	err = s.store.BeginSession(ctx, opaque.Hash(secret), session,
		s.cfg.Log.Act(audit.WithFallbackActor(ctx, a.ID), audit.SignedIn, a.ID, id, nil))
	if errors.Is(err, failure.ErrNotFound) {
		return "", Session{},
			fmt.Errorf("%w: the sign-in link was used in this moment", ErrUnauthenticated)
	}
	return text, session, err
}

// Session tells whose session a secret is. ErrUnauthenticated: it is not known or has ended.
func (s *Sessions) Session(ctx context.Context, secret string) (Caller, error) {
	if !opaque.Session.Fits(secret) {
		return Caller{}, fmt.Errorf("%w: no session", ErrUnauthenticated)
	}
	session, owner, err := s.store.Session(ctx, opaque.Hash(secret))
	switch {
	case errors.Is(err, failure.ErrNotFound):
		return Caller{}, fmt.Errorf("%w: unknown session", ErrUnauthenticated)
	case err != nil:
		return Caller{}, err
	case !s.cfg.Now().Before(session.ExpiresAt) || owner.Status == account.Deleted:
		return Caller{}, fmt.Errorf("%w: session %s has ended", ErrUnauthenticated, session.ID)
	}
	session.secret = opaque.Secret(secret)
	return Caller{Kind: BySession, Account: owner, Session: &session}, nil
}

// SignOut ends the caller's session.
func (s *Sessions) SignOut(ctx context.Context, c Caller) error {
	return s.store.EndSession(ctx, c.Session.ID,
		s.cfg.Log.Act(audit.WithFallbackActor(ctx, c.Session.ID), audit.SignedOut, c.Account.ID,
			c.Session.ID, nil))
}
