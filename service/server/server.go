// Package server is the HTTP face of the License service: routes and their guards, limits, the
// access log, and how an error looks on the wire.
//
// It decides nothing about licenses: that is service/license. The shape of bodies is service/api.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/trace"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/server/admin"
	"github.com/pageflare/ci/service/server/page"
)

// Config is what a Server is made of. Parts, Now and Log must be set.
type Config struct {
	Parts          *parts.Parts
	RateLimits     map[account.Tier]int        // requests a minute for each token; 0 or missing: unlimited
	Repository     admin.Resolver              // finds the ids of a repository by its name; nil: policies are added by ids alone
	BadCredentials int                         // requests a minute without a good credential, for each address; 0: unlimited
	TrustedProxies []netip.Prefix              // whose X-Forwarded-For counts
	Upkeep         func() map[string]time.Time // when each task of upkeep was last done here, for the metrics; nil: there are none
	Webhooks       *WebhookMeter               // what came of deliveries, for the metrics; nil: none is
	Version        string                      // of the program, for the metrics
	Tracer         trace.Tracer                // makes a span of each request; nil: none are made
	Now            func() time.Time
	Elapsed        func() time.Duration // by a clock that nobody sets, for the limits; nil: by Now
	Log            *slog.Logger

	// Drain is how long Serve goes on after it was told to stop, see drain.go; 0: it does not.
	Drain time.Duration
	// CutDrain ends the draining early when it is closed; nil: nothing does.
	CutDrain <-chan struct{}
	// After is the clock of Drain; nil: time.After.
	After func(time.Duration) <-chan time.Time
}

// Server serves the License API. It is an http.Handler; Serve runs it on a listener with time
// limits.
type Server struct {
	parts    *parts.Parts
	admin    *admin.Handlers
	limits   limits
	pages    *page.Pages
	reports  atomic.Int64  // telemetry
	alerts   chan struct{} // has a value for each large alert that is in memory
	metrics  *metrics
	tracer   trace.Tracer
	timeouts timeouts
	now      func() time.Time
	log      *slog.Logger
	engine   *gin.Engine
	drain    time.Duration
	cutDrain <-chan struct{}
	after    func(time.Duration) <-chan time.Time
	draining atomic.Bool
	// oldSecret lets the log tell now and then that webhooks are signed with the secret of before
	oldSecret seldom
	stopping  context.Context // ends when Serve closes its listener
	stop      context.CancelFunc
	leaving   context.Context // ends when it drains, or else with stopping
	leave     context.CancelFunc
}

// New returns a Server. The error says what is wrong with the configuration.
func New(cfg Config) (*Server, error) {
	quietGin()
	s := &Server{
		parts: cfg.Parts, metrics: newMetrics(cfg.Version,
			newKeyCollector(func(ctx context.Context) ([]keyring.Key, error) { return cfg.Parts.Keys.Keys(ctx) }, cfg.Parts.Stock, cfg.Parts.Sent.Stock, cfg.Now)),
		tracer: cfg.Tracer, timeouts: timeouts{headerTimeout, readTimeout, writeTimeout}, now: cfg.Now, log: cfg.Log, engine: gin.New(),
	}
	clock := steady(cfg.Now, cfg.Elapsed)
	var err error
	if s.limits, err = newLimits(cfg.RateLimits, cfg.BadCredentials, clock, s.newReplica(cfg.Parts.Limits, clock)); err != nil {
		return nil, err
	}
	s.pages = page.New(page.Config{
		Devices: cfg.Parts.Devices, Sessions: cfg.Parts.Sessions, App: cfg.Parts.App, PublicURL: cfg.Parts.PublicURL, Limits: s.limits, Log: cfg.Log,
	})
	s.admin = &admin.Handlers{
		Accounts: cfg.Parts.Accounts, Admins: cfg.Parts.Admins, Sessions: cfg.Parts.Sessions, Licenses: cfg.Parts.Licenses,
		Machines: cfg.Parts.Machines, Policies: cfg.Parts.Policies, Jobs: cfg.Parts.Jobs, Keys: cfg.Parts.Keys, Log: cfg.Parts.Log,
		Identities: cfg.Parts.Identities, Repository: cfg.Repository, Now: cfg.Now, Extend: s.extendDeadline,
		Rotation: cfg.Parts.Rotation,
		Billing:  cfg.Parts.Billing, Received: cfg.Parts.Received,
		Leaks:     cfg.Parts.Leaks,
		Endpoints: cfg.Parts.Endpoints, Feed: cfg.Parts.Feed, Sent: cfg.Parts.Sent, Await: s.await,
	}
	s.alerts = make(chan struct{}, alertsAtOnce)
	s.metrics.registry.MustRegister(leakCollector{cfg.Parts.Leaks.Counts})
	s.drain, s.cutDrain, s.after = cfg.Drain, cfg.CutDrain, cfg.After
	if s.after == nil {
		s.after = time.After
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.leaving, s.leave = context.WithCancel(s.stopping)
	s.metrics.telemetry(s.TelemetryReports)
	s.metrics.registry.MustRegister(receivedCollector{cfg.Parts.Received},
		&rotationCollector{stock: cfg.Parts.Rotation.Stock, counts: cfg.Parts.Rotation.Counts, now: cfg.Now})
	if cfg.Webhooks != nil {
		s.metrics.registry.MustRegister(cfg.Webhooks.collectors()...)
	}
	if cfg.Upkeep != nil {
		s.metrics.registry.MustRegister(newUpkeepCollector(cfg.Upkeep))
	}
	s.engine.HandleMethodNotAllowed = true
	s.engine.RedirectTrailingSlash = false
	s.engine.RemoteIPHeaders = []string{"X-Forwarded-For"} // gin would believe X-Real-IP too, which proxies pass on as the client wrote it
	proxies := make([]string, 0, len(cfg.TrustedProxies))
	for _, p := range cfg.TrustedProxies {
		proxies = append(proxies, p.String())
	}
	if err := s.engine.SetTrustedProxies(proxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	s.mount()
	return s, nil
}

// quietGin stops gin from printing its routes and warnings.
var quietGin = sync.OnceFunc(func() { gin.SetMode(gin.ReleaseMode) })

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	handlingBegins(r.Context())
	s.closeWhileDraining(w)
	s.engine.ServeHTTP(w, oneSlash(r))
}

// oneSlash takes the slashes away that a client adds whose base URL ends with one, as the pageflare
// CLI does: /_api//license/refresh.
func oneSlash(r *http.Request) *http.Request {
	const base = "/_api/"
	if !strings.HasPrefix(r.URL.Path, base+"/") || r.URL.RawPath != "" {
		return r
	}
	u := *r.URL
	u.Path = base + strings.TrimLeft(u.Path[len(base):], "/")
	shallow := *r
	shallow.URL = &u
	return &shallow
}

// The time limits of a connection. An answer takes milliseconds; what takes longer is a client that
// is slow on purpose or gone.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 15 * time.Second
	maxHeader     = 16 << 10
	stopTimeout   = 20 * time.Second // for the requests in flight when the service stops
)

// idleTimeout is longer than common proxies hold an idle connection to us (AWS and nginx 60 s,
// Traefik 90 s, Caddy 120 s): of two equal limits ours would now and then close the connection on
// which the proxy sends, and its client gets a 502.
const idleTimeout = 130 * time.Second

// timeouts are the time limits of a request, which a test may shorten.
type timeouts struct{ header, read, write time.Duration }

// Serve answers requests on a listener until ctx ends, drains, then lets the requests in flight
// finish. It returns nil after a graceful stop.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := s.httpServer(s, s.timeouts)
	srv.ConnState, srv.ConnContext = s.connState, connContext
	srv.RegisterOnShutdown(s.stop)
	drained, cancel := s.drained(ctx)
	defer cancel()
	err := s.serve(drained, srv, &listener{l, s})
	if lost := s.limits.giveBack(context.WithoutCancel(ctx)); lost != nil {
		s.log.Warn("limits were not given back to other replicas", "err", lost)
	}
	return err
}

// httpServer serves h within the time limits.
func (s *Server) httpServer(h http.Handler, limits timeouts) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: limits.header, ReadTimeout: limits.read, WriteTimeout: limits.write, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) serve(ctx context.Context, srv *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return errors.Join(fmt.Errorf("stop: requests were still running after %s: %w", stopTimeout,
			err), srv.Close())
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
