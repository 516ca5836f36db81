package admin

import (
	"context"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// listAccounts answers GET /_api/admin/accounts.
func (h *Handlers) listAccounts(c *gin.Context) error {
	cursor, limit, _, err := route.List(c)
	if err != nil {
		return err
	}
	found, err := h.Accounts.Accounts(c.Request.Context(), cursor, limit+1)
	return route.Answer(c, func(list []account.Account) api.AccountPage {
		return show.Accounts(list, limit)
	}, found, err)
}

// createAccount answers POST /_api/admin/accounts.
func (h *Handlers) createAccount(c *gin.Context) error {
	in := api.NewAccount{Tier: string(account.Pro)}
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	until, err := account.ParseDay(in.ValidUntil)
	if err != nil {
		return err
	}
	made, key, err := h.Accounts.CreateAccount(c.Request.Context(), account.NewAccount{
		Email: in.Email, Tier: account.Tier(in.Tier), Features: in.Features, ValidUntil: until,
	})
	return route.Answer(c, func(a account.Account) api.Account {
		out := show.Account(a)
		out.APIToken = key.Reveal()
		return out
	}, made, err)
}

// getAccount answers GET /_api/admin/accounts/{id}.
func (h *Handlers) getAccount(c *gin.Context) error {
	return h.toAccount(c, h.Accounts.Account)
}

// updateAccount answers PATCH /_api/admin/accounts/{id}.
func (h *Handlers) updateAccount(c *gin.Context) error {
	var in api.AccountChange
	if err := route.JSON(c, &in); err != nil {
		return err
	}
	change := account.Change{Email: in.Email, Tier: (*account.Tier)(in.Tier), Features: in.Features}
	if in.ValidUntil != nil {
		until, err := account.ParseDay(*in.ValidUntil)
		if err != nil {
			return err
		}
		change.ValidUntil = &until
	}
	if change == (account.Change{}) {
		return route.BadRequest("nothing to change: give email, tier, features or valid_until")
	}
	return h.toAccount(c, func(ctx context.Context, id string) (account.Account, error) {
		return h.Accounts.UpdateAccount(ctx, id, change)
	})
}

// suspendAccount answers POST /_api/admin/accounts/{id}/suspend.
func (h *Handlers) suspendAccount(c *gin.Context) error {
	return h.toAccount(c, h.Accounts.SuspendAccount)
}

// restoreAccount answers POST /_api/admin/accounts/{id}/restore.
func (h *Handlers) restoreAccount(c *gin.Context) error {
	return h.toAccount(c, h.Accounts.RestoreAccount)
}

// deleteAccount answers DELETE /_api/admin/accounts/{id}.
func (h *Handlers) deleteAccount(c *gin.Context) error {
	return h.toAccount(c, h.Accounts.DeleteAccount)
}

// toAccount does an act to the account that the path names.
func (h *Handlers) toAccount(c *gin.Context,
	act func(context.Context, string) (account.Account, error)) error {
	a, err := act(c.Request.Context(), c.Param("id"))
	return route.Answer(c, show.Account, a, err)
}

// createSignInLink answers POST /_api/admin/accounts/{id}/sign-in.
func (h *Handlers) createSignInLink(c *gin.Context) error {
	link, ends, err := h.Sessions.CreateSignInLink(c.Request.Context(), c.Param("id"))
	return route.Answer(c, func(ends time.Time) api.SignInLink {
		return api.SignInLink{URL: link.Reveal(), ExpiresAt: show.Time(ends)}
	}, ends, err)
}
