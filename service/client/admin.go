package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/pageflare/ci/service/api"
)

// Admin calls the Admin API of a License service with one admin token. Each method is the operation
// of that name in openapi.yaml, which says what it does, what it needs and which scope the token
// must have. Beside the errors of every call, each can end with ErrRejected.
//
// What makes something is sent under a name of its own, so that it is tried again and done once. What
// else changes something is sent once: it is tried again only when the service says, or the network
// shows, that nothing was done.
type Admin struct {
	client *Client
	token  string
}

// Admin returns the Admin API as the admin token may use it. Nothing is sent yet.
func (c *Client) Admin(adminToken string) *Admin { return &Admin{client: c, token: adminToken} }

// ListAccounts yields all accounts, in the order of their ids; Limit is the size of the pages that
// are fetched, Cursor where to begin. It ends with the first error.
func (a *Admin) ListAccounts(ctx context.Context,
	p api.ListAccountsParams) iter.Seq2[api.Account, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Account, string, error) {
		p.Cursor = cursor
		page, err := ask[api.AccountPage](ctx, a,
			request{op: "list accounts", path: "admin/accounts", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// CreateAccount makes an account and its first API token, whose text is in this answer alone.
func (a *Admin) CreateAccount(ctx context.Context, n api.NewAccount) (api.Account, error) {
	return ask[api.Account](ctx, a,
		request{op: "make an account", method: http.MethodPost, path: "admin/accounts", body: n, named: true})
}

// GetAccount returns an account.
func (a *Admin) GetAccount(ctx context.Context, id string) (api.Account, error) {
	return ask[api.Account](ctx, a,
		request{op: "show the account", path: join("admin/accounts", id)})
}

// UpdateAccount changes what is given, and returns the account as it is now.
func (a *Admin) UpdateAccount(ctx context.Context, id string,
	change api.AccountChange) (api.Account, error) {
	return ask[api.Account](ctx, a,
		request{
			op: "change the account", method: http.MethodPatch, path: join("admin/accounts", id),
			body: change,
		})
}

// DeleteAccount ends an account for good and returns what is left of it.
func (a *Admin) DeleteAccount(ctx context.Context, id string) (api.Account, error) {
	return ask[api.Account](ctx, a,
		request{
			op: "delete the account", method: http.MethodDelete, path: join("admin/accounts", id),
		})
}

// SuspendAccount refuses tokens to an account until RestoreAccount.
func (a *Admin) SuspendAccount(ctx context.Context, id string) (api.Account, error) {
	return ask[api.Account](ctx, a,
		request{
			op: "suspend the account", method: http.MethodPost,
			path: join("admin/accounts", id, "suspend"),
		})
}

// RestoreAccount undoes SuspendAccount.
func (a *Admin) RestoreAccount(ctx context.Context, id string) (api.Account, error) {
	return ask[api.Account](ctx, a,
		request{
			op: "restore the account", method: http.MethodPost,
			path: join("admin/accounts", id, "restore"),
		})
}

// CreateSignInLink makes a link, a secret, by which a person of the account signs in to the pages
// of the service once.
func (a *Admin) CreateSignInLink(ctx context.Context, id string) (api.SignInLink, error) {
	return ask[api.SignInLink](ctx, a,
		request{
			op: "make a sign-in link", method: http.MethodPost,
			path: join("admin/accounts", id, "sign-in"),
		})
}

// ListAPITokens yields the API tokens of an account, oldest first, without their text, as
// ListAccounts does.
func (a *Admin) ListAPITokens(ctx context.Context, account string,
	p api.ListAPITokensParams) iter.Seq2[api.APIToken, error] {
	return pages(p.Cursor, func(cursor string) ([]api.APIToken, string, error) {
		p.Cursor = cursor
		page, err := ask[api.APITokenPage](ctx, a,
			request{
				op: "list API tokens", path: join("admin/accounts", account, "api-tokens"),
				query: query(p),
			})
		return page.Items, page.NextCursor, err
	})
}

// CreateAPIToken makes an API token, whose text is in this answer alone.
func (a *Admin) CreateAPIToken(ctx context.Context, account string,
	n api.NewAPIToken) (api.APIToken, error) {
	return ask[api.APIToken](ctx, a,
		request{
			op: "make an API token", method: http.MethodPost,
			path: join("admin/accounts", account, "api-tokens"), body: n, named: true,
		})
}

// RevokeAPIToken ends an API token by its id, with the license tokens that it issued if p says so.
func (a *Admin) RevokeAPIToken(ctx context.Context, id string,
	p api.RevokeAPITokenParams) (api.RevokedAPIToken, error) {
	return ask[api.RevokedAPIToken](ctx, a,
		request{
			op: "revoke the API token", method: http.MethodDelete,
			path: join("admin/api-tokens", id), query: query(p),
		})
}

// ListTokens yields the records of the license tokens of an account, newest first, as ListAccounts
// does.
func (a *Admin) ListTokens(ctx context.Context, account string,
	p api.ListTokensParams) iter.Seq2[api.TokenRecord, error] {
	return pages(p.Cursor, func(cursor string) ([]api.TokenRecord, string, error) {
		p.Cursor = cursor
		page, err := ask[api.TokenPage](ctx, a,
			request{
				op: "list license tokens", path: join("admin/accounts", account, "tokens"),
				query: query(p),
			})
		return page.Items, page.NextCursor, err
	})
}

// FindTokens yields the records of the license tokens of all accounts, or of those that p names,
// newest first, as ListAccounts does.
func (a *Admin) FindTokens(ctx context.Context,
	p api.FindTokensParams) iter.Seq2[api.TokenRecord, error] {
	return pages(p.Cursor, func(cursor string) ([]api.TokenRecord, string, error) {
		p.Cursor = cursor
		page, err := ask[api.TokenPage](ctx, a,
			request{op: "find license tokens", path: "admin/tokens", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// IssueToken issues a license token for an account.
func (a *Admin) IssueToken(ctx context.Context, account string,
	n api.NewToken) (api.IssuedToken, error) {
	return ask[api.IssuedToken](ctx, a,
		request{
			op: "issue a license token", method: http.MethodPost,
			path: join("admin/accounts", account, "tokens"), body: n, named: true,
		})
}

// GetToken returns the record of a license token by its id.
func (a *Admin) GetToken(ctx context.Context, jti string) (api.TokenRecord, error) {
	return ask[api.TokenRecord](ctx, a,
		request{op: "show the license token", path: join("admin/tokens", jti)})
}

// RevokeToken ends a license token, by its id or on its own, and with Family all that descends from
// the same first one.
func (a *Admin) RevokeToken(ctx context.Context, which api.TokenToRevoke) (api.TokenRecord, error) {
	return ask[api.TokenRecord](ctx, a,
		request{
			op: "revoke the license token", method: http.MethodPost, path: "admin/tokens/revoke",
			body: which, secret: which.Token,
		})
}

// ReportLeak ends a token of any kind that was found in the open. A text that is not a token of the
// service is no error: Label says so.
func (a *Admin) ReportLeak(ctx context.Context, found api.LeakReport) (api.Leak, error) {
	return ask[api.Leak](ctx, a,
		request{
			op: "report the leak", method: http.MethodPost, path: "admin/leaks",
			body: found, secret: found.Token,
		})
}

// ListRepositories yields the repositories whose jobs got license tokens, as ListAccounts does.
func (a *Admin) ListRepositories(ctx context.Context,
	p api.ListRepositoriesParams) iter.Seq2[api.Repository, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Repository, string, error) {
		p.Cursor = cursor
		page, err := ask[api.RepositoryPage](ctx, a,
			request{op: "list repositories", path: "admin/repositories", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// ListMachines yields the machines of an account in the order of their ids, as ListAccounts does.
func (a *Admin) ListMachines(ctx context.Context, account string,
	p api.ListMachinesParams) iter.Seq2[api.Machine, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Machine, string, error) {
		p.Cursor = cursor
		page, err := ask[api.MachinePage](ctx, a,
			request{
				op: "list machines", path: join("admin/accounts", account, "machines"),
				query: query(p),
			})
		return page.Items, page.NextCursor, err
	})
}

// EndMachine ends a machine with all license tokens of its family, and returns it as it is then.
func (a *Admin) EndMachine(ctx context.Context, id string) (api.Machine, error) {
	return ask[api.Machine](ctx, a,
		request{op: "end the machine", method: http.MethodDelete, path: join("admin/machines", id)})
}

// ListPolicies yields trust policies in the order of their ids, as ListAccounts does.
func (a *Admin) ListPolicies(ctx context.Context,
	p api.ListPoliciesParams) iter.Seq2[api.Policy, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Policy, string, error) {
		p.Cursor = cursor
		page, err := ask[api.PolicyPage](ctx, a,
			request{op: "list trust policies", path: "admin/policies", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// AddPolicy lets jobs of a repository, or of every repository of an organization, exchange their
// identity for license tokens of an account.
func (a *Admin) AddPolicy(ctx context.Context, n api.NewPolicy) (api.Policy, error) {
	return ask[api.Policy](ctx, a,
		request{op: "add a trust policy", method: http.MethodPost, path: "admin/policies", body: n})
}

// AddPolicies adds several trust policies, all of them or none, and returns them in the same order.
// One that is there already stays as it is, so that the same list can be given again. When
// repositories are given by their names alone the answer takes as long as GitHub does; ctx bounds
// it.
func (a *Admin) AddPolicies(ctx context.Context, list []api.NewPolicy) ([]api.Policy, error) {
	added, err := ask[api.AddedPolicies](ctx, a,
		request{
			op: "add trust policies", method: http.MethodPost, path: "admin/policies/batch",
			body: api.NewPolicies{Items: list}, patient: true,
		})
	return added.Items, err
}

// RemovePolicy removes a trust policy, with the license tokens that were issued under it if p says
// so.
func (a *Admin) RemovePolicy(ctx context.Context, id string,
	p api.RemovePolicyParams) (api.RemovedPolicy, error) {
	return ask[api.RemovedPolicy](ctx, a,
		request{
			op: "remove the trust policy", method: http.MethodDelete,
			path: join("admin/policies", id), query: query(p),
		})
}

// ExplainPolicies says clause by clause why a job is allowed or refused. It changes nothing.
func (a *Admin) ExplainPolicies(ctx context.Context,
	of api.IdentityToExplain) (api.Explanation, error) {
	return ask[api.Explanation](ctx, a,
		request{
			op: "explain the trust policies", method: http.MethodPost,
			path: "admin/policies/explain", body: of, secret: of.Token, reads: true,
		})
}

// ListRotations yields the rotations in the order of their ids, as ListAccounts does.
func (a *Admin) ListRotations(ctx context.Context,
	p api.ListRotationsParams) iter.Seq2[api.Rotation, error] {
	return pages(p.Cursor, func(cursor string) ([]api.Rotation, string, error) {
		p.Cursor = cursor
		page, err := ask[api.RotationPage](ctx, a,
			request{op: "list rotations", path: "admin/rotations", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// GetRotation returns a rotation.
func (a *Admin) GetRotation(ctx context.Context, id string) (api.Rotation, error) {
	return ask[api.Rotation](ctx, a,
		request{op: "show the rotation", path: join("admin/rotations", id)})
}

// AddRotation keeps the license token in secrets of a repository or an organization fresh. The answer
// takes as long as GitHub does; ctx bounds it.
func (a *Admin) AddRotation(ctx context.Context, n api.NewRotation) (api.Rotation, error) {
	return ask[api.Rotation](ctx, a,
		request{op: "add a rotation", method: http.MethodPost, path: "admin/rotations", body: n, patient: true})
}

// RunRotation has the secrets of a rotation written as soon as can be, due or not, and returns it as
// it is now: GetRotation tells what became of it.
func (a *Admin) RunRotation(ctx context.Context, id string) (api.Rotation, error) {
	return ask[api.Rotation](ctx, a,
		request{op: "run the rotation", method: http.MethodPost, path: join("admin/rotations", id, "run")})
}

// RemoveRotation ends a rotation, with the license tokens that were written for it if p says so.
func (a *Admin) RemoveRotation(ctx context.Context, id string,
	p api.RemoveRotationParams) (api.RemovedRotation, error) {
	return ask[api.RemovedRotation](ctx, a,
		request{
			op: "remove the rotation", method: http.MethodDelete,
			path: join("admin/rotations", id), query: query(p),
		})
}

// ListKeys returns the signing keys that are not retired, without their secrets.
func (a *Admin) ListKeys(ctx context.Context) ([]api.SigningKey, error) {
	page, err := ask[api.KeyPage](ctx, a, request{op: "list signing keys", path: "admin/keys"})
	return page.Items, err
}

// RotateKey adds a signing key: of license tokens, or of leases.
func (a *Admin) RotateKey(ctx context.Context, p api.RotateKeyParams) (api.SigningKey, error) {
	return ask[api.SigningKey](ctx, a,
		request{
			op: "add a signing key", method: http.MethodPost, path: "admin/keys", query: query(p), named: true,
		})
}

// RetireKey ends a signing key. While live tokens depend on it that takes Force.
func (a *Admin) RetireKey(ctx context.Context, kid string,
	p api.RetireKeyParams) (api.RetiredKey, error) {
	return ask[api.RetiredKey](ctx, a,
		request{
			op: "retire the signing key", method: http.MethodDelete, path: join("admin/keys", kid),
			query: query(p),
		})
}

// ListAdminTokens yields the admin tokens, oldest first, without their text, as ListAccounts does.
func (a *Admin) ListAdminTokens(ctx context.Context,
	p api.ListAdminTokensParams) iter.Seq2[api.AdminToken, error] {
	return pages(p.Cursor, func(cursor string) ([]api.AdminToken, string, error) {
		p.Cursor = cursor
		page, err := ask[api.AdminTokenPage](ctx, a,
			request{op: "list admin tokens", path: "admin/admin-tokens", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// CreateAdminToken makes an admin token, whose text is in this answer alone.
func (a *Admin) CreateAdminToken(ctx context.Context, n api.NewAdminToken) (api.AdminToken, error) {
	return ask[api.AdminToken](ctx, a,
		request{
			op: "make an admin token", method: http.MethodPost, path: "admin/admin-tokens", body: n, named: true,
		})
}

// RevokeAdminToken ends an admin token by its id.
func (a *Admin) RevokeAdminToken(ctx context.Context, id string) (api.RevokedAdminToken, error) {
	return ask[api.RevokedAdminToken](ctx, a,
		request{
			op: "revoke the admin token", method: http.MethodDelete,
			path: join("admin/admin-tokens", id),
		})
}

// ListAudit yields the audit log, newest line first, as ListAccounts does.
func (a *Admin) ListAudit(ctx context.Context,
	p api.ListAuditParams) iter.Seq2[api.AuditLine, error] {
	return pages(p.Cursor, func(cursor string) ([]api.AuditLine, string, error) {
		p.Cursor = cursor
		page, err := ask[api.AuditPage](ctx, a,
			request{op: "read the audit log", path: "admin/audit", query: query(p)})
		return page.Items, page.NextCursor, err
	})
}

// VerifyAudit has the service read its audit log, or what of it came after From. A log that was
// changed is no error: Whole is false, and Fault says where. A long log takes longer than other
// calls may: this one ends with ctx alone.
func (a *Admin) VerifyAudit(ctx context.Context,
	p api.VerifyAuditParams) (api.AuditVerdict, error) {
	return ask[api.AuditVerdict](ctx, a,
		request{
			op: "verify the audit log", path: "admin/audit/verify", query: query(p), patient: true,
		})
}

// ask makes a call of the Admin API; without a method it is GET.
func ask[T any](ctx context.Context, a *Admin, r request) (answer T, err error) {
	if r.method == "" {
		r.method, r.reads = http.MethodGet, true
	}
	r.bearer, r.rejects, r.once = a.token, true, !r.reads && !r.named
	for part := range strings.SplitSeq(r.path, "/") {
		if part == "" || part == "." || part == ".." { // would be another route
			return answer, fmt.Errorf("%s: %q is not an id", r.op, part)
		}
	}
	return fetch[T](ctx, a.client, r)
}

// fetch makes a call with a bearer, and reads its answer: one JSON object that says something.
func fetch[T any](ctx context.Context, c *Client, r request) (answer T, err error) {
	if err := checkBearer(r.bearer); err != nil {
		return answer, fmt.Errorf("%s: %w", r.op, err)
	}
	r.accept = func(body []byte) error {
		var got T
		if err := decode(body, &got); err != nil {
			return err
		}
		if reflect.ValueOf(got).IsZero() {
			return errors.New("none of its members")
		}
		answer = got
		return nil
	}
	return answer, c.call(ctx, r)
}

// pages yields the items of one page after the other.
func pages[T any](cursor string,
	page func(cursor string) (items []T, next string, err error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			items, next, err := page(cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" || next == cursor {
				return
			}
			cursor = next
		}
	}
}

// query is what a struct of parameters says in a URL: its members by their names in JSON, which are
// those of the parameters.
func query(params any) url.Values {
	var members map[string]json.RawMessage
	b, err := json.Marshal(params)
	if err != nil || json.Unmarshal(b, &members) != nil {
		panic("client: parameters are plain structs")
	}
	v := url.Values{}
	for name, value := range members {
		text := string(value)
		if err := json.Unmarshal(value, &text); err != nil {
			text = string(value) // a number or a boolean, which reads alike
		}
		v.Set(name, text)
	}
	v.Del("Idempotency-Key") // is a header, which each call sets on its own
	return v
}

// join makes a path of a route and ids, each of which stays one part of it whatever is in it.
func join(route string, parts ...string) string {
	for _, part := range parts {
		route += "/" + url.PathEscape(part)
	}
	return route
}
