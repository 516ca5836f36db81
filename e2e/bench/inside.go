package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/server"
	"github.com/pageflare/ci/service/store"
)

// What cannot be seen from outside, allocations and where the time goes, is seen in a service that
// runs in a process of this program: the same routes, rules and store, with the same log.

// inside is a service in this process.
type inside struct {
	*server.Server
	close func() error
}

func (d database) inside(ctx context.Context, logTo io.Writer) (*inside, error) {
	s, err := store.Open(ctx, d.url)
	if err != nil {
		return nil, err
	}
	srv, err := d.serverOn(ctx, s, slog.New(slog.NewJSONHandler(logTo, nil)))
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &inside{srv, s.Close}, nil
}

func (d database) serverOn(ctx context.Context, s *store.Store, log *slog.Logger) (*server.Server, error) {
	identities, err := oidc.New(oidc.Config{
		Issuers: []string{d.issuer}, Audience: publicURL, KeyStore: s, HTTP: &http.Client{Timeout: 5 * time.Second}, Now: time.Now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	joined, err := d.join(ctx, s, identities)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	return server.New(server.Config{
		Parts: joined, BadCredentials: server.DefaultBadCredentials, Now: time.Now, Elapsed: func() time.Duration { return time.Since(begun) }, Log: log,
	})
}

// allocationRequests are made to count what one allocates.
const allocationRequests = 2000

// allocations is what a refresh allocates, objects and bytes, apart from what a handler that does
// nothing does. The service that runs beside it knows nothing of it.
func allocations(ctx context.Context, h hosted) (objects, bytes float64, err error) {
	srv, err := h.inside(ctx, io.Discard)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, srv.close()) }()
	chain := share(h.sessions[:1], 1)[0]
	if _, _, err = refreshes(ctx, srv, chain); err != nil { // what is made once, for the first ones
		return 0, 0, err
	}
	objects, bytes, err = refreshes(ctx, srv, chain)
	if err != nil {
		return 0, 0, err
	}
	nothing := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"t"}`) })
	less, lessBytes, err := refreshes(ctx, nothing, share(newSessions([]string{"t"}, true), 1)[0])
	return objects - less, bytes - lessBytes, err
}

// refreshes makes requests, one after the other, and returns what each allocated.
func refreshes(ctx context.Context, h http.Handler, b bearers) (objects, bytes float64, err error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range allocationRequests {
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, refreshPath, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+string(b.next()))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			return 0, 0, fmt.Errorf("status %d: %s", w.Code, w.Body)
		}
		if err := b.answered(w.Body.Bytes()); err != nil {
			return 0, 0, err
		}
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / allocationRequests, float64(after.TotalAlloc-before.TotalAlloc) / allocationRequests, nil
}

// The environment of a service that is profiled: the names of the real one.
const (
	databaseSetting = "LICENSE_DATABASE_URL"
	keySetting      = "LICENSE_KEY"
	issuerSetting   = "LICENSE_OIDC_ISSUERS"
)

// serveProfiled serves until ctx ends and writes a CPU profile of all that time.
func serveProfiled(ctx context.Context, file string) (err error) {
	d := database{url: os.Getenv(databaseSetting), issuer: os.Getenv(issuerSetting), now: time.Now}
	if d.master, err = keyring.ParseMasterKey(os.Getenv(keySetting)); err != nil {
		return fmt.Errorf("%s: %w", keySetting, err)
	}
	srv, err := d.inside(ctx, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.close()) }()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return serveHere(ctx, srv, map[string]string{})
}
