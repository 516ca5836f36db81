package auth_test

import (
	"context"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/token"
)

// database is what is known of one account and its credentials, and how often it was asked.
type database struct {
	state      int64
	unknown    error // of the state of rights
	owner      account.Account
	apiToken   account.APIToken
	admin      auth.AdminToken
	login      auth.DeviceLogin
	revoked    []string // token ids and families
	read       func()   // is called when something was read and is not answered yet
	asked      int      // for an account or a credential
	askedSince int      // for what was revoked
}

func (d *database) Rights(context.Context) (int64, error) { return d.state, d.unknown }

func (d *database) RevokedSince(context.Context, int64, int) ([]string, error) {
	d.askedSince++
	return d.revoked, nil
}

// answer is called when an answer was read.
func (d *database) answer() {
	d.asked++
	if read := d.read; read != nil {
		d.read = nil
		read()
	}
}

func (d *database) AccountStatus(_ context.Context, id string, subjects ...string) (account.Account, bool, error) {
	owner, revoked := d.owner, false
	for _, s := range subjects {
		for _, r := range d.revoked {
			revoked = revoked || r == s
		}
	}
	d.answer()
	if id != owner.ID {
		return account.Account{}, false, failure.ErrNotFound
	}
	return owner, revoked, nil
}

func (d *database) Account(ctx context.Context, id string) (account.Account, error) {
	a, _, err := d.AccountStatus(ctx, id)
	return a, err
}

func (d *database) APIToken(_ context.Context, hash string) (account.APIToken, account.Account, error) {
	found, owner := d.apiToken, d.owner
	d.answer()
	if found.Hash != hash {
		return account.APIToken{}, account.Account{}, failure.ErrNotFound
	}
	return found, owner, nil
}

func (d *database) AdminToken(_ context.Context, hash string) (auth.AdminToken, error) {
	found := d.admin
	d.answer()
	if found.Hash != hash {
		return auth.AdminToken{}, failure.ErrNotFound
	}
	return found, nil
}

func (d *database) LoginToken(_ context.Context, hash string) (auth.DeviceLogin, account.Account, error) {
	found, owner := d.login, d.owner
	d.answer()
	if found.TokenHash != hash {
		return auth.DeviceLogin{}, account.Account{}, failure.ErrNotFound
	}
	return found, owner, nil
}

// signed reads license tokens: its own is good.
type signed struct{ claims token.Claims }

const licenseToken = "a license token"

func (s signed) Parse(_ context.Context, text string, _ time.Time) (token.Claims, error, error) {
	if text != licenseToken {
		return token.Claims{}, token.ErrMalformed, nil
	}
	return s.claims, nil, nil
}

// world is an Authenticator on a database, and a credential of each kind.
type world struct {
	*auth.Authenticator
	db          *database
	now         time.Time
	credentials map[auth.Kind]string
	id          opaque.TokenID
}

func newWorld(t *testing.T) *world {
	t.Helper()
	text := func(p opaque.Prefix) string {
		s, err := p.New(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return s.Reveal()
	}
	w := &world{now: time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC), credentials: map[auth.Kind]string{
		auth.ByAPIToken: text(opaque.APIToken), auth.ByAdminToken: text(opaque.AdminToken),
		auth.ByLoginToken: text(opaque.LoginToken), auth.ByLicenseToken: licenseToken,
	}}
	var err error
	if w.id, err = opaque.NewTokenID(w.now, "", rand.Reader); err != nil {
		t.Fatal(err)
	}
	owner := account.Account{ID: "user_0123456789abcdef", Email: "before@example.com"}
	w.db = &database{
		state: 1, owner: owner,
		apiToken: account.APIToken{ID: "at_0123456789abcdef", Hash: opaque.Hash(w.credentials[auth.ByAPIToken])},
		admin:    auth.AdminToken{ID: "adm_0123456789abcdef", Hash: opaque.Hash(w.credentials[auth.ByAdminToken]), ExpiresAt: w.now.Add(time.Hour)},
		login:    auth.DeviceLogin{ID: "dev_0123456789abcdef", TokenHash: opaque.Hash(w.credentials[auth.ByLoginToken]), TokenEnds: w.now.Add(time.Hour)},
	}
	w.Authenticator = auth.NewAuthenticator(auth.AuthenticatorConfig{
		Store: w.db, Keys: signed{token.Claims{Subject: owner.ID, ID: string(w.id)}}, Now: func() time.Time { return w.now },
	})
	return w
}

func (w *world) authenticate(t *testing.T, k auth.Kind) (auth.Caller, error) {
	t.Helper()
	c := auth.Parse(w.credentials[k])
	if c.Kind != k {
		t.Fatalf("Parse(%s) = %s", k, c.Kind)
	}
	return w.Authenticate(t.Context(), c)
}

// wantKnown fails unless the credential is good, and the database was asked so often since.
func (w *world) wantKnown(t *testing.T, k auth.Kind, asked int) auth.Caller {
	t.Helper()
	before := w.db.asked
	caller, err := w.authenticate(t, k)
	if err != nil || caller.Kind != k || caller.AsOf != w.db.state {
		t.Errorf("Authenticate(%s) = %s as of %d, %v, want it as of %d", k, caller.Kind, caller.AsOf, err, w.db.state)
	}
	if got := w.db.asked - before; got != asked {
		t.Errorf("Authenticate(%s) asked %d times, want %d", k, got, asked)
	}
	return caller
}

// end ends everything at once, and the state of rights says so.
func (w *world) end() {
	w.db.state++
	w.db.owner.Email = "after@example.com"
	w.db.apiToken.RevokedAt, w.db.admin.RevokedAt, w.db.login.TokenEnds = w.now, w.now, w.now
	w.db.revoked = []string{w.id.Family()}
}

// wantEnded fails unless the credential is refused; a license token is known, as a revoked one.
func (w *world) wantEnded(t *testing.T, k auth.Kind) {
	t.Helper()
	caller, err := w.authenticate(t, k)
	if k == auth.ByLicenseToken {
		if err != nil || !caller.Revoked || caller.Account.Email != "after@example.com" {
			t.Errorf("Authenticate(%s) = revoked %v of %s, %v, want a revoked one of the account as it is", k, caller.Revoked, caller.Account.Email, err)
		}
		return
	}
	if !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Authenticate(%s) = %v, want ErrUnauthenticated", k, err)
	}
}

var kinds = []auth.Kind{auth.ByAPIToken, auth.ByAdminToken, auth.ByLoginToken, auth.ByLicenseToken}

func TestWhoIsKnownIsAskedForOnceInAStateOfRights(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantKnown(t, k, 1)
			w.wantKnown(t, k, 0)
			w.db.state++
			w.wantKnown(t, k, 1)
			w.end()
			w.wantEnded(t, k)
		})
	}
}

// The answer was on its way while its subject ended. The request that waits for it may still get
// it, for it came before; nobody else.
func TestWhatEndsWhileItIsReadIsNotKnownAfterwards(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.db.read = w.end
			if caller, err := w.authenticate(t, k); err == nil && caller.AsOf != 1 {
				t.Errorf("what was read before is said to be as of %d", caller.AsOf)
			}
			w.wantEnded(t, k)
			w.wantEnded(t, k)
		})
	}
}

func TestInADatabaseThatCannotTellNobodyIsKnown(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		w := newWorld(t)
		w.db.state = 0
		w.wantKnown(t, k, 1)
		w.wantKnown(t, k, 1)
		w.end()
		w.db.state = 0
		w.wantEnded(t, k)
	}
	w := newWorld(t)
	w.wantKnown(t, auth.ByAPIToken, 1)
	w.db.unknown = failure.ErrUnavailable
	if _, err := w.authenticate(t, auth.ByAPIToken); !errors.Is(err, failure.ErrUnavailable) {
		t.Errorf("Authenticate without a state of rights = %v, want ErrUnavailable", err)
	}
}

func TestARevokedTokenIsFoundAndNoOtherIsLookedUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		revoked func(opaque.TokenID) string
		want    bool
	}{
		"its id":         {func(id opaque.TokenID) string { return string(id) }, true},
		"its family":     {opaque.TokenID.Family, true},
		"another family": {func(opaque.TokenID) string { return "0123456789abcdef" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantKnown(t, auth.ByLicenseToken, 1)
			w.db.state++
			w.db.revoked = []string{test.revoked(w.id)}
			if got := w.wantKnown(t, auth.ByLicenseToken, 1); got.Revoked != test.want {
				t.Errorf("revoked = %v, want %v", got.Revoked, test.want)
			}
			again := 0 // what may be revoked is looked up each time
			if test.want {
				again = 1
			}
			if got := w.wantKnown(t, auth.ByLicenseToken, again); got.Revoked != test.want {
				t.Errorf("revoked = %v the second time, want %v", got.Revoked, test.want)
			}
			if w.db.askedSince != 2 {
				t.Errorf("it was asked %d times what was revoked, want once a state", w.db.askedSince)
			}
		})
	}
}

// A time that comes is no change that a database counts.
func TestWhatIsKnownEndsAtItsTime(t *testing.T) {
	t.Parallel()
	for _, k := range []auth.Kind{auth.ByAdminToken, auth.ByLoginToken} {
		w := newWorld(t)
		w.wantKnown(t, k, 1)
		w.now = w.now.Add(time.Hour)
		if _, err := w.authenticate(t, k); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("Authenticate(%s) at its end = %v, want ErrUnauthenticated", k, err)
		}
	}
}

// Made-up credentials are not stored: they would push out those of others.
func TestWhoIsUnknownIsAskedForEachTime(t *testing.T) {
	t.Parallel()
	for _, k := range kinds[:3] {
		w := newWorld(t)
		w.db.apiToken.Hash, w.db.admin.Hash, w.db.login.TokenHash = "", "", ""
		for i := range 2 {
			if _, err := w.authenticate(t, k); !errors.Is(err, auth.ErrUnauthenticated) || w.db.asked != i+1 {
				t.Errorf("Authenticate(unknown %s) = %v after %d questions, want ErrUnauthenticated after %d", k, err, w.db.asked, i+1)
			}
		}
	}
}
