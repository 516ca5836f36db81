// Package audit is the log of who did what: its lines, the chain that they form, and the proof that
// nothing in it was changed.
//
// What an act is allowed to do is decided by the noun that does it; that an act and its line are
// one transaction, by service/store.
package audit

import (
	"context"
	"slices"
	"time"
)

// ActorKind says by what right somebody acts.
type ActorKind string

// The kinds of actors.
const (
	ActorUnknown ActorKind = "unknown"
	ActorAccount ActorKind = "account"      // a token of an account, or a person who is signed in to it
	ActorAdmin   ActorKind = "admin"        // an admin token
	ActorCommand ActorKind = "command-line" // somebody who can open the database
	ActorJob     ActorKind = "github-job"   // a job of GitHub Actions, by its identity
	ActorService ActorKind = "service"      // the service itself
	ActorGitHub  ActorKind = "github"       // GitHub, by a signed webhook; the id is that of the delivery
)

// Actor is who acts, and from where.
type Actor struct {
	Kind      ActorKind
	ID        string // id of the credential, of the account if there is none, or the user of the operating system
	Address   string // IP address of the caller; empty for the command line
	RequestID string // as in the access log; empty for the command line
}

type actorKey struct{}

// WithActor returns a context in which everything that is done counts as done by the actor.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

func actor(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Actor{Kind: ActorUnknown}
}

// WithFallbackActor returns ctx with the given account or session as actor if the caller is
// anonymous.
func WithFallbackActor(ctx context.Context, id string) context.Context {
	who := actor(ctx)
	if who.Kind == ActorUnknown {
		who.Kind, who.ID = ActorAccount, id
	}
	return WithActor(ctx, who)
}

// Action is what was done. The names never change: people search the log for them.
type Action string

// The actions. docs/api.md lists them.
const (
	AccountCreated   Action = "account.create"
	AccountUpdated   Action = "account.update"
	AccountSuspended Action = "account.suspend"
	AccountRestored  Action = "account.restore"
	AccountDeleted   Action = "account.delete"

	APITokenCreated Action = "api-token.create"
	APITokenRevoked Action = "api-token.revoke"

	AdminTokenCreated Action = "admin-token.create"
	AdminTokenRevoked Action = "admin-token.revoke"

	TokenIssued    Action = "token.issue"
	TokenRefreshed Action = "token.refresh"
	TokenRevoked   Action = "token.revoke"
	FamilyRevoked  Action = "token.revoke-family"
	IssuesRevoked  Action = "token.revoke-issued-by"

	TokenExchanged  Action = "token.exchange"
	ExchangeRefused Action = "exchange.refuse"
	PolicyAdded     Action = "policy.add"
	PolicyRemoved   Action = "policy.remove"

	LeaseIssued Action = "lease.issue"

	KeyAdded   Action = "key.add"
	KeyRetired Action = "key.retire"

	SignInLinkCreated Action = "sign-in-link.create"
	SignedIn          Action = "session.begin"
	SignedOut         Action = "session.end"

	DeviceWasApproved Action = "device.approve"
	DeviceWasDenied   Action = "device.deny"
	DeviceLoggedIn    Action = "device.login"
	LoginRevoked      Action = "device.revoke"

	ClockAccepted Action = "clock.accept"

	RecordsPruned Action = "ledger.prune"

	MachineActivated   Action = "machine.activate"
	MachineDeactivated Action = "machine.deactivate"
	MachineEnded       Action = "machine.end"

	PlanChanged  Action = "account.plan" // what was bought changed what the account may use
	PlanMapped   Action = "plan.add"     // an operator said what a plan of GitHub's gives
	PlanUnmapped Action = "plan.remove"

	PurchaseMatched Action = "purchase.match" // the operator said which account gets what was bought

	LicenseExpiring Action = "license.expiring" // an account was told that its license ends soon
	LicenseExpired  Action = "license.expire"

	TokenLeaked Action = "token.leak" // somebody published it, and it was revoked

	EndpointAdded     Action = "webhook.add"
	EndpointUpdated   Action = "webhook.update"
	EndpointRemoved   Action = "webhook.remove"
	EndpointRotated   Action = "webhook.rotate-secret"
	EndpointDisabled  Action = "webhook.disable" // by the service: its receiver is gone
	EndpointTested    Action = "webhook.test"
	DeliveryReplayed  Action = "webhook.replay"
	AppConnected      Action = "github-app.create"
	AppLinkCreated    Action = "github-app.create-link"
	RotationAdded     Action = "rotation.add"
	RotationRemoved   Action = "rotation.remove"
	SecretRotated     Action = "secret.rotate"
	SecretNotRotated  Action = "secret.rotate-failed"
	RepositoryChanged Action = "repository.change" // GitHub told of a new name, a new owner or the end of a repository
)

// ChangesRights says whether an act can change who may do what. One that only adds something that
// nobody can have asked for before does not, nor does handing out a token.
func (a Action) ChangesRights() bool { return !slices.Contains(onlyAdding, a) }

var onlyAdding = []Action{
	AccountCreated, APITokenCreated, AdminTokenCreated, TokenIssued, TokenRefreshed, TokenExchanged, LeaseIssued,
	SignInLinkCreated, SignedIn, SignedOut, DeviceWasApproved, DeviceWasDenied, DeviceLoggedIn, MachineActivated, ExchangeRefused,
	RecordsPruned, // what is pruned has ended
	PlanMapped, LicenseExpiring, LicenseExpired, EndpointTested, DeliveryReplayed, AppConnected, AppLinkCreated, PurchaseMatched,
	RotationAdded, SecretRotated, SecretNotRotated,
}

// Actions are all actions there are.
var Actions = []Action{
	AccountCreated, AccountUpdated, AccountSuspended, AccountRestored, AccountDeleted, APITokenCreated, APITokenRevoked, AdminTokenCreated,
	AdminTokenRevoked, TokenIssued, TokenRefreshed, TokenRevoked, FamilyRevoked, IssuesRevoked, TokenExchanged, PolicyAdded, PolicyRemoved, LeaseIssued,
	KeyAdded, KeyRetired, SignInLinkCreated, SignedIn, SignedOut, DeviceWasApproved, DeviceWasDenied, DeviceLoggedIn, LoginRevoked, MachineActivated,
	MachineDeactivated, MachineEnded, ClockAccepted, ExchangeRefused, RecordsPruned, PlanChanged, PlanMapped, PlanUnmapped, LicenseExpiring,
	LicenseExpired, TokenLeaked, EndpointAdded, EndpointUpdated, EndpointRemoved, EndpointRotated, EndpointDisabled, EndpointTested, DeliveryReplayed,
	AppConnected, AppLinkCreated, RotationAdded, RotationRemoved, SecretRotated, SecretNotRotated, RepositoryChanged, PurchaseMatched,
}

// Act is one line of the audit log: who did what, on what, from where. It holds ids and hashes,
// never a secret and never an address of a person, for a line can not be erased. An act that
// changed nothing leaves no line.
type Act struct {
	At      time.Time
	Actor   Actor
	Action  Action
	Account string // whose; when it is left empty, the store fills in whose the object is, if it is anybody's
	Object  string // id of what was changed
	Details string // JSON object with what else is worth knowing

	key []byte // of the chain
}

// Details are facts about an act: ids, dates, versions, hashes.
type Details map[string]any
