package account

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pageflare/ci/service/failure"
)

// The refusals of an account. Each says no with authority: trying again later does not help, doing
// what the text says does.
var (
	// ErrExpired says that the license is over: valid_until has passed.
	ErrExpired = errors.New("the license has expired: renew it, then try again")
	// ErrInactive says that the account is suspended.
	ErrInactive = errors.New("the account is suspended: ask the operator of this License service to restore it")
	// ErrRevoked says that the account was deleted, and its license with it.
	ErrRevoked = errors.New("the license has been revoked: ask the operator of this License service for a new one")
)

// ErrDeleted is the operator's wording of ErrRevoked; errors.Is matches both.
var ErrDeleted error = deleted{}

type deleted struct{}

func (deleted) Error() string { return "it was deleted permanently: make a new one" }

func (deleted) Is(target error) bool { return target == ErrRevoked }

// MayHoldToken says whether an account may get, keep and refresh license tokens at now: nil,
// ErrRevoked, ErrInactive or ErrExpired.
func MayHoldToken(a Account, now time.Time) error {
	switch {
	case a.Status == Deleted:
		return ErrRevoked
	case a.Status != Active:
		return ErrInactive
	case !now.Before(a.ValidUntil):
		return ErrExpired
	}
	return nil
}

// ParseDay reads the end of a license: 2027-03-12, which is the start of that day in UTC, or an RFC
// 3339 time. ErrInvalid.
func ParseDay(text string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{},
		failure.Invalid(fmt.Sprintf("%q is not a date such as 2027-03-12 or a time such as 2027-03-12T12:00:00Z", text))
}

const maxEmail = 254 // RFC 5321, 4.5.3.1.3

// MaxFeatures is how many features a license has at most.
const MaxFeatures = 50

var featureName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Check returns every fault of an account's particulars, joined; each wraps ErrInvalid.
func Check(a Account) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults,
			fmt.Errorf("%w: "+format, append([]any{failure.ErrInvalid}, args...)...))
	}
	if at, err := mail.ParseAddress(a.Email); err != nil || at.Address != a.Email ||
		len(a.Email) > maxEmail {
		fault("email %q is not an address such as dev@example.com", a.Email)
	} else if strings.ContainsFunc(a.Email, notPrintable) { // readers of tokens refuse it
		fault("email %q holds a character that cannot be seen: type it again", a.Email)
	}
	faults = append(faults, CheckTerms(a.Tier, a.Features))
	if a.ValidUntil.IsZero() || a.ValidUntil.UTC().Year() > 9999 {
		fault("valid-until is missing: give a date such as 2027-03-12")
	}
	return errors.Join(faults...)
}

// CheckTerms returns every fault of what a license gives, joined; each wraps ErrInvalid.
func CheckTerms(tier Tier, features []string) error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults,
			fmt.Errorf("%w: "+format, append([]any{failure.ErrInvalid}, args...)...))
	}
	if !slices.Contains([]Tier{Free, Pro, Team}, tier) {
		fault("tier %q is not free, pro or team", tier)
	}
	if len(features) > MaxFeatures {
		fault("%d features are more than %d", len(features), MaxFeatures)
	}
	for _, f := range features {
		if !featureName.MatchString(f) {
			fault("feature %q is not a name such as critical_css", f)
		}
	}
	return errors.Join(faults...)
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }

// NormalEmail is how addresses are stored, so that one person is one account.
func NormalEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// WithoutRepeats keeps the first of equal features, in their order; never nil.
func WithoutRepeats(features []string) []string {
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
