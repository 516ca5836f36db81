// Package leak ends tokens of this service that somebody found in the open.
//
// It decides which of our tokens a text is, what ends with it, and what its owner is told: one act,
// whoever found it. The doors are GitHub's alerts to registered providers (alerts.go, keys.go),
// GitHub's alerts of an organization's own patterns (alert.go), and the Admin API. By what patterns
// scanners find our tokens is in patterns.go. How a token ends in the database is decided in
// service/store.
package leak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

// Kind is what kind of token leaked.
type Kind string

// The kinds. A license token ends with its whole family, an API token and a login token with all
// license tokens that were issued by them.
const (
	LicenseToken Kind = "license_token"
	APIToken     Kind = "api_token"
	AdminToken   Kind = "admin_token"
	LoginToken   Kind = "login_token"
	DeviceCode   Kind = "device_code"
	Session      Kind = "session"
	SignInLink   Kind = "sign_in_link"
	SetupLink    Kind = "setup_link"
)

// Kinds are all kinds there are.
var Kinds = []Kind{
	LicenseToken, APIToken, AdminToken, LoginToken, DeviceCode, Session, SignInLink, SetupLink,
}

// Target is a token of ours.
type Target struct {
	Kind      Kind
	ID        string // what the audit log calls it
	AccountID string // whose; empty: nobody's
	Subject   string // what ends: a family, or the hash of what is stored; empty: the ID says it
	Over      bool   // nothing is left that could end
	Unproven  bool   // it has the form alone: only that it ended proves that it was ours
}

// Acts are the lines of the audit log that belong to a leak, in one transaction with what they
// tell.
type Acts struct {
	Leaked audit.Act
	Ended  *audit.Act // that the token ended; nil: nothing is noted but that it leaked
	Issued *audit.Act // that what was issued by it ended; nil: nothing can have been
}

// Store is what leaks need of a database. Every method that changes something has made it durable,
// its acts included, when it returns nil.
type Store interface {
	// AccountStatus is that of auth.Store, as are the next three.
	AccountStatus(ctx context.Context, account string, subjects ...string) (account.Account, bool, error)
	APIToken(ctx context.Context, hash string) (account.APIToken, account.Account, error)
	AdminToken(ctx context.Context, hash string) (auth.AdminToken, error)
	LoginToken(ctx context.Context, hash string) (auth.DeviceLogin, account.Account, error)
	// DeviceLogin returns the device login with that hash of its device code. ErrNotFound.
	DeviceLogin(ctx context.Context, hash string) (auth.DeviceLogin, error)
	// Session and SignInLink are those of auth.SessionStore.
	Session(ctx context.Context, hash string) (auth.Session, account.Account, error)
	SignInLink(ctx context.Context, hash string) (auth.SignInLink, error)
	// Token returns the record of a license token. ErrNotFound.
	Token(ctx context.Context, id opaque.TokenID) (license.TokenRecord, error)
	// EndLeaked ends a token and all that was issued by it, and notes that fresh ones are to be
	// written for its account. ended is false when nothing was left; then nothing is changed.
	EndLeaked(ctx context.Context, t Target, acts Acts) (ended bool, err error)
	// Leaks returns up to limit accounts for which fresh tokens are to be written, oldest first.
	Leaks(ctx context.Context, limit int) ([]Note, error)
	// EndLeak forgets that, unless another token of the account leaked since.
	EndLeak(ctx context.Context, n Note) error
	// AddTest stores the key of a test, and purges some that have expired.
	AddTest(ctx context.Context, t Test) error
	// UseTest removes and returns the key of a test. ErrNotFound: there is none, or it was used.
	UseTest(ctx context.Context, id string) (Test, error)
}

// Note is an account one of whose tokens leaked, until fresh ones are on the way.
type Note struct {
	AccountID string
	At        time.Time
}

// Config is what a Service is made of. All fields must be set unless they say what 0 means.
type Config struct {
	Store  Store
	Keys   auth.LicenseKeys
	Log    *audit.Log
	GitHub github.Config // how GitHub is asked for the keys of its alerts; without a Transport it is not
	// Installations gives clients of the GitHub App. ErrNotFound: there is none.
	Installations func(context.Context) (*github.Installations, error)
	// Hurry writes fresh tokens to the managed secrets of an account; nil: there are no managed
	// secrets.
	Hurry  func(ctx context.Context, account string) error
	Events *slog.Logger // what was found; nil: nobody is told
	Now    func() time.Time
	Rand   io.Reader // cryptographic randomness
}

// Service ends what leaks. It is safe for use by several goroutines.
type Service struct {
	cfg  Config
	keys *publishedKeys
	soon chan struct{} // see Soon

	mu     sync.Mutex
	counts map[Count]int64
}

// New returns a Service.
func New(c Config) *Service {
	if c.Events == nil {
		c.Events = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: c, keys: newPublishedKeys(c), soon: make(chan struct{}, 1), counts: map[Count]int64{}}
}

// Door is who told of a leak.
type Door string

// The doors.
const (
	ByPartnerAlert Door = "partner_alert" // GitHub, to a registered provider
	ByAlert        Door = "github_alert"  // GitHub, by a pattern of an organization
	ByAdmin        Door = "admin"         // another scanner, by the Admin API
	ByTest         Door = "test"          // leak test
)

// Doors are all doors there are.
var Doors = []Door{ByPartnerAlert, ByAlert, ByAdmin, ByTest}

// Outcome is what came of a leak.
type Outcome string

// The outcomes.
const (
	Ended   Outcome = "ended"    // it ended now
	Over    Outcome = "over"     // it is ours, and nothing of it was left
	NotOurs Outcome = "not_ours" // a false positive
)

// Found is a text that somebody found in the open.
type Found struct {
	Token      opaque.Secret
	Door       Door
	Source     string // what kind of place: commit, gist, …; anything
	URL        string // where; may be empty
	Repository string // OWNER/NAME, where it is known
	RepoID     string // its id, where it is known
}

// Verdict is what came of it.
type Verdict struct {
	Target  // zero when it is not ours
	Outcome Outcome
}

// Ours says whether the text was a token of ours, good or not.
func (v Verdict) Ours() bool { return v.Outcome != NotOurs }

// Report ends a token that was found in the open, in one transaction with all that was issued by it
// and with the lines of the audit log, of which the owner hears by an event. It holds with the next
// request, on other replicas within 250 ms. A text that is not a token of ours is no error, and a
// report that comes again changes nothing.
func (s *Service) Report(ctx context.Context, f Found) (Verdict, error) {
	t, ours, err := s.identify(ctx, f.Token.Reveal())
	if err != nil {
		return Verdict{}, fmt.Errorf("look up a token that leaked: %w", err)
	}
	v := Verdict{Target: t, Outcome: NotOurs}
	if ours {
		v.Outcome = Over
	}
	if ours && !t.Over {
		ended, err := s.cfg.Store.EndLeaked(ctx, t, s.acts(ctx, t, f))
		if err != nil {
			return Verdict{}, fmt.Errorf("end %s %s, which leaked: %w", t.Kind, t.ID, err)
		}
		switch {
		case ended:
			v.Outcome = Ended
			s.wake()
		case t.Unproven:
			v, ours = Verdict{Outcome: NotOurs}, false
		}
	}
	s.count(f.Door, v)
	if ours {
		s.cfg.Events.Warn("leaked token", "door", f.Door, "kind", t.Kind, "token", t.ID, "account", t.AccountID,
			"outcome", v.Outcome, "source", cleanSource(f.Source), "url", cleanURL(f.URL))
	}
	return v, nil
}

// acts are the lines that tell of a leak.
func (s *Service) acts(ctx context.Context, t Target, f Found) Acts {
	details := audit.Details{"kind": t.Kind, "door": f.Door, "source": cleanSource(f.Source)}
	for name, value := range map[string]string{
		"url": cleanURL(f.URL), "repository": clean(f.Repository), "repository_id": clean(f.RepoID),
	} {
		if value != "" {
			details[name] = value
		}
	}
	if f.Door == ByTest {
		details["test"] = true // receivers of events can tell it from the real thing
	}
	a := Acts{Leaked: s.cfg.Log.Act(ctx, audit.TokenLeaked, t.AccountID, t.ID, details)}
	by := audit.Details{"leaked": true}
	if ended, ok := endedBy[t.Kind]; ok {
		object := t.ID
		if t.Kind == LicenseToken {
			object = t.Subject
		}
		a.Ended = new(s.cfg.Log.Act(ctx, ended, t.AccountID, object, by))
	}
	if t.Kind == APIToken || t.Kind == LoginToken {
		a.Issued = new(s.cfg.Log.Act(ctx, audit.IssuesRevoked, t.AccountID, t.ID, by))
	}
	return a
}

// endedBy is what the audit log calls the end of each kind: the same as when somebody else ends it,
// so that who looks for ends, or hears of them by events, misses none.
var endedBy = map[Kind]audit.Action{
	LicenseToken: audit.FamilyRevoked, APIToken: audit.APITokenRevoked,
	AdminToken: audit.AdminTokenRevoked, LoginToken: audit.LoginRevoked,
	DeviceCode: audit.DeviceWasDenied, Session: audit.SignedOut,
}

// Count is a line of the metrics.
type Count struct {
	Door    Door
	Kind    Kind // empty for what is not ours
	Outcome Outcome
}

func (s *Service) count(d Door, v Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[Count{d, v.Kind, v.Outcome}]++
}

// Counts are how many texts were reported to this process.
func (s *Service) Counts() map[Count]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[Count]int64{}
	for c, n := range s.counts {
		out[c] = n
	}
	return out
}

// Soon has a value when fresh tokens are to be written, see Follow.
func (s *Service) Soon() <-chan struct{} { return s.soon }

func (s *Service) wake() {
	select {
	case s.soon <- struct{}{}:
	default:
	}
}

// FollowEvery is how long after a leak another replica hears that fresh tokens are to be written.
const FollowEvery = 2 * time.Second

// Follow writes fresh tokens for the accounts whose tokens leaked. What cannot be done now is tried
// again the next time.
func (s *Service) Follow(ctx context.Context) error {
	if s.cfg.Hurry == nil {
		return nil
	}
	notes, err := s.cfg.Store.Leaks(ctx, 100)
	if err != nil {
		return err
	}
	var faults []error
	for _, n := range notes {
		if err := s.cfg.Hurry(ctx, n.AccountID); err != nil {
			faults = append(faults,
				fmt.Errorf("write fresh tokens of account %s after a leak: %w", n.AccountID, err))
			continue
		}
		if err := s.cfg.Store.EndLeak(ctx, n); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// HashOf is by what the answer to an alert names a token.
func HashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
