package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pageflare/ci/service/license"
)

type doctorCmd struct{ asJSON }

// finding is one line of the doctor.
type finding struct {
	ok   bool
	what string
	text string
}

// Run checks what serve needs and says of each thing whether it is well. It changes nothing but what a first start would make.
func (c doctorCmd) Run(ctx context.Context, a *app) error {
	var findings []finding
	for _, name := range unknownSettings(a.environ(), knownSettings()) {
		findings = append(findings, finding{false, "settings", name + " means nothing to this version: check its spelling"})
	}
	if len(findings) == 0 {
		findings = append(findings, finding{true, "settings", "all are understood"})
	}
	findings = append(findings, a.checkDatabase(ctx)...)
	findings = append(findings, a.checkKeyFile(), a.checkAddress(ctx))
	bad := 0
	type line struct {
		OK   bool   `json:"ok"`
		What string `json:"what"`
		Text string `json:"text"`
	}
	lines := make([]line, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, line{f.ok, f.what, f.text})
		if !f.ok {
			bad++
		}
	}
	err := c.print(a.stdout, lines, func(w io.Writer) {
		for _, f := range lines {
			mark := "ok"
			if !f.OK {
				mark = "WRONG"
			}
			row(w, mark, f.What, f.Text)
		}
	})
	if err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks found something wrong", bad, len(findings))
	}
	return nil
}

func (a *app) checkDatabase(ctx context.Context) []finding {
	err := a.with(ctx, func(ctx context.Context, l *license.Service) error { return l.Ready(ctx) })
	if err != nil {
		return []finding{{false, "database", strings.ReplaceAll(err.Error(), "\n", "; ")}}
	}
	return []finding{{true, "database", hideUserInfo(a.cfg.DatabaseURL) + " is open, up to date and its signing keys open"}}
}

func (a *app) checkKeyFile() finding {
	if a.cfg.Key != "" {
		return finding{true, "key", "comes from LICENSE_KEY"}
	}
	info, err := os.Stat(a.cfg.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return finding{false, "key", "key file " + a.cfg.KeyFile + " is missing: see the database"}
	case err != nil:
		return finding{false, "key", err.Error()}
	case !info.Mode().IsRegular():
		return finding{false, "key", a.cfg.KeyFile + " is not a file: set LICENSE_KEY_FILE"}
	case info.Mode().Perm()&0o077 != 0:
		return finding{false, "key", fmt.Sprintf("key file %s can be read by others (mode %04o): run chmod 600 on it", a.cfg.KeyFile, info.Mode().Perm())}
	}
	return finding{true, "key", "key file " + a.cfg.KeyFile + "; keep a copy of it apart from the database"}
}

func (a *app) checkAddress(ctx context.Context) finding {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err == nil {
		return finding{true, "address", a.cfg.Listen + " is free"}.closing(l)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := askHealth(ctx, a.cfg.Listen); err != nil {
			return finding{false, "address", a.cfg.Listen + " is in use by another program: stop it, or set LICENSE_LISTEN"}
		}
		return finding{true, "address", "a License service answers at " + a.cfg.Listen}
	}
	return finding{false, "address", err.Error() + ": set LICENSE_LISTEN to an address of this machine"}
}

func (f finding) closing(l net.Listener) finding {
	if err := l.Close(); err != nil {
		return finding{false, f.what, err.Error()}
	}
	return f
}

type healthcheckCmd struct{ asJSON }

// Run asks the running service.
func (c healthcheckCmd) Run(ctx context.Context, a *app) error {
	if err := askHealth(ctx, a.cfg.Listen); err != nil {
		return err
	}
	if !c.JSON {
		return nil // a container asks every few seconds: silence is health
	}
	return c.print(a.stdout, struct {
		Status string `json:"status"`
	}{"ok"}, nil)
}

const healthTimeout = 3 * time.Second

// askHealth asks the service that listens on addr.
func askHealth(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1" // it listens on all addresses of this machine
	}
	url := "http://" + net.JoinHostPort(host, port) + "/_api/health"
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no License service answers at %s: %w", addr, errors.Unwrap(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	var answer struct{ Status string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<10)).Decode(&answer); err != nil || answer.Status != "ok" {
		return fmt.Errorf("%s answered, but not as a License service", url)
	}
	return nil
}
