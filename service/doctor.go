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
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pageflare/ci/service/license"
)

type doctorCmd struct{ asJSON }

// finding is one line of the doctor.
type finding struct {
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"` // it works, and most likely not as was meant
	What    string `json:"what"`
	Text    string `json:"text"`
}

func well(what, text string) finding { return finding{OK: true, What: what, Text: text} }

func wrong(what, text string) finding { return finding{What: what, Text: text} }

func (f finding) mark() string {
	switch {
	case !f.OK:
		return "WRONG"
	case f.Warning:
		return "WARN"
	}
	return "ok"
}

// Run checks what serve needs and says of each thing whether it is well. It changes nothing but what a first start would make.
func (c doctorCmd) Run(ctx context.Context, a *app) error {
	findings := a.checkSettings()
	findings = append(findings, a.checkDatabase(ctx)...)
	findings = append(findings, a.checkKeyFile(), a.checkAddress(ctx))
	if a.cfg.MetricsListen != "" {
		findings = append(findings, a.checkMetrics(ctx))
	}
	if a.cfg.Tracing {
		findings = append(findings, a.checkTraces(ctx))
	}
	err := c.print(a.stdout, findings, func(w io.Writer) {
		for _, f := range findings {
			row(w, f.mark(), f.What, f.Text)
		}
	})
	if err != nil {
		return err
	}
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks found something wrong", bad, len(findings))
	}
	return nil
}

func (a *app) checkSettings() []finding {
	var out []finding
	for _, name := range unknownSettings(a.environ(), knownSettings()) {
		out = append(out, wrong("settings", name+" means nothing to this version: check its spelling"))
	}
	for _, w := range a.cfg.warnings() {
		out = append(out, finding{OK: true, Warning: true, What: "settings", Text: w.setting + " " + w.advice})
	}
	if len(out) == 0 {
		out = append(out, well("settings", "all are understood"))
	}
	return out
}

func (a *app) checkDatabase(ctx context.Context) []finding {
	var newest time.Time
	log := well("audit", "")
	err := a.with(ctx, func(ctx context.Context, l *license.Service) error {
		end, err := l.CheckAuditEnd(ctx)
		switch {
		case errors.Is(err, license.ErrTampered):
			log = wrong("audit", err.Error()+": run pageflare-license audit verify, compare with a backup, and find out who can write to the database")
		case err != nil:
			return err
		default:
			log.Text = fmt.Sprintf("ends at line %d, where this service set its end; audit verify reads all of it", end.Seq)
		}
		last, err := l.Audit(ctx, license.AuditQuery{Limit: 1})
		for _, line := range last {
			newest = line.At
		}
		return errors.Join(err, l.Ready(ctx))
	})
	if err != nil {
		return []finding{wrong("database", strings.ReplaceAll(err.Error(), "\n", "; "))}
	}
	out := []finding{well("database", hideUserInfo(a.cfg.DatabaseURL)+" is open, up to date and its signing keys open")}
	path := strings.TrimPrefix(a.cfg.DatabaseURL, "sqlite:")
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		out[0] = wrong("database", fmt.Sprintf("%s can be read by others (mode %04o), and addresses of accounts are in it: run chmod 600 on it", path, info.Mode().Perm()))
	}
	return append(out, log, checkClock(time.Now(), newest))
}

// clockSlack is how far apart the clocks of servers may be.
const clockSlack = time.Minute

// checkClock holds the clock against the newest line of the audit log, which cannot be of the future. A token that was made in the future is refused.
func checkClock(now, newest time.Time) finding {
	if newest.After(now.Add(clockSlack)) {
		return wrong("clock", fmt.Sprintf("it is %s here, and the database was changed at %s: set the clock of this machine, and keep it by NTP", second(now), second(newest)))
	}
	return well("clock", second(now)+", not before the newest change of the database")
}

func (a *app) checkKeyFile() finding {
	if a.cfg.Key != "" {
		return well("key", "comes from LICENSE_KEY")
	}
	info, err := os.Stat(a.cfg.KeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return wrong("key", "key file "+a.cfg.KeyFile+" is missing: see the database")
	case err != nil:
		return wrong("key", err.Error())
	case !info.Mode().IsRegular():
		return wrong("key", a.cfg.KeyFile+" is not a file: set LICENSE_KEY_FILE")
	case info.Mode().Perm()&0o077 != 0:
		return wrong("key", fmt.Sprintf("key file %s can be read by others (mode %04o): run chmod 600 on it", a.cfg.KeyFile, info.Mode().Perm()))
	}
	return well("key", "key file "+a.cfg.KeyFile+"; keep a copy of it apart from the database")
}

func (a *app) checkAddress(ctx context.Context) finding {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err == nil {
		return well("address", a.cfg.Listen+" is free").closing(l)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		if err := askHealth(ctx, a.cfg.Listen); err != nil {
			return wrong("address", a.cfg.Listen+" is in use by another program: stop it, or set LICENSE_LISTEN")
		}
		return well("address", "a License service answers at "+a.cfg.Listen)
	}
	return wrong("address", err.Error()+": set LICENSE_LISTEN to an address of this machine")
}

func (f finding) closing(l net.Listener) finding {
	if err := l.Close(); err != nil {
		return wrong(f.What, err.Error())
	}
	return f
}

// checkMetrics looks at the listener of the metrics, which is in use when the service runs.
func (a *app) checkMetrics(ctx context.Context) finding {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.MetricsListen)
	if err == nil {
		return well("metrics", a.cfg.MetricsListen+" is free").closing(l)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return wrong("metrics", err.Error()+": set LICENSE_METRICS_LISTEN to an address of this machine")
	}
	res, err := ask(ctx, a.cfg.MetricsListen, "/metrics")
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(res.body), "pageflare_license_build_info") {
		return wrong("metrics", a.cfg.MetricsListen+" is in use by another program: stop it, or set LICENSE_METRICS_LISTEN")
	}
	return well("metrics", "a License service answers at "+a.cfg.MetricsListen+"/metrics")
}

// checkTraces makes sure that somebody takes traces.
func (a *app) checkTraces(ctx context.Context) finding {
	endpoint := a.getenv(otlpTracesEndpoint)
	if endpoint == "" {
		endpoint = a.getenv(otlpEndpoint)
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return wrong("traces", hideUserInfo(endpoint)+" is not a URL")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	d := net.Dialer{Timeout: healthTimeout}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return wrong("traces", fmt.Sprintf("nothing answers at %s (%v): start the collector, or unset %s", hideUserInfo(endpoint), err, otlpEndpoint))
	}
	if err := conn.Close(); err != nil {
		return wrong("traces", err.Error())
	}
	return well("traces", "go to "+hideUserInfo(endpoint))
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
	res, err := ask(ctx, addr, "/_api/health")
	if err != nil {
		return fmt.Errorf("no License service answers at %s: %w", addr, err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", res.Request.URL, res.Status)
	}
	var answer struct{ Status string }
	if err := json.Unmarshal(res.body, &answer); err != nil || answer.Status != "ok" {
		return fmt.Errorf("%s answered, but not as a License service", res.Request.URL)
	}
	return nil
}

// answer is one that was read whole.
type answer struct {
	*http.Response
	body []byte
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 4 << 20

// ask gets a path from the server that listens on addr.
func ask(ctx context.Context, addr, path string) (answer, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return answer{}, err
	}
	if allAddresses(addr) {
		host = "127.0.0.1" // it listens on all addresses of this machine
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return answer{}, err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, errors.Unwrap(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return answer{res, body}, err
}
