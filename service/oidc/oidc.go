// Package oidc tells who a job of GitHub Actions is, and whether a trust policy allows it.
//
// It decides what an authentic identity token is (Verifier) and whether an identity meets a policy
// (Policy); both say clause by clause why not. What a job that is allowed gets is decided in
// service/license, where policies are stored, in service/store.
//
// Rules of this package:
//   - Nothing fails open. A claim that is missing is never equal to anything, an empty list of issuers accepts nobody, and a policy names exact
//     values: there are no patterns.
//   - Names are for people. Authority rests on repository_id and repository_owner_id, which GitHub never gives to another. `sub` is shaped by the
//     owner of the repository and never read for authority, so that all its formats work.
//   - An issuer is one of a list, character by character. Only issuers of the list are ever asked for keys.
//
// https://docs.github.com/en/actions/reference/security/oidc
package oidc

import (
	"errors"
	"time"
)

// MaxSize is the longest identity token, in bytes. GitHub's have about 2 KiB.
const MaxSize = 16 << 10

// Leeway is how far the clock of an issuer may be from ours.
const Leeway = 60 * time.Second

// MaxAge is how old an identity token may be, whatever its exp says. GitHub's live for five
// minutes.
const MaxAge = 10 * time.Minute

// Each way in which an identity token can be wrong. Errors of Verify wrap exactly one of them, and
// never quote the token.
var (
	// ErrMalformed says that the text is not a JWT of the form that GitHub issues.
	ErrMalformed = errors.New("not an identity token")
	// ErrTooLarge says that the text is longer than MaxSize.
	ErrTooLarge = errors.New("identity token too large")
	// ErrAlgorithm says that the header names another algorithm than RS256.
	ErrAlgorithm = errors.New("algorithm of the identity token not allowed")
	// ErrClaims says that a claim is missing or has the wrong form.
	ErrClaims = errors.New("wrong claims in the identity token")
	// ErrIssuer says that `iss` is not in the list.
	ErrIssuer = errors.New("issuer of the identity token not trusted")
	// ErrAudience says that the token was made for somebody else, or for others too.
	ErrAudience = errors.New("identity token for another audience")
	// ErrExpired says that `exp` has passed.
	ErrExpired = errors.New("identity token expired")
	// ErrNotYetValid says that `nbf` or `iat` lies in the future.
	ErrNotYetValid = errors.New("identity token not yet valid")
	// ErrTooOld says that `iat` is longer ago than MaxAge.
	ErrTooOld = errors.New("identity token too old")
	// ErrUnknownKey says that the issuer has published no key with the header's `kid`.
	ErrUnknownKey = errors.New("unknown key of the issuer")
	// ErrSignature says that the signature is not the key's.
	ErrSignature = errors.New("wrong signature of the identity token")
	// ErrUnreachable says that the keys of the issuer could not be read. It says nothing about the
	// token.
	ErrUnreachable = errors.New("the keys of the issuer could not be read")
)

// Identity is what a job says it is. Claims that a token lacks are empty.
type Identity struct {
	Issuer    string
	Audience  []string
	Subject   string // for people: its form is the repository owner's choice
	ID        string // jti
	IssuedAt  time.Time
	NotBefore time.Time
	ExpiresAt time.Time

	RepositoryID   string // decimal
	OwnerID        string // decimal
	Event          string
	Ref            string // refs/heads/main
	Environment    string // empty for a job without one
	JobWorkflowRef string // OWNER/REPOSITORY/.github/workflows/FILE@REF
	Visibility     string // public, private or internal

	Repository string // OWNER/NAME, for people
	RunID      string // for people
	RunAttempt string // for people
}

// UsableUntil is when nobody accepts the token any more: as long its jti must be remembered.
func (i Identity) UsableUntil() time.Time {
	end := i.ExpiresAt.Add(Leeway)
	if aged := i.IssuedAt.Add(MaxAge); aged.Before(end) {
		return aged
	}
	return end
}

// Outcome is what came of a clause.
type Outcome string

// The outcomes of a clause.
const (
	Passed     Outcome = "ok"
	Failed     Outcome = "no"
	NotChecked Outcome = "not checked"
)

// Clause is one condition, and whether it is met.
type Clause struct {
	Name    string
	Outcome Outcome
	Want    string // what is accepted, in words
	Got     string // what there is; empty when there is nothing
	Hint    string // what to do about it; empty when it passed
}

// Sum is what came of several clauses together: Failed when one did, else NotChecked when one was
// not, else Passed.
func Sum(clauses []Clause) Outcome {
	sum := Passed
	for _, c := range clauses {
		switch {
		case c.Outcome == Failed:
			return Failed
		case c.Outcome != Passed:
			sum = NotChecked
		}
	}
	return sum
}

// Met says whether no clause failed and none was left out.
func Met(clauses []Clause) bool { return Sum(clauses) == Passed }

// clause is passed or failed; the hint is only for the failed one.
func clause(name string, ok bool, want, got, hint string) Clause {
	if ok {
		return Clause{Name: name, Outcome: Passed, Want: want, Got: got}
	}
	return Clause{Name: name, Outcome: Failed, Want: want, Got: got, Hint: hint}
}
