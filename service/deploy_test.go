package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var settingName = regexp.MustCompile(`\bLICENSE_[A-Z_]+\b`)

// What the compose file, the unit and the documents set must be settings, or nothing would happen.
func TestDeployFilesNameSettingsThatExist(t *testing.T) {
	t.Parallel()
	names := append(deployFiles(t), "../docs/operations.md", "../docs/deployment.md", "../docs/litestream.md", "../Dockerfile", "../README.md")
	if len(names) < 20 {
		t.Fatalf("files = %q", names)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.FromSlash(name))
		must(t, err)
		for _, setting := range settingName.FindAllString(string(b), -1) {
			if !slices.Contains(knownSettings(), setting) {
				t.Errorf("%s sets %s, which is no setting", name, setting)
			}
		}
	}
}

// deployFiles are all files of deploy.
func deployFiles(t *testing.T) (names []string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.FromSlash("../deploy"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && entry.Name() != ".env" {
			names = append(names, filepath.ToSlash(path))
		}
		return err
	}))
	return names
}

// Where a reader is sent there is something, and everything that is there is told of.
func TestThePagesOfDeploymentLeadSomewhere(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{}
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	for _, page := range []string{"deployment.md", "litestream.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(document(t, page), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			name, anchor, _ := strings.Cut(link[1], "#")
			if name == "" {
				name = page
			}
			path := filepath.Join("..", "docs", filepath.FromSlash(name))
			if _, err := os.Stat(path); err != nil {
				t.Errorf("docs/%s leads to %s: %v", page, link[1], err)
				continue
			}
			linked[filepath.ToSlash(path)] = true
			if anchor == "" {
				continue
			}
			found := false
			for _, h := range heading.FindAllStringSubmatch(read(t, path), -1) {
				slug := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(h[1]), "")
				found = found || strings.ReplaceAll(slug, " ", "-") == anchor
			}
			if !found {
				t.Errorf("docs/%s leads to %s, which has no such heading", page, link[1])
			}
		}
	}
	for _, want := range []string{"../deploy/compose.yaml", "../deploy/compose.postgres.yaml", "../deploy/kubernetes", "../deploy/litestream.yml", "../deploy/proxy/haproxy-replicas.cfg"} {
		if !linked[want] {
			t.Errorf("no page of deployment leads to %s", want)
		}
	}
}

// The pages say the times that the files have, and their commands are those of the program.
func TestThePagesOfDeploymentSayWhatTheFilesDo(t *testing.T) {
	t.Parallel()
	text := document(t, "deployment.md")
	for file, setting := range map[string]string{
		"../deploy/compose.postgres.yaml":                         "LICENSE_DRAIN: 10s",
		"../deploy/kubernetes/base/kustomization.yaml":            "- LICENSE_DRAIN=15s",
		"../deploy/kubernetes/overlays/sqlite/kustomization.yaml": "- LICENSE_DRAIN=0s",
	} {
		if !strings.Contains(read(t, filepath.FromSlash(file)), "  "+setting+"\n") {
			t.Errorf("%s lacks %s", file, setting)
		}
	}
	for _, want := range []string{"for `LICENSE_DRAIN`, 10 seconds here", "| `LICENSE_DRAIN` | `15s`:", "| `0s` |", "up to 20 seconds", "`0s` by default"} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/deployment.md does not say: %s", want)
		}
	}
	known := map[string]bool{}
	for _, leaf := range model(t).Leaves(false) {
		known[strings.TrimPrefix(leaf.Path(), program+" ")] = true
	}
	ran := 0
	for _, page := range []string{text, document(t, "litestream.md")} {
		for _, block := range shellBlock.FindAllStringSubmatch(page, -1) {
			for _, call := range regexp.MustCompile(program+` ([a-z]+)(?: ([a-z]+))?`).FindAllStringSubmatch(block[1], -1) {
				ran++
				if !known[call[1]] && !known[call[1]+" "+call[2]] {
					t.Errorf("there is no command %s %s", call[1], call[2])
				}
			}
		}
	}
	if ran < 4 {
		t.Errorf("the pages show %d commands", ran)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// The unit keeps the promises of its head: a user of its own, nothing it could write but its state,
// and no restart for a fault of a person.
func TestTheUnitIsConfined(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.FromSlash("../deploy/pageflare-license.service"))
	must(t, err)
	lines := strings.Split(string(b), "\n")
	for _, want := range []string{
		"ExecStart=/usr/local/bin/pageflare-license serve", "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=",
		"StateDirectoryMode=0700", "UMask=0077", "RestartPreventExitStatus=2",
		"Restart=always", "After=network-online.target time-sync.target", "Wants=network-online.target time-sync.target",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
}

// The function of the document runs commands as the unit runs the server: with another user, folder
// or database they would work on nothing, or fail.
func TestCommandsUnderSystemdRunAsTheUnitDoes(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile(filepath.FromSlash("../deploy/pageflare-license.service"))
	must(t, err)
	wrapper := document(t, "operations.md")
	shared := regexp.MustCompile(`(?m)^(DynamicUser|User|StateDirectory|StateDirectoryMode|WorkingDirectory|EnvironmentFile)=.*$`).FindAllString(string(unit), -1)
	if len(shared) != 6 {
		t.Fatalf("the unit has %q of what commands need too", shared)
	}
	database := regexp.MustCompile(`(?m)^Environment=(LICENSE_DATABASE_URL=.*)$`).FindStringSubmatch(string(unit))
	for _, want := range append(shared, database[1]) {
		if !strings.Contains(wrapper, "--property="+want+" ") && !strings.Contains(wrapper, "--setenv="+want+" ") {
			t.Errorf("the function in docs/operations.md lacks %s", want)
		}
	}
}

// What the head of the compose file promises, read as the engine reads it.
func TestTheComposeFileIsConfined(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.FromSlash("../deploy/compose.yaml"))
	must(t, err)
	type service struct {
		Build struct {
			Context, Target string
			Args            map[string]string
		}
		Environment map[string]string
		Ports       []string
		Volumes     []string
		ReadOnly    bool     `yaml:"read_only"`
		CapDrop     []string `yaml:"cap_drop"`
		SecurityOpt []string `yaml:"security_opt"`
		Grace       string   `yaml:"stop_grace_period"`
	}
	var file struct {
		Name     string
		Services map[string]service
		Volumes  map[string]any
		Networks map[string]struct {
			IPAM struct {
				Config []struct{ Subnet, Gateway string }
			}
		}
	}
	must(t, yaml.Unmarshal(b, &file))
	s, ok := file.Services["license"]
	if len(file.Services) != 1 || !ok {
		t.Fatalf("services = %v, want license alone", file.Services)
	}
	if file.Name != "pageflare-license" {
		t.Errorf("name = %q: without one its volume is called after the folder", file.Name)
	}
	trusted := regexp.MustCompile(`^\$\{LICENSE_TRUSTED_PROXIES:-(.*)\}$`).FindStringSubmatch(s.Environment["LICENSE_TRUSTED_PROXIES"])
	if pools := file.Networks["default"].IPAM.Config; len(pools) != 1 || trusted == nil || trusted[1] != pools[0].Gateway+"/32" {
		t.Errorf("trusted proxies = %q, network = %+v: want the gateway alone", trusted, pools)
	} else if subnet, err := netip.ParsePrefix(pools[0].Subnet); err != nil || subnet.Bits() < 28 || !subnet.Contains(netip.MustParseAddr(pools[0].Gateway)) {
		t.Errorf("subnet = %s with gateway %s: want a small one with it", pools[0].Subnet, pools[0].Gateway)
	}
	if s.Build.Context != ".." || s.Build.Target != "service" {
		t.Errorf("it builds %+v, want the target service of the repository", s.Build)
	}
	if s.Build.Args["VERSION"] == "" || s.Build.Args["COMMIT"] == "" {
		t.Errorf("it builds with %v, so that the image does not say its version", s.Build.Args)
	}
	dockerfile, err := os.ReadFile(filepath.FromSlash("../Dockerfile"))
	must(t, err)
	if !regexp.MustCompile(`(?m)^FROM \S+ AS service$`).Match(dockerfile) || !strings.Contains(string(dockerfile), "\nVOLUME /data\n") {
		t.Error("the Dockerfile has no target service with the volume /data")
	}
	if len(s.Ports) != 1 || !strings.HasPrefix(s.Ports[0], "127.0.0.1:") || !strings.HasSuffix(s.Ports[0], ":8080") {
		t.Errorf("ports = %v, want 8080 on loopback alone", s.Ports)
	}
	if _, declared := file.Volumes["license"]; !declared || !slices.Equal(s.Volumes, []string{"license:/data"}) {
		t.Errorf("volumes = %v of %v, want license at /data", s.Volumes, file.Volumes)
	}
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("read_only %t, cap_drop %v, security_opt %v: want a read-only root without capabilities", s.ReadOnly, s.CapDrop, s.SecurityOpt)
	}
	if grace, err := time.ParseDuration(s.Grace); err != nil || grace <= 20*time.Second {
		t.Errorf("stop_grace_period = %q, want more than the 20 s that requests in flight get", s.Grace)
	}
	if !strings.HasPrefix(s.Environment["LICENSE_PUBLIC_URL"], "${LICENSE_PUBLIC_URL:?") {
		t.Errorf("LICENSE_PUBLIC_URL = %q, want one that must be set", s.Environment["LICENSE_PUBLIC_URL"])
	}
}

// Each alert is explained, with its severity, and each metric of ours that the rules ask for is one
// that there is.
func TestAlertsAreExplained(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.FromSlash("../deploy/prometheus-rules.yml"))
	must(t, err)
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Expr        string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	must(t, yaml.Unmarshal(text, &file))
	metrics := document(t, "operations.md") // a test of service/server holds its table of metrics
	var want, got [][2]string
	for _, r := range file.Groups[0].Rules {
		want = append(want, [2]string{code(r.Alert), r.Labels["severity"]})
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !strings.Contains(r.Expr, `job="license"`) {
			t.Errorf("%s lacks a summary, a description or its job", r.Alert)
		}
		for _, name := range regexp.MustCompile(`pageflare_license_[a-z_]+`).FindAllString(r.Expr, -1) {
			if !strings.Contains(metrics, "\n| "+code(strings.TrimSuffix(name, "_bucket"))+" |") {
				t.Errorf("%s asks for %s, and there is no such metric", r.Alert, name)
			}
		}
	}
	for _, row := range table(t, document(t, "operations.md"), "| alert | severity | when | do |") {
		got = append(got, [2]string{row[0], row[1]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alerts (-deploy/prometheus-rules.yml +docs/operations.md):\n%s", diff)
	}
}

// The dashboard asks for metrics that there are.
func TestTheDashboardShowsMetricsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.FromSlash("../deploy/grafana-dashboard.json"))
	must(t, err)
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	must(t, json.Unmarshal(text, &board))
	metrics := document(t, "operations.md")
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `job="$job"`) {
				t.Errorf("%s asks for all jobs: %s", p.Title, target.Expr)
			}
			for _, name := range regexp.MustCompile(`pageflare_license_[a-z_]+`).FindAllString(target.Expr, -1) {
				if !strings.Contains(metrics, "\n| "+code(strings.TrimSuffix(name, "_bucket"))+" |") {
					t.Errorf("%s asks for %s, and there is no such metric", p.Title, name)
				}
			}
		}
	}
	if len(board.Panels) < 8 {
		t.Errorf("the dashboard has %d panels", len(board.Panels))
	}
}

// A container that runs as a number without a name acts as that number.
func TestAUserWithoutANameActsAsANumber(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.used()
	b.asOther()
	want := `"kind": "command"`
	if b.user != nil {
		b.user.Uid, b.user.Gid = 65530, 65530
		must(t, filepath.WalkDir(b.dir, func(p string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(p, 65530, 65530)
		}))
		want = `"id": "uid 65530"`
	}
	b.ok("account", "create", "--email", "two@example.com", "--valid-until", "2099-03-12")
	if out := b.ok("audit", "list", "--limit", "2", "--json"); !strings.Contains(out, want) {
		t.Errorf("audit list = %s, want %s", out, want)
	}
}

// As a secret is mounted: readable by the group of the user who runs the service.
func TestAKeyFileMayBeReadByAGroup(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.used()
	for mode, exit := range map[os.FileMode]int{0o440: exitOK, 0o400: exitOK, 0o640: exitOK, 0o444: exitFailure, 0o660: exitFailure} {
		must(t, os.Chmod(b.path(keyFile), mode))
		if r := b.run("doctor", "--listen", "127.0.0.1:0"); r.exit != exit {
			t.Errorf("doctor with a key file of mode %04o = exit %d, want %d:\n%s", mode, r.exit, exit, r.out)
		}
	}
}

// As after a restore by root: who must do what is said.
func TestAFileOfAnotherUserNamesBoth(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.used()
	b.asOther()
	if b.user == nil {
		return // only root can give a file away
	}
	for _, name := range []string{database, keyFile} {
		must(t, os.Chown(b.path(name), 0, 0))
		r := b.run("account", "list")
		if want := "permission denied: it belongs to user 0 and this is user 65534: run chown 65534 on it"; r.exit != exitUsage || !strings.Contains(r.err, want) {
			t.Errorf("with %s of root: exit %d, %s, want %s", name, r.exit, r.err, want)
		}
		must(t, os.Chown(b.path(name), 65534, 65534))
	}
}
