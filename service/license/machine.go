package license

import (
	"context"
	"fmt"
	"regexp"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// Machine is a machine that was activated: it has a license token, and all that descends from it.
type Machine struct {
	ID        string // "mac_" and 16 letters or digits
	AccountID string
	MachineID string // what it calls itself; the same on two containers of one image, so neither a secret nor unique
	Label     string // its host name, most likely; empty once the account is deleted
	Family    string // of its license tokens
	CreatedAt time.Time
	EndedAt   time.Time // zero until it is ended
	Revoked   bool      // its family was revoked, which ends it as well; only read
}

// Status is active or ended.
func (m Machine) Status() string {
	if m.Revoked || !m.EndedAt.IsZero() {
		return "ended"
	}
	return "active"
}

// MachineStore is what machines need of a database. Every method that changes something has made it
// durable, its act included, when it returns nil.
type MachineStore interface {
	// HasAccount returns nil when there is an account of that id, deleted or not. ErrNotFound.
	HasAccount(ctx context.Context, id string) error
	// Activate stores an issued token and the machine that it is for, or neither. Nothing is stored
	// when the token's right has ended: the errors are those of Store.RecordToken.
	Activate(ctx context.Context, t TokenRecord, issued audit.Act, m Machine, act audit.Act) error
	// MachineOf returns the machine that has a family of license tokens. ErrNotFound.
	MachineOf(ctx context.Context, family string) (Machine, error)
	// Machine returns one machine. ErrNotFound.
	Machine(ctx context.Context, id string) (Machine, error)
	// Machines returns up to limit machines of an account whose id comes after the given one, in
	// the order of ids.
	Machines(ctx context.Context, account, after string, limit int) ([]Machine, error)
	// EndMachine ends a machine and revokes its family at the time of the act; one that has ended
	// keeps its first time.
	EndMachine(ctx context.Context, m Machine, act audit.Act) error
}

// Machines is the machines of a database.
type Machines struct {
	store  MachineStore
	tokens *Service
	cfg    Config
	log    *audit.Log
}

// NewMachines returns the machines of a database, which get their license tokens of the Service.
func NewMachines(s MachineStore, tokens *Service) *Machines {
	return &Machines{s, tokens, tokens.cfg, tokens.log}
}

var machineID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

const maxLabel = 255 // a host name (RFC 1035, 2.3.4)

func checkMachine(id, label string) error {
	if !machineID.MatchString(id) {
		return fmt.Errorf("%w: machine_id is not 1 to 128 letters, digits, - or _",
			failure.ErrInvalid)
	}
	if len(label) > maxLabel || !utf8.ValidString(label) {
		return fmt.Errorf("%w: label is longer than %d bytes", failure.ErrInvalid, maxLabel)
	}
	for _, r := range label {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: label has a control character", failure.ErrInvalid)
		}
	}
	return nil
}

// Activate gives a machine a license token in a family of its own, and stores both or neither: a
// token whose machine nobody knows would be ended by no logout. Refusals: ErrInvalid, and those of
// Issue.
func (s *Machines) Activate(ctx context.Context, c auth.Caller,
	id, label string) (Issued, Machine, error) {
	if err := checkMachine(id, label); err != nil {
		return Issued{}, Machine{}, err
	}
	m := Machine{AccountID: c.Account.ID, MachineID: id, Label: label, CreatedAt: s.cfg.Now()}
	var err error
	if m.ID, err = opaque.OfMachine.New(s.cfg.Rand); err != nil {
		return Issued{}, Machine{}, err
	}
	issued, err := s.tokens.issueAs(ctx, c, func(ctx context.Context, t TokenRecord,
		issued audit.Act) error {
		m.Family = t.ID.Family()
		act := s.log.Act(ctx, audit.MachineActivated, m.AccountID, m.ID,
			audit.Details{"family": m.Family, "jti": t.ID})
		return s.store.Activate(ctx, t, issued, m, act)
	})
	if err != nil {
		return Issued{}, Machine{}, err
	}
	return issued, m, nil
}

// Deactivate ends the machine that the caller's license token was made for, with all of its family.
// Doing it twice is no error. The id alone would not do: other machines may have the same.
// ErrNotFound: the token was not made for a machine of that id.
func (s *Machines) Deactivate(ctx context.Context, c auth.Caller, id string) error {
	m, err := s.store.MachineOf(ctx, opaque.TokenID(c.Token.ID).Family())
	if err != nil {
		return err
	}
	if m.MachineID != id || m.AccountID != c.Account.ID {
		return fmt.Errorf("machine: %w: this license token was made for another",
			failure.ErrNotFound)
	}
	return s.store.EndMachine(ctx, m,
		s.log.Act(ctx, audit.MachineDeactivated, m.AccountID, m.ID,
			audit.Details{"family": m.Family}))
}

// Machines returns up to limit machines of an account, ended ones too, whose id comes after the
// given one, in the order of ids. ErrNotFound: no such account. ErrInvalid: after is no id.
func (s *Machines) Machines(ctx context.Context, account, after string,
	limit int) ([]Machine, error) {
	if err := opaque.OfMachine.CheckAfter(after); err != nil {
		return nil, err
	}
	if err := s.store.HasAccount(ctx, account); err != nil {
		return nil, err
	}
	return s.store.Machines(ctx, account, after, limit)
}

// EndMachine ends a machine, by its id, with the whole family of its license tokens, and returns it
// as it is then. It is for the operator. Doing it twice is no error. ErrNotFound.
func (s *Machines) EndMachine(ctx context.Context, id string) (Machine, error) {
	m, err := s.store.Machine(ctx, id)
	if err != nil {
		return Machine{}, err
	}
	if err := s.store.EndMachine(ctx, m,
		s.log.Act(ctx, audit.MachineEnded, m.AccountID, m.ID,
			audit.Details{"family": m.Family})); err != nil {
		return Machine{}, err
	}
	return s.store.Machine(ctx, id)
}
