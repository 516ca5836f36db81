// Package parts joins the nouns of the service on one database: the same way for the program and
// for every test.
//
// It decides nothing but who gets whom.
package parts

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/limit"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/in"
	"github.com/pageflare/ci/service/webhook/out"
)

// Stores is what each noun needs of a database.
type Stores struct {
	Audit       audit.Store
	Keys        keyring.Store
	Accounts    account.Store
	Credentials auth.Store
	Admins      auth.AdminStore
	Devices     auth.DeviceStore
	Sessions    auth.SessionStore
	Policies    license.PolicyStore
	Licenses    license.Store
	Machines    license.MachineStore
	Jobs        license.JobStore
	Limits      limit.Store // nil: each process counts requests alone
	Upkeep      upkeep.Store
	App         githubapp.Store
	Leaks       leak.Store
	Rotations   rotation.Store
	Billing     billing.Store
	Received    in.Store
	Places      in.Places
	Notices     account.NoticeStore
	Endpoints   out.Store
	Feed        out.FeedStore
	Sends       deliver.Store
	Sent        deliver.HistoryStore
	Published   func() <-chan struct{} // gets a value when this process wrote events

	// Ready returns nil when the newest write went well, or when a small one does now; else why the
	// database cannot write.
	Ready func(context.Context) error
	// Stock counts what there is at a time.
	Stock func(context.Context, time.Time) (license.Stock, error)
}

// On is one database for all.
func On(s interface {
	audit.Store
	keyring.Store
	account.Store
	auth.Store
	auth.AdminStore
	auth.DeviceStore
	auth.SessionStore
	license.PolicyStore
	license.Store
	license.MachineStore
	license.JobStore
	SharedLimits() limit.Store
	upkeep.Store
	githubapp.Store
	rotation.Store
	billing.Store
	in.Store
	in.Places
	leak.Store
	account.NoticeStore
	out.Store
	out.FeedStore
	deliver.Store
	deliver.HistoryStore
	Published() <-chan struct{}
	Ready(context.Context) error
	Stock(context.Context, time.Time) (license.Stock, error)
}) Stores {
	return Stores{
		Audit: s, Keys: s, Accounts: s, Credentials: s, Admins: s, Devices: s, Sessions: s, Policies: s,
		Licenses: s, Machines: s, Jobs: s, Limits: s.SharedLimits(), Upkeep: s, Ready: s.Ready, Stock: s.Stock,
		App: s, Rotations: s, Billing: s, Received: s, Places: s, Notices: s, Endpoints: s, Feed: s, Leaks: s,
		Sends: s, Sent: s, Published: s.Published,
	}
}

// Config is what Parts are made of. All fields must be set unless they say what 0 means.
type Config struct {
	Stores           Stores
	MasterKey        keyring.MasterKey
	Issuer           string          // the public URL of the service, without a slash at its end
	TokenTTL         time.Duration   // lifetime of a token, capped by the end of the license
	IdentityTokenTTL time.Duration   // the same of a token that was got by an identity; 0: an hour
	LeaseGrace       time.Duration   // how long a lease lasts at most; 0: there are no leases
	Identities       *oidc.Verifier  // proves identity tokens of jobs; nil: none is accepted
	App              githubapp.Given // the GitHub App of the settings; zero: that of the database
	GitHub           github.Config   // how GitHub's API is reached, its Token empty; without a Transport it is not
	Events           *slog.Logger    // gets what work in the background comes across; nil: nobody
	Now              func() time.Time
	Rand             io.Reader      // cryptographic randomness
	WebhookAllow     []netip.Prefix // networks that events may be sent to beside public https addresses; nil: none
	Guard            *deliver.Guard // looks where the address of an endpoint leads; nil: its text is all that is looked at
}

// Parts are the nouns of the service.
type Parts struct {
	Log      *audit.Log
	Keys     *keyring.Keyring
	Accounts *account.Registry
	Auth     *auth.Authenticator
	Admins   *auth.Admins
	Devices  *auth.Devices
	Sessions *auth.Sessions
	Policies *license.Policies
	Licenses *license.Service
	Machines *license.Machines
	Jobs     *license.Jobs
	App      *githubapp.Registry
	Leaks    *leak.Service
	Rotation *rotation.Rotations
	Billing  *billing.Registry
	Received *in.Receiver
	Places   in.Places
	Limits   limit.Store // nil: each process counts requests alone

	Notices   *account.Notices
	Endpoints *out.Registry
	Feed      *out.Feed
	Sent      *deliver.History
	Guard     *deliver.Guard // nil: nothing is sent

	Identities *oidc.Verifier
	PublicURL  string

	requests []byte // the key of WithRequest

	master    keyring.MasterKey
	sends     deliver.Store
	published func() <-chan struct{}
	now       func() time.Time

	upkeep upkeep.Store
	ready  func(context.Context) error
	stock  func(context.Context, time.Time) (license.Stock, error)
}

// New joins the parts. In a database without signing keys it makes the first ones.
// keyring.ErrWrongMasterKey: those in the database were sealed by another master key.
func New(ctx context.Context, c Config) (*Parts, error) {
	now := func() time.Time { return c.Now().UTC().Truncate(time.Millisecond) } // as it is stored
	keys := map[string][]byte{"audit log": nil, "user codes": nil, "refreshed token id": nil, "requests": nil}
	for purpose := range keys {
		var err error
		if keys[purpose], err = c.MasterKey.Derive(purpose); err != nil {
			return nil, err
		}
	}
	p := &Parts{
		Limits: c.Stores.Limits, Identities: c.Identities, PublicURL: c.Issuer, requests: keys["requests"],
		upkeep: c.Stores.Upkeep, ready: c.Stores.Ready, stock: c.Stores.Stock,
	}
	var err error
	if p.Log, err = audit.NewLog(ctx, c.Stores.Audit, keys["audit log"], now); err != nil {
		return nil, err
	}
	p.Keys, err = keyring.New(ctx, keyring.Config{
		Store: c.Stores.Keys, Master: c.MasterKey, Log: p.Log, Leases: c.LeaseGrace > 0, Now: now, Rand: c.Rand,
	})
	if err != nil {
		return nil, err
	}
	p.Accounts = account.NewRegistry(account.Config{
		Store: c.Stores.Accounts, Log: p.Log, Now: now, Rand: c.Rand,
	})
	p.Notices = account.NewNotices(c.Stores.Notices, p.Log, now)
	p.Endpoints = out.New(out.Config{
		Store: c.Stores.Endpoints, Master: c.MasterKey, Log: p.Log, Allow: c.WebhookAllow, Now: now, Rand: c.Rand,
		Leads: c.Guard.Leads(),
	})
	p.Sent = deliver.NewHistory(deliver.HistoryConfig{Store: c.Stores.Sent, Log: p.Log, Now: now, Rand: c.Rand})
	p.Guard = c.Guard
	p.master, p.sends, p.published, p.now = c.MasterKey, c.Stores.Sends, c.Stores.Published, now
	p.Feed = out.NewFeed(c.Stores.Feed, time.After)
	common := auth.Config{Log: p.Log, Now: now, Rand: c.Rand}
	p.Admins = auth.NewAdmins(c.Stores.Admins, common)
	p.Devices = auth.NewDevices(c.Stores.Devices, keys["user codes"], common)
	p.Sessions = auth.NewSessions(c.Stores.Sessions, c.Issuer, common)
	p.Policies = license.NewPolicies(c.Stores.Policies, common)
	p.Jobs = license.NewJobs(c.Stores.Jobs, p.Policies, common)
	p.Auth = auth.NewAuthenticator(auth.AuthenticatorConfig{
		Store: c.Stores.Credentials, Keys: p.Keys, Identities: c.Identities, Jobs: p.Jobs,
		Clock: p.Log.CheckClock, Now: now,
	})
	p.Licenses = license.New(license.Config{
		Store: c.Stores.Licenses, Keys: p.Keys, Accounts: p.Accounts, Auth: p.Auth, Devices: p.Devices, Log: p.Log,
		DeriveKey: keys["refreshed token id"], Issuer: c.Issuer, TokenTTL: c.TokenTTL,
		IdentityTokenTTL: c.IdentityTokenTTL, LeaseGrace: c.LeaseGrace, Now: now, Rand: c.Rand,
	})
	p.Machines = license.NewMachines(c.Stores.Machines, p.Licenses)
	p.App, err = githubapp.New(githubapp.Config{
		Store: c.Stores.App, Master: c.MasterKey, Log: p.Log, Given: c.App, GitHub: c.GitHub, PublicURL: c.Issuer, Now: now, Rand: c.Rand,
	})
	if err != nil {
		return nil, err
	}
	p.Rotation = rotation.New(rotation.Config{
		Store: c.Stores.Rotations, Tokens: p.Licenses, Apps: p.App, Log: p.Log, Now: now, Rand: c.Rand, Events: c.Events,
	})
	p.Billing = billing.NewRegistry(billing.Config{Store: c.Stores.Billing, Log: p.Log, Now: now, Rand: c.Rand})
	p.Leaks = leak.New(leak.Config{
		Store: c.Stores.Leaks, Keys: p.Keys, Log: p.Log, GitHub: c.GitHub, Installations: p.App.Installations, Hurry: p.Rotation.Hurry,
		Events: c.Events, Now: now, Rand: c.Rand,
	})
	hears := in.Hears{
		Billing: p.Billing, Places: c.Stores.Places, Trust: p.Policies, Rotations: p.Rotation, Issuer: in.IssuerOf(c.GitHub.APIURL),
	}
	handlers := hears.Handlers()
	handlers["secret_scanning_alert"] = func(ctx context.Context, d in.Delivery) error { return p.Leaks.Alert(ctx, d.ID, d.Body) }
	p.Received, p.Places = in.New(in.Config{
		Store: c.Stores.Received, Secrets: p.App.WebhookSecrets, Handlers: handlers, Now: now, Rand: c.Rand,
	}), c.Stores.Places
	return p, nil
}

// WithRequest is opaque.WithRequest with the key of this installation: every replica has it.
func (p *Parts) WithRequest(ctx context.Context, of ...string) context.Context {
	return opaque.WithRequest(ctx, p.requests, of...)
}

// Ready tells whether the service can do its work: its keys open, its clock is not behind its
// database, and that reads and writes.
func (p *Parts) Ready(ctx context.Context) error {
	if err := p.Keys.CheckKeys(ctx); err != nil {
		return err
	}
	if err := p.Log.CheckClock(ctx); err != nil {
		return err
	}
	return p.ready(ctx)
}

// Stock counts what there is in the database at a time.
func (p *Parts) Stock(ctx context.Context, at time.Time) (license.Stock, error) {
	return p.stock(ctx, at)
}

// Upkeep is the upkeep of the database, by what is set of c; Store and Log are ours.
func (p *Parts) Upkeep(c upkeep.Config) *upkeep.Upkeep {
	c.Store, c.Log = p.upkeep, p.Log
	return upkeep.New(c)
}

// Dispatcher sends events to endpoints, by what is set of c; Store, Endpoints, Master, Published and
// Now are ours.
func (p *Parts) Dispatcher(c deliver.Config) *deliver.Dispatcher {
	c.Store, c.Endpoints, c.Master, c.Published, c.Now = p.sends, p.Endpoints, p.master, p.published(), p.now
	return deliver.New(c)
}
