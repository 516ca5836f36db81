package license

import (
	"context"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// NewAccount is what an account starts with.
type NewAccount struct {
	Email      string
	Tier       Tier
	Features   []string
	ValidUntil time.Time
}

// ParseDay reads the end of a license: 2027-03-12, which is the start of that day in UTC, or an RFC 3339 time. ErrInvalid.
func ParseDay(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, failure.Invalid(fmt.Sprintf("%q is not a date such as 2027-03-12 or a time such as 2027-03-12T12:00:00Z", text))
}

// CreateAccount stores an active account and gives it a first API token, whose text is in the answer and nowhere else. Refusals: ErrInvalid
// for each faulty particular, ErrConflict when an account has that email.
func (s *Service) CreateAccount(ctx context.Context, n NewAccount) (Account, opaque.Secret, error) {
	id, err := opaque.OfAccount.New(s.cfg.Rand)
	if err != nil {
		return Account{}, "", err
	}
	now := s.time()
	a := Account{
		ID: id, Email: normalEmail(n.Email), Tier: n.Tier, Features: withoutRepeats(n.Features),
		ValidUntil: n.ValidUntil.UTC().Truncate(time.Millisecond), Status: Active, CreatedAt: now,
	}
	if err := CheckAccount(a); err != nil {
		return Account{}, "", err
	}
	text, record, err := newAPIToken(a.ID, "first", now, s.cfg.Rand)
	if err != nil {
		return Account{}, "", err
	}
	if err := s.store.CreateAccount(ctx, a, record,
		s.log.Act(ctx, audit.AccountCreated, a.ID, a.ID, terms(a)), s.log.Act(ctx, audit.APITokenCreated, a.ID, record.ID, nil)); err != nil {
		return Account{}, "", fmt.Errorf("account %s: %w", a.Email, err)
	}
	return a, text, nil
}

// Account returns one account. ErrNotFound.
func (s *Service) Account(ctx context.Context, id string) (Account, error) {
	return s.store.Account(ctx, id)
}

// Accounts returns up to limit accounts whose id comes after the given one, in the order of ids. ErrInvalid: after is no id.
func (s *Service) Accounts(ctx context.Context, after string, limit int) ([]Account, error) {
	if err := opaque.OfAccount.CheckAfter(after); err != nil {
		return nil, err
	}
	return s.store.Accounts(ctx, after, limit)
}

// AccountChange is what to change of an account; nil leaves a particular as it is.
type AccountChange struct {
	Email      *string
	Tier       *Tier
	Features   *[]string
	ValidUntil *time.Time
}

// UpdateAccount changes particulars of an account; tokens refreshed from now on carry the new values. Refusals: ErrInvalid, ErrConflict, ErrNotFound,
// ErrRevoked for a deleted account.
func (s *Service) UpdateAccount(ctx context.Context, id string, ch AccountChange) (Account, error) {
	return s.change(ctx, id, audit.AccountUpdated, ch.details(), func(a *Account) error {
		if ch.Email != nil {
			a.Email = normalEmail(*ch.Email)
		}
		if ch.Tier != nil {
			a.Tier = *ch.Tier
		}
		if ch.Features != nil {
			a.Features = withoutRepeats(*ch.Features)
		}
		if ch.ValidUntil != nil {
			a.ValidUntil = ch.ValidUntil.UTC().Truncate(time.Millisecond)
		}
		return CheckAccount(*a)
	})
}

// SuspendAccount stops an account from getting tokens until it is restored.
func (s *Service) SuspendAccount(ctx context.Context, id string) (Account, error) {
	return s.change(ctx, id, audit.AccountSuspended, nil, func(a *Account) error { a.Status = Suspended; return nil })
}

// RestoreAccount undoes SuspendAccount.
func (s *Service) RestoreAccount(ctx context.Context, id string) (Account, error) {
	return s.change(ctx, id, audit.AccountRestored, nil, func(a *Account) error { a.Status = Active; return nil })
}

// DeleteAccount ends an account for good: its address is erased, its API tokens end, its license tokens are refused.
func (s *Service) DeleteAccount(ctx context.Context, id string) (Account, error) {
	return s.change(ctx, id, audit.AccountDeleted, nil, func(a *Account) error { a.Status, a.Email = Deleted, ""; return nil })
}

func (s *Service) change(ctx context.Context, id string, did audit.Action, details audit.Details, change func(*Account) error) (Account, error) {
	a, err := s.store.ChangeAccount(ctx, id, func(a *Account) error {
		if a.Status == Deleted {
			return ErrDeleted
		}
		return change(a)
	}, s.log.Act(ctx, did, id, id, details))
	if err != nil {
		return Account{}, fmt.Errorf("account %s: %w", id, err)
	}
	return a, nil
}

// terms are what an account may use, for the audit log: everything of it but the address.
func terms(a Account) audit.Details {
	return audit.Details{"tier": a.Tier, "features": a.Features, "valid_until": a.ValidUntil}
}

// details are what is changed, for the audit log: of the address only that it was.
func (ch AccountChange) details() audit.Details {
	d := audit.Details{}
	if ch.Email != nil {
		d["email"] = "changed"
	}
	if ch.Tier != nil {
		d["tier"] = *ch.Tier
	}
	if ch.Features != nil {
		d["features"] = *ch.Features
	}
	if ch.ValidUntil != nil {
		d["valid_until"] = *ch.ValidUntil
	}
	return d
}

// withoutRepeats keeps the first of equal features, in their order; never nil.
func withoutRepeats(features []string) []string {
	out := make([]string, 0, len(features))
	seen := map[string]bool{}
	for _, f := range features {
		if !seen[f] {
			out = append(out, f)
		}
		seen[f] = true
	}
	return out
}
