package manifests_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// stopTimeout is how long the service lets requests in flight finish when it stops (service/server).
const stopTimeout = 20 * time.Second

func TestTheOverlayOfPostgreSQLSurvivesUpdatesAndNodes(t *testing.T) {
	t.Parallel()
	o := build(t, "postgres", "LICENSE_KEY=key\nLICENSE_DATABASE_URL=postgres://db.example.com/license\n")
	o.wantKinds(t, "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Secret", "Service")
	d := get[apps.Deployment](t, o, "Deployment")
	if *d.Spec.Replicas != 3 {
		t.Errorf("replicas = %d, want 3", *d.Spec.Replicas)
	}
	if rolling := d.Spec.Strategy.RollingUpdate; rolling == nil || rolling.MaxUnavailable.IntValue() != 0 || rolling.MaxSurge.IntValue() != 1 {
		t.Errorf("strategy = %+v, want one pod more and none less", d.Spec.Strategy)
	}
	if budget := get[policy.PodDisruptionBudget](t, o, "PodDisruptionBudget"); budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("disruption budget = %+v, want one pod at a time", budget.Spec)
	}
	o.wantConfined(t, d)
	o.wantTimeToStop(t, d)
	o.wantSelected(t, d)
	o.wantSecret(t, d, "LICENSE_KEY", "LICENSE_DATABASE_URL")
}

func TestTheOverlayOfSQLiteHasOneWriter(t *testing.T) {
	t.Parallel()
	o := build(t, "sqlite", "LICENSE_KEY=key\n")
	o.wantKinds(t, "ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Secret", "Service")
	d := get[apps.Deployment](t, o, "Deployment")
	if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType || d.Spec.Strategy.RollingUpdate != nil {
		t.Errorf("replicas = %d, strategy = %+v, want one that ends before the next one starts", *d.Spec.Replicas, d.Spec.Strategy)
	}
	claim := get[core.PersistentVolumeClaim](t, o, "PersistentVolumeClaim")
	if !slices.Equal(claim.Spec.AccessModes, []core.PersistentVolumeAccessMode{core.ReadWriteOncePod}) {
		t.Errorf("access modes = %v, want ReadWriteOncePod alone", claim.Spec.AccessModes)
	}
	pod := d.Spec.Template.Spec
	database := variable(pod.Containers[0], "LICENSE_DATABASE_URL")
	path, isSQLite := strings.CutPrefix(database.Value, "sqlite:")
	mounted := slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m core.VolumeMount) bool {
		return m.MountPath == filepath.Dir(path) && slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool {
			return v.Name == m.Name && v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim.Name
		})
	})
	if !isSQLite || !mounted || pod.SecurityContext.FSGroup == nil || *pod.SecurityContext.FSGroup != *pod.SecurityContext.RunAsGroup {
		t.Errorf("LICENSE_DATABASE_URL = %q with volumes %+v, want a file on the claim that the user may write", database.Value, pod.Volumes)
	}
	o.wantConfined(t, d)
	o.wantTimeToStop(t, d)
	o.wantSelected(t, d)
	o.wantSecret(t, d, "LICENSE_KEY")
}

// The checks of this file are of use only if they find something.
func TestManifestsThatAreWrongAreFound(t *testing.T) {
	t.Parallel()
	good := string(build(t, "postgres", "LICENSE_KEY=key\nLICENSE_DATABASE_URL=url\n").texts["Deployment"])
	for name, c := range map[string][2]string{
		"a field that is not there":  {`"minReadySeconds":5`, `"minReadySecond":5`},
		"a value of another type":    {`"replicas":3`, `"replicas":"3"`},
		"a probe of another shape":   {`"periodSeconds":10`, `"periodSeconds":[10]`},
		"a port without its number":  {`"containerPort":8080,`, ``},
		"an object without selector": {`"selector":`, `"paused":true,"selectors":`},
	} {
		bad := strings.Replace(good, c[0], c[1], 1)
		if bad == good {
			t.Errorf("%s: the manifest has no %s:\n%s", name, c[0], good)
		} else if check("Deployment", []byte(bad)) == nil {
			t.Errorf("%s is not found", name)
		}
	}
	if err := check("Deployment", []byte(good)); err != nil {
		t.Error(err)
	}
}

// overlay is what kustomize makes of one, as JSON, by kind.
type overlay struct {
	texts map[string][]byte
}

// build builds an overlay of deploy/kubernetes with a secret, and holds each object of it against the API.
func build(t *testing.T, name, secret string) overlay {
	t.Helper()
	disk, memory := filepath.Join("..", "..", "deploy", "kubernetes"), filesys.MakeFsInMemory()
	must(t, memory.MkdirAll("/"))
	must(t, filepath.WalkDir(disk, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(disk, path)
		if err != nil {
			return err
		}
		return memory.WriteFile("/"+inside, text)
	}))
	dir := "/overlays/" + name
	must(t, memory.WriteFile(dir+"/secret.env", []byte(secret)))
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, dir)
	must(t, err)
	o := overlay{map[string][]byte{}}
	for _, r := range built.Resources() {
		text, err := r.MarshalJSON()
		must(t, err)
		if _, twice := o.texts[r.GetKind()]; twice {
			t.Errorf("%s has two of kind %s", name, r.GetKind())
		}
		o.texts[r.GetKind()] = text
		if err := check(r.GetKind(), text); err != nil {
			t.Errorf("%s of overlay %s: %v\n%s", r.GetKind(), name, err, text)
		}
	}
	return o
}

// kinds are those that a manifest may have, each with its type and its schema.
var kinds = map[string]struct {
	empty  func() any
	schema string
}{
	"ConfigMap":             {func() any { return new(core.ConfigMap) }, "io.k8s.api.core.v1.ConfigMap"},
	"Deployment":            {func() any { return new(apps.Deployment) }, "io.k8s.api.apps.v1.Deployment"},
	"NetworkPolicy":         {func() any { return new(networking.NetworkPolicy) }, "io.k8s.api.networking.v1.NetworkPolicy"},
	"PersistentVolumeClaim": {func() any { return new(core.PersistentVolumeClaim) }, "io.k8s.api.core.v1.PersistentVolumeClaim"},
	"PodDisruptionBudget":   {func() any { return new(policy.PodDisruptionBudget) }, "io.k8s.api.policy.v1.PodDisruptionBudget"},
	"Secret":                {func() any { return new(core.Secret) }, "io.k8s.api.core.v1.Secret"},
	"Service":               {func() any { return new(core.Service) }, "io.k8s.api.core.v1.Service"},
}

// check holds an object against the type of the API, which knows every field, and the schema, which knows what must be there.
func check(kind string, text []byte) error {
	of, known := kinds[kind]
	if !known {
		return fmt.Errorf("%s is not a kind that is checked here", kind)
	}
	if err := yaml.UnmarshalStrict(text, of.empty()); err != nil {
		return err
	}
	schema, err := schemaOf(of.schema)
	if err != nil {
		return err
	}
	object, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(object)
}

// schemaOf is a schema of the API's OpenAPI document, which kustomize brings.
func schemaOf(name string) (*jsonschema.Schema, error) {
	document, err := json.Marshal(map[string]any{"definitions": definitions()})
	if err != nil {
		return nil, err
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	// OpenAPI has no word for it
	const either = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
	parsed.(map[string]any)["definitions"].(map[string]any)[either] = map[string]any{"type": []any{"integer", "string"}}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	if err := c.AddResource("kubernetes.json", parsed); err != nil {
		return nil, err
	}
	return c.Compile("kubernetes.json#/definitions/" + name)
}

func definitions() any { return openapi.Schema().Definitions }

// get is the object of a kind.
func get[T any](t *testing.T, o overlay, kind string) T {
	t.Helper()
	var out T
	must(t, yaml.UnmarshalStrict(o.texts[kind], &out))
	return out
}

func (o overlay) wantKinds(t *testing.T, want ...string) {
	t.Helper()
	if got := slices.Sorted(maps.Keys(o.texts)); !slices.Equal(got, want) {
		t.Errorf("kinds = %v, want %v", got, want)
	}
}

// wantConfined holds the pod against what the strictest standard for pods, "restricted", asks for, and more.
func (o overlay) wantConfined(t *testing.T, d apps.Deployment) {
	t.Helper()
	pod := d.Spec.Template.Spec
	c := pod.Containers[0]
	s := c.SecurityContext
	for what, holds := range map[string]bool{
		"no service links":          pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks,
		"no token of the cluster":   pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken,
		"a user who is not root":    *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser == 65532,
		"seccomp":                   pod.SecurityContext.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault,
		"no escalation":             s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation,
		"a read-only root":          s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem,
		"no capabilities":           slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) && len(s.Capabilities.Add) == 0,
		"a limit of memory":         !c.Resources.Limits.Memory().IsZero() && !c.Resources.Requests.Cpu().IsZero(),
		"one container":             len(pod.Containers) == 1 && len(pod.InitContainers) == 0,
		"an image with its version": regexp.MustCompile(`^ghcr\.io/pageflare/ci-license:v\d+\.\d+\.\d+$`).MatchString(c.Image),
		"a startup probe":           c.StartupProbe.HTTPGet.Path == "/_api/health",
		"a liveness probe":          c.LivenessProbe.HTTPGet.Path == "/_api/health",
		"a readiness probe":         c.ReadinessProbe.HTTPGet.Path == "/readyz",
	} {
		if !holds {
			t.Errorf("the pod lacks %s", what)
		}
	}
}

// wantTimeToStop holds that a pod is out of the Service before its drain ends, and not killed before its requests ended.
func (o overlay) wantTimeToStop(t *testing.T, d apps.Deployment) {
	t.Helper()
	drain, err := time.ParseDuration(get[core.ConfigMap](t, o, "ConfigMap").Data["LICENSE_DRAIN"])
	must(t, err)
	pod := d.Spec.Template.Spec
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace <= drain+stopTimeout {
		t.Errorf("terminationGracePeriodSeconds = %s, want more than the drain of %s and %s", grace, drain, stopTimeout)
	}
	probe := pod.Containers[0].ReadinessProbe
	if noticed := time.Duration(probe.FailureThreshold*(probe.PeriodSeconds+probe.TimeoutSeconds)) * time.Second; *d.Spec.Replicas > 1 && drain <= noticed {
		t.Errorf("LICENSE_DRAIN = %s, want more than the %s in which the readiness probe notices", drain, noticed)
	}
}

// wantSelected holds that Service, budget and policy are about these pods, and ports about theirs.
func (o overlay) wantSelected(t *testing.T, d apps.Deployment) {
	t.Helper()
	labels := d.Spec.Template.Labels
	ports := map[string]bool{}
	for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	service := get[core.Service](t, o, "Service")
	if len(service.Spec.Selector) == 0 || !maps.Equal(service.Spec.Selector, labels) || !ports[service.Spec.Ports[0].TargetPort.StrVal] {
		t.Errorf("service = %+v, want the pods %v", service.Spec, labels)
	}
	if _, has := o.texts["PodDisruptionBudget"]; has {
		if s := get[policy.PodDisruptionBudget](t, o, "PodDisruptionBudget").Spec.Selector; s == nil || !maps.Equal(s.MatchLabels, labels) {
			t.Errorf("disruption budget of %v, want the pods %v", s, labels)
		}
	}
	network := get[networking.NetworkPolicy](t, o, "NetworkPolicy")
	if !maps.Equal(network.Spec.PodSelector.MatchLabels, labels) {
		t.Errorf("network policy of %v, want the pods %v", network.Spec.PodSelector, labels)
	}
	for _, rule := range network.Spec.Ingress {
		if len(rule.From) == 0 || len(rule.Ports) != 1 || !ports[rule.Ports[0].Port.StrVal] {
			t.Errorf("network policy lets in %+v, want named sources at a port of the pods", rule)
		}
	}
}

// wantSecret holds that secrets, and they alone, come from the Secret of the overlay.
func (o overlay) wantSecret(t *testing.T, d apps.Deployment, names ...string) {
	t.Helper()
	secret := get[core.Secret](t, o, "Secret")
	if got := slices.Sorted(maps.Keys(secret.Data)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("the secret has %v, want %v", got, names)
	}
	for _, name := range names {
		from := variable(d.Spec.Template.Spec.Containers[0], name).ValueFrom
		if from == nil || from.SecretKeyRef == nil || from.SecretKeyRef.Name != secret.Name || from.SecretKeyRef.Key != name {
			t.Errorf("%s comes from %+v, want the secret %s", name, from, secret.Name)
		}
	}
	settings := get[core.ConfigMap](t, o, "ConfigMap")
	if from := d.Spec.Template.Spec.Containers[0].EnvFrom; len(from) != 1 || from[0].ConfigMapRef.Name != settings.Name {
		t.Errorf("settings come from %+v, want %s", from, settings.Name)
	}
	for _, name := range []string{"LICENSE_PUBLIC_URL", "LICENSE_TRUSTED_PROXIES", "LICENSE_LISTEN"} {
		if settings.Data[name] == "" {
			t.Errorf("%s is not set", name)
		}
	}
	if settings.Data["LICENSE_KEY"] != "" {
		t.Error("the key is among the settings")
	}
}

// variable is one of a container's environment.
func variable(c core.Container, name string) core.EnvVar {
	i := slices.IndexFunc(c.Env, func(v core.EnvVar) bool { return v.Name == name })
	if i < 0 {
		return core.EnvVar{}
	}
	return c.Env[i]
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
