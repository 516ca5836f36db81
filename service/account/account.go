// Package account is who may hold licenses: accounts with the license that each holds, and the API
// tokens of their people and programs.
//
// What a license gives is decided in service/license, who shows a good API token in service/auth.
package account

import "time"

// Tier is what an account has paid for.
type Tier string

// The tiers of the License API.
const (
	Free Tier = "free"
	Pro  Tier = "pro"
	Team Tier = "team"
)

// Status is whether an account may use its license.
type Status string

// The statuses. Suspended can be undone, deleted can not.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Deleted   Status = "deleted"
)

// Account is a customer with the license that it holds. Times are UTC with milliseconds.
type Account struct {
	ID         string // "user_" and 16 letters or digits
	Email      string // unique, lower case; empty once deleted
	Tier       Tier
	Features   []string // never nil
	ValidUntil time.Time
	Status     Status
	CreatedAt  time.Time
}

// APIToken is the record of an API token: what an account's people and programs call the License
// API with. Its text is not stored.
type APIToken struct {
	ID        string // "at_" and 16 letters or digits
	AccountID string
	Name      string
	Hash      string // SHA-256 of the text, hexadecimal
	CreatedAt time.Time
	RevokedAt time.Time // zero while it is good
}
