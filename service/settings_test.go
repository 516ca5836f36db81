package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
)

// model is the command line as kong understands it.
func model(t *testing.T) *kong.Application {
	t.Helper()
	p, err := kong.New(&commands{}, kong.Name(program), kong.Vars{"version": ""})
	must(t, err)
	return p.Model
}

func TestEverySettingIsAFlagAndAVariableOfOneName(t *testing.T) {
	t.Parallel()
	var flags []string
	for _, f := range model(t).Flags {
		if f.Name == "help" || f.Name == "version" {
			continue
		}
		flags = append(flags, f.Name)
		want := "LICENSE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if len(f.Envs) != 1 || f.Envs[0] != want {
			t.Errorf("variables of --%s = %q, want %s", f.Name, f.Envs, want)
		}
		if f.Help == "" {
			t.Errorf("--%s has no help", f.Name)
		}
	}
	if n := reflect.TypeFor[Settings]().NumField(); len(flags) != n {
		t.Errorf("flags %q are %d, settings are %d", flags, len(flags), n)
	}
}

func TestOnlySettingsReadVariables(t *testing.T) {
	t.Parallel()
	for _, leaf := range model(t).Leaves(false) {
		for _, f := range leaf.Flags {
			if len(f.Envs) > 0 {
				t.Errorf("--%s of %s reads %q", f.Name, leaf.Path(), f.Envs)
			}
		}
	}
}

func TestAFaultySettingStopsTheStart(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-p4ssw0rd"
	tests := []struct {
		name, variable, value string
		want                  string // after the variable's name
	}{
		{"an address without a port", "LISTEN", "127.0.0.1", `"127.0.0.1" is not HOST:PORT; give an address such as`},
		{"a port alone", "LISTEN", "8080", `"8080" is not HOST:PORT`},
		{"an empty address", "LISTEN", "", `"" is not HOST:PORT`},
		{"a URL as address", "LISTEN", "http://127.0.0.1:8080", `"http://127.0.0.1:8080" is not HOST:PORT`},
		{"a port that is too high", "LISTEN", "127.0.0.1:65536", `"127.0.0.1:65536" has no port from 0 to 65535`},
		{"a negative port", "LISTEN", "127.0.0.1:-1", `"127.0.0.1:-1" has no port`},
		{"a port by name", "LISTEN", "127.0.0.1:http", `"127.0.0.1:http" has no port`},
		{"an address of six groups without brackets", "LISTEN", "::1:8080", `"::1:8080" is not HOST:PORT`},

		{"a database path without its kind", "DATABASE_URL", "license.db", `"license.db" is not a database this version knows; give sqlite:PATH or postgres://…`},
		{"an empty database", "DATABASE_URL", "", `"" is not a database`},
		{"a database without a path", "DATABASE_URL", "sqlite:", `"sqlite:" names no file`},
		{"the folder itself as database", "DATABASE_URL", "sqlite:.", `"sqlite:." names no file`},
		{"a database as a URL", "DATABASE_URL", "sqlite://l.db", `"sqlite://l.db" is a path and no URL: write sqlite:l.db; give sqlite:PATH or postgres://…`},
		{"a database as a URL with a whole path", "DATABASE_URL", "sqlite:///var/lib/l.db", `"sqlite:///var/lib/l.db" is a path and no URL: write sqlite:/var/lib/l.db`},
		{"a database in memory", "DATABASE_URL", "sqlite::memory:", `"sqlite::memory:" would not be stored: name a file, such as sqlite:pageflare-license.db`},
		{"another database", "DATABASE_URL", "mysql://me:" + secret + "@db/license", `"mysql://[hidden]@db/license" is not a database`},
		{"another database with its password behind", "DATABASE_URL", "mysql://db/license?password=" + secret, `"mysql://db/license?[hidden]" is not a database`},
		{"a port that is none", "DATABASE_URL", "postgres://me:" + secret + "@db:99999999/license", `"postgres://[hidden]@db:99999999/license" is not a URL of PostgreSQL such as postgres://user@host/database: it cannot be parsed; give sqlite:PATH or postgres://…`},
		{"a setting of PostgreSQL that is none", "DATABASE_URL", "postgres://db/license?sslmode=" + secret, `"postgres://db/license?[hidden]" is not a URL of PostgreSQL such as postgres://user@host/database: sslmode is invalid; give`},
		{"another database in words", "DATABASE_URL", "host=db password=" + secret, `"[hidden]" is not a database`},

		{"a host as public URL", "PUBLIC_URL", "license.example.com", `"license.example.com" is not an http or https URL`},
		{"another scheme", "PUBLIC_URL", "ftp://license.example.com", `"ftp://license.example.com" is not an http or https URL`},
		{"a public URL without host", "PUBLIC_URL", "https://", `"https://" is not an http or https URL`},
		{"a public URL with the path of the API", "PUBLIC_URL", "https://license.example.com/_api", `"https://license.example.com/_api" has more than scheme, host and port`},
		{"a public URL with a port that is too high", "PUBLIC_URL", "https://license.example.com:65536", `"https://license.example.com:65536" has no port from 1 to 65535`},
		{"a public URL with port 0", "PUBLIC_URL", "http://license.example.com:0", `"http://license.example.com:0" has no port from 1 to 65535`},
		{"a public URL with a port alone", "PUBLIC_URL", "http://:8080", `"http://:8080" is not an http or https URL`},
		{"a public URL with a password", "PUBLIC_URL", "https://me:" + secret + "@example.com", `"https://[hidden]@example.com" has more than`},
		{"a public URL with a query", "PUBLIC_URL", "https://example.com?key=" + secret, `"https://example.com?[hidden]" has more than`},

		{"a public URL with a blank that looks like none", "PUBLIC_URL", "https://li\u00a0cense.example", `"https://li\u00a0cense.example" has a host that browsers do not accept; give a URL such as`},
		{"a public URL with a short address", "PUBLIC_URL", "http://127.1", `"http://127.1" has a host that ends in a number and is not an IPv4 address`},

		{"a lifetime without unit", "TOKEN_TTL", "3600", `"3600" is not a duration; give a duration of at least 1m such as 8760h`},
		{"a lifetime in days and a half", "TOKEN_TTL", "36.5d", `"36.5d" is not a duration`},
		{"a lifetime of no days", "TOKEN_TTL", "0d", `"0d" is below 1m`},
		{"an empty lifetime", "TOKEN_TTL", "", `"" is not a duration`},
		{"a lifetime that is too short", "TOKEN_TTL", "59s", `"59s" is below 1m`},
		{"no lifetime", "TOKEN_TTL", "0", `"0" is below 1m`},
		{"a negative lifetime", "TOKEN_TTL", "-1h", `"-1h" is below 1m`},

		{"a grace without unit", "LEASE_GRACE", "7", `"7" is not a duration; give a duration of at least 1m such as 168h, or 0`},
		{"a grace in weeks", "LEASE_GRACE", "1w", `"1w" is not a duration`},
		{"an empty grace", "LEASE_GRACE", "", `"" is not a duration`},
		{"a grace that is too short", "LEASE_GRACE", "59s", `"59s" is below 1m`},
		{"a retention without unit", "RETENTION", "400", `"400" is not a duration; give a duration such as 9600h, more than a day longer than LICENSE_TOKEN_TTL`},
		{"a retention of a token's life and a day", "RETENTION", "366d", `"366d" is not above 8784h0m0s, the life of a token and a day`},
		{"no retention", "RETENTION", "0", `"0" is not above`},
		{"a negative grace", "LEASE_GRACE", "-168h", `"-168h" is below 1m`},

		{"a limit for an unknown tier", "RATE_LIMITS", "gold=5", `"gold=5" has "gold", which is not a tier`},
		{"a limit that is no number", "RATE_LIMITS", "pro=many", `"pro=many" has no number from 0 to 1000000 for pro`},
		{"a limit without number", "RATE_LIMITS", "pro", `"pro" has no number`},
		{"a negative limit", "RATE_LIMITS", "pro=-1", `"pro=-1" has no number`},
		{"a tier twice", "RATE_LIMITS", "pro=1,pro=2", `"pro=1,pro=2" has pro twice`},
		{"no limits", "RATE_LIMITS", "", `"" has "", which is not a tier`},
		{"one number for all", "RATE_LIMITS", "600", `"600" has "600", which is not a tier`},

		{"a proxy that is no network", "TRUSTED_PROXIES", "10.0.0.1", `"10.0.0.1" has "10.0.0.1", which is not a network`},
		{"a proxy by name", "TRUSTED_PROXIES", "10.0.0.0/8,proxy.example.com", `"10.0.0.0/8,proxy.example.com" has "proxy.example.com", which is not a network`},
		{"a comma too many", "TRUSTED_PROXIES", "10.0.0.0/8,", `"10.0.0.0/8," has "", which is not a network`},

		{"metrics without a port", "METRICS_LISTEN", "127.0.0.1", `"127.0.0.1" is not HOST:PORT; give another address than LICENSE_LISTEN, such as 127.0.0.1:9090`},
		{"metrics at the address of the API", "METRICS_LISTEN", "127.0.0.1:8080", `"127.0.0.1:8080" is the address of the API; give another`},
		{"metrics at no port", "METRICS_LISTEN", ":x", `":x" has no port from 0 to 65535`},

		{"a drain without unit", "DRAIN", "10", `"10" is not a duration; give a duration up to 10m such as 10s, or 0`},
		{"an empty drain", "DRAIN", "", `"" is not a duration`},
		{"a negative drain", "DRAIN", "-1s", `"-1s" is negative`},
		{"a drain that does not end", "DRAIN", "1h", `"1h" is above 10m`},

		{"a log format that is not there", "LOG_FORMAT", "xml", `"xml" is not a format; give text or json`},
		{"a log format in capitals", "LOG_FORMAT", "JSON", `"JSON" is not a format`},
		{"a log level that is not there", "LOG_LEVEL", "loud", `"loud" is not a level; give debug, info, warn or error`},

		{"a key that is not base64", "KEY", secret, "not base64: make one with"},
		{"a key that is too short", "KEY", "c2hvcnQ=", "5 bytes, needs 32: make one with"},
		{"a key in hexadecimal", "KEY", strings.Repeat("00", 32), "48 bytes, needs 32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := configOf(t, tt.variable, tt.value)
			if want := "LICENSE_" + tt.variable + ": " + tt.want; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("config = %v, want %s…", err, want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the secret is in: %v", err)
			}
		})
	}
}

func TestPostgresNeedsTheKeyToBeGiven(t *testing.T) {
	t.Parallel()
	_, err := configOf(t, "DATABASE_URL", "postgres://me:s3cr3t@db/license")
	const want = "LICENSE_KEY: on PostgreSQL the key-encryption key must be given, for all replicas the same: set LICENSE_KEY to"
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("config = %v, want %s…", err, want)
	}
}

func TestAllFaultySettingsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"listen": "x", "database-url": "x", "public-url": "x", "token-ttl": "x", "lease-grace": "x", "rate-limits": "x", "trusted-proxies": "x", "metrics-listen": "y", "log-format": "x", "log-level": "x",
	}
	variables, flags := newBox(t), newBox(t)
	variables.env["LICENSE_KEY"], flags.env["LICENSE_KEY"] = "x", "x"
	args := []string{"serve"}
	for name, v := range values {
		variables.env["LICENSE_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = v
		args = append(args, "--"+name+"="+v)
	}
	r := variables.run("serve")
	r.wantFaults(t, "LICENSE_LISTEN: ", "LICENSE_DATABASE_URL: ", "LICENSE_PUBLIC_URL: ", "LICENSE_TOKEN_TTL: ", "LICENSE_LEASE_GRACE: ", "LICENSE_RATE_LIMITS: ",
		"LICENSE_TRUSTED_PROXIES: ", "LICENSE_METRICS_LISTEN: ", "LICENSE_LOG_FORMAT: ", "LICENSE_LOG_LEVEL: ", "LICENSE_KEY: ")
	if diff := cmp.Diff(r, flags.run(args...), cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("the same by flags (-variables +flags):\n%s", diff)
	}
	variables.wantFiles()
	flags.wantFiles()
}

func TestEveryItemOfAListThatIsWrongIsReported(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		variable, value string
		want            []string
	}{
		{"RATE_LIMITS", "gold=5,pro=many,free=1,free=2", []string{`has "gold", which is not a tier`, "has no number from 0 to 1000000 for pro", "has free twice"}},
		{"TRUSTED_PROXIES", "here,10.0.0.0/8,there", []string{`has "here", which`, `has "there", which`}},
		{"OIDC_ISSUERS", "http://a.example,b.example,https://c.example,https://c.example", []string{"is no list of issuers", "is no list of issuers", "has https://c.example twice"}},
	} {
		_, err := configOf(t, c.variable, c.value)
		if err == nil {
			t.Errorf("config(%s=%s) = nil, want %d faults", c.variable, c.value, len(c.want))
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(c.want) {
			t.Errorf("config(%s=%s) = %d faults, want %d:\n%v", c.variable, c.value, len(lines), len(c.want), err)
			continue
		}
		for i, line := range lines {
			if !strings.HasPrefix(line, "LICENSE_"+c.variable+": ") || !strings.Contains(line, c.want[i]) {
				t.Errorf("line %d = %q, want %s", i+1, line, c.want[i])
			}
		}
	}
}

// It is compared character by character with the audience that jobs ask for, which the Action
// spells so too: see TestAudience in action.
func TestThePublicURLIsSpelledInOneWay(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"HTTPS://License.Example.COM": "https://license.example.com", "https://license.example.com:443/": "https://license.example.com",
		"http://h:80": "http://h", "http://h:443": "http://h:443", "https://h:8443": "https://h:8443", "https://h:": "https://h", "http://[::1]:8080": "http://[::1]:8080",
		"https://[FD00::1]:443": "https://[fd00::1]", "https://lizenz.müller.example": "https://lizenz.xn--mller-kva.example",
	} {
		if c, err := configOf(t, "PUBLIC_URL", value); err != nil || c.PublicURL != want {
			t.Errorf("config(PUBLIC_URL=%s) = %q, %v, want %q", value, c.PublicURL, err, want)
		}
	}
}

func TestVariablesOfKubernetesAreNoSettings(t *testing.T) {
	t.Parallel()
	environ := []string{ // of a Service called license, and of license-metrics
		"LICENSE_SERVICE_HOST=10.0.0.11", "LICENSE_SERVICE_PORT=8080", "LICENSE_SERVICE_PORT_HTTP=8080", "LICENSE_PORT=tcp://10.0.0.11:8080",
		"LICENSE_PORT_8080_TCP=tcp://10.0.0.11:8080", "LICENSE_PORT_8080_TCP_PROTO=tcp", "LICENSE_PORT_8080_TCP_PORT=8080",
		"LICENSE_PORT_8080_TCP_ADDR=10.0.0.11", "LICENSE_METRICS_PORT=tcp://10.0.0.12:9090", "LICENSE_METRICS_SERVICE_HOST=10.0.0.12",
	}
	if got := unknownSettings(environ, knownSettings()); len(got) != 0 {
		t.Errorf("unknown settings = %q, want none", got)
	}
	mistakes := []string{"LICENSE_PORT=8080", "LICENSE_METRICS_PORT=9090", "LICENSE_SERVICE_HOSTS=a", "LICENSE_PORT_8080=x"}
	if got := unknownSettings(mistakes, knownSettings()); len(got) != len(mistakes) {
		t.Errorf("unknown settings = %q, want all of %q", got, mistakes)
	}
	b := newBox(t)
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		b.env[name] = value
	}
	if out := b.ok("doctor", "--listen", "127.0.0.1:0"); !strings.Contains(oneSpaced(out), "ok settings all are understood") {
		t.Errorf("doctor = %s", out)
	}
}

func TestAFlagWinsOverItsVariable(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_DATABASE_URL"] = "sqlite:variable.db"
	b.ok("doctor", "--database-url", "sqlite:flag.db", "--listen", "127.0.0.1:0")
	b.wantFiles("flag.db", "flag.db.key")
}

func TestATierThatIsLeftOutKeepsItsDefaultLimit(t *testing.T) {
	t.Parallel()
	def, ok := reflect.TypeFor[Settings]().FieldByName("RateLimits")
	if !ok {
		t.Fatal("Settings has no RateLimits")
	}
	want, err := parseRateLimits(def.Tag.Get("default"))
	must(t, err)
	if diff := cmp.Diff(want, map[account.Tier]int{account.Free: 60, account.Pro: 600, account.Team: 3000}); diff != "" {
		t.Errorf("default limits: %s", diff)
	}
	want[account.Pro] = 0
	got, err := parseRateLimits("pro=0")
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("limits of pro=0 (-want +got):\n%s", diff)
	}
}

func TestSettingsThatAreRight(t *testing.T) {
	t.Parallel()
	for _, set := range []string{
		"LISTEN=:8080", "LISTEN=[::1]:8080", "LISTEN=localhost:0", "PUBLIC_URL=https://license.example.com", "PUBLIC_URL=https://license.example.com/",
		"PUBLIC_URL=http://[::1]:8080", "TOKEN_TTL=1m", "TOKEN_TTL=365d", "LEASE_GRACE=7d", "TOKEN_TTL=1h30m", "RETENTION=367d", "RETENTION=8785h", "LEASE_GRACE=0", "LEASE_GRACE=0s", "LEASE_GRACE=1m", "LEASE_GRACE=8760h", "RATE_LIMITS=free=0, pro=1", "TRUSTED_PROXIES=10.0.0.0/8, fd00::/8",
		"TRUSTED_PROXIES=", "PUBLIC_URL=", "KEY=", "KEY=" + zeroKey, "KEY_FILE=", "METRICS_LISTEN=", "METRICS_LISTEN=:9090", "METRICS_LISTEN=127.0.0.1:0",
		"DRAIN=0", "DRAIN=10s", "DRAIN=10m", "LOG_FORMAT=json", "LOG_LEVEL=DEBUG", "DATABASE_URL=sqlite:/var/lib/a b/x.db",
	} {
		name, value, _ := strings.Cut(set, "=")
		if _, err := configOf(t, name, value); err != nil {
			t.Errorf("config(%s) = %v, want no fault", set, err)
		}
	}
}

// configOf is the configuration when one setting differs from its default.
func configOf(t *testing.T, variable, value string) (Config, error) {
	t.Helper()
	var c commands
	p, err := kong.New(&c, kong.Name(program), kong.Vars{"version": ""})
	must(t, err)
	args, key := []string{"serve"}, ""
	if variable == "KEY" {
		key = value
	} else {
		args = append(args, "--"+strings.ToLower(strings.ReplaceAll(variable, "_", "-"))+"="+value)
	}
	_, err = p.Parse(args)
	must(t, err)
	return c.config(func(name string) string { return map[string]string{"LICENSE_KEY": key}[name] })
}
