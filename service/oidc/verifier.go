package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Config is what a Verifier is made of. All fields must be set; an empty list of issuers trusts
// nobody.
type Config struct {
	Issuers  []string     // `iss` of tokens, character by character
	Audience string       // what tokens must be made for, and for nothing else: the origin that clients call
	HTTP     *http.Client // fetches keys
	KeyStore KeyStore     // stores the last good keys of issuers; nil: they are forgotten when the process ends
	Now      func() time.Time
	Log      *slog.Logger
}

// KeyStore stores the keys that issuers published last, so that they survive an outage of the
// issuer together with a restart of ours, and so that several processes have them in common. They
// are public, and they decide who is believed: anyone who can change what a KeyStore returns can
// allow anybody.
type KeyStore interface {
	// StoreIssuerKeys stores a JSON Web Key Set as it was fetched at that time; the last call
	// counts.
	StoreIssuerKeys(ctx context.Context, issuer string, jwks []byte, fetched time.Time) error
	// IssuerKeys returns what is stored; nil when there is nothing.
	IssuerKeys(ctx context.Context, issuer string) (jwks []byte, fetched time.Time, err error)
}

// Verifier tells authentic identity tokens from all others. It is safe for use by several
// goroutines.
type Verifier struct {
	cfg  Config
	keys map[string]*keys // by issuer
}

// New returns a Verifier. It asks no issuer for anything before a token of that issuer comes. The
// error says what is wrong with an issuer.
func New(cfg Config) (*Verifier, error) {
	if cfg.Audience == "" {
		return nil, errors.New("audience: missing")
	}
	v := &Verifier{cfg: cfg, keys: map[string]*keys{}}
	for _, issuer := range cfg.Issuers {
		if err := CheckIssuer(issuer); err != nil {
			return nil, err
		}
		f, err := newFetcher(issuer, cfg.HTTP)
		if err != nil {
			return nil, err
		}
		v.keys[issuer] = &keys{
			issuer: issuer, fetch: f.keySet, now: cfg.Now, log: cfg.Log, keyStore: cfg.KeyStore,
		}
	}
	return v, nil
}

// CountKeys asks an issuer, as Verify would, how many keys it has by which identity tokens can be
// signed.
func CountKeys(ctx context.Context, issuer string, client *http.Client) (int, error) {
	f, err := newFetcher(issuer, client)
	if err != nil {
		return 0, err
	}
	all, err := f.keySet(ctx)
	if err != nil {
		return 0, err
	}
	known, err := usable(all)
	return len(known), err
}

// Issuers are those that are trusted.
func (v *Verifier) Issuers() []string { return v.cfg.Issuers }

// Verify returns who the job is that an identity token was issued to. What needs no key is checked
// first, so that a token which is wrong in any other way never makes us ask an issuer for keys. The
// error wraps one of the sentinels of this package; ErrUnreachable alone says nothing about the
// token. Whether the token was used before is not known here.
func (v *Verifier) Verify(ctx context.Context, raw string) (Identity, error) {
	p, err := parse(raw)
	if err != nil {
		return Identity{}, err
	}
	for _, r := range rules(p.identity, v.cfg.Issuers, v.cfg.Audience, v.cfg.Now()) {
		if r.Outcome == Failed {
			return Identity{}, r.err
		}
	}
	if err := v.verifySignature(ctx, raw, p); err != nil {
		return Identity{}, err
	}
	return p.identity, nil
}

// verifySignature is for tokens of listed issuers.
func (v *Verifier) verifySignature(ctx context.Context, raw string, p parsed) error {
	public, err := v.keys[p.identity.Issuer].lookup(ctx, p.keyID)
	if err != nil {
		return err
	}
	end := strings.LastIndexByte(raw, '.') // parse has seen two
	signature, err := decodeSegment(raw[end+1:])
	if err != nil {
		return ErrSignature
	}
	for _, key := range public { // header and claims are as parse wants them: RS256, and this kid
		if jwt.SigningMethodRS256.Verify(raw[:end], signature, key) == nil {
			return nil
		}
	}
	return ErrSignature
}

// Explain says clause by clause what Verify would say, without stopping at the first that fails. A
// token that is not of the right form is the error; then there is nothing to explain.
func (v *Verifier) Explain(ctx context.Context, raw string) (Identity, []Clause, error) {
	p, err := parse(raw)
	if err != nil {
		return Identity{}, nil, err
	}
	clauses := v.ExplainClaims(p.identity)
	clauses[len(clauses)-1] = v.explainSignature(ctx, raw, p)
	return p.identity, clauses, nil
}

// ExplainClaims is Explain for claims without a signature: that clause, the last, is not checked.
func (v *Verifier) ExplainClaims(id Identity) []Clause {
	var clauses []Clause
	for _, r := range rules(id, v.cfg.Issuers, v.cfg.Audience, v.cfg.Now()) {
		clauses = append(clauses, r.Clause)
	}
	return append(clauses,
		Clause{
			Name: signature, Outcome: NotChecked, Want: signedBy,
			Hint: "give the whole token to have it checked",
		})
}

const (
	signature = "signature"
	signedBy  = "of a key that the issuer publishes"
)

func (v *Verifier) explainSignature(ctx context.Context, raw string, p parsed) Clause {
	c := Clause{
		Name: signature, Outcome: NotChecked, Want: signedBy,
		Got: "key " + fmt.Sprintf("%.60q", p.keyID),
	}
	if v.keys[p.identity.Issuer] == nil {
		c.Hint = "nobody is asked for the keys of an issuer that is not trusted"
		return c
	}
	switch err := v.verifySignature(ctx, raw, p); {
	case errors.Is(err, ErrUnreachable):
		c.Hint = "the keys of the issuer could not be read: see the log, and try again"
	case errors.Is(err, ErrUnknownKey):
		c.Outcome, c.Hint = Failed, "the issuer has no key of that name: somebody else signed this token"
	case err != nil:
		c.Outcome, c.Hint = Failed, "the token was changed, or somebody else signed it"
	default:
		c.Outcome = Passed
	}
	return c
}
