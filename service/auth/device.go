package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// The device login (RFC 8628): a program gets two codes, shows the short one to a person, and asks
// with the long one until that person, signed in elsewhere, has approved or denied. Then it gets a
// login token, once.

// DeviceClient is a program that may begin a device login.
type DeviceClient struct {
	ID   string
	Name string // what the person who approves reads
}

// DeviceClients are all programs that may begin a device login. The list is fixed: a name that
// anyone could choose would be a lie in waiting.
func DeviceClients() []DeviceClient {
	return []DeviceClient{
		{"cl_pageflare_cli", "pageflare CLI"}, {"cl_pageflare_action", "pageflare-action"},
	}
}

// Name is what people read of a client.
func clientName(id string) (string, bool) {
	for _, c := range DeviceClients() {
		if c.ID == id {
			return c.Name, true
		}
	}
	return "", false
}

// DeviceState is how far a device login has come.
type DeviceState string

// The states. It goes from waiting to approved or denied, and from approved to used.
const (
	DeviceWaiting  DeviceState = "waiting"
	DeviceApproved DeviceState = "approved"
	DeviceDenied   DeviceState = "denied"
	DeviceUsed     DeviceState = "used"
)

// The times of a device login.
const (
	DeviceCodeTTL  = 15 * time.Minute
	LoginTokenTTL  = time.Hour
	DeviceInterval = 5 * time.Second // between two polls; each that comes sooner makes it as much longer

	pollTolerance = time.Second // a client that keeps to the interval must not be told off for the network's sake
)

// DeviceLogin is the record of a device login. Its codes and its token are not stored.
type DeviceLogin struct {
	ID         string // "dev_" and 16 letters or digits
	DeviceHash string // SHA-256 of the device code, hexadecimal
	UserHash   string // keyed hash of the user code, which is too short for a plain one
	Client     string // id of the program that asks
	Address    string // where it asked from
	State      DeviceState
	AccountID  string // of the person who decided; empty before
	Interval   time.Duration
	CreatedAt  time.Time
	ExpiresAt  time.Time // of the codes
	PolledAt   time.Time // the last poll that did not come too soon; zero before the first
	TokenHash  string    // SHA-256 of the login token; empty before it is handed out
	TokenEnds  time.Time // zero before; brought forward when the login token is revoked
}

// DeviceStore is what device logins need of a database. Every method that changes something has
// made it durable, its acts included, when it returns nil.
type DeviceStore interface {
	// AddDeviceLogin stores a new device login, and purges some that ended long ago. ErrConflict:
	// one has that user code.
	AddDeviceLogin(ctx context.Context, d DeviceLogin) error
	// DeviceLogin returns the one with that hash of its device code or its user code. ErrNotFound.
	DeviceLogin(ctx context.Context, hash string) (DeviceLogin, error)
	// ChangeDeviceLogin loads the device login with that hash of either code, lets change alter it,
	// and stores it with the acts that change returns. An error of change is returned and nothing
	// is stored. ErrNotFound. ErrConflict: it was changed at the same time.
	ChangeDeviceLogin(ctx context.Context, hash string,
		change func(*DeviceLogin) ([]audit.Act, error)) (DeviceLogin, error)
	// LoginToken returns the device login with that hash of its login token, and the account.
	// ErrNotFound.
	LoginToken(ctx context.Context, hash string) (DeviceLogin, account.Account, error)
}

// Devices is the device logins of a database.
type Devices struct {
	store   DeviceStore
	codeKey []byte // hashes user codes, see userHash
	cfg     Config
}

// NewDevices returns the device logins of a database. The key hashes user codes.
func NewDevices(s DeviceStore, codeKey []byte, c Config) *Devices { return &Devices{s, codeKey, c} }

// ClientName is what people read of the program that asks.
func (d DeviceLogin) ClientName() string {
	name, _ := clientName(d.Client)
	return name
}

// The refusals of the device login that are no other error. Their meaning is RFC 8628, 3.5, and RFC
// 6749, 5.2.
var (
	ErrInvalidClient  = errors.New("this client is not known here")
	ErrInvalidGrant   = errors.New("the device code is not known here, or was used already: begin the login again")
	ErrPending        = errors.New("nobody has approved the login yet: ask again after the interval")
	ErrSlowDown       = errors.New("the login was asked for too soon: wait 5 seconds longer from now on")
	ErrForeignLogin   = errors.New("this login token was given to another client")
	ErrDenied         = errors.New("the login was denied")
	ErrDeviceExpired  = errors.New("the codes have expired: begin the login again")
	ErrUnknownCode    = errors.New("this code is not known, was used already, or has expired: compare it with what the program shows, or begin the login again there")
	errDrawnCodeTaken = errors.New("drew codes that are in use")
)

// userLetters are what user codes are made of (RFC 8628, 6.1): no vowels, so that no words come
// out, and nothing that looks like something else.
const (
	userLetters    = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength = 8 // 20^8: about 34.5 bits, for a quarter of an hour, with few guesses
)

// lookAlikes are letters and digits that no user code has, and what people mean who type them.
var lookAlikes = map[rune]rune{
	'0': 'Q', 'O': 'Q', '1': 'L', 'I': 'L', '2': 'Z', '5': 'S', '6': 'G', '8': 'B', 'U': 'V',
	'Y': 'V',
}

// NormalUserCode reads a user code as people type and paste it: in any case, with anything in it
// that is neither letter nor digit, in the wide letters of East Asian keyboards, with letters and
// digits that look like the right ones. It returns the code as it is shown, BCDF-GHJK, or "" when
// that cannot be one.
func NormalUserCode(typed string) string {
	var code strings.Builder
	for _, r := range typed {
		if r >= '\uff01' && r <= '\uff5e' { // the wide forms of ASCII
			r -= '\uff01' - '!'
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != utf8.RuneError {
			continue
		}
		r = unicode.ToUpper(r)
		if meant, ok := lookAlikes[r]; ok {
			r = meant
		}
		if !strings.ContainsRune(userLetters, r) || code.Len() == userCodeLength {
			return ""
		}
		code.WriteRune(r)
	}
	if code.Len() != userCodeLength {
		return ""
	}
	return code.String()[:userCodeLength/2] + "-" + code.String()[userCodeLength/2:]
}

// userHash is what is stored of a user code in its shown form. Without the key, the few codes that
// there are could all be tried on a stolen database.
func (s *Devices) userHash(code string) string {
	mac := hmac.New(sha256.New, s.codeKey)
	mac.Write([]byte(code))
	return hex.EncodeToString(mac.Sum(nil))
}

func drawUserCode(rand io.Reader) (string, error) {
	code := make([]byte, 0, userCodeLength)
	for len(code) < userCodeLength {
		var b [1]byte
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return "", fmt.Errorf("draw a user code: %w", err)
		}
		if b[0] < 240 { // 12 * 20: without the rest, which would favour the first letters
			code = append(code, userLetters[b[0]%20])
		}
	}
	return NormalUserCode(string(code)), nil
}

// DeviceCodes are what a program gets that begins a device login.
type DeviceCodes struct {
	DeviceCode opaque.Secret
	UserCode   opaque.Secret // as it is shown: BCDF-GHJK
	Lifetime   time.Duration
	Interval   time.Duration
}

// BeginDevice begins a device login for a program that asks from an address. ErrInvalidClient. It
// leaves no line in the audit log: anyone may ask, and nobody got anything yet.
func (s *Devices) BeginDevice(ctx context.Context, client, address string) (DeviceCodes, error) {
	if _, ok := clientName(client); !ok {
		return DeviceCodes{}, ErrInvalidClient
	}
	for range 3 { // two live logins with one user code: once in ten billion, times the logins that wait
		codes, err := s.beginDevice(ctx, client, address)
		if !errors.Is(err, failure.ErrConflict) {
			return codes, err
		}
	}
	return DeviceCodes{}, errDrawnCodeTaken
}

func (s *Devices) beginDevice(ctx context.Context, client, address string) (DeviceCodes, error) {
	device, err := opaque.DeviceCode.New(s.cfg.Rand)
	if err != nil {
		return DeviceCodes{}, err
	}
	user, err := drawUserCode(s.cfg.Rand)
	if err != nil {
		return DeviceCodes{}, err
	}
	id, err := opaque.OfDeviceLogin.New(s.cfg.Rand)
	if err != nil {
		return DeviceCodes{}, err
	}
	now := s.cfg.Now()
	return DeviceCodes{device, opaque.Secret(user), DeviceCodeTTL, DeviceInterval}, s.store.AddDeviceLogin(ctx, DeviceLogin{
		ID: id, DeviceHash: opaque.Hash(device.Reveal()), UserHash: s.userHash(user), Client: client, Address: address, State: DeviceWaiting,
		Interval: DeviceInterval, CreatedAt: now, ExpiresAt: now.Add(DeviceCodeTTL),
	})
}

// LoginToken is what a program gets at the end of a device login: the right to act for the account
// for an hour.
type LoginToken struct {
	Token    opaque.Secret
	Lifetime time.Duration
}

// PollDevice answers a program that asks with its device code. The first time after the approval it
// hands out a login token, and never again, however many ask at once. Refusals: ErrPending,
// ErrSlowDown, ErrDenied, ErrDeviceExpired, ErrInvalidGrant, ErrInvalidClient.
func (s *Devices) PollDevice(ctx context.Context, client, deviceCode string) (LoginToken, error) {
	if _, ok := clientName(client); !ok {
		return LoginToken{}, ErrInvalidClient
	}
	if err := s.pollReadOnly(ctx, client, deviceCode); err != nil {
		return LoginToken{}, err
	}
	token, err := opaque.LoginToken.New(s.cfg.Rand)
	if err != nil {
		return LoginToken{}, err
	}
	var refusal error
	_, err = s.store.ChangeDeviceLogin(ctx, opaque.Hash(deviceCode), func(d *DeviceLogin) ([]audit.Act, error) {
		now := s.cfg.Now()
		if refusal = poll(d, client, now); refusal != nil {
			return nil, nil
		}
		d.State, d.TokenHash, d.TokenEnds = DeviceUsed, opaque.Hash(token.Reveal()), now.Add(LoginTokenTTL)
		return []audit.Act{
			s.cfg.Log.Act(audit.WithFallbackActor(ctx, d.AccountID), audit.DeviceLoggedIn,
				d.AccountID, d.ID, audit.Details{"client": d.Client}),
		}, nil
	})
	switch {
	case errors.Is(err, failure.ErrNotFound) ||
		errors.Is(err, failure.ErrConflict): // ErrConflict: another poll was quicker
		return LoginToken{}, ErrInvalidGrant
	case err != nil:
		return LoginToken{}, err
	case refusal != nil:
		return LoginToken{}, refusal
	}
	return LoginToken{token, LoginTokenTTL}, nil
}

// pollReadOnly answers a poll without a write transaction where the answer changes nothing. Anyone
// may ask, and most of what is asked must not wait for the one writer that a database has, nor keep
// it from others. nil: poll again for writing.
func (s *Devices) pollReadOnly(ctx context.Context, client, deviceCode string) error {
	if !opaque.DeviceCode.Fits(deviceCode) {
		return ErrInvalidGrant
	}
	d, err := s.store.DeviceLogin(ctx, opaque.Hash(deviceCode))
	if errors.Is(err, failure.ErrNotFound) {
		return ErrInvalidGrant
	}
	if err != nil {
		return err
	}
	before := d
	if refusal := poll(&d, client, s.cfg.Now()); d == before {
		return refusal
	}
	return nil
}

// poll is the rule for one poll: what the answer is, and what the record notes of it. nil: the
// login token is due.
func poll(d *DeviceLogin, client string, now time.Time) error {
	switch {
	case d.Client != client || d.State == DeviceUsed:
		return ErrInvalidGrant
	case d.State == DeviceDenied:
		return ErrDenied
	case !now.Before(d.ExpiresAt):
		return ErrDeviceExpired
	case d.State == DeviceApproved:
		return nil
	}
	if !d.PolledAt.IsZero() && now.Sub(d.PolledAt) < d.Interval-pollTolerance {
		d.Interval = min(d.Interval+DeviceInterval, DeviceCodeTTL)
		return ErrSlowDown
	}
	d.PolledAt = now
	return ErrPending
}

// FindDevice returns the device login that waits under a user code, however it was typed.
// ErrUnknownCode.
func (s *Devices) FindDevice(ctx context.Context, userCode string) (DeviceLogin, error) {
	d, err := s.store.DeviceLogin(ctx, s.userHash(NormalUserCode(userCode)))
	if errors.Is(err, failure.ErrNotFound) || err == nil && !d.waits(s.cfg.Now()) {
		return DeviceLogin{}, ErrUnknownCode
	}
	return d, err
}

func (d DeviceLogin) waits(now time.Time) bool {
	return d.State == DeviceWaiting && now.Before(d.ExpiresAt)
}

// ApproveDevice gives the program behind a user code a login to the caller's account. Refusals:
// ErrUnknownCode, ErrExpired, ErrInactive, ErrRevoked.
func (s *Devices) ApproveDevice(ctx context.Context, by Caller,
	userCode string) (DeviceLogin, error) {
	if err := account.MayHoldToken(by.Account, s.cfg.Now()); err != nil {
		return DeviceLogin{}, err
	}
	return s.decideDevice(ctx, by, userCode, DeviceApproved, audit.DeviceWasApproved)
}

// DenyDevice refuses the program behind a user code. ErrUnknownCode.
func (s *Devices) DenyDevice(ctx context.Context, by Caller, userCode string) (DeviceLogin, error) {
	return s.decideDevice(ctx, by, userCode, DeviceDenied, audit.DeviceWasDenied)
}

func (s *Devices) decideDevice(ctx context.Context, by Caller, userCode string, to DeviceState,
	did audit.Action) (DeviceLogin, error) {
	d, err := s.store.ChangeDeviceLogin(ctx, s.userHash(NormalUserCode(userCode)), func(d *DeviceLogin) ([]audit.Act, error) {
		if !d.waits(s.cfg.Now()) {
			return nil, ErrUnknownCode
		}
		d.State, d.AccountID = to, by.Account.ID
		return []audit.Act{
			s.cfg.Log.Act(ctx, did, d.AccountID, d.ID,
				audit.Details{"client": d.Client, "address": d.Address}),
		}, nil
	})
	if errors.Is(err, failure.ErrNotFound) || errors.Is(err, failure.ErrConflict) {
		return DeviceLogin{}, ErrUnknownCode
	}
	return d, err
}

// RevokeLogin ends a login token (RFC 7009). One that is unknown or has ended is no error.
func (s *Devices) RevokeLogin(ctx context.Context, by Caller, text string) error {
	err := s.endLogin(ctx, text, func(d DeviceLogin) error { return by.MayEnd(d.AccountID) })
	if errors.Is(err, failure.ErrNotFound) {
		return nil
	}
	return err
}

// EndLogin ends a login token for the public client that got it, which has nothing else to show
// (RFC 7009, 2.1). One that has ended already is no error. ErrInvalidClient. ErrNotFound: nobody
// holds that token. ErrForeignLogin.
func (s *Devices) EndLogin(ctx context.Context, client, text string) error {
	if _, ok := clientName(client); !ok {
		return ErrInvalidClient
	}
	return s.endLogin(ctx, text, func(d DeviceLogin) error {
		if d.Client != client {
			return ErrForeignLogin
		}
		return nil
	})
}

// endLogin ends the login token if may allows it. ErrNotFound: there is none.
func (s *Devices) endLogin(ctx context.Context, text string, may func(DeviceLogin) error) error {
	d, _, err := s.store.LoginToken(ctx, opaque.Hash(text))
	if err != nil {
		return err
	}
	if err := may(d); err != nil {
		return err
	}
	_, err = s.store.ChangeDeviceLogin(ctx, d.DeviceHash, func(d *DeviceLogin) ([]audit.Act, error) {
		if now := s.cfg.Now(); now.Before(d.TokenEnds) {
			d.TokenEnds = now
			return []audit.Act{s.cfg.Log.Act(ctx, audit.LoginRevoked, d.AccountID, d.ID, nil)}, nil
		}
		return nil, nil
	})
	return err
}
