package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/opaque"
)

// The routes that are measured.
const (
	refreshPath    = "/_api/license/refresh"
	issuePath      = "/_api/license/issue"
	introspectPath = "/_api/oauth/introspect"
	healthPath     = "/_api/health"
	readyPath      = "/readyz"
)

// serviceBench measures the License service against the bare handlers, on each engine.
type serviceBench struct {
	service     string // the program
	self        string // this one
	engines     []string
	connections []int
	rounds      int
	length      time.Duration // of one load
	accounts    int           // of the row with many accounts
	records     int           // of the row with many records
	identities  int           // that one load exchanges
	only        string        // the name of a row that is all that is measured; empty: all
	quick       bool
	out         io.Writer

	begun  time.Time
	temp   string
	jobs   *githubtest.Issuer
	plain  *program // the bare handlers
	setups []*setup
	pool   [][]byte // identities of this round
}

// setup is the databases of one engine with a service on each, and what their callers hold.
type setup struct {
	engine                 engine
	one, accounts, records hosted
	owner                  licensee
}

// hosted is a database with a service that runs on it, and the tokens of its sessions.
type hosted struct {
	database
	server   *program
	sessions []*session
}

func (b *serviceBench) run(ctx context.Context) (err error) {
	defer func() { b.say("done") }()
	end, err := b.begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if b.plain, err = b.startBare(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.plain.stop()) }()
	var sizes []sizes
	for _, name := range b.engines {
		e, err := newEngine(ctx, name, b.temp)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, e.stop(context.WithoutCancel(ctx))) }()
		s := &setup{engine: e}
		defer func() { err = errors.Join(err, s.stop()) }()
		size, err := b.prepare(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name(), err)
		}
		b.setups, sizes = append(b.setups, s), append(sizes, size)
	}
	trials, err := b.trials()
	if err != nil {
		return err
	}
	if err := b.measure(ctx, trials); err != nil {
		return err
	}
	b.print(trials)
	if b.only != "" {
		return nil
	}
	if err := b.footprint(ctx, sizes); err != nil {
		return err
	}
	if err := b.ask(ctx, sizes); err != nil || b.quick {
		return err
	}
	for _, s := range b.setups {
		if err := b.drillKeys(ctx, s); err != nil {
			return fmt.Errorf("key rotation under load on %s: %w", s.engine.name(), err)
		}
	}
	return nil
}

// begin makes what every run needs, a folder and an issuer of identities; end removes it.
func (b *serviceBench) begin() (end func() error, err error) {
	if b.temp, err = os.MkdirTemp("", "pageflare-bench-"); err != nil {
		return nil, err
	}
	if b.jobs, err = githubtest.NewIssuer(githubtest.IssuerConfig{}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.temp))
	}
	return func() error {
		b.jobs.Close()
		return os.RemoveAll(b.temp)
	}, nil
}

func (b *serviceBench) startBare(ctx context.Context) (*program, error) {
	der, err := x509.MarshalPKIXPublicKey(b.jobs.PublicKey())
	if err != nil {
		return nil, err
	}
	return start(ctx, []string{issuerKey + "=" + base64.StdEncoding.EncodeToString(der)}, b.self, "-bare")
}

// say tells a person who waits what goes on, and since when.
func (b *serviceBench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  "+format+"\n", append([]any{time.Since(b.begun).Seconds()}, args...)...)
}

// prepare makes the databases of an engine and starts a service on each.
func (b *serviceBench) prepare(ctx context.Context, s *setup) (made sizes, err error) {
	if err := b.makeOne(ctx, s); err != nil {
		return made, err
	}
	if b.wants(b.manyAccounts()) {
		if _, err := b.populate(ctx, s.engine, &s.accounts, "accounts", time.Now, max(b.accounts, slices.Max(b.connections))); err != nil {
			return made, err
		}
	}
	if b.wants(b.manyRecords()) {
		if made, err = b.fill(ctx, s.engine, &s.records); err != nil {
			return made, err
		}
	}
	for _, h := range s.all() {
		if h.url == "" {
			continue // no row of this run wants it
		}
		if h.server, err = start(ctx, h.env(), b.service, "serve"); err != nil {
			return made, err
		}
	}
	return made, nil
}

// manyAccounts and manyRecords are the names of the rows that have a database of their own.
func (b *serviceBench) manyAccounts() string { return fmt.Sprintf("refresh, %d accounts", b.accounts) }
func (b *serviceBench) manyRecords() string {
	return fmt.Sprintf("refresh, %d records stored", b.records)
}

// wants: the row of this name is measured.
func (b *serviceBench) wants(row string) bool { return b.only == "" || b.only == row }

// makeOne makes the database with one account, whose identities can be exchanged too.
func (b *serviceBench) makeOne(ctx context.Context, s *setup) (err error) {
	if s.owner, err = b.populate(ctx, s.engine, &s.one, "one", time.Now, 1); err != nil {
		return err
	}
	return s.one.addPolicy(ctx, s.owner.account.ID)
}

// populate makes a database with accounts and at least a token for each connection. It returns one
// of the accounts.
func (b *serviceBench) populate(ctx context.Context, e engine, h *hosted, name string, now func() time.Time, accounts int) (first licensee, err error) {
	b.say("%s: a database with %d accounts …", e.name(), accounts)
	if h.database, err = newDatabase(ctx, e, name, b.jobs.URL()); err != nil {
		return first, err
	}
	h.now = now
	made, err := h.seedAccounts(ctx, accounts)
	if err != nil {
		return first, fmt.Errorf("make accounts: %w", err)
	}
	tokens := make([]string, 0, accounts)
	for _, l := range made {
		tokens = append(tokens, l.token)
	}
	more, err := h.moreTokens(ctx, made[0].account.ID, max(0, slices.Max(b.connections)-accounts))
	if err != nil {
		return first, fmt.Errorf("make tokens: %w", err)
	}
	h.sessions = newSessions(append(tokens, more...), false)
	return made[0], nil
}

// sizes are the records of a database, and what they take.
type sizes struct {
	records, bytes int64
	old            opaque.TokenID // one of the first
}

// fill makes the database with many records.
func (b *serviceBench) fill(ctx context.Context, e engine, h *hosted) (made sizes, err error) {
	clock := newSeedClock(b.records)
	owner, err := b.populate(ctx, e, h, "records", clock.now, 1)
	if err != nil {
		return made, err
	}
	b.say("%s: %d records …", e.name(), b.records)
	records, err := h.database.records(ctx)
	if err != nil {
		return made, err
	}
	bytes, err := e.size(ctx, h.url)
	if err != nil {
		return made, err
	}
	if made.old, err = h.seedRecords(ctx, owner.account, b.records, clock); err != nil {
		return made, fmt.Errorf("make records: %w", err)
	}
	h.now = time.Now
	if made.records, err = h.database.records(ctx); err != nil {
		return made, err
	}
	if made.bytes, err = e.size(ctx, h.url); err != nil {
		return made, err
	}
	made.records, made.bytes = made.records-records, made.bytes-bytes
	if made.records < int64(b.records) {
		return made, fmt.Errorf("%d records were made, the database has %d more", b.records, made.records)
	}
	return made, nil
}

func (s *setup) all() []*hosted { return []*hosted{&s.one, &s.accounts, &s.records} }

func (s *setup) stop() (err error) {
	for _, h := range s.all() {
		if h.server != nil {
			err = errors.Join(err, h.server.stop())
		}
	}
	return err
}

// cpu is what the service on a database and the engine have used so far.
func (h *hosted) cpu() usage { return usage{h.server.cpu().service, h.engine.cpu()} }

// job is one kind of request, on one database.
type job struct {
	name     string
	bare     bareJob
	recorded bool // each answer is a record
	only     int  // connections; 0: all that are asked for
	on       *hosted
	target   target
	bearers  func(connections int) []bearers
}

// bareJob is what the bare handlers do beside a job.
type bareJob string

// The bare handlers.
const (
	verifyAndSign   bareJob = "bare handler: verify HS256, sign HS256"
	identityAndSign bareJob = "bare handler: verify RS256, sign HS256"
)

// jobs are what is measured on an engine.
func (b *serviceBench) jobsOn(s *setup) []job {
	most := slices.Max(b.connections)
	refresh := func(name string, only int, h *hosted) job {
		return job{
			name: name, bare: verifyAndSign, recorded: true, only: only, on: h, target: target{method: "GET", path: refreshPath},
			bearers: func(n int) []bearers {
				if h == &s.accounts {
					return share(h.sessions, n)
				}
				return share(h.sessions[:n], n)
			},
		}
	}
	key := func(n int) []bearers { return same(s.owner.apiToken, n) }
	return []job{
		refresh("refresh", 0, &s.one),
		refresh(b.manyAccounts(), most, &s.accounts),
		refresh(b.manyRecords(), most, &s.records),
		{name: "issue", bare: verifyAndSign, recorded: true, on: &s.one, target: target{method: "POST", path: issuePath}, bearers: key},
		{name: "exchange of an identity", bare: identityAndSign, recorded: true, on: &s.one, target: target{method: "POST", path: issuePath}, bearers: b.identitiesFor},
		{name: "introspection", bare: verifyAndSign, on: &s.one, bearers: key, target: target{
			method: "POST", path: introspectPath, kind: "application/x-www-form-urlencoded", body: url.Values{"token": {s.owner.token}}.Encode(),
		}},
	}
}

// identitiesFor takes the identities of this load; they are good once in each database.
func (b *serviceBench) identitiesFor(connections int) []bearers {
	o := &once{all: b.pool}
	return slices.Repeat([]bearers{o}, connections)
}

// signIdentities signs what one load uses up: an issuer's RSA takes longer than all that is
// measured.
func (b *serviceBench) signIdentities(ctx context.Context) error {
	pool := make([][]byte, b.identities)
	var mu sync.Mutex
	err := atOnce(ctx, runtime.NumCPU(), len(pool), func(i int) error {
		text, err := b.jobs.Sign(map[string]any{"aud": publicURL})
		mu.Lock()
		defer mu.Unlock()
		pool[i] = []byte(text)
		return err
	})
	b.pool = pool
	return err
}

// trial is a job with so many connections: a line of the table.
type trial struct {
	row
	job
	newIdentities bool // it needs some that no other database has seen
}

// trials are all that is measured, the same job on one engine after the other.
func (b *serviceBench) trials() (all []*trial, err error) {
	perEngine := make([][]job, len(b.setups))
	for i, s := range b.setups {
		perEngine[i] = b.jobsOn(s)
	}
	var names []string
	for j, first := range perEngine[0] {
		names = append(names, first.name)
		if !b.wants(first.name) {
			continue
		}
		for _, n := range b.connections {
			if first.only != 0 && first.only != n {
				continue
			}
			for e, s := range b.setups {
				all = append(all, &trial{
					row: row{name: first.name, engine: s.engine.name(), connections: n}, job: perEngine[e][j],
					newIdentities: e == 0 && first.bare == identityAndSign,
				})
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("-only: no row is called %q; there are: %s", b.only, strings.Join(names, "; "))
	}
	return all, nil
}

// measure makes the rounds: each load on a service comes right after the same on the bare handlers.
func (b *serviceBench) measure(ctx context.Context, all []*trial) error {
	b.say("warming up …")
	bare := newSessions(slices.Repeat([]string{b.plain.token}, slices.Max(b.connections)), true)
	if err := b.round(ctx, all, bare, b.length/4); err != nil {
		return err
	}
	for _, t := range all {
		t.samples = nil
	}
	for n := range b.rounds {
		b.say("round %d of %d …", n+1, b.rounds)
		if err := b.round(ctx, all, bare, b.length); err != nil {
			return err
		}
	}
	return nil
}

func (b *serviceBench) round(ctx context.Context, all []*trial, bare []*session, length time.Duration) error {
	for _, t := range all {
		if t.newIdentities {
			if err := b.signIdentities(ctx); err != nil {
				return err
			}
		}
		s, err := b.pair(ctx, t.job, share(bare[:t.connections], t.connections), length)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", t.row.name, t.engine, err)
		}
		t.samples = append(t.samples, s)
	}
	return nil
}

// pair measures the bare handlers and then a service, with as many connections as callers of the
// bare handler are given.
func (b *serviceBench) pair(ctx context.Context, what job, callers []bearers, length time.Duration) (s sample, err error) {
	bare, connections := target{addr: b.plain.addr, method: "GET", path: refreshPath, cpu: b.plain.cpu}, len(callers)
	if what.bare == identityAndSign {
		bare.method, bare.path, callers = "POST", issuePath, b.identitiesFor(connections)
	}
	if s.bare, err = load(ctx, bare, callers, length); err != nil {
		return s, fmt.Errorf("the bare handler: %w", err)
	}
	before, err := what.on.records(ctx)
	if err != nil {
		return s, err
	}
	what.target.addr, what.target.cpu = what.on.server.addr, what.on.cpu
	if s.figures, err = load(ctx, what.target, what.bearers(connections), length); err != nil {
		return s, err
	}
	after, err := what.on.records(ctx)
	if err != nil {
		return s, err
	}
	if made := after - before; what.recorded && made < int64(s.figures.answers) {
		return s, fmt.Errorf("%d answers, and only %d records", s.figures.answers, made)
	}
	return s, nil
}

// print writes the table: under each bare handler what is measured against it.
func (b *serviceBench) print(trials []*trial) {
	text, limits := [][]string{tableHead}, []sample{}
	for _, bare := range []bareJob{verifyAndSign, identityAndSign} {
		for _, n := range slices.Backward(b.connections) {
			limit := row{name: string(bare), connections: n}
			var beside [][]string
			for _, t := range trials {
				if t.connections == n && t.bare == bare {
					limit.samples = append(limit.samples, againstItself(t.samples)...)
					beside = append(beside, t.cells())
				}
			}
			if beside == nil {
				continue // no row of this run is compared with it
			}
			text = append(append(text, limit.cells()), beside...)
			limits = append(limits, limit.samples...)
		}
	}
	own := spreadOf(limits, plain(func(f figures) float64 { return float64(f.load.Microseconds()) }))
	fmt.Fprintf(b.out, `
%d rounds of %s, each load right after the same one on the bare handler, on %s.
The load runs on the same %d cores and takes %.0f µs of them an answer (%.0f–%.0f). %s

`, b.rounds, b.length, fileSystem(b.temp), runtime.NumCPU(), own.middle, own.low, own.high, runtime.Version())
	printTable(b.out, text)
}

// fileSystem says what kind of place a folder is: in memory fsync costs nothing.
func fileSystem(folder string) string {
	const tmpfs = 0x01021994
	var fs syscall.Statfs_t
	if syscall.Statfs(folder, &fs) == nil && fs.Type == tmpfs {
		return "a file system in memory, where fsync costs nothing: set TMPDIR to a folder on a disk"
	}
	return "a disk"
}
