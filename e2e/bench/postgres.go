package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pageflare/ci/service/store/postgrestest"
)

// postgres is a server that was started for this run alone, with PostgreSQL's own settings: what
// is committed is on the disk.
type postgres struct {
	*postgrestest.Server
	version string
	pid     int
}

func startPostgres(ctx context.Context) (_ *postgres, err error) {
	p := &postgres{}
	if p.Server, err = postgrestest.Start(ctx, postgrestest.Options{Durable: true}); err != nil {
		return nil, err
	}
	if err := p.look(ctx); err != nil {
		return nil, errors.Join(err, p.Stop(ctx))
	}
	return p, nil
}

// look asks the server what it is.
func (p *postgres) look(ctx context.Context) error {
	text, err := os.ReadFile(filepath.Join(p.Dir(), "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if p.pid, err = strconv.Atoi(first); err != nil {
		return fmt.Errorf("postmaster.pid: %w", err)
	}
	return onServer(ctx, p.URL("postgres"), func(c *pgx.Conn) error { return c.QueryRow(ctx, "SHOW server_version_num").Scan(&p.version) })
}

func onServer(ctx context.Context, url string, f func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close(ctx))
}

func (p *postgres) name() string { return "PostgreSQL " + p.version[:len(p.version)-4] }

func (p *postgres) create(ctx context.Context, name string) (string, error) {
	err := onServer(ctx, p.URL("postgres"), func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		return err
	})
	return p.URL(name), err
}

func (p *postgres) size(ctx context.Context, url string) (bytes int64, err error) {
	err = onServer(ctx, url, func(c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&bytes)
	})
	return bytes, err
}

func (p *postgres) cpu() time.Duration { return processorTimeBelow(p.pid) }

func (p *postgres) stop(ctx context.Context) error { return p.Stop(ctx) }
