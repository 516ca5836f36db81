package license

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
)

// Actor is who acts, and from where.
type Actor struct {
	Kind      ActorKind
	ID        string // id of the credential, or the user of the operating system
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
)

// Act is one line of the audit log: who did what, on what, from where. It holds ids and hashes, never a secret and never an address of a
// person, for a line can not be erased. An act that changed nothing leaves no line.
type Act struct {
	At      time.Time
	Actor   Actor
	Action  Action
	Account string // whose; empty when it belongs to no account
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
// The wire form under the hash is a JSON array: previous hash, number, milliseconds, actor kind, actor id, address, request id, action,
// account, object, details.
func (a Act) Link(seq int64, previous string) string {
	line, err := json.Marshal([]any{
		previous, seq, a.At.UnixMilli(), a.Actor.Kind, a.Actor.ID, a.Actor.Address, a.Actor.RequestID, a.Action, a.Account, a.Object, a.Details,
	})
	if err != nil {
		panic(err) // texts and numbers
	}
	mac := hmac.New(sha256.New, a.key)
	mac.Write(line)
	return hex.EncodeToString(mac.Sum(nil))
}

// AuditLine is an act as it stands in the log.
type AuditLine struct {
	Seq int64 // 1, 2, 3, …
	Act
	Hash string
}

// AuditHead is the end of the log. Noted down elsewhere, it proves later that nothing was cut off.
type AuditHead struct {
	Seq  int64
	Hash string // empty while the log is empty
}

// String is NUMBER:HASH, the form in which people note it down.
func (h AuditHead) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseAuditHead reads NUMBER:HASH; an empty text is the start of the log. ErrInvalid.
func ParseAuditHead(text string) (AuditHead, error) {
	if text == "" {
		return AuditHead{}, nil
	}
	number, hash, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || len(hash) != hex.EncodedLen(sha256.Size) {
		return AuditHead{}, unreadable(fmt.Sprintf("%q is not an end of the audit log such as 12:5f0c… (NUMBER:HASH, as its verification tells it)", text))
	}
	return AuditHead{n, hash}, nil
}

// AuditQuery chooses lines of the audit log. What is empty does not matter.
type AuditQuery struct {
	Before  int64 // lines before this number; 0: from the newest
	Limit   int
	Account string
	Action  Action
}

// Audit returns lines of the log, newest first.
func (s *Service) Audit(ctx context.Context, q AuditQuery) ([]AuditLine, error) {
	return s.store.AuditLines(ctx, q)
}

// ErrTampered says that the audit log is not as it was written; the error that wraps it says where.
var ErrTampered = errors.New("the audit log was changed")

// auditPage is how many lines are verified at a time.
const auditPage = 1000

// VerifyAudit reads the whole audit log and returns its end. ErrTampered: a line was changed, added or taken away. noted, when it is not
// empty, is an end that was returned before: the log must still contain it, so that nothing was cut off behind it either.
func (s *Service) VerifyAudit(ctx context.Context, noted AuditHead) (AuditHead, error) {
	head, err := s.store.AuditHead(ctx) // first: lines that come while this runs are not its business
	if err != nil {
		return AuditHead{}, err
	}
	var at AuditHead
	for at.Seq < head.Seq {
		lines, err := s.store.AuditAfter(ctx, at.Seq, auditPage)
		if err != nil {
			return AuditHead{}, err
		}
		if len(lines) == 0 {
			break
		}
		for _, l := range lines {
			l.key = s.auditKey
			switch {
			case l.Seq != at.Seq+1:
				return at, fmt.Errorf("%w: lines %d to %d are missing", ErrTampered, at.Seq+1, l.Seq-1)
			case l.Link(l.Seq, at.Hash) != l.Hash:
				return at, fmt.Errorf("%w: line %d is not as it was written, or the one before it was replaced", ErrTampered, l.Seq)
			}
			at = AuditHead{l.Seq, l.Hash}
			if at.Seq == noted.Seq && at.Hash != noted.Hash {
				return at, fmt.Errorf("%w: line %d has another hash than the one noted", ErrTampered, l.Seq)
			}
			if at.Seq == head.Seq {
				break
			}
		}
	}
	switch {
	case at.Seq < head.Seq:
		return at, fmt.Errorf("%w: lines %d to %d are missing", ErrTampered, at.Seq+1, head.Seq)
	case at.Hash != head.Hash:
		return at, fmt.Errorf("%w: its end is noted with another hash", ErrTampered)
	case at.Seq < noted.Seq:
		return at, fmt.Errorf("%w: it ends at line %d, and line %d was there", ErrTampered, at.Seq, noted.Seq)
	}
	return at, nil
}
