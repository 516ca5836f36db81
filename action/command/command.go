// Package command is the commands of the Action's program that people run by hand: login, logout,
// and token issue, refresh and show. It decides where a token is kept on a machine, and which
// License API it may be shown to. A run in a workflow is in action/run.go.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"github.com/pageflare/ci/action/refresh"
	"github.com/pageflare/ci/action/remedy"
	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/token"
)

// commands is the command line: the same client of the License API that the Action uses, for
// people.
type commands struct {
	APIURL *string `name:"api-url" env:"PAGEFLARE_API_URL" placeholder:"URL" group:"Settings:" help:"Base path of the License API. Default: that of the stored token, else ${api}."`

	CACertificates string `name:"ca-certificates" placeholder:"FILE" group:"Settings:" help:"Certificate authorities to trust beside the system's: a file of PEM text."`

	Version kong.VersionFlag `help:"Print version, commit and Go version." short:"v"`

	TokenCmd struct {
		Token string `name:"token" placeholder:"TOKEN" help:"Token to use. PAGEFLARE_TOKEN wins over it; without both, the credentials file is read: pageflare/credentials.json in XDG_CONFIG_HOME or ~/.config. Better not on a command line: other users of the machine can read those."`

		Issue   issueCmd   `cmd:"" help:"Issue a license token with an API token or a license token, and print it."`
		Refresh refreshCmd `cmd:"" help:"Refresh the license token, print the new one, and store it where the old one was if that is the credentials file."`
		Show    showCmd    `cmd:"" help:"Show what the license token says: account, tier, expiry. The token itself is not shown."`
	} `cmd:"" name:"token" help:"License tokens."`
	Login  loginCmd  `cmd:"" help:"Log in by a browser, on this machine or another, and store the license token in the credentials file."`
	Logout logoutCmd `cmd:"" help:"End the license token of this machine and remove the credentials file."`
}

// UsageError is a mistake that a person has to fix before the command can work.
type UsageError struct{ error }

// Unwrap gives what is wrong.
func (e UsageError) Unwrap() error { return e.error }

// Config is what the commands need of the outside. All of it must be set.
type Config struct {
	Getenv func(string) string
	Stdout io.Writer // what was asked for
	Stderr io.Writer // all else
	HTTP   *http.Client
	Now    func() time.Time
	Wait   func(context.Context, time.Duration) error // between the polls of a login
	// Trusting gives a client that trusts the authorities in a file, too; empty: the client itself.
	Trusting func(c *http.Client, file string) (*http.Client, error)

	VendorAPI string // the License API when none is named
	UserAgent string
	Version   string // version, commit and Go version in one line
}

// program is one run of a command.
type program struct{ Config }

// Run runs the command that the arguments name. A mistake of the one who called it is a UsageError.
// The error has a line for each fault.
func Run(ctx context.Context, cfg Config, args []string) error {
	p := program{cfg}
	var c commands
	answered := false // --help or --version
	parser, err := kong.New(&c,
		kong.Name("pageflare-action"),
		kong.Description("Keeps the Pageflare license token of a repository fresh and optimizes its site. As a step of a GitHub workflow it takes no "+
			"arguments and reads its inputs; these commands are for people."),
		kong.Vars{"version": p.Version, "api": p.VendorAPI},
		kong.Writers(p.Stdout, p.Stderr),
		kong.Exit(func(int) { answered = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		panic(err) // the command line above is wrong
	}
	k, err := parser.Parse(args)
	if answered {
		return nil
	}
	if err != nil {
		return UsageError{fmt.Errorf("%w: see %s --help", err, meant(err))}
	}
	if p.HTTP, err = p.Trusting(p.HTTP, c.CACertificates); err != nil {
		return UsageError{fmt.Errorf("--ca-certificates: %w", err)}
	}
	return remedy.LicenseAPI(k.Run(p, &c), remedy.AsFlags)
}

// meant is the command that a faulty command line was about, as far as it could be read.
func meant(err error) string {
	if fault, ok := errors.AsType[*kong.ParseError](err); ok && fault.Context.Selected() != nil {
		return fault.Context.Selected().FullPath()
	}
	return "pageflare-action"
}

// credential is a token and where it was found.
type credential struct {
	credentials
	file string // the credentials file, if it was found there
}

// credential is PAGEFLARE_TOKEN, else --token, else the credentials file.
func (p program) credential(c *commands) (credential, error) {
	env, given := strings.TrimSpace(p.Getenv("PAGEFLARE_TOKEN")), c.TokenCmd.Token
	if env != "" {
		if given != "" && given != env {
			fmt.Fprintln(p.Stderr, "warning: PAGEFLARE_TOKEN is set and wins over --token")
		}
		return found(env), nil
	}
	if given != "" {
		return found(strings.TrimSpace(given)), nil
	}
	file, err := p.credentialsFile()
	if err != nil {
		return credential{}, UsageError{fmt.Errorf("no token: set PAGEFLARE_TOKEN or give --token\n%w", err)}
	}
	stored, err := readCredentials(file)
	if errors.Is(err, os.ErrNotExist) {
		return credential{}, UsageError{fmt.Errorf("no token: set PAGEFLARE_TOKEN, give --token, or run pageflare-action login so that %s holds one", file)}
	}
	return credential{stored, file}, err
}

// found is a token that is not stored.
func found(token string) credential { return credential{credentials: credentials{Token: token}} }

// caller is what a call of the License API needs: whose token, and the client.
func (p program) caller(c *commands) (credential, *client.Client, error) {
	cred, err := p.credential(c)
	if err != nil {
		return credential{}, nil, err
	}
	api, err := p.client(c, cred)
	return cred, api, err
}

// client is a client of the License API that a stored token is of, else of the one that is named,
// else of the vendor's. A stored token goes to no other License API than its own.
func (p program) client(c *commands, of credential) (*client.Client, error) {
	named := p.VendorAPI
	given := c.APIURL != nil && *c.APIURL != "" // a variable that is empty names nothing
	if given {
		named = *c.APIURL
	}
	if of.APIURL == "" {
		return p.clientAt(named)
	}
	own, err := p.clientAt(of.APIURL)
	if err != nil {
		return nil, fmt.Errorf("credentials: %s: %w; log in again with --api-url, or remove the file", of.file, err)
	}
	if !given {
		return own, nil
	}
	other, err := p.clientAt(named)
	if err == nil && other.BaseURL() != own.BaseURL() {
		err = UsageError{fmt.Errorf("api-url: the token in %s is of %s and is not sent to %s: leave out --api-url and PAGEFLARE_API_URL, or log in there",
			of.file, own.BaseURL(), other.BaseURL())}
	}
	return own, err
}

// clientAt is a client of the License API at a base path.
func (p program) clientAt(baseURL string) (*client.Client, error) {
	api, err := client.New(client.Config{BaseURL: baseURL, HTTP: p.HTTP, UserAgent: p.UserAgent, Now: p.Now})
	if err != nil {
		return nil, UsageError{err}
	}
	return api, nil
}

type issueCmd struct{}

// Run prints a new license token.
func (issueCmd) Run(ctx context.Context, p program, c *commands) error {
	cred, api, err := p.caller(c)
	if err != nil {
		return err
	}
	issued, err := api.Issue(ctx, cred.Token)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.Stdout, issued.Token)
	return err
}

type refreshCmd struct{}

// Run prints the next license token, and stores it when the old one was in the credentials file.
func (refreshCmd) Run(ctx context.Context, p program, c *commands) error {
	cred, api, err := p.caller(c)
	if err != nil {
		return err
	}
	was, err := claimsOf(cred.Token)
	if err != nil {
		return err
	}
	issued, err := api.Refresh(ctx, cred.Token)
	if err != nil {
		return err
	}
	if err := p.mayReplace(was, issued.Token); err != nil {
		return fmt.Errorf("the answer of the License API at %s: %w", api.BaseURL(), err)
	}
	if _, err := fmt.Fprintln(p.Stdout, issued.Token); err != nil {
		return err
	}
	if cred.file == "" {
		return nil
	}
	cred.Token, cred.APIURL = issued.Token, api.BaseURL() // which has just shown that the token is one of its own
	return cred.write(cred.file)
}

// claimsOf reads a token that a person gave. One that cannot be a license token is refused here,
// without asking anybody.
func claimsOf(raw string) (token.Claims, error) {
	claims, err := token.Decode(raw)
	if err != nil {
		return token.Claims{}, UsageError{remedy.Token(raw, err)}
	}
	return claims, nil
}

// mayReplace looks at an answer before it replaces anything.
func (p program) mayReplace(was token.Claims, issued string) error {
	is, err := token.Decode(issued)
	if err != nil {
		return err
	}
	return refresh.Verify(was, is, p.Now())
}

type showCmd struct{}

// Run shows the claims of the token in hand. It asks nobody: the signature is not checked.
func (showCmd) Run(p program, c *commands) error {
	cred, err := p.credential(c)
	if err != nil {
		return err
	}
	claims, err := claimsOf(cred.Token)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(p.Stdout, 0, 4, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(t, "%s\t%s\n", name, cmp.Or(value, "-")) }
	line("account", claims.Subject)
	line("email", claims.Email)
	line("tier", claims.Tier)
	line("features", strings.Join(claims.Features, ","))
	if !claims.ValidUntil.IsZero() {
		line("license ends", day(claims.ValidUntil))
	}
	left := claims.ExpiresAt.Sub(p.Now())
	switch {
	case left <= 0:
		line("token expired", day(claims.ExpiresAt))
	default:
		line("token expires", fmt.Sprintf("%s (in %d days)", day(claims.ExpiresAt), int(left.Hours()/24)))
	}
	return t.Flush()
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
