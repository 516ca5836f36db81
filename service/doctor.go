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
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/store"
)

type doctorCmd struct{ command.Output }

// finding is one line of the doctor.
type finding struct {
	OK      bool   `json:"ok"`
	Warning bool   `json:"warning,omitempty"` // it works, and most likely not as was meant
	What    string `json:"what"`
	Text    string `json:"text"`
}

func well(what, text string) finding { return finding{OK: true, What: what, Text: text} }

func wrong(what, text string) finding { return finding{What: what, Text: text} }

func warned(what, text string) finding {
	return finding{OK: true, Warning: true, What: what, Text: text}
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

func (f finding) mark() string {
	switch {
	case !f.OK:
		return "WRONG"
	case f.Warning:
		return "WARN"
	}
	return "ok"
}

// Run checks what serve needs and says of each thing whether it is well. It changes nothing but
// what a first start would make.
func (c doctorCmd) Run(ctx context.Context, a *app) error {
	findings := a.checkSettings()
	inside, database := a.checkDatabase(ctx)
	findings = append(findings, database...)
	if path := a.databasePath(); path == "" {
		findings = append(findings, a.checkServer(ctx, inside)...)
	} else if free, known := freeSpace(filepath.Dir(path)); known {
		findings = append(findings, checkSpace(filepath.Dir(path), free))
	}
	findings = append(findings, a.checkKey(inside)...)
	findings = append(findings, a.checkAddress(ctx, inside))
	findings = append(findings, a.checkPublicURL(ctx, inside)...)
	findings = append(findings, a.checkIssuers(ctx)...)
	findings = append(findings, a.checkGitHubApp(ctx, inside)...)
	findings = append(findings, a.checkRotation(ctx, inside)...)
	findings = append(findings, a.checkHeard(ctx, inside)...)
	findings = append(findings, a.checkSent(ctx, inside)...)
	if a.cfg.MetricsListen != "" {
		findings = append(findings, a.checkMetrics(ctx))
	}
	if a.cfg.Tracing {
		findings = append(findings, a.checkTraces(ctx))
	}
	err := c.Print(a.stdout, findings, func(w io.Writer) {
		for _, f := range findings {
			command.Row(w, f.mark(), f.What, f.Text)
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
		out = append(out, warned("settings", w.setting+" "+w.advice))
	}
	if len(out) == 0 {
		out = append(out, well("settings", "all are understood"))
	}
	return out
}

// inside is what is in the database, or why that is not known.
type inside struct {
	newest time.Time // line of the audit log
	log    finding   // on the audit log
	kids   []string  // of all signing keys
	ahead  []finding // on signing keys that were made in the future
	err    error
}

func (a *app) checkDatabase(ctx context.Context) (inside, []finding) {
	first := !a.haveDatabase(ctx)
	in := a.lookInside(ctx)
	if in.err != nil {
		return in, []finding{wrong("database", oneLine(in.err.Error()))}
	}
	out := []finding{well("database", opaque.HideUserInfo(a.cfg.DatabaseURL)+" is open, up to date and its signing keys open")}
	if first {
		where := "run this in its folder, or set LICENSE_DATABASE_URL"
		if a.databasePath() == "" {
			where = "name it in LICENSE_DATABASE_URL"
		}
		out[0] = warned("database", opaque.HideUserInfo(a.cfg.DatabaseURL)+" was made just now and is empty: if there is another one, "+where)
	}
	path := a.databasePath()
	if info, err := os.Stat(path); path != "" && err == nil && info.Mode().Perm()&0o077 != 0 {
		out[0] = wrong("database", fmt.Sprintf("%s can be read by others (mode %04o), and addresses of accounts are in it: run chmod 600 on it", path, info.Mode().Perm()))
	}
	return in, append(append(out, in.log, checkClock(time.Now(), in.newest)), in.ahead...)
}

func (a *app) lookInside(ctx context.Context) (in inside) {
	if in.err = a.checkFiles(ctx); in.err != nil {
		return in
	}
	in.err = a.commands.WithNew(ctx, func(ctx context.Context, l *parts.Parts) error {
		end, err := l.Log.CheckEnd(ctx)
		switch {
		case errors.Is(err, audit.ErrTampered):
			in.log = wrong("audit", err.Error()+": run pageflare-license audit verify, compare with a backup, and find out who can write to the database")
		case err != nil:
			return err
		default:
			in.log = well("audit", fmt.Sprintf("ends at line %d, where this service set its end; audit verify reads all of it", end.Seq))
		}
		last, err := l.Log.Lines(ctx, audit.Query{Limit: 1})
		for _, line := range last {
			in.newest = line.At
		}
		if newest, fault := l.Log.NewestTime(ctx); fault == nil && newest.After(in.newest) {
			in.newest = newest
		}
		keys, listed := l.Keys.Keys(ctx)
		for _, k := range keys {
			in.kids = append(in.kids, k.ID)
			if k.CreatedAt.After(time.Now().Add(clockSlack)) {
				in.ahead = append(in.ahead, wrong("key "+k.ID, fmt.Sprintf("was made at %s, in the future, by a clock that was ahead (it is %s): run key rotate, then retire it by key retire --force",
					second(k.CreatedAt), k.State)))
			}
		}
		ready := l.Ready(ctx)
		if errors.Is(ready, audit.ErrClockBehind) || errors.Is(ready, audit.ErrTampered) { // of these there are findings
			ready = nil
		}
		return errors.Join(err, listed, ready)
	})
	return in
}

// checkFiles finds what is wrong with the files before they are opened: a database that is damaged
// may open all the same.
func (a *app) checkFiles(ctx context.Context) error {
	if err := a.inspect(); err != nil {
		return err
	}
	if err := store.Check(ctx, a.cfg.DatabaseURL); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

const clockSlack = audit.ClockSlack

// checkClock holds the clock against the newest time that was ever written, which cannot be of the
// future.
func checkClock(now, newest time.Time) finding {
	if newest.After(now.Add(clockSlack)) {
		return wrong("clock", fmt.Sprintf("it is %s here, and the database was changed at %s: set the clock of this machine, and keep it by NTP; if it is right, and was ahead then, run pageflare-license audit accept-clock", second(now), second(newest)))
	}
	return well("clock", second(now)+", not before the newest change of the database")
}

// minFree is the room that a database needs: its log alone takes 4 MiB between two clearings.
const minFree = 16 << 20

// checkSpace looks at the room that there is for the database.
func checkSpace(dir string, free uint64) finding {
	if free < minFree {
		return wrong("disk", fmt.Sprintf("only %d KiB are free in folder %s, where the database is: make room, 16 MiB at least", free>>10, dir))
	}
	return well("disk", fmt.Sprintf("%d MiB are free in folder %s, where the database is", free>>20, dir))
}

// checkKey looks at the key-encryption key. Nothing is said of one that is missing because the
// database has no place to be.
func (a *app) checkKey(in inside) []finding {
	_, read := readKeyFile(a.cfg.KeyFile)
	info, err := os.Stat(a.cfg.KeyFile)
	database, unused := os.Stat(a.databasePath())
	switch {
	case errors.Is(in.err, keyring.ErrWrongMasterKey):
		return []finding{wrong("key", a.keySource()+" is of another database: give the key that this one was made with")}
	case a.cfg.Key != "":
		return []finding{well("key", "comes from LICENSE_KEY")}
	case errors.Is(err, fs.ErrNotExist) && (unused != nil || !database.Mode().IsRegular()):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return []finding{wrong("key", "key file "+a.cfg.KeyFile+" is missing: see the database")}
	case err != nil:
		return []finding{wrong("key", err.Error())}
	case !info.Mode().IsRegular():
		return []finding{wrong("key", a.cfg.KeyFile+" is not a file: set LICENSE_KEY_FILE")}
	case info.Mode().Perm()&0o037 != 0: // a group may read it: so are secrets mounted in containers, 0440 for the group of the user
		return []finding{wrong("key", fmt.Sprintf("key file %s can be read by others (mode %04o): run chmod 600 on it", a.cfg.KeyFile, info.Mode().Perm()))}
	case read != nil:
		return []finding{wrong("key", read.Error())}
	case in.err != nil:
		return []finding{well("key", "key file "+a.cfg.KeyFile+" holds a key; whether it is that of the database cannot be seen")}
	}
	return []finding{well("key", "key file "+a.cfg.KeyFile+"; keep a copy of it apart from the database")}
}

func (a *app) checkAddress(ctx context.Context, in inside) finding {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.cfg.Listen)
	if err == nil {
		return well("address", a.cfg.Listen+" is free").closing(l)
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return wrong("address", err.Error()+": set LICENSE_LISTEN to an address of this machine")
	}
	if err := askHealth(ctx, a.cfg.Listen); err != nil {
		return wrong("address", a.cfg.Listen+" is in use by another program: stop it, or set LICENSE_LISTEN")
	}
	kids := askKeys(ctx, a.cfg.Listen)
	known := func(kid string) bool { return slices.Contains(in.kids, kid) }
	if in.err == nil && len(kids) > 0 && !slices.ContainsFunc(kids, known) {
		return warned("address", fmt.Sprintf(
			"a License service answers at %s, and works on another database than %s: run this in the folder of the server, or set LICENSE_DATABASE_URL",
			a.cfg.Listen, opaque.HideUserInfo(a.cfg.DatabaseURL)))
	}
	return well("address", "a License service answers at "+a.cfg.Listen)
}

// askKeys asks the service that listens on addr for the names of the keys that it publishes: those
// of leases. None: it gives no leases, or no answer.
func askKeys(ctx context.Context, addr string) (kids []string) {
	res, err := ask(ctx, addr, "/.well-known/jwks.json")
	if err != nil || res.StatusCode != http.StatusOK {
		return nil
	}
	return keyNames(res.body)
}

// keyNames are those in a JSON Web Key Set.
func keyNames(jwks []byte) (kids []string) {
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if json.Unmarshal(jwks, &set) != nil {
		return nil
	}
	for _, k := range set.Keys {
		kids = append(kids, k.ID)
	}
	return kids
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
		return wrong("traces", opaque.HideUserInfo(endpoint)+" is not a URL")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	d := net.Dialer{Timeout: healthTimeout}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return wrong("traces", fmt.Sprintf("nothing answers at %s (%v): start the collector, or unset %s", opaque.HideUserInfo(endpoint), err, otlpEndpoint))
	}
	if err := conn.Close(); err != nil {
		return wrong("traces", err.Error())
	}
	return well("traces", "go to "+opaque.HideUserInfo(endpoint))
}

type healthcheckCmd struct{ command.Output }

// Run asks the running service.
func (c healthcheckCmd) Run(ctx context.Context, a *app) error {
	if err := askHealth(ctx, a.cfg.Listen); err != nil {
		return err
	}
	if !c.JSON {
		return nil // a container asks every few seconds: silence is health
	}
	return c.Print(a.stdout, struct {
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

// second is a time in whole seconds.
func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }
