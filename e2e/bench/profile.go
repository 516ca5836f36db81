package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// profileRequest says what is profiled.
type profileRequest struct {
	folder string // for the profile
	engine string
	job    string // refresh, issue, exchange or introspection
}

// profile loads a service that is profiled, with the most connections, and prints where its time
// went.
func (b *serviceBench) profile(ctx context.Context, what profileRequest) (err error) {
	end, err := b.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	e, err := newEngine(ctx, what.engine, b.temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.stop(context.WithoutCancel(ctx))) }()
	s := &setup{engine: e}
	if err := b.makeOne(ctx, s); err != nil {
		return err
	}
	if err := os.MkdirAll(what.folder, 0o755); err != nil {
		return err
	}
	file := filepath.Join(what.folder, what.job+"-"+what.engine+".pprof")
	if s.one.server, err = start(ctx, s.one.env(), b.self, "-profiled", file); err != nil {
		return err
	}
	f, err := b.profiled(ctx, s, what.job)
	if err := errors.Join(err, s.one.server.stop()); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%s on %s, %d connections: %.0f answers a second, %s of processor time each\n\n",
		what.job, e.name(), slices.Max(b.connections), f.perSecond, f.cpu)
	// where the time is spent, then which of our functions it is spent for
	for _, view := range [][]string{{"-nodecount=30"}, {"-nodecount=30", "-cum", "-show=pageflare/ci"}} {
		top := exec.CommandContext(ctx, "go", slices.Concat([]string{"tool", "pprof", "-top"}, view, []string{file})...)
		top.Stdout, top.Stderr = b.out, os.Stderr
		if err := top.Run(); err != nil {
			return fmt.Errorf("go tool pprof: %w", err)
		}
	}
	fmt.Fprintf(b.out, "\nthe profile: %s; look at it by: go tool pprof -http 127.0.0.1:0 %s\n", file, file)
	return nil
}

// profiled makes the load that a profile is of.
func (b *serviceBench) profiled(ctx context.Context, s *setup, name string) (figures, error) {
	most := slices.Max(b.connections)
	for _, j := range b.jobsOn(s) {
		if !strings.HasPrefix(j.name, name) {
			continue
		}
		if j.bare == identityAndSign {
			if err := b.signIdentities(ctx); err != nil {
				return figures{}, err
			}
		}
		j.target.addr, j.target.cpu = s.one.server.addr, s.one.server.cpu
		return load(ctx, j.target, j.bearers(most), b.length)
	}
	return figures{}, fmt.Errorf("-profile-of: %q is none of refresh, issue, exchange, introspection", name)
}
