package server

import (
	"context"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/show"
)

// listAccounts answers GET /_api/admin/accounts.
func (s *Server) listAccounts(c *gin.Context) error {
	cursor, limit, _, err := page(c)
	if err != nil {
		return err
	}
	found, err := s.parts.Accounts.Accounts(c.Request.Context(), cursor, limit+1)
	return answer(c, func(list []account.Account) api.AccountPage {
		list, next := cut(list, limit, func(a account.Account) string { return a.ID })
		return api.AccountPage{Items: show.Each(list, show.Account), NextCursor: next}
	}, found, err)
}

// createAccount answers POST /_api/admin/accounts.
func (s *Server) createAccount(c *gin.Context) error {
	in := api.NewAccount{Tier: string(account.Pro)}
	if err := bindJSON(c, &in); err != nil {
		return err
	}
	until, err := account.ParseDay(in.ValidUntil)
	if err != nil {
		return err
	}
	made, key, err := s.parts.Accounts.CreateAccount(c.Request.Context(), account.NewAccount{
		Email: in.Email, Tier: account.Tier(in.Tier), Features: in.Features, ValidUntil: until,
	})
	return answer(c, func(a account.Account) api.Account {
		out := show.Account(a)
		out.APIToken = key.Reveal()
		return out
	}, made, err)
}

// getAccount answers GET /_api/admin/accounts/{id}.
func (s *Server) getAccount(c *gin.Context) error {
	return s.toAccount(c, s.parts.Accounts.Account)
}

// updateAccount answers PATCH /_api/admin/accounts/{id}.
func (s *Server) updateAccount(c *gin.Context) error {
	var in api.AccountChange
	if err := bindJSON(c, &in); err != nil {
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
		return unfit("nothing to change: give email, tier, features or valid_until")
	}
	return s.toAccount(c, func(ctx context.Context, id string) (account.Account, error) {
		return s.parts.Accounts.UpdateAccount(ctx, id, change)
	})
}

// suspendAccount answers POST /_api/admin/accounts/{id}/suspend.
func (s *Server) suspendAccount(c *gin.Context) error {
	return s.toAccount(c, s.parts.Accounts.SuspendAccount)
}

// restoreAccount answers POST /_api/admin/accounts/{id}/restore.
func (s *Server) restoreAccount(c *gin.Context) error {
	return s.toAccount(c, s.parts.Accounts.RestoreAccount)
}

// deleteAccount answers DELETE /_api/admin/accounts/{id}.
func (s *Server) deleteAccount(c *gin.Context) error {
	return s.toAccount(c, s.parts.Accounts.DeleteAccount)
}

// toAccount does an act to the account that the path names.
func (s *Server) toAccount(c *gin.Context, act func(context.Context, string) (account.Account, error)) error {
	a, err := act(c.Request.Context(), c.Param("id"))
	return answer(c, show.Account, a, err)
}
