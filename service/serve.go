package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/pageflare/ci/service/server"
)

type serveCmd struct{}

// Run serves until a signal comes, then lets the requests in flight finish.
func (serveCmd) Run(ctx context.Context, a *app) error {
	log := a.cfg.logger(a.stderr)
	for _, name := range unknownSettings(a.environ(), knownSettings()) {
		log.Warn("unknown setting", "name", name)
	}
	l, err := listen(ctx, a.cfg.Listen)
	if err != nil {
		return errors.Join(err, a.inspect())
	}
	defer l.Close()
	url := a.publicURL(l.Addr().String())
	svc, closeStore, err := a.open(ctx, url)
	if err != nil {
		return err
	}
	identities, err := a.verifier(url, log)
	if err != nil {
		return errors.Join(usageError{err}, closeStore())
	}
	srv, err := server.New(server.Config{
		License: svc, RateLimits: a.cfg.RateLimits, Identities: identities, Repository: a.repository, BadCredentials: server.DefaultBadCredentials,
		TrustedProxies: a.cfg.TrustedProxies, Now: time.Now, Log: log,
	})
	if err != nil {
		return errors.Join(err, closeStore())
	}
	log.Info("listening", "addr", l.Addr().String(), "url", url, "database", hideUserInfo(a.cfg.DatabaseURL), "version", version)
	err = errors.Join(srv.Serve(ctx, l), closeStore())
	log.Info("stopped")
	return err
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, usagef("LICENSE_LISTEN: %s is in use by another program: stop it, or choose another address", addr)
	case err != nil:
		return nil, usageError{fmt.Errorf("LICENSE_LISTEN: %w: choose an address of this machine and a port that this user may open", err)}
	}
	return l, nil
}
