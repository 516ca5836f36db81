// Package billing is what people pay for through GitHub: Marketplace purchases and sponsorships,
// and the license that follows from them.
//
// What GitHub says is a Notice. Notices come in any order, late, twice or not at all, so a Purchase
// is made of registers that the newest notice wins by what it says itself (history.go), and never
// by when it came. What a purchase gives, and what an account has of all its purchases beside what
// the operator gave it, are pure rules (grant.go). That a purchase, its account and the line of the
// audit log change together is the business of service/store; who is heard, of service/webhook/in.
package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
)

// Source is where something was bought.
type Source string

// The sources.
const (
	Marketplace Source = "marketplace"
	Sponsors    Source = "sponsors"
)

// License is what an account may use, and until when.
type License struct {
	Tier       account.Tier `json:"tier"`
	Features   []string     `json:"features"`
	ValidUntil time.Time    `json:"valid_until"`
}

// Same says whether two licenses give the same.
func (l License) Same(o License) bool {
	return l.Tier == o.Tier && l.ValidUntil.UnixMilli() == o.ValidUntil.UnixMilli() && slices.Equal(l.Features, o.Features)
}

// LicenseOf is the license of an account.
func LicenseOf(a account.Account) License { return License{a.Tier, a.Features, a.ValidUntil} }

// Books are what billing remembers of an account.
type Books struct {
	Base    *License // what the operator gave it; nil: nothing. With no ValidUntil it lasts as long as the purchases.
	Applied *License // what billing set last: the account has another license when the operator changed it since
}

// Link is which account gets what an account of GitHub buys. It gives no other right.
type Link struct {
	GitHubID  int64
	AccountID string
	How       string // ByEmail, ByMaking, ByOperator
	At        time.Time
}

// How an account of GitHub was linked.
const (
	ByEmail    = "email"
	ByMaking   = "made"
	ByOperator = "operator"
)

// Tx is one transaction: all that is done in it becomes durable together, or nothing.
type Tx interface {
	// Plans returns all plans.
	Plans(ctx context.Context) ([]Plan, error)
	// Purchase returns a purchase. ErrNotFound.
	Purchase(ctx context.Context, source Source, key string) (Purchase, error)
	// PurchasesOf returns the purchases of an account, in the order of their sources and keys.
	PurchasesOf(ctx context.Context, account string) ([]Purchase, error)
	// SavePurchase stores a purchase, new or changed.
	SavePurchase(ctx context.Context, p Purchase) error
	// Account returns an account. ErrNotFound.
	Account(ctx context.Context, id string) (account.Account, error)
	// AccountOf returns the account that an account of GitHub is linked to. ErrNotFound.
	AccountOf(ctx context.Context, githubID int64) (account.Account, error)
	// AccountByEmail returns the account with that address. ErrNotFound.
	AccountByEmail(ctx context.Context, email string) (account.Account, error)
	// SaveAccount stores an account, new or changed.
	SaveAccount(ctx context.Context, a account.Account) error
	// SaveLink links an account of GitHub, in the place of an earlier link.
	SaveLink(ctx context.Context, l Link) error
	// Books returns what billing remembers of an account; false: nothing.
	Books(ctx context.Context, account string) (Books, bool, error)
	// SaveBooks stores it.
	SaveBooks(ctx context.Context, account string, b Books) error
	// Note adds lines to the audit log.
	Note(acts ...audit.Act)
}

// Store is what billing needs of a database. What it changes is durable, its acts included, when it
// returns nil.
type Store interface {
	// Bill runs f in a transaction. f may run twice.
	Bill(ctx context.Context, f func(Tx) error) error
	// AddPlan stores a plan, or what it says of one that is there; the act is noted when that
	// changed something.
	AddPlan(ctx context.Context, p Plan, act audit.Act) error
	// Plans returns all plans, in the order of their ids.
	Plans(ctx context.Context) ([]Plan, error)
	// RemovePlan takes a plan away. ErrNotFound.
	RemovePlan(ctx context.Context, id string, act audit.Act) error
	// Purchases returns the purchases that are asked for, in the order of sources and keys.
	Purchases(ctx context.Context, q Query) ([]Purchase, error)
}

// Query is which purchases to list.
type Query struct {
	Source    Source // "": all
	Account   string // "": all
	Unmatched bool   // only those that nobody gets
	Active    bool   // only those that have not ended
	After     Ref    // only those that come after this one
	Limit     int
}

// Ref names a purchase.
type Ref struct {
	Source Source
	Key    string
}

// String is how a purchase is named: marketplace:18404719, sponsors:MDExOlNwb25zb3JzaGlwMQ==.
func (r Ref) String() string { return string(r.Source) + ":" + r.Key }

// ParseRef reads the name of a purchase. ErrInvalid.
func ParseRef(text string) (Ref, error) {
	for _, s := range []Source{Marketplace, Sponsors} {
		if key := text[min(len(text), len(s)):]; text != key && len(key) > 1 && len(key) < 200 && text == string(s)+key && key[0] == ':' && printable(key) {
			return Ref{s, key[1:]}, nil
		}
	}
	return Ref{}, failure.Invalid(fmt.Sprintf("%.100q is not a purchase such as marketplace:18404719", text))
}

func printable(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b <= ' ' || b > '~' || b == '/' })
}

// ErrPayload says that what GitHub sent lacks what it must have: trying again does not help. It is
// an ErrInvalid.
var ErrPayload error = failure.Invalid("the payload lacks what it must have")

// NotYet says that what GitHub told takes effect later, and is to be heard again then.
type NotYet struct{ At time.Time }

// Error tells when.
func (n NotYet) Error() string {
	return "takes effect at " + n.At.UTC().Format(time.RFC3339)
}

// Due is when it takes effect.
func (n NotYet) Due() time.Time { return n.At }

func found[T any](v T, err error) (T, bool, error) {
	if errors.Is(err, failure.ErrNotFound) {
		return v, false, nil
	}
	return v, err == nil, err
}
