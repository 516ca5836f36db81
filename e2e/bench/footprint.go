package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// idleConnections are held open at once: each has asked once and then says nothing.
const idleConnections = 10_000

// starts is how often the start of a service is timed.
const starts = 5

// footprintRows are what is measured beside speed.
var footprintRows = []string{
	"memory when just started", "memory at its peak under the load", fmt.Sprintf("memory with %d idle connections", idleConnections),
	fmt.Sprintf("start until ready, median of %d (min–max)", starts), "bytes of disk a refresh", "allocations a refresh", "bytes allocated a refresh",
}

// footprint prints what a service on each engine takes beside time.
func (b *serviceBench) footprint(ctx context.Context, made []sizes) error {
	text := [][]string{{""}}
	for _, name := range footprintRows {
		text = append(text, []string{name})
	}
	add := func(cells ...string) {
		for i, c := range cells {
			text[i] = append(text[i], c)
		}
	}
	for i, s := range b.setups {
		load, err := memoryOf(s.one.server.cmd.Process.Pid)
		if err != nil {
			return err
		}
		b.say("%s: start, memory, allocations …", s.engine.name())
		fresh, ready, err := b.starting(ctx, s.one.database)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		idle, err := b.idling(ctx, s.one.database)
		if err != nil {
			return fmt.Errorf("idle connections: %w", err)
		}
		objects, bytes, err := allocations(ctx, s.one)
		if err != nil {
			return fmt.Errorf("allocations: %w", err)
		}
		add(s.engine.name(), fresh.String(), mib(load.peak), idle.String(), ready.String(),
			fmt.Sprintf("%.0f, of %d", float64(made[i].bytes)/float64(made[i].records), made[i].records),
			fmt.Sprintf("%.0f", objects), fmt.Sprintf("%.0f", bytes))
	}
	fmt.Fprintln(b.out)
	printTable(b.out, text)
	return nil
}

// String is the resident set, and how much of it the process has made itself.
func (m memory) String() string { return mib(m.resident) + ", " + mib(m.own) + " own" }

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// duration is a spread of milliseconds.
type duration spread

func (d duration) String() string {
	return fmt.Sprintf("%.0f ms (%.0f–%.0f)", d.middle, d.low, d.high)
}

// starting starts services on a database that is in use, one after the other, each until it says
// that it is ready, and returns the memory of the last and how long they took.
func (b *serviceBench) starting(ctx context.Context, d database) (used memory, ready duration, err error) {
	var took []float64
	for range starts {
		begun := time.Now()
		p, err := start(ctx, d.env(), b.service, "serve")
		if err != nil {
			return used, ready, err
		}
		err = askOnce(ctx, p.addr, readyPath)
		took = append(took, float64(time.Since(begun))/float64(time.Millisecond))
		if err == nil {
			used, err = memoryOf(p.cmd.Process.Pid)
		}
		if err := errors.Join(err, p.stop()); err != nil {
			return used, ready, err
		}
	}
	slices.Sort(took)
	return used, duration{took[0], took[len(took)/2], took[len(took)-1]}, nil
}

// idling is the memory of a service that holds idle connections. It is one of its own: after a
// load, the heap of another would have room for them and the figure would say nothing.
func (b *serviceBench) idling(ctx context.Context, d database) (used memory, err error) {
	if err := allowFiles(idleConnections); err != nil {
		return used, err
	}
	p, err := start(ctx, d.env(), b.service, "serve")
	if err != nil {
		return used, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	callers := make([]*caller, idleConnections)
	defer func() {
		for _, c := range callers {
			if c != nil {
				_ = c.conn.Close()
			}
		}
	}()
	err = atOnce(ctx, 32, len(callers), func(i int) (err error) {
		callers[i], err = askAndStay(ctx, p.addr, healthPath)
		return err
	})
	if err != nil {
		return used, err
	}
	// it still answers, and has not closed the oldest
	if _, err := callers[0].ask(nil); err != nil {
		return used, err
	}
	return memoryOf(p.cmd.Process.Pid)
}

// allowFiles tells whether n connections can be open here. Go has raised the soft limit as far as
// it may.
func allowFiles(n uint64) error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if need := n + 200; files.Cur < need {
		return fmt.Errorf("%d open files are allowed, %d are needed: raise the hard limit (ulimit -Hn)", files.Cur, need)
	}
	return nil
}

// askOnce gets a path that answers 200.
func askOnce(ctx context.Context, addr, path string) error {
	c, err := askAndStay(ctx, addr, path)
	if err != nil {
		return err
	}
	return c.conn.Close()
}

// askAndStay gets a path on a connection that stays open.
func askAndStay(ctx context.Context, addr, path string) (*caller, error) {
	c, err := newCaller(ctx, target{addr: addr, method: "GET", path: path}, nil)
	if err != nil {
		return nil, err
	}
	if _, err := c.ask(nil); err != nil {
		return nil, errors.Join(err, c.conn.Close())
	}
	return c, nil
}
