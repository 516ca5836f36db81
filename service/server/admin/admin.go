// Package admin is the Admin API: it does over HTTP what the commands do on the database, the same
// acts of the nouns, one handler each.
package admin

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/in"
	"github.com/pageflare/ci/service/webhook/out"
)

// Handlers answer the Admin API. All must be set unless they say what nil means.
type Handlers struct {
	Accounts   *account.Registry
	Admins     *auth.Admins
	Sessions   *auth.Sessions
	Licenses   *license.Service
	Machines   *license.Machines
	Policies   *license.Policies
	Jobs       *license.Jobs
	Rotation   *rotation.Rotations
	Keys       *keyring.Keyring
	Billing    *billing.Registry
	Received   *in.Receiver
	Leaks      *leak.Service
	Log        *audit.Log
	Identities *oidc.Verifier // explains identity tokens; nil: no issuer is trusted
	Repository Resolver       // finds the ids of a repository by its name; nil: policies are added by ids alone
	Now        func() time.Time
	Endpoints  *out.Registry
	Feed       *out.Feed
	Sent       *deliver.History

	// Extend gives an answer more time than others have: the context ends when that is over, when
	// the client leaves, or when the service stops.
	Extend func(*gin.Context, time.Duration) (context.Context, context.CancelFunc)

	// Await is Extend for who waits for something to happen: the context ends also when the service
	// begins to drain. The answer is written after it was ended.
	Await func(*gin.Context, time.Duration) (context.Context, context.CancelFunc)

	verifying sync.Mutex // held by the one that verifies the audit log
}

// The ids that stand in paths.
var (
	accountID = route.OfKind("id", opaque.OfAccount, fmt.Errorf("account: %w", failure.ErrNotFound))
	policyID  = route.OfKind("id", opaque.OfPolicy, fmt.Errorf("policy: %w", failure.ErrNotFound))
	keyID     = route.OfKind("kid", opaque.OfKey, fmt.Errorf("signing key: %w", failure.ErrNotFound))
	webhookID = route.OfKind("id", opaque.OfEndpoint, fmt.Errorf("webhook endpoint: %w", failure.ErrNotFound))
	machineID = route.OfKind("id", opaque.OfMachine, fmt.Errorf("machine: %w", failure.ErrNotFound))
	tokenID   = route.ID{
		Name: "jti", Fits: func(s string) bool { return opaque.TokenID(s).Family() != "" },
		Refusal: route.BadRequest("that is no id of a token (40 letters and digits)"),
	}
	apiTokenID = route.OfKind("id", opaque.OfAPIToken, route.BadRequest("that is no id of an API token (at_ and 16 letters or digits): "+
		"POST /_api/oauth/introspect tells the id of one by its text (jti), POST /_api/oauth/revoke ends one by its text"))
	adminTokenID = route.OfKind("id", opaque.OfAdminToken, route.BadRequest("that is no id of an admin token (adm_ and 16 letters or digits): "+
		"GET /_api/admin/admin-tokens lists them"))
)

// Routes are the routes of the Admin API.
func (h *Handlers) Routes() []route.Route {
	const at = "/_api/admin"
	return []route.Route{
		route.Get(at+"/accounts", route.Admin(auth.ScopeAccountsRead), h.listAccounts),
		route.Post(at+"/accounts", route.Admin(auth.ScopeAccountsWrite), h.createAccount).Bare().Once(),
		route.Get(at+"/accounts/:id", route.Admin(auth.ScopeAccountsRead), h.getAccount).Of(accountID).Bare(),
		route.Patch(at+"/accounts/:id", route.Admin(auth.ScopeAccountsWrite), h.updateAccount).Of(accountID).Bare(),
		route.Delete(at+"/accounts/:id", route.Admin(auth.ScopeAccountsWrite), h.deleteAccount).Of(accountID).Bare(),
		route.Post(at+"/accounts/:id/suspend", route.Admin(auth.ScopeAccountsWrite), h.suspendAccount).Of(accountID).Bare(),
		route.Post(at+"/accounts/:id/restore", route.Admin(auth.ScopeAccountsWrite), h.restoreAccount).Of(accountID).Bare(),
		route.Get(at+"/accounts/:id/api-tokens", route.Admin(auth.ScopeTokensRead), h.listAPITokens).Of(accountID),
		route.Post(at+"/accounts/:id/api-tokens", route.Admin(auth.ScopeTokensWrite), h.createAPIToken).Of(accountID).Bare().Once(),
		route.Delete(at+"/api-tokens/:id", route.Admin(auth.ScopeTokensWrite), h.revokeAPIToken).Of(apiTokenID),
		route.Get(at+"/accounts/:id/tokens", route.Admin(auth.ScopeTokensRead), h.listTokens).Of(accountID),
		route.Post(at+"/accounts/:id/tokens", route.Admin(auth.ScopeTokensWrite), h.issueToken).Of(accountID).Bare().Once(),
		route.Get(at+"/tokens", route.Admin(auth.ScopeTokensRead), h.findTokens),
		route.Get(at+"/tokens/:jti", route.Admin(auth.ScopeTokensRead), h.getToken).Of(tokenID).Bare(),
		route.Post(at+"/tokens/revoke", route.Admin(auth.ScopeTokensWrite), h.revokeToken).Bare(),
		route.Post(at+"/leaks", route.Admin(auth.ScopeTokensWrite), h.reportLeak).Bare(),
		route.Get(at+"/accounts/:id/machines", route.Admin(auth.ScopeTokensRead), h.listMachines).Of(accountID),
		route.Delete(at+"/machines/:id", route.Admin(auth.ScopeTokensWrite), h.endMachine).Of(machineID).Bare(),
		route.Get(at+"/policies", route.Admin(auth.ScopePoliciesRead), h.listPolicies),
		route.Post(at+"/policies", route.Admin(auth.ScopePoliciesWrite), h.addPolicy).Bare(),
		route.Post(at+"/policies/batch", route.Admin(auth.ScopePoliciesWrite), h.addPolicyBatch).Bare().Reads(BatchBody),
		route.Delete(at+"/policies/:id", route.Admin(auth.ScopePoliciesWrite), h.removePolicy).Of(policyID),
		route.Post(at+"/policies/explain", route.Admin(auth.ScopePoliciesRead), h.explainPolicies).Bare(),
		route.Get(at+"/rotations", route.Admin(auth.ScopeRotationsRead), h.listRotations),
		route.Post(at+"/rotations", route.Admin(auth.ScopeRotationsWrite), h.addRotation).Bare(),
		route.Get(at+"/rotations/:id", route.Admin(auth.ScopeRotationsRead), h.getRotation).Of(rotationID).Bare(),
		route.Post(at+"/rotations/:id/run", route.Admin(auth.ScopeRotationsWrite), h.hurryRotation).Of(rotationID).Bare(),
		route.Delete(at+"/rotations/:id", route.Admin(auth.ScopeRotationsWrite), h.removeRotation).Of(rotationID),
		route.Get(at+"/repositories", route.Admin(auth.ScopePoliciesRead), h.listRepositories),
		route.Get(at+"/keys", route.Admin(auth.ScopeKeysRead), h.listKeys).Bare(),
		route.Post(at+"/keys", route.Admin(auth.ScopeKeysWrite), h.rotateKey).Once(),
		route.Delete(at+"/keys/:kid", route.Admin(auth.ScopeKeysWrite), h.retireKey).Of(keyID),
		route.Get(at+"/admin-tokens", route.Admin(auth.ScopeAdminRead), h.listAdminTokens),
		route.Post(at+"/admin-tokens", route.Admin(auth.ScopeAdminWrite), h.createAdminToken).Bare().Once(),
		route.Delete(at+"/admin-tokens/:id", route.Admin(auth.ScopeAdminWrite), h.revokeAdminToken).Of(adminTokenID).Bare(),
		route.Get(at+"/audit", route.Admin(auth.ScopeAuditRead), h.listAudit),
		route.Get(at+"/audit/verify", route.Admin(auth.ScopeAuditRead), h.verifyAudit),
		route.Get(at+"/webhooks", route.Admin(auth.ScopeWebhooksRead), h.listWebhooks),
		route.Post(at+"/webhooks", route.Admin(auth.ScopeWebhooksWrite), h.addWebhook).Bare().Once(),
		route.Get(at+"/webhooks/:id", route.Admin(auth.ScopeWebhooksRead), h.getWebhook).Of(webhookID).Bare(),
		route.Patch(at+"/webhooks/:id", route.Admin(auth.ScopeWebhooksWrite), h.updateWebhook).Of(webhookID).Bare(),
		route.Delete(at+"/webhooks/:id", route.Admin(auth.ScopeWebhooksWrite), h.removeWebhook).Of(webhookID).Bare(),
		route.Post(at+"/webhooks/:id/rotate-secret", route.Admin(auth.ScopeWebhooksWrite), h.rotateWebhookSecret).Of(webhookID).Bare().Once(),
		route.Post(at+"/webhooks/:id/test", route.Admin(auth.ScopeWebhooksWrite), h.testWebhook).Of(webhookID).Bare(),
		route.Get(at+"/webhooks/:id/deliveries", route.Admin(auth.ScopeWebhooksRead), h.listWebhookDeliveries).Of(webhookID),
		route.Get(at+"/webhooks/:id/replays", route.Admin(auth.ScopeWebhooksRead), h.listWebhookReplays).Of(webhookID),
		route.Post(at+"/webhooks/:id/replays", route.Admin(auth.ScopeWebhooksWrite), h.replayWebhook).Of(webhookID).Bare().Once(),
		route.Post(at+"/webhooks/:id/skip", route.Admin(auth.ScopeWebhooksWrite), h.skipWebhook).Of(webhookID).Bare(),
		route.Get(at+"/events", route.Admin(auth.ScopeEventsRead), h.listEvents),
		route.Get(at+"/plans", route.Admin(auth.ScopePlansRead), h.listPlans).Bare(),
		route.Post(at+"/plans", route.Admin(auth.ScopePlansWrite), h.addPlan).Bare(),
		route.Delete(at+"/plans/:plan", route.Admin(auth.ScopePlansWrite), h.removePlan).Of(planID).Bare(),
		route.Get(at+"/purchases", route.Admin(auth.ScopePlansRead), h.listPurchases),
		route.Post(at+"/purchases/:purchase/match", route.Admin(auth.ScopePlansWrite), h.matchPurchase).Of(purchaseID).Bare(),
		route.Get(at+"/received", route.Admin(auth.ScopeWebhooksRead), h.listReceived),
		route.Post(at+"/received/:guid/retry", route.Admin(auth.ScopeWebhooksWrite), h.retryReceived).Of(deliveryID).Bare().Reads(0),
		route.Post(at+"/accounts/:id/sign-in", route.Admin(auth.ScopeTokensWrite), h.createSignInLink).Of(accountID).Bare(),
	}
}

// Refusals is how the errors of the Admin API look on the wire.
func Refusals() []route.Refusal {
	return []route.Refusal{
		{Err: errAnonymousLimit, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
		{Err: errGitHub, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
		{Err: rotation.ErrNoAnswer, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
		{Err: errVerifying, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
		{Err: out.ErrBusy, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
		{Err: errNoVerdict, Status: http.StatusServiceUnavailable, Code: api.CodeUnavailable},
	}
}

// lifetime reads a duration such as 72h or 3d; "" is 0.
func lifetime(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := api.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, route.BadRequest("ttl is not a duration: give hours, such as 168h")
	}
	return d, nil
}
