package manifests_test

import (
	"context"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

var (
	one   = map[string]string{"LICENSE_PUBLIC_URL": "https://license.example.com"}
	three = map[string]string{
		"LICENSE_PUBLIC_URL": "https://license.example.com", "LICENSE_KEY": "key", "DATABASE_PASSWORD": "password", "TLS_CERTIFICATE": "/etc/ssl/license.pem",
	}
)

func TestComposeFilesAreThoseOfTheirSchema(t *testing.T) {
	t.Parallel()
	for file, variables := range map[string]map[string]string{"compose.yaml": one, "compose.postgres.yaml": three} {
		if _, err := load(t.Context(), file, variables); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, missing := range slices.Collect(maps.Keys(variables)) {
			fewer := maps.Clone(variables)
			delete(fewer, missing)
			if _, err := load(t.Context(), file, fewer); err == nil || !strings.Contains(err.Error(), missing) {
				t.Errorf("%s without %s = %v, want an error that names it", file, missing, err)
			}
		}
	}
}

// Three replicas that are the same but for their address, a proxy that alone is trusted, and a database that nobody outside reaches.
func TestTheReplicasOfTheComposeFile(t *testing.T) {
	t.Parallel()
	project, err := load(t.Context(), "compose.postgres.yaml", three)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(project.Services)), []string{"database", "license-1", "license-2", "license-3", "proxy"}; !slices.Equal(got, want) {
		t.Fatalf("services = %v, want %v", got, want)
	}
	proxy, database := project.Services["proxy"], project.Services["database"]
	if len(proxy.Ports) != 1 || len(database.Ports) != 0 || database.HealthCheck == nil || len(database.Volumes) != 1 {
		t.Errorf("proxy %+v, database %+v: want a port of the proxy alone, and a health check and a volume of the database", proxy.Ports, database)
	}
	example, err := os.ReadFile(filepath.Join(folder, "proxy", "haproxy-replicas.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	subnet := netip.MustParsePrefix(project.Networks["default"].Ipam.Config[0].Subnet)
	for _, name := range []string{"license-1", "license-2", "license-3"} {
		s := project.Services[name]
		addr := s.Networks["default"].Ipv4Address
		if !strings.Contains(string(example), "\n    server "+name+" "+addr+":8080\n") || !subnet.Contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s has the address %s, and the proxy another", name, addr)
		}
		setting := func(name string) string {
			if v := s.Environment[name]; v != nil {
				return *v
			}
			return ""
		}
		if trusted := setting("LICENSE_TRUSTED_PROXIES"); trusted != proxy.Networks["default"].Ipv4Address+"/32" {
			t.Errorf("%s trusts %s, want the proxy alone", name, trusted)
		}
		if url := setting("LICENSE_DATABASE_URL"); !strings.Contains(url, "@"+database.Networks["default"].Ipv4Address+"/") || setting("PGPASSWORD") != "password" {
			t.Errorf("%s has the database %s and another password than that", name, url)
		}
		drain, err := time.ParseDuration(setting("LICENSE_DRAIN"))
		if err != nil || time.Duration(*s.StopGracePeriod) <= drain+stopTimeout || drain < 5*time.Second {
			t.Errorf("%s drains for %s, %v and is killed after %s: want time for the proxy and for requests in flight", name, drain, err, s.StopGracePeriod)
		}
		if len(s.Ports) != 0 || s.HealthCheck == nil || s.Restart != "unless-stopped" || setting("LICENSE_KEY") != "key" || setting("LICENSE_METRICS_LISTEN") == "" {
			t.Errorf("%s = %+v, want a health check, restarts, the key, metrics and no port", name, s)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not confined", name)
		}
	}
}

var folder = filepath.Join("..", "..", "deploy")

// load reads a compose file as `docker compose config` does.
func load(ctx context.Context, file string, variables map[string]string) (*types.Project, error) {
	return loader.LoadWithContext(ctx, types.ConfigDetails{
		WorkingDir: folder, Environment: maps.Clone(variables), ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(folder, file)}},
	})
}
