// Command pageflare-license is the License service: a self-hosted License API that issues,
// refreshes and revokes license tokens.
//
// This package is settings, commands and wiring. The rules are in service/license, the routes in
// service/server, all SQL in service/store.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/mattn/go-isatty"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/store"
)

// version and commit are set by the linker in releases.
var (
	version = "dev"
	commit  = ""
)

func main() {
	again, ignore := secondSignal()
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	code := run(ctx, os.Args[1:], &app{again: again, getenv: os.Getenv, environ: os.Environ, stdin: os.Stdin, typed: isatty.IsTerminal(os.Stdin.Fd()), watched: isatty.IsTerminal(os.Stderr.Fd()), stdout: os.Stdout, stderr: os.Stderr})
	stop()
	ignore()
	os.Exit(code)
}

// secondSignal returns a channel that is closed by the second signal that ends the program: whoever
// sends one more does not want to wait for a drain.
func secondSignal() (again <-chan struct{}, ignore func()) {
	heard, second, over := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	signal.Notify(heard, endSignals()...)
	go func() {
		for range 2 {
			select {
			case <-heard:
			case <-over:
				return
			}
		}
		close(second)
	}()
	return second, func() { signal.Stop(heard); close(over) }
}

// endSignals are those that end the program in good order. SIGHUP, sent when a terminal closes, is
// one of them unless somebody had it ignored, as nohup does.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// Exit statuses. What a person has to change before it can work is usage; what may work the next
// time is failure.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// app is the world outside.
type app struct {
	getenv  func(string) string
	environ func() []string
	stdin   io.Reader
	typed   bool // a person types what comes on stdin
	watched bool // a person sees what is written to stderr
	stdout  io.Writer
	stderr  io.Writer
	cfg     Config
	serving bool // errors are events of the log, in its format
	// again is closed when somebody does not want to wait for a drain; nil: nobody does.
	again <-chan struct{}

	commands command.App // the same, for the commands that work on the database
}

// share fills what the commands share, when the settings are known.
func (a *app) share() {
	a.commands = command.App{
		Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Terminal: a.typed, Watched: a.watched, Move: a.move,
		Database: opaque.HideUserInfo(a.cfg.DatabaseURL), DatabaseFile: a.databasePath(), DumpURL: a.dumpURL(), Issuers: a.cfg.OIDCIssuers, NoLink: a.cfg.noLink(), HTTP: outside(),
		Getenv: a.getenv, APIURL: a.publicURL(a.cfg.Listen) + "/_api",
		HaveDatabase: a.haveDatabase, Repository: a.repository,
		Open: func(ctx context.Context) (*parts.Parts, func() error, error) {
			return a.open(ctx, store.OpenCurrent, a.publicURL(a.cfg.Listen), nil)
		},
		OpenToMigrate: func(ctx context.Context) (*parts.Parts, func() error, error) {
			return a.open(ctx, store.Open, a.publicURL(a.cfg.Listen), nil)
		},
		Runs: func(ctx context.Context) string {
			if askHealth(ctx, a.cfg.Listen) != nil {
				return ""
			}
			return a.cfg.Listen
		},
		Backup: func(ctx context.Context, to string, replace bool) (int64, audit.Head, error) {
			made, err := store.Backup(ctx, a.cfg.DatabaseURL, to, replace)
			return made.Bytes, made.Audit, err
		},
		RecordBackup: func() error { return store.RecordBackup(a.cfg.DatabaseURL) },
		Restore: func(ctx context.Context, backup io.Reader) (command.Restored, error) {
			done, err := store.Restore(ctx, backup, a.cfg.DatabaseURL)
			return command.Restored(done), err
		},
		Verifier: func() (*oidc.Verifier, error) {
			return a.verifier(a.publicURL(a.cfg.Listen), nil, slog.New(slog.DiscardHandler))
		},
	}
}

// commands is the whole command line.
type commands struct {
	Settings `embed:"" group:"Settings:"`

	Version kong.VersionFlag `help:"Print version, commit and Go version." short:"v"`

	Serve      serveCmd           `cmd:"" help:"Run the service. Needs no configuration: it makes its database and its key at the first start."`
	Account    command.Account    `cmd:"" help:"Accounts and their licenses."`
	APIToken   command.APIToken   `cmd:"" name:"api-token" help:"API tokens, by which people and programs call the License API."`
	Token      command.Token      `cmd:"" help:"License tokens."`
	Machine    command.Machine    `cmd:"" help:"Machines that pageflare CLIs activated."`
	Key        command.Key        `cmd:"" help:"Signing keys."`
	Policy     command.Policy     `cmd:"" help:"Trust policies: which jobs of GitHub Actions get license tokens without a secret."`
	Repository command.Repository `cmd:"" help:"Repositories whose jobs got license tokens."`
	GitHubApp  command.GitHubApp  `cmd:"" name:"github-app" help:"The GitHub App, by which the service hears GitHub and writes secrets."`
	Leak       command.Leak       `cmd:"" help:"Leaked tokens: how scanners find them, and whether alerts end them."`
	Webhook    command.Webhook    `cmd:"" help:"Webhook endpoints: where what happens is sent."`
	Rotation   command.Rotation   `cmd:"" help:"Managed rotation: secrets at GitHub that hold a living license token, also where workflows rarely run."`
	Plan       command.Plan       `cmd:"" help:"What plans of GitHub's Marketplace and sponsorships give, and who bought them."`
	Received   command.Received   `cmd:"" help:"What GitHub told the service by webhooks."`
	AdminToken command.AdminToken `cmd:"" name:"admin-token" help:"Admin tokens, by which the operator calls the Admin API."`
	Audit      command.Audit      `cmd:"" help:"The audit log: who did what."`
	Backup     command.Backup     `cmd:"" help:"Copy the database to a new file, also while the service runs. The key is not in it."`
	Restore    command.Restore    `cmd:"" help:"Put a backup in the place of the database. Stop the service first."`
	Migrate    command.Migrate    `cmd:"" help:"Bring the database up to date for this version, as a start of serve does. Make a backup first."`

	MigrateEngine command.MigrateEngine `cmd:"" name:"migrate-engine" help:"Move the whole database from SQLite to PostgreSQL, or back, and compare both. Stop the service first; interrupted, it goes on when it is run again."`

	Doctor      doctorCmd      `cmd:"" help:"Check settings, database, audit log, clock, free space, key and address, and say what is wrong and how to fix it."`
	Completion  completionCmd  `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Healthcheck healthcheckCmd `cmd:"" help:"Ask the running service whether it is healthy; exit status 0 if so. For containers."`
}

func run(ctx context.Context, args []string, a *app) int {
	var c commands
	answered := false // --help or --version
	parser, err := kong.New(&c,
		kong.Name("pageflare-license"),
		kong.Description("A self-hosted License API: it issues, refreshes and revokes Pageflare license tokens."),
		kong.Vars{"version": versionText()},
		kong.Writers(a.stdout, a.stderr),
		kong.Exit(func(int) { answered = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Help(help),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(a, &a.commands),
	)
	if err != nil {
		panic(err) // the command line above is wrong
	}
	k, err := parser.Parse(negatives(words(args)))
	if answered {
		return exitOK
	}
	if err != nil {
		return a.report(command.Usagef("%w: see %s --help", err, meant(err)))
	}
	a.serving = k.Command() == "serve"
	if a.cfg, err = c.config(a.getenv); err != nil {
		return a.report(command.UsageError{Err: err})
	}
	a.share()
	return a.report(k.Run())
}

// help prints what kong does, and the settings only with the program itself: they are the same for
// all commands.
func help(options kong.HelpOptions, k *kong.Context) error {
	if k.Selected() == nil {
		return kong.DefaultHelpPrinter(options, k)
	}
	for _, f := range k.Model.Flags {
		f.Hidden = f.Hidden || f.Group != nil
	}
	if err := kong.DefaultHelpPrinter(options, k); err != nil {
		return err
	}
	_, err := fmt.Fprintln(k.Stdout, "\nThe settings are the same for all commands: pageflare-license --help lists them.")
	return err
}

// words lets help and version be words, as many programs have them: `help token issue` is
// `token issue --help`.
func words(args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "version":
		return []string{"--version"}
	}
	return args
}

var negative = regexp.MustCompile(`^-[0-9]+$`)

// negatives joins a flag and the negative number behind it, which would be taken for a short flag:
// what is wrong with the number is what a person has to hear.
func negatives(args []string) []string {
	var out []string
	for _, arg := range args {
		last := len(out) - 1
		if negative.MatchString(arg) && last >= 0 && strings.HasPrefix(out[last], "--") && !strings.Contains(out[last], "=") {
			out[last] += "=" + arg
			continue
		}
		out = append(out, arg)
	}
	return out
}

// meant is the command that a faulty command line was about, as far as it could be read.
func meant(err error) string {
	if fault, ok := errors.AsType[*kong.ParseError](err); ok && fault.Context.Selected() != nil {
		return fault.Context.Selected().FullPath()
	}
	return "pageflare-license"
}

// report writes an error, a line for each fault, and returns the exit status.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, command.ErrRefused) { // what was printed says why
		return exitFailure
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line = strings.ReplaceAll(line, failure.ErrInvalid.Error()+": ", "") // a person has made no request
		if a.serving && a.cfg.LogFormat == "json" {
			a.cfg.logger(a.stderr).Error("start", "err", line)
			continue
		}
		fmt.Fprintf(a.stderr, "error: %s\n", line)
	}
	if errors.As(err, new(command.UsageError)) {
		return exitUsage
	}
	return exitFailure
}

// versionText is version, commit and Go version in one line.
func versionText() string {
	rev := commit
	if info, ok := debug.ReadBuildInfo(); ok && rev == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				rev = s.Value
			}
		}
	}
	if rev == "" {
		rev = "unknown"
	}
	return fmt.Sprintf("pageflare-license %s (commit %s, %s)", version, rev, runtime.Version())
}
