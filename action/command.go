package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/token"
)

// commands is the command line: the same client of the License API that the Action uses, for people.
type commands struct {
	APIURL string `name:"api-url" env:"PAGEFLARE_API_URL" default:"https://pageflare.dev/_api" help:"Base path of the License API."`
	Token  string `name:"token" placeholder:"TOKEN" help:"Token to use. PAGEFLARE_TOKEN wins over it; without both, ~/.config/pageflare/credentials.json is read. Better not on a command line: other users of the machine can read those."`

	Version kong.VersionFlag `help:"Print version, commit and Go version." short:"v"`

	TokenCmd struct {
		Issue   issueCmd   `cmd:"" help:"Issue a license token with an API token or a license token, and print it."`
		Refresh refreshCmd `cmd:"" help:"Refresh the license token, print the new one, and store it where the old one was if that is the credentials file."`
		Show    showCmd    `cmd:"" help:"Show what the license token says: account, tier, expiry. The token itself is not shown."`
	} `cmd:"" name:"token" help:"License tokens."`
	Login  loginCmd  `cmd:"" help:"Log in by a browser, on this machine or another, and store the license token in the credentials file."`
	Logout logoutCmd `cmd:"" help:"End the license token of this machine and remove the credentials file."`
}

// usageError is a fault that a person has to mend before the command can work.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

const outsideOfWorkflow = `this is the pageflare GitHub Action: use it as a step of a workflow, or give a command: see pageflare-action --help`

// command runs a command and returns its exit status.
func (w world) command(ctx context.Context, args []string) int {
	if len(args) == 0 {
		return w.failed(usageError{errors.New(outsideOfWorkflow)})
	}
	var c commands
	answered := false // --help or --version
	parser, err := kong.New(&c,
		kong.Name("pageflare-action"),
		kong.Description("Keeps the Pageflare license token of a repository fresh and optimizes its site. As a step of a GitHub workflow it takes no "+
			"arguments and reads its inputs; these commands are for people."),
		kong.Vars{"version": versionText()},
		kong.Writers(w.stdout, w.stderr),
		kong.Exit(func(int) { answered = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(w, &c),
	)
	if err != nil {
		panic(err) // the command line above is wrong
	}
	k, err := parser.Parse(args)
	if answered {
		return exitOK
	}
	if err != nil {
		return w.failed(usageError{fmt.Errorf("%w: see pageflare-action --help", err)})
	}
	return w.failed(k.Run())
}

// failed writes an error, a line for each fault, and returns the exit status.
func (w world) failed(err error) int {
	if err == nil {
		return exitOK
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w.stderr, "error: %s\n", line)
	}
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailure
}

// credential is a token and where it was found.
type credential struct {
	token string
	file  string // the credentials file, if it was found there
}

// credential is PAGEFLARE_TOKEN, else --token, else the credentials file.
func (w world) credential(c *commands) (credential, error) {
	env := strings.TrimSpace(w.getenv("PAGEFLARE_TOKEN"))
	if env != "" {
		if c.Token != "" && c.Token != env {
			fmt.Fprintln(w.stderr, "warning: PAGEFLARE_TOKEN is set and wins over --token")
		}
		return credential{token: env}, nil
	}
	if c.Token != "" {
		return credential{token: strings.TrimSpace(c.Token)}, nil
	}
	file := credentialsFile(w.getenv)
	stored, err := readCredentials(file)
	if errors.Is(err, os.ErrNotExist) {
		return credential{}, usageError{fmt.Errorf("no token: set PAGEFLARE_TOKEN, give --token, or run pageflare-action login so that %s holds one", file)}
	}
	return credential{token: stored, file: file}, err
}

// caller is what a call of the License API needs: whose token, and the client.
func (w world) caller(c *commands) (credential, *client.Client, error) {
	cred, err := w.credential(c)
	if err != nil {
		return credential{}, nil, err
	}
	api, err := w.client(c)
	return cred, api, err
}

type issueCmd struct{}

// Run prints a new license token.
func (issueCmd) Run(ctx context.Context, w world, c *commands) error {
	cred, api, err := w.caller(c)
	if err != nil {
		return err
	}
	issued, err := api.Issue(ctx, cred.token)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w.stdout, issued.Token)
	return err
}

type refreshCmd struct{}

// Run prints the next license token, and stores it when the old one was in the credentials file.
func (refreshCmd) Run(ctx context.Context, w world, c *commands) error {
	cred, api, err := w.caller(c)
	if err != nil {
		return err
	}
	issued, err := api.Refresh(ctx, cred.token)
	if err != nil {
		return err
	}
	if err := w.mayReplace(cred.token, issued.Token); err != nil {
		return fmt.Errorf("the answer of the License API at %s: %w", c.APIURL, err)
	}
	if _, err := fmt.Fprintln(w.stdout, issued.Token); err != nil {
		return err
	}
	if cred.file == "" {
		return nil
	}
	return writeCredentials(cred.file, issued.Token)
}

// mayReplace looks at an answer before it replaces anything.
func (w world) mayReplace(old, issued string) error {
	was, err := token.Decode(old)
	if err != nil {
		return fmt.Errorf("the token in hand: %w", err)
	}
	is, err := token.Decode(issued)
	if err != nil {
		return err
	}
	return refresh.Verify(was, is, w.now())
}

type showCmd struct{}

// Run shows the claims of the token in hand. It asks nobody: the signature is not checked.
func (showCmd) Run(w world, c *commands) error {
	cred, err := w.credential(c)
	if err != nil {
		return err
	}
	claims, err := token.Decode(cred.token)
	if err != nil {
		return usageError{explainToken(cred.token, err)}
	}
	t := tabwriter.NewWriter(w.stdout, 0, 4, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, orElse(value, "-")) }
	line("account", claims.Subject)
	line("email", claims.Email)
	line("tier", claims.Tier)
	line("features", strings.Join(claims.Features, ","))
	if !claims.ValidUntil.IsZero() {
		line("license ends", day(claims.ValidUntil))
	}
	left := claims.ExpiresAt.Sub(w.now())
	switch {
	case left <= 0:
		line("token expired", day(claims.ExpiresAt))
	default:
		line("token expires", fmt.Sprintf("%s (in %d days)", day(claims.ExpiresAt), int(left.Hours()/24)))
	}
	return t.Flush()
}

// credentialsFile is where the vendor's CLI keeps its token.
func credentialsFile(getenv func(string) string) string {
	dir := getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(getenv("HOME"), ".config")
	}
	return filepath.Join(dir, "pageflare", "credentials.json")
}
