package servicetest

import (
	"context"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/parts"
)

type (
	log      = audit.Log
	keys     = keyring.Keyring
	accounts = account.Registry
	callers  = auth.Authenticator
	admins   = auth.Admins
	devices  = auth.Devices
	sessions = auth.Sessions
	policies = license.Policies
	licenses = license.Service
	machines = license.Machines
)

// Rules are all that the service can do, each act by its name, for tests that have many.
type Rules struct {
	*log
	*keys
	*accounts
	*callers
	*admins
	*devices
	*sessions
	*policies
	*licenses
	*machines

	Parts *parts.Parts
}

// RulesOf are the rules of parts that were joined.
func RulesOf(p *parts.Parts) Rules {
	return Rules{
		p.Log, p.Keys, p.Accounts, p.Auth, p.Admins, p.Devices, p.Sessions, p.Policies, p.Licenses, p.Machines, p,
	}
}

// Authenticate tells who shows a bearer token.
func (r Rules) Authenticate(ctx context.Context, bearer string) (auth.Caller, error) {
	return r.Parts.Auth.Authenticate(ctx, auth.Parse(bearer))
}

// TokensOf are the newest license tokens of an account, at most limit of them.
func (r Rules) TokensOf(ctx context.Context, account string, limit int) ([]license.TokenRecord, error) {
	return r.Tokens(ctx, license.TokenQuery{Account: account, Limit: limit})
}
