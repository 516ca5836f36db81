package main

import (
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMetricsHaveAListenerOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_METRICS_LISTEN"] = "127.0.0.1:0"
	r := b.serve()
	if r.metrics == "" || r.metrics == r.addr {
		t.Fatalf("metrics at %q, the API at %q", r.metrics, r.addr)
	}
	r.wantCall(t, "GET", "/_api/health", "", 200)
	r.wantCall(t, "GET", "/metrics", "", 404)
	metrics := &running{addr: r.metrics}
	got := metrics.wantCall(t, "GET", "/metrics", "", 200)
	for _, want := range []string{
		"\npageflare_license_http_requests_total{method=\"GET\",route=\"/_api/health\",status=\"200\"} 1\n", "\npageflare_license_database_up 1\n",
		"\npageflare_license_build_info{go=\"go", "\ngo_goroutines ", "\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the metrics lack %s in\n%s", want, got)
		}
	}
	metrics.wantCall(t, "GET", "/_api/health", "", 404)
	metrics.wantCall(t, "POST", "/metrics", "", 405)
	b.env["LICENSE_LISTEN"], b.env["LICENSE_METRICS_LISTEN"] = r.addr, r.metrics
	if out := b.ok("doctor"); !strings.Contains(out, "a License service answers at "+r.metrics+"/metrics") {
		t.Errorf("doctor beside the service:\n%s", out)
	}
	b.env["LICENSE_METRICS_LISTEN"] = anotherProgram(t, "hello")
	if got := b.run("doctor"); got.exit != exitFailure || !strings.Contains(oneSpaced(got.out), "WRONG metrics "+b.env["LICENSE_METRICS_LISTEN"]+" is in use by another program") {
		t.Errorf("doctor beside another program = exit %d\n%s", got.exit, got.out)
	}
	if exit, log, err := r.stop(syscall.SIGTERM); exit != exitOK || err != nil {
		t.Errorf("exit = %d, %v, want 0; log:\n%s", exit, err, log)
	}
}

// Every task of upkeep is in the metrics from the start, in the help of the metric, and in the
// documents.
func TestEveryTaskOfUpkeepIsTold(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_METRICS_LISTEN"] = "127.0.0.1:0"
	text := (&running{addr: b.serve().metrics}).wantCall(t, "GET", "/metrics", "", 200)
	const name = "pageflare_license_upkeep_success_timestamp_seconds"
	var tasks, documented []string
	for _, m := range regexp.MustCompile(`(?m)^`+name+`\{task="([^"]+)"\} `).FindAllStringSubmatch(text, -1) {
		tasks = append(tasks, m[1])
	}
	for _, row := range table(t, document(t, "operations.md"), "| task | when | what |") {
		documented = append(documented, strings.Trim(row[0], "`"))
	}
	slices.Sort(documented)
	if diff := cmp.Diff(tasks, documented); diff != "" || len(tasks) == 0 {
		t.Errorf("tasks of upkeep (-serve +docs/operations.md)\n%s", diff)
	}
	if help := "by task: " + strings.Join(tasks, ", ") + ".\n"; !strings.Contains(text, help) {
		t.Errorf("no help of a metric ends with %q", help)
	}
}

func TestWithoutTheSettingThereAreNoMetrics(t *testing.T) {
	t.Parallel()
	r := newBox(t).serve()
	if r.metrics != "" {
		t.Errorf("metrics at %s", r.metrics)
	}
	r.wantCall(t, "GET", "/metrics", "", 404)
}
