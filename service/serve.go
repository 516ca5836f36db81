package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/server"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/upkeep"
	"github.com/pageflare/ci/service/webhook/deliver"
)

type serveCmd struct{}

// Run serves until a signal comes, drains, then lets the requests in flight finish.
func (serveCmd) Run(ctx context.Context, a *app) error {
	signal.Ignore(syscall.SIGPIPE) // a reader of the log that goes away must not take the service with it
	room := newHeapRoom()
	defer runtime.KeepAlive(room)
	log := a.cfg.logger(a.stderr)
	for _, name := range unknownSettings(a.environ(), knownSettings()) {
		log.Warn("unknown setting", "name", name)
	}
	for _, w := range a.cfg.warnings() {
		log.Warn("setting", "name", w.setting, "advice", w.advice)
	}
	l, metrics, err := a.listeners(ctx)
	if err != nil {
		return errors.Join(err, a.inspect())
	}
	defer l.Close()
	if metrics != nil {
		defer metrics.Close()
	}
	url := a.publicURL(l.Addr().String())
	svc, closeStore, err := a.open(ctx, store.Open, url, func(keyStore oidc.KeyStore) (*oidc.Verifier, error) { return a.verifier(url, keyStore, log) })
	if err != nil {
		return err
	}
	tracer, stopTracing, err := a.startTracing(ctx, log)
	if err != nil {
		return errors.Join(err, closeStore())
	}
	defer stopTracing()
	keeping := svc.Upkeep(upkeep.Config{
		Retention: a.cfg.Retention, Owner: rand.Text(), Now: time.Now, Elapsed: elapsed(), After: time.After, Events: log,
		Errands: append(a.hearErrands(svc, log),
			upkeep.Errand{Name: "notices", Every: time.Minute, Do: svc.Notices.Give},
			upkeep.Errand{Name: "rotate", Every: rotation.Every, Soon: svc.Rotation.Soon(), Do: svc.Rotation.Run},
			upkeep.Errand{Name: "leaks", Every: leak.FollowEvery, Soon: svc.Leaks.Soon(), Do: svc.Leaks.Follow},
		),
	})
	sent := server.NewWebhookMeter()
	srv, err := server.New(server.Config{
		Webhooks: sent,
		Parts:    svc, Upkeep: keeping.Done, RateLimits: a.cfg.RateLimits, Repository: a.repository, BadCredentials: server.DefaultBadCredentials,
		TrustedProxies: a.cfg.TrustedProxies, Version: version, Tracer: tracer, Now: time.Now, Elapsed: elapsed(), Log: log,
		Drain: a.cfg.Drain, CutDrain: a.again,
	})
	if err != nil {
		return errors.Join(err, closeStore())
	}
	attrs := []any{"addr", l.Addr().String(), "url", url, "database", opaque.HideUserInfo(a.cfg.DatabaseURL), "version", version}
	if metrics != nil {
		attrs = append(attrs, "metrics", metrics.Addr().String())
	}
	log.Info("listening", attrs...)
	stopUpkeep, stopReceiving, stopSending := startRunning(keeping.Run), startReceiving(svc, log), startSending(svc, sent, log)
	err = serveBoth(ctx, srv, l, metrics)
	stopSending()
	stopReceiving()
	stopUpkeep()
	err = errors.Join(err, closeStore())
	log.Info("stopped")
	return err
}

// heapRoom is memory that is asked for and never touched, so that it takes none of the machine. The
// collector begins when the heap has doubled, and that of this service is so small that a busy one
// would spend an eighth of its time on it: with this it waits until there is twice as much more.
const heapRoom = 8 << 20

// newHeapRoom is made of small pieces: what the runtime has used before it clears, and in one piece
// all of it would be cleared, and so taken from the machine, for the first page's sake.
func newHeapRoom() [][]byte {
	const piece = 256 << 10
	room := make([][]byte, heapRoom/piece)
	for i := range room {
		room[i] = make([]byte, piece)
	}
	return room
}

// startRunning runs something until the function that it returns is called, which waits for its end.
func startRunning(run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// startSending sends events to webhook endpoints until the function that it returns is called, which
// waits for the attempts that are under way.
func startSending(svc *parts.Parts, meter deliver.Meter, log *slog.Logger) (stop func()) {
	return startRunning(svc.Dispatcher(deliver.Config{
		Sender: deliver.NewSender(deliver.SenderConfig{Guard: svc.Guard, Agent: "pageflare-license/" + version, Now: time.Now}),
		Owner:  rand.Text(), After: time.After, Random: mathrand.Float64, Log: log, Meter: meter,
	}).Run)
}

// elapsed is the time since now by the monotonic clock, which nobody sets.
func elapsed() func() time.Duration {
	begin := time.Now()
	return func() time.Duration { return time.Since(begin) }
}

// serveBoth serves the API, and the metrics if they have a listener, until ctx ends or one of the
// two fails. The metrics last as long as the API, so that a drain can be watched.
func serveBoth(ctx context.Context, srv *server.Server, api, metrics net.Listener) error {
	if metrics == nil {
		return srv.Serve(ctx, api)
	}
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- srv.ServeMetrics(watched, metrics)
	}()
	err := srv.Serve(ctx, api)
	unwatch()
	return errors.Join(err, <-ended)
}

// listeners opens the addresses of the API and of the metrics, which are nil when they are off.
func (a *app) listeners(ctx context.Context) (api, metrics net.Listener, err error) {
	api, err = listen(ctx, "LICENSE_LISTEN", a.cfg.Listen)
	if a.cfg.MetricsListen == "" {
		return api, nil, err
	}
	metrics, fault := listen(ctx, "LICENSE_METRICS_LISTEN", a.cfg.MetricsListen)
	if err = errors.Join(err, fault); err == nil {
		return api, metrics, nil
	}
	for _, l := range []net.Listener{api, metrics} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return nil, nil, err
}

// listen opens the address that a setting names.
func listen(ctx context.Context, setting, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, command.Usagef("%s: %s is in use by another program: stop it, or choose another address", setting, addr)
	case err != nil:
		return nil, command.UsageError{Err: fmt.Errorf("%s: %w: choose an address of this machine and a port that this user may open", setting, err)}
	}
	return l, nil
}
