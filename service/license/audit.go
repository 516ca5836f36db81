package license

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/failure"
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

// as is a context in which somebody who calls without a credential, as anyone may, is known by what they show otherwise.
func as(ctx context.Context, id string) context.Context {
	who := actor(ctx)
	if who.Kind == ActorUnknown {
		who.Kind, who.ID = ActorAccount, id
	}
	return WithActor(ctx, who)
}

// Action is what was done. The names are kept for ever: people search the log for them.
type Action string

// The actions of this package. docs/api.md lists all.
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

	TokenExchanged Action = "token.exchange"
	PolicyAdded    Action = "policy.add"
	PolicyRemoved  Action = "policy.remove"

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

	MachineActivated   Action = "machine.activate"
	MachineDeactivated Action = "machine.deactivate"
	MachineEnded       Action = "machine.end"
)

// Actions are all actions there are.
var Actions = []Action{
	AccountCreated, AccountUpdated, AccountSuspended, AccountRestored, AccountDeleted, APITokenCreated, APITokenRevoked, AdminTokenCreated,
	AdminTokenRevoked, TokenIssued, TokenRefreshed, TokenRevoked, FamilyRevoked, IssuesRevoked, TokenExchanged, PolicyAdded, PolicyRemoved, LeaseIssued,
	KeyAdded, KeyRetired, SignInLinkCreated, SignedIn, SignedOut, DeviceWasApproved, DeviceWasDenied, DeviceLoggedIn, LoginRevoked, MachineActivated,
	MachineDeactivated, MachineEnded,
}

// Act is one line of the audit log: who did what, on what, from where. It holds ids and hashes, never a secret and never an address of a
// person, for a line can not be erased. An act that changed nothing leaves no line.
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

// act is an act at now by the actor of the context.
func (s *Service) act(ctx context.Context, action Action, account, object string, details Details) Act {
	text := []byte("{}")
	if len(details) > 0 {
		var err error
		if text, err = json.Marshal(details); err != nil {
			panic(err) // Details hold texts, numbers and lists of them
		}
	}
	return Act{At: s.time(), Actor: actor(ctx), Action: action, Account: account, Object: object, Details: string(text), key: s.auditKey}
}

// Link is the hash of this line of the log: a keyed hash (HMAC-SHA256) of the hash before it and all that the line says. Who can write the
// database but has not the key-encryption key can neither change a line nor take one out from between two others.
//
// The wire form under the hash is a JSON array: "audit line", previous hash, number, milliseconds, actor kind, actor id, address, request id,
// action, account, object, details.
func (a Act) Link(seq int64, previous string) string {
	return auditMAC(a.key, "audit line", previous, seq, a.At.UnixMilli(), a.Actor.Kind, a.Actor.ID, a.Actor.Address, a.Actor.RequestID, a.Action, a.Account,
		a.Object, a.Details)
}

// Seal is what proves that whoever has the key set the end of the log there: a keyed hash of a JSON array: "audit head", number, hash. Without it,
// who can write the database could name any earlier line as the end, for its hash stands in the line.
func (a Act) Seal(end AuditHead) string { return auditMAC(a.key, "audit head", end.Seq, end.Hash) }

// Sealed says whether a seal is that of an end.
func (a Act) Sealed(end AuditHead, seal string) bool {
	return hmac.Equal([]byte(a.Seal(end)), []byte(seal))
}

// auditMAC is the keyed hash of a JSON array, whose first element keeps apart what it is for.
func auditMAC(key []byte, array ...any) string {
	text, err := json.Marshal(array)
	if err != nil {
		panic(err) // texts and numbers
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

// AuditLine is an act as it stands in the log.
type AuditLine struct {
	Seq int64 // 1, 2, 3, …
	Act
	Hash string
}

// Head is the end of a log whose last line this is.
func (l AuditLine) Head() AuditHead { return AuditHead{l.Seq, l.Hash} }

// AuditQuery chooses lines of the audit log. What is empty does not matter.
type AuditQuery struct {
	Before  int64 // lines before this number; 0: from the newest
	Limit   int
	Account string
	Action  Action
	Actor   string // its id
}

// Audit returns lines of the log, newest first. What is asked for must be there to be found, or a mistyped name would look like a blank record: ErrInvalid,
// there is no such action; ErrNotFound, no such account. Of actors there is no list.
func (s *Service) Audit(ctx context.Context, q AuditQuery) ([]AuditLine, error) {
	if q.Action != "" && !slices.Contains(Actions, q.Action) {
		return nil, failure.Invalid(fmt.Sprintf("action %q is none of %s", q.Action, failure.Names(Actions)))
	}
	if q.Account != "" {
		if _, err := s.store.Account(ctx, q.Account); err != nil {
			return nil, err
		}
	}
	return s.store.AuditLines(ctx, q)
}
