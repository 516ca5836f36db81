package show

import (
	"strconv"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
)

// A page is made of a list that was asked for one item more than its limit: when that one came,
// there are more, and the id of the last item shown is the cursor of the next page.

// Accounts is a page of accounts.
func Accounts(list []account.Account, limit int) api.AccountPage {
	list, next := cut(list, limit, func(a account.Account) string { return a.ID })
	return api.AccountPage{Items: Each(list, Account), NextCursor: next}
}

// APITokens is a page of API tokens.
func APITokens(list []account.APIToken, limit int) api.APITokenPage {
	list, next := cut(list, limit, func(t account.APIToken) string { return t.ID })
	return api.APITokenPage{Items: Each(list, APIToken), NextCursor: next}
}

// AdminTokens is a page of admin tokens.
func AdminTokens(list []auth.AdminToken, limit int) api.AdminTokenPage {
	list, next := cut(list, limit, func(t auth.AdminToken) string { return t.ID })
	return api.AdminTokenPage{Items: Each(list, AdminToken), NextCursor: next}
}

// Tokens is a page of license tokens as they are at now.
func Tokens(list []license.TokenRecord, limit int, now time.Time) api.TokenPage {
	list, next := cut(list, limit, func(t license.TokenRecord) string { return string(t.ID) })
	return api.TokenPage{NextCursor: next, Items: Each(list,
		func(t license.TokenRecord) api.TokenRecord { return Token(t, now) })}
}

// Machines is a page of machines.
func Machines(list []license.Machine, limit int) api.MachinePage {
	list, next := cut(list, limit, func(m license.Machine) string { return m.ID })
	return api.MachinePage{Items: Each(list, Machine), NextCursor: next}
}

// Policies is a page of trust policies.
func Policies(list []license.TrustPolicy, limit int) api.PolicyPage {
	list, next := cut(list, limit, func(p license.TrustPolicy) string { return p.ID })
	return api.PolicyPage{Items: Each(list, Policy), NextCursor: next}
}

// Repositories is a page of the repositories that use the service.
func Repositories(list []license.Repository, limit int) api.RepositoryPage {
	list, next := cut(list, limit, func(r license.Repository) string { return r.RepositoryKey.String() })
	return api.RepositoryPage{Items: Each(list, Repository), NextCursor: next}
}

// Keys are the signing keys, which are few: all are on one page.
func Keys(list []keyring.Key) api.KeyPage { return api.KeyPage{Items: Each(list, Key)} }

// Lines is a page of the audit log.
func Lines(list []audit.Line, limit int) api.AuditPage {
	list, next := cut(list, limit,
		func(l audit.Line) string { return strconv.FormatInt(l.Seq, 10) })
	return api.AuditPage{Items: Each(list, Line), NextCursor: next}
}

// cut returns the first limit items, and the id of the last of them when there are more; else "".
func cut[T any](list []T, limit int, id func(T) string) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	list = list[:limit]
	return list, id(list[limit-1])
}
