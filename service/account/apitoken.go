package account

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// newAPIToken makes a new API token: its text, which only the caller sees, and its record.
func newAPIToken(account, name string, now time.Time,
	rand io.Reader) (opaque.Secret, APIToken, error) {
	text, err := opaque.APIToken.New(rand)
	if err != nil {
		return "", APIToken{}, err
	}
	id, err := opaque.OfAPIToken.New(rand)
	if err != nil {
		return "", APIToken{}, err
	}
	return text, APIToken{
		ID: id, AccountID: account, Name: name, Hash: opaque.Hash(text.Reveal()), CreatedAt: now,
	}, nil
}

// CreateAPIToken gives an account one more API token. Its text is in the answer and nowhere else. A
// request that its sender named makes one, however often it is sent.
// Refusals: ErrNotFound, ErrRevoked.
func (r *Registry) CreateAPIToken(ctx context.Context,
	account, name string) (opaque.Secret, APIToken, error) {
	a, err := r.store.Account(ctx, account)
	if err != nil {
		return "", APIToken{}, err
	}
	if a.Status == Deleted {
		return "", APIToken{}, fmt.Errorf("account %s: %w", a.ID, ErrDeleted)
	}
	if len(name) > 100 {
		return "", APIToken{}, fmt.Errorf("%w: name is longer than 100 bytes", failure.ErrInvalid)
	}
	text, record, err := newAPIToken(account, name, r.now(), opaque.RandOf(ctx, r.rand))
	if err != nil {
		return "", APIToken{}, err
	}
	err = r.store.AddAPIToken(ctx, record,
		r.log.Act(ctx, audit.APITokenCreated, account, record.ID, nil))
	if errors.Is(err, failure.ErrConflict) {
		there, _, fault := r.store.APIToken(ctx, record.Hash)
		if fault == nil && there.AccountID == account && there.Name == name && there.RevokedAt.IsZero() {
			return text, there, nil // this very request made it before
		}
	}
	return text, record, err
}

// APITokens returns up to limit API tokens of an account, revoked ones too, oldest first, that come
// after the given one. ErrNotFound: no such account. ErrInvalid: after is none of its API tokens.
func (r *Registry) APITokens(ctx context.Context, account, after string,
	limit int) ([]APIToken, error) {
	if err := opaque.OfAPIToken.CheckAfter(after); err != nil {
		return nil, err
	}
	if err := r.store.HasAccount(ctx, account); err != nil {
		return nil, err
	}
	return r.store.APITokens(ctx, account, after, limit)
}

// RevokeAPIToken ends an API token, by its id or by its text, and returns its id. The license
// tokens that were issued by it stay good, unless withTokens ends them in the same moment; then the
// answer is how many families that were. Ending it twice is no error. ErrNotFound: no such token.
func (r *Registry) RevokeAPIToken(ctx context.Context, idOrText string,
	withTokens bool) (id string, families int64, err error) {
	id = idOrText
	if opaque.APIToken.Fits(idOrText) {
		t, _, err := r.store.APIToken(ctx, opaque.Hash(idOrText))
		if err != nil {
			return "", 0, err
		}
		id = t.ID
	}
	var issued *audit.Act
	if withTokens {
		issued = new(r.log.Act(ctx, audit.IssuesRevoked, "", id, nil))
	}
	families, err = r.store.RevokeAPIToken(ctx, id,
		r.log.Act(ctx, audit.APITokenRevoked, "", id, nil), issued)
	return id, families, err
}

// EndAPIToken ends an API token by its text, if may allows it for the account whose it is. One that
// is unknown or has ended is no error.
func (r *Registry) EndAPIToken(ctx context.Context, text string,
	may func(account string) error) error {
	t, _, err := r.store.APIToken(ctx, opaque.Hash(text))
	if errors.Is(err, failure.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := may(t.AccountID); err != nil {
		return err
	}
	_, _, err = r.RevokeAPIToken(ctx, t.ID, false)
	return err
}
