package auth

import (
	"context"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rights"
)

// known is who showed a credential a moment ago, as of a state of rights: nothing that ended or
// changed since is in it. Who is not known is looked up each time.
type known struct {
	revoked   rights.Set
	accounts  rights.Cache[account.Account]
	apiTokens rights.Cache[ownedAPIToken]
	admins    rights.Cache[AdminToken]
	logins    rights.Cache[ownedLogin]
}

type ownedAPIToken struct {
	token account.APIToken
	owner account.Account
}

type ownedLogin struct {
	login DeviceLogin
	owner account.Account
}

// status is the account of a license token, and whether the token or its family was revoked.
func (a *Authenticator) status(ctx context.Context, asOf int64, owner string, id opaque.TokenID) (account.Account, bool, error) {
	family := id.Family()
	may, err := a.known.revoked.MayHave(ctx, asOf, string(id), family)
	if err != nil {
		return account.Account{}, false, err
	}
	if may {
		return a.cfg.Store.AccountStatus(ctx, owner, string(id), family)
	}
	found, err := a.known.accounts.Get(asOf, owner, func() (account.Account, error) { return a.cfg.Store.Account(ctx, owner) })
	return found, false, err
}

func (a *Authenticator) ofAPIToken(ctx context.Context, asOf int64, hash string) (account.APIToken, account.Account, error) {
	o, err := a.known.apiTokens.Get(asOf, hash, func() (o ownedAPIToken, err error) {
		o.token, o.owner, err = a.cfg.Store.APIToken(ctx, hash)
		return o, err
	})
	return o.token, o.owner, err
}

func (a *Authenticator) ofAdminToken(ctx context.Context, asOf int64, hash string) (AdminToken, error) {
	return a.known.admins.Get(asOf, hash, func() (AdminToken, error) { return a.cfg.Store.AdminToken(ctx, hash) })
}

func (a *Authenticator) ofLoginToken(ctx context.Context, asOf int64, hash string) (DeviceLogin, account.Account, error) {
	o, err := a.known.logins.Get(asOf, hash, func() (o ownedLogin, err error) {
		o.login, o.owner, err = a.cfg.Store.LoginToken(ctx, hash)
		return o, err
	})
	return o.login, o.owner, err
}
