package license

import (
	"context"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
)

// Store is what the rules need of a database. Every method that changes something has made it durable when it returns nil. Reads see all
// changes that were acknowledged before, by this process or another. Each method is one transaction; the acts that a method takes are lines that
// it adds to the audit log in that same transaction, unless nothing was changed. An act without an account gets that of what it changes.
type Store interface {
	account.Store
	audit.Store
	keyring.Store

	// Ready returns nil when the newest write went well, or when a small one does now; else why the database cannot write.
	Ready(ctx context.Context) error

	// Standing returns the account, and whether one of the subjects (token ids, families) was revoked. ErrNotFound: no such account.
	Standing(ctx context.Context, account string, subjects ...string) (a account.Account, revoked bool, err error)
	// RecordToken stores an issued token. Recording the same id again changes nothing. Nothing is stored when its right has ended: ErrKeyRetired, its key
	// was retired; ErrTokenRevoked, its parent or family was revoked; ErrUnauthenticated, the API token or login that asked for it was; ErrNoPolicy, the
	// policy was removed.
	RecordToken(ctx context.Context, t TokenRecord, act audit.Act) error
	// RecordedAt returns when a token was first recorded. ErrNotFound: it never was.
	RecordedAt(ctx context.Context, id opaque.TokenID) (time.Time, error)
	// Token returns one record. ErrNotFound.
	Token(ctx context.Context, id opaque.TokenID) (TokenRecord, error)
	// Tokens returns up to limit records of an account whose id comes before the given one ("" for the newest), newest first.
	Tokens(ctx context.Context, account string, before opaque.TokenID, limit int) ([]TokenRecord, error)
	// Revoke stores a revocation; one that exists keeps its first time.
	Revoke(ctx context.Context, r Revocation, act audit.Act) error

	// RecordLease stores the newest lease of a license token under a key; how long the longest one lasts is kept too. Recording the same id again
	// changes nothing. ErrKeyRetired as above.
	RecordLease(ctx context.Context, l LeaseRecord, act audit.Act) error

	// AddPolicy stores a trust policy under the next version of its account and repository, which the answer has. ErrNotFound: no such account.
	AddPolicy(ctx context.Context, p TrustPolicy, act audit.Act) (TrustPolicy, error)
	// Policies returns up to limit policies whose id comes after the given one; of one account, or of all when it is "".
	Policies(ctx context.Context, account, after string, limit int) ([]TrustPolicy, error)
	// PoliciesFor returns all policies for a repository id, of any issuer and owner, oldest first.
	PoliciesFor(ctx context.Context, repositoryID string) ([]TrustPolicy, error)
	// RemovePolicy ends a policy; one that has ended keeps its first time. With issued it revokes what was issued under it, as RevokeAPIToken does.
	// ErrNotFound: there never was one.
	RemovePolicy(ctx context.Context, id string, act audit.Act, issued *audit.Act) (families int64, err error)
	// RecordExchange remembers the use of an identity and records its token; or, when the identity was used before, changes nothing and
	// returns that use. Uses are forgotten some time after their Until.
	RecordExchange(ctx context.Context, use IdentityUse, t TokenRecord, act audit.Act) (first IdentityUse, err error)
	// IdentityUse returns the use of an identity that is remembered under a hash. ErrNotFound.
	IdentityUse(ctx context.Context, hash string) (IdentityUse, error)

	// KeepIssuerKeys stores the keys of an issuer as it published them at that time; the last call counts. No act: they are nobody's doing.
	KeepIssuerKeys(ctx context.Context, issuer string, jwks []byte, fetched time.Time) error
	// IssuerKeys returns the keys that were stored, and when they were fetched; nil when there are none.
	IssuerKeys(ctx context.Context, issuer string) (jwks []byte, fetched time.Time, err error)

	// AddAdminToken stores a new admin token.
	AddAdminToken(ctx context.Context, t AdminToken, act audit.Act) error
	// AdminToken returns the admin token with that hash, ended or not. ErrNotFound.
	AdminToken(ctx context.Context, hash string) (AdminToken, error)
	// AdminTokens returns up to limit admin tokens, oldest first, that come after the given one ("" for the oldest). ErrInvalid: there is none by that id.
	AdminTokens(ctx context.Context, after string, limit int) ([]AdminToken, error)
	// RevokeAdminToken ends an admin token at the time of the act; one that has ended keeps its first time. ErrNotFound.
	RevokeAdminToken(ctx context.Context, id string, act audit.Act) error

	// AddDeviceLogin stores a new device login, and lets go of some that ended long ago. ErrConflict: one has that user code.
	AddDeviceLogin(ctx context.Context, d DeviceLogin) error
	// DeviceLogin returns the one with that hash of its device code or its user code. ErrNotFound.
	DeviceLogin(ctx context.Context, hash string) (DeviceLogin, error)
	// ChangeDeviceLogin loads the device login with that hash of either code, lets change alter it, and stores it with the acts that change
	// returns. An error of change is returned and nothing is stored. ErrNotFound. ErrConflict: it was changed at the same time.
	ChangeDeviceLogin(ctx context.Context, hash string, change func(*DeviceLogin) ([]audit.Act, error)) (DeviceLogin, error)
	// LoginToken returns the device login with that hash of its login token, and the account. ErrNotFound.
	LoginToken(ctx context.Context, hash string) (DeviceLogin, account.Account, error)

	// AddMachine stores a machine.
	AddMachine(ctx context.Context, m Machine, act audit.Act) error
	// MachineOf returns the machine that has a family of license tokens. ErrNotFound.
	MachineOf(ctx context.Context, family string) (Machine, error)
	// Machine returns one machine. ErrNotFound.
	Machine(ctx context.Context, id string) (Machine, error)
	// Machines returns up to limit machines of an account whose id comes after the given one, in the order of ids.
	Machines(ctx context.Context, account, after string, limit int) ([]Machine, error)
	// EndMachine ends a machine and revokes its family at the time of the act; one that has ended keeps its first time.
	EndMachine(ctx context.Context, m Machine, act audit.Act) error

	// AddSignInLink stores a link, and lets go of some that have expired. ErrNotFound: no such account.
	AddSignInLink(ctx context.Context, l SignInLink, act audit.Act) error
	// SignInLink returns the link with that hash. ErrNotFound: there is none, or it was used.
	SignInLink(ctx context.Context, hash string) (SignInLink, error)
	// BeginSession removes the link with that hash and stores a session, and lets go of some that have expired. ErrNotFound: no such link.
	BeginSession(ctx context.Context, link string, n Session, act audit.Act) error
	// Session returns the session with that hash, and its account. ErrNotFound.
	Session(ctx context.Context, hash string) (Session, account.Account, error)
	// EndSession removes a session. Removing it twice is no error.
	EndSession(ctx context.Context, id string, act audit.Act) error
}
