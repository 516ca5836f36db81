package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/origin"
	"github.com/pageflare/ci/service/store"
)

// Settings are what can be set, as it was written. config turns them into a Config. docs/service.md
// lists them; a test keeps both in step.
type Settings struct {
	Listen         string `env:"LICENSE_LISTEN" default:"127.0.0.1:8080" help:"Address of the API; port 0 picks one."`
	DatabaseURL    string `env:"LICENSE_DATABASE_URL" default:"sqlite:pageflare-license.db" help:"Database: sqlite:PATH, or postgres://USER:PASSWORD@HOST/DATABASE for several replicas."`
	PublicURL      string `env:"LICENSE_PUBLIC_URL" placeholder:"URL" help:"What clients call, without path; the issuer of tokens. Default: http://LISTEN."`
	TokenTTL       string `env:"LICENSE_TOKEN_TTL" default:"8760h" help:"Lifetime of an issued or refreshed token, capped by the end of the license."`
	OIDCTokenTTL   string `name:"oidc-token-ttl" env:"LICENSE_OIDC_TOKEN_TTL" default:"1h" help:"Lifetime of a token that a job got for its identity."`
	OIDCIssuers    string `name:"oidc-issuers" env:"LICENSE_OIDC_ISSUERS" default:"https://token.actions.githubusercontent.com" help:"Issuers of identities that are trusted, character by character, separated by commas; none: no job is allowed."`
	GitHubAPIURL   string `name:"github-api-url" env:"LICENSE_GITHUB_API_URL" default:"https://api.github.com" help:"GitHub's API, which is asked for the ids of repositories."`
	GitHubAppID    string `name:"github-app-id" env:"LICENSE_GITHUB_APP_ID" placeholder:"ID" help:"Id or client id of the GitHub App. Default: the App that github-app create made, if any."`
	GitHubAppKey   string `name:"github-app-key-file" env:"LICENSE_GITHUB_APP_KEY_FILE" placeholder:"PATH" help:"Private key of the GitHub App, as GitHub gave it. LICENSE_GITHUB_WEBHOOK_SECRET and LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET (environment only) are the secrets of its webhook: both count during a change."`
	WebhookAllow   string `env:"LICENSE_WEBHOOK_ALLOW" placeholder:"CIDR,…" help:"Networks that webhooks may be sent to beside public https addresses; there also by plain http and on any port. Default: none."`
	LeaseGrace     string `env:"LICENSE_LEASE_GRACE" default:"168h" help:"How long a lease bridges a service that cannot be reached, at most; 0: no leases."`
	Retention      string `env:"LICENSE_RETENTION" default:"9600h" help:"How long records of tokens are kept after they were made; they go when their tokens have expired."`
	KeyFile        string `env:"LICENSE_KEY_FILE" placeholder:"PATH" help:"Key-encryption key; made at the first start. Default: the SQLite file with .key added. LICENSE_KEY (base64, 32 bytes; environment only) holds the key itself."`
	RateLimits     string `env:"LICENSE_RATE_LIMITS" default:"free=60,pro=600,team=3000" help:"Requests a minute per token, by tier; 0 is unlimited, a tier that is left out keeps its default."`
	TrustedProxies string `env:"LICENSE_TRUSTED_PROXIES" placeholder:"CIDR,…" help:"Networks whose X-Forwarded-For counts. Default: none."`
	MetricsListen  string `env:"LICENSE_METRICS_LISTEN" placeholder:"ADDRESS" help:"Address of the metrics for Prometheus, at /metrics, on a listener of its own. Default: off."`
	Drain          string `env:"LICENSE_DRAIN" default:"0s" help:"How long a server that is told to stop goes on, as not ready, so that proxies send requests elsewhere; for several replicas, such as 10s."`
	LogFormat      string `env:"LICENSE_LOG_FORMAT" default:"text" help:"text or json."`
	LogLevel       string `env:"LICENSE_LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
}

// Config is the settings, checked.
type Config struct {
	Listen         string
	DatabaseURL    string
	PublicURL      string // empty: http:// and the address that was chosen
	TokenTTL       time.Duration
	OIDCTokenTTL   time.Duration
	OIDCIssuers    []string
	GitHubAPIURL   string
	GitHubAppID    string          // empty: the App in the database, if any
	GitHubAppKey   string          // path of its private key; empty exactly when GitHubAppID is
	WebhookSecrets []opaque.Secret // of GitHub's webhook: the one that counts, and the one before; empty: those in the database, if any
	WebhookAllow   []netip.Prefix
	LeaseGrace     time.Duration // 0: no leases
	Retention      time.Duration
	KeyFile        string
	Key            opaque.Secret // LICENSE_KEY; wins over KeyFile
	RateLimits     map[account.Tier]int
	TrustedProxies []netip.Prefix
	MetricsListen  string // empty: off
	Drain          time.Duration
	Tracing        bool
	LogFormat      string
	LogLevel       slog.Level
}

const (
	minTokenTTL     = time.Minute
	maxOIDCTokenTTL = 24 * time.Hour
	maxDrain        = 10 * time.Minute
)

// config checks the settings. The error has a line for each fault.
func (s Settings) config(getenv func(string) string) (Config, error) {
	c := Config{
		Listen: s.Listen, DatabaseURL: s.DatabaseURL, KeyFile: s.KeyFile,
		MetricsListen: s.MetricsListen, Key: opaque.Secret(getenv("LICENSE_KEY")), LogFormat: s.LogFormat,
	}
	var faults []error
	check := func(name, value, want string, err error) {
		for _, fault := range each(err) {
			faults = append(faults, fmt.Errorf("%s: %q %w; give %s", name, value, fault, want))
		}
	}
	check("LICENSE_LISTEN", s.Listen, "an address such as 127.0.0.1:8080", checkListen(s.Listen))
	check("LICENSE_DATABASE_URL", opaque.HideUserInfo(s.DatabaseURL), "sqlite:PATH or postgres://…", checkDatabaseURL(s.DatabaseURL))
	var err error
	c.PublicURL, err = parsePublicURL(s.PublicURL)
	check("LICENSE_PUBLIC_URL", opaque.HideUserInfo(s.PublicURL), "a URL such as https://license.example.com", err)
	c.TokenTTL, err = parseTTL(s.TokenTTL)
	check("LICENSE_TOKEN_TTL", s.TokenTTL, "a duration of at least 1m such as 8760h", err)
	c.OIDCTokenTTL, err = parseTTL(s.OIDCTokenTTL)
	if err == nil && c.OIDCTokenTTL > maxOIDCTokenTTL {
		err = fmt.Errorf("is above %s, longer than any job runs", maxOIDCTokenTTL)
	}
	check("LICENSE_OIDC_TOKEN_TTL", s.OIDCTokenTTL, "a duration from 1m to 24h such as 1h", err)
	c.OIDCIssuers, err = parseIssuers(s.OIDCIssuers)
	check("LICENSE_OIDC_ISSUERS", opaque.HideUserInfo(s.OIDCIssuers), "URLs such as https://token.actions.githubusercontent.com", err)
	check("LICENSE_GITHUB_API_URL", opaque.HideUserInfo(s.GitHubAPIURL), "a URL such as https://api.github.com or https://HOST/api/v3", checkAPIURL(s.GitHubAPIURL))
	c.GitHubAPIURL = s.GitHubAPIURL
	c.GitHubAppID, c.GitHubAppKey = s.GitHubAppID, s.GitHubAppKey
	if (c.GitHubAppID == "") != (c.GitHubAppKey == "") {
		faults = append(faults, errors.New("LICENSE_GITHUB_APP_ID and LICENSE_GITHUB_APP_KEY_FILE go together: give both, or neither and run `pageflare-license github-app create`"))
	}
	for _, name := range []string{"LICENSE_GITHUB_WEBHOOK_SECRET", "LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET"} {
		if secret := getenv(name); secret != "" {
			c.WebhookSecrets = append(c.WebhookSecrets, opaque.Secret(secret))
		} else if name == "LICENSE_GITHUB_WEBHOOK_SECRET" && getenv("LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET") != "" {
			faults = append(faults, errors.New("LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET: it counts beside LICENSE_GITHUB_WEBHOOK_SECRET during a change: set that one too"))
		}
	}
	c.WebhookAllow, err = parseProxies(s.WebhookAllow)
	check("LICENSE_WEBHOOK_ALLOW", s.WebhookAllow, "networks such as 10.20.0.0/16", err)
	c.LeaseGrace, err = parseGrace(s.LeaseGrace)
	check("LICENSE_LEASE_GRACE", s.LeaseGrace, "a duration of at least 1m such as 168h, or 0", err)
	c.Retention, err = parseRetention(s.Retention, c.TokenTTL)
	check("LICENSE_RETENTION", s.Retention, "a duration such as 9600h, more than a day longer than LICENSE_TOKEN_TTL", err)
	c.RateLimits, err = parseRateLimits(s.RateLimits)
	check("LICENSE_RATE_LIMITS", s.RateLimits, "tiers and numbers such as free=60,pro=600,team=3000", err)
	c.TrustedProxies, err = parseProxies(s.TrustedProxies)
	check("LICENSE_TRUSTED_PROXIES", s.TrustedProxies, "networks such as 10.0.0.0/8,192.0.2.7/32", err)
	check("LICENSE_METRICS_LISTEN", s.MetricsListen, "another address than LICENSE_LISTEN, such as 127.0.0.1:9090", checkMetricsListen(s.MetricsListen, s.Listen))
	c.Drain, err = parseDrain(s.Drain)
	check("LICENSE_DRAIN", s.Drain, "a duration up to 10m such as 10s, or 0", err)
	if c.Tracing, err = tracingOn(getenv); err != nil {
		faults = append(faults, err)
	}
	if s.LogFormat != "text" && s.LogFormat != "json" {
		check("LICENSE_LOG_FORMAT", s.LogFormat, "text or json", errors.New("is not a format"))
	}
	if c.LogLevel.UnmarshalText([]byte(s.LogLevel)) != nil {
		check("LICENSE_LOG_LEVEL", s.LogLevel, "debug, info, warn or error", errors.New("is not a level"))
	}
	if c.KeyFile == "" {
		c.KeyFile = defaultKeyFile(s.DatabaseURL)
	}
	if c.KeyFile == "" && c.Key == "" && store.IsPostgres(s.DatabaseURL) && checkDatabaseURL(s.DatabaseURL) == nil {
		faults = append(faults, errors.New("LICENSE_KEY: on PostgreSQL the key-encryption key must be given, for all replicas the same: "+
			"set LICENSE_KEY to the output of `openssl rand -base64 32`, or LICENSE_KEY_FILE to a file that holds it"))
	}
	if c.Key != "" {
		if _, err := keyring.ParseMasterKey(c.Key.Reveal()); err != nil {
			faults = append(faults, fmt.Errorf("LICENSE_KEY: %w", err))
		}
	}
	return c, errors.Join(faults...)
}

// defaultKeyFile is where the key is unless the settings say so: beside the file of the database.
func defaultKeyFile(databaseURL string) string {
	if path, ok := strings.CutPrefix(databaseURL, "sqlite:"); ok {
		return path + ".key"
	}
	return ""
}

// each is the errors that are joined in one.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("is not HOST:PORT")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return errors.New("has no port from 0 to 65535")
	}
	return nil
}

func checkMetricsListen(s, api string) error {
	if s == "" {
		return nil
	}
	if _, port, _ := net.SplitHostPort(s); s == api && port != "0" {
		return errors.New("is the address of the API")
	}
	return checkListen(s)
}

func checkDatabaseURL(s string) error {
	if store.IsPostgres(s) {
		return store.CheckURL(s)
	}
	path, ok := strings.CutPrefix(s, "sqlite:")
	if !ok {
		return errors.New("is not a database this version knows")
	}
	switch {
	case path == "" || filepath.Clean(path) == ".":
		return errors.New("names no file")
	case strings.HasPrefix(path, "//"):
		return fmt.Errorf("is a path and no URL: write sqlite:%s", path[2:])
	case strings.HasPrefix(path, ":memory:") || strings.HasPrefix(path, "file:"):
		return errors.New("would not be stored: name a file, such as sqlite:pageflare-license.db")
	}
	return nil
}

// parsePublicURL reads the address that clients call. It is spelled as browsers and jobs spell it
// (origin.Of), for it is compared with what they send character by character.
func parsePublicURL(s string) (string, error) {
	s = strings.TrimRight(s, "/")
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return "", errors.New("is not an http or https URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "":
		return "", errors.New("has more than scheme, host and port")
	}
	return origin.Of(u)
}

// checkAPIURL refuses what GitHub's API cannot have: the token that is sent there must not travel
// in the open.
func checkAPIURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return errors.New("is not an http or https URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("has more than scheme, host, port and path")
	case u.Scheme == "http" && !origin.Loopback(u.Hostname()):
		return errors.New("is not https")
	}
	return nil
}

// parseIssuers reads URLs separated by commas; an empty text is none.
func parseIssuers(s string) ([]string, error) {
	if s == "" {
		return nil, nil
	}
	var out []string
	var faults []error
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		err := oidc.CheckIssuer(item)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("is no list of issuers: %w", err))
		case slices.Contains(out, item):
			faults = append(faults, fmt.Errorf("has %s twice", item))
		default:
			out = append(out, item)
		}
	}
	return out, errors.Join(faults...)
}

func parseTTL(s string) (time.Duration, error) {
	d, err := api.ParseDuration(s)
	if err != nil {
		return 0, errors.New("is not a duration")
	}
	if d < minTokenTTL {
		return 0, fmt.Errorf("is below %s", minTokenTTL)
	}
	return d, nil
}

const minLeaseGrace = time.Minute

// parseGrace reads a duration or 0, which turns leases off.
func parseGrace(s string) (time.Duration, error) {
	d, err := api.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errors.New("is not a duration")
	case d != 0 && d < minLeaseGrace:
		return 0, fmt.Errorf("is below %s", minLeaseGrace)
	}
	return d, nil
}

// parseRetention reads a duration. The record of a token must outlast the token, also when clocks
// differ; ttl is 0 when that is wrong itself.
func parseRetention(s string, ttl time.Duration) (time.Duration, error) {
	const day = 24 * time.Hour
	d, err := api.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errors.New("is not a duration")
	case d <= ttl+day:
		return 0, fmt.Errorf("is not above %s, the lifetime of a token and a day", ttl+day)
	}
	return d, nil
}

func parseDrain(s string) (time.Duration, error) {
	d, err := api.ParseDuration(s)
	switch {
	case err != nil:
		return 0, errors.New("is not a duration")
	case d < 0:
		return 0, errors.New("is negative")
	case d > maxDrain:
		return 0, fmt.Errorf("is above %s", maxDrain)
	}
	return d, nil
}

// parseRateLimits reads TIER=NUMBER,… A tier that is not named keeps its default: only a 0 that
// somebody wrote is unlimited.
func parseRateLimits(s string) (map[account.Tier]int, error) {
	out := map[account.Tier]int{account.Free: 60, account.Pro: 600, account.Team: 3000}
	named := map[account.Tier]bool{}
	var faults []error
	for item := range strings.SplitSeq(s, ",") {
		name, number, _ := strings.Cut(strings.TrimSpace(item), "=")
		tier := account.Tier(name)
		n, err := strconv.Atoi(number)
		switch {
		case !slices.Contains([]account.Tier{account.Free, account.Pro, account.Team}, tier):
			faults = append(faults, fmt.Errorf("has %q, which is not a tier", name))
		case err != nil || n < 0 || n > 1_000_000:
			faults = append(faults, fmt.Errorf("has no number from 0 to 1000000 for %s", tier))
		case named[tier]:
			faults = append(faults, fmt.Errorf("has %s twice", tier))
		}
		out[tier], named[tier] = n, true
	}
	return out, errors.Join(faults...)
}

func parseProxies(s string) ([]netip.Prefix, error) {
	if s == "" {
		return nil, nil
	}
	var out []netip.Prefix
	var faults []error
	for item := range strings.SplitSeq(s, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(item))
		if err != nil {
			faults = append(faults, fmt.Errorf("has %q, which is not a network", item))
		}
		out = append(out, p.Masked())
	}
	return out, errors.Join(faults...)
}

// logger writes to w what the settings ask for.
func (c Config) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// unknownSettings are the LICENSE_ variables that mean nothing here: mistyped ones, most likely.
// What Kubernetes sets is none.
func unknownSettings(environ []string, known []string) []string {
	var out []string
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "LICENSE_") && !slices.Contains(known, name) && !ofKubernetes(name, value) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

var serviceVariable = regexp.MustCompile(
	`^LICENSE(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// ofKubernetes tells the variables that Kubernetes sets in every pod for a Service called license
// or license-…: LICENSE_PORT=tcp://10.0.0.11:8080, LICENSE_SERVICE_HOST=10.0.0.11. A
// LICENSE_PORT=8080 is somebody's mistake.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
func ofKubernetes(name, value string) bool {
	if !serviceVariable.MatchString(name) {
		return false
	}
	scheme, _, isURL := strings.Cut(value, "://")
	return !strings.HasSuffix(name, "_PORT") || strings.HasSuffix(name, "_SERVICE_PORT") ||
		portNumber.MatchString(name) || isURL && slices.Contains([]string{"tcp", "udp", "sctp"}, scheme)
}

var portNumber = regexp.MustCompile(`_PORT_[0-9]+_(TCP|UDP|SCTP)_PORT$`)
