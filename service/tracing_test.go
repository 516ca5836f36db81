package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver takes traces as a collector does.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*trace.Span
	raw   bytes.Buffer
	about []string // the attributes of who sent
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || req.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
			t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw.Write(body)
		for _, from := range in.ResourceSpans {
			for _, a := range from.Resource.Attributes {
				r.about = append(r.about, a.Key+"="+a.Value.GetStringValue())
			}
			for _, scope := range from.ScopeSpans {
				r.spans = append(r.spans, scope.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

func TestRequestsAreTraced(t *testing.T) {
	t.Parallel()
	to := newReceiver(t)
	b := newBox(t)
	b.env["OTEL_EXPORTER_OTLP_ENDPOINT"], b.env["OTEL_RESOURCE_ATTRIBUTES"] = to.URL, "deployment.environment.name=test"
	key := mustMember(t, b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2099-03-12", "--json"), "api_token")
	r := b.serve()
	issued := mustMember(t, r.wantCall(t, "POST", "/_api/license/issue", key, 200), "token")
	r.wantCall(t, "GET", "/_api/license/refresh?token="+issued, issued, 200)
	r.wantCall(t, "GET", "/_api/license/refresh", issued[:len(issued)-3], 401)
	r.wantCall(t, "GET", "/_api/"+issued, issued, 404)
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+r.addr+"/readyz", http.NoBody)
	must(t, err)
	req.Header.Set("Traceparent", "00-"+parent+"-00f067aa0ba902b7-01")
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	must(t, err)
	must(t, res.Body.Close())
	if exit, log, err := r.stop(syscall.SIGTERM); exit != exitOK || err != nil || strings.Contains(log, "WARN") {
		t.Fatalf("exit = %d, %v, want 0; log:\n%s", exit, err, log)
	}

	to.mu.Lock()
	defer to.mu.Unlock()
	var got []string
	for _, s := range to.spans {
		got = append(got, s.Name+spanDetails(s))
		if s.Name == "GET /readyz" && hex.EncodeToString(s.TraceId) != parent {
			t.Errorf("trace of the request that had one = %x", s.TraceId)
		}
		if s.Name == "store write" && !slices.ContainsFunc(to.spans, func(p *trace.Span) bool { return bytes.Equal(p.SpanId, s.ParentSpanId) }) {
			t.Errorf("a write belongs to no request: %v", s)
		}
	}
	slices.Sort(got)
	want := []string{
		"GET /_api/license/refresh 200", "GET /_api/license/refresh 401 unauthorized", "GET /readyz 200", "GET 404 not_found",
		"POST /_api/license/issue 200", "store write", "store write",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	for _, want := range []string{"service.name=pageflare-license", "deployment.environment.name=test"} {
		if !slices.Contains(to.about, want) {
			t.Errorf("sender = %q, want %s", to.about, want)
		}
	}
	for name, secret := range map[string]string{"API token": key, "token": issued, "part of the token": issued[len(issued)-20:], "query": "token=", "address": "dev@example.com"} {
		if bytes.Contains(to.raw.Bytes(), []byte(secret)) {
			t.Errorf("the %s is in the traces", name)
		}
	}
}

// spanDetails are status and error of a span.
func spanDetails(s *trace.Span) string {
	var out string
	for _, name := range []string{"http.response.status_code", "error.type"} {
		for _, a := range s.Attributes {
			if a.Key == name {
				out += " " + strings.Trim(strings.TrimPrefix(strings.TrimPrefix(a.Value.String(), "int_value:"), "string_value:"), `"`)
			}
		}
	}
	return out
}

func TestACollectorThatIsGoneDisturbsNobody(t *testing.T) {
	t.Parallel()
	to := newReceiver(t)
	to.Close()
	b := newBox(t)
	b.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = to.URL
	r := b.serve()
	r.wantCall(t, "GET", "/readyz", "", 200)
	exit, log, err := r.stop(syscall.SIGTERM)
	if exit != exitOK || err != nil || !strings.Contains(log, "level=WARN msg=traces ") {
		t.Errorf("exit = %d, %v, want 0 and a warning in the log:\n%s", exit, err, log)
	}
	if got := b.run("doctor"); got.exit != exitFailure || !strings.Contains(oneSpaced(got.out), "WRONG traces nothing answers at "+to.URL) {
		t.Errorf("doctor = exit %d\n%s", got.exit, got.out)
	}
}

func TestFaultyVariablesOfTraces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env  map[string]string
		want string // empty: no fault
	}{
		{map[string]string{}, ""},
		{map[string]string{otlpEndpoint: "https://collector.example.com/otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ""},
		{map[string]string{otlpEndpoint: "collector:4317", "OTEL_SDK_DISABLED": "true"}, ""},
		{map[string]string{otlpEndpoint: "collector:4317", "OTEL_TRACES_EXPORTER": "none"}, ""},
		{map[string]string{otlpEndpoint: "collector:4317"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" is not an http or https URL; give a URL such as http://127.0.0.1:4318`},
		{map[string]string{otlpTracesEndpoint: "unix:/run/x"}, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "unix:/run/x" is not an http or https URL`},
		{map[string]string{otlpEndpoint: "grpc://me:s3cr3t@x"}, `OTEL_EXPORTER_OTLP_ENDPOINT: "grpc://[hidden]@x" is not an http`},
		{map[string]string{otlpEndpoint: "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not spoken here; give http/protobuf`},
	} {
		_, err := tracingOn(func(name string) string { return test.env[name] })
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)) {
			t.Errorf("tracingOn(%v) = %v, want %s", test.env, err, test.want)
		}
	}
}

func TestServeWarnsOfSettingsThatAreHardlyMeant(t *testing.T) {
	t.Parallel()
	const publicURL, proxies = "LICENSE_PUBLIC_URL", "LICENSE_TRUSTED_PROXIES"
	for _, test := range []struct {
		env           map[string]string
		setting, want string
	}{
		{map[string]string{}, "", ""},
		{map[string]string{"LICENSE_LISTEN": "0.0.0.0:0"}, publicURL, "is not set, and the service listens on all addresses"},
		{map[string]string{"LICENSE_LISTEN": ":0"}, publicURL, "is not set, and the service listens on all addresses"},
		{map[string]string{proxies: "10.0.0.0/8"}, publicURL, "is not set, and there is a proxy in front"},
		{map[string]string{publicURL: "http://license.example.com"}, publicURL, "begins with http: anyone on the way can read the tokens"},
		{map[string]string{publicURL: "https://license.example.com"}, proxies, "is not set, and LICENSE_PUBLIC_URL begins with https"},
		{map[string]string{"LICENSE_LISTEN": "[::]:0", publicURL: "https://license.example.com", proxies: "10.0.0.7/32,fd00::/64"}, "", ""},
		{map[string]string{publicURL: "https://license.example.com", proxies: "172.16.0.0/12,10.0.0.7/32"}, proxies, "trusts the whole of 172.16.0.0/12: any client in it"},
		{map[string]string{publicURL: "https://license.example.com", proxies: "fd00::/8"}, proxies, "trusts the whole of fd00::/8: any client in it"},
		{map[string]string{publicURL: "http://localhost:8080"}, "", ""},
	} {
		b := newBox(t)
		b.env["LICENSE_LISTEN"] = "127.0.0.1:0"
		for name, value := range test.env {
			b.env[name] = value
		}
		r, err := start(b.command("serve"))
		must(t, err)
		t.Cleanup(r.kill)
		_, log, err := r.stop(syscall.SIGTERM)
		must(t, err)
		doctor := b.run("doctor")
		if doctor.exit != exitOK {
			t.Errorf("doctor of %v = exit %d:\n%s", test.env, doctor.exit, doctor.out)
		}
		if test.want == "" {
			if strings.Contains(log, "level=WARN") || strings.Contains(doctor.out, "WARN ") {
				t.Errorf("%v is warned of:\n%s%s", test.env, log, doctor.out)
			}
			continue
		}
		if strings.Count(log, `level=WARN msg=setting name=`+test.setting+` advice="`+test.want) != 1 || !strings.Contains(doctor.out, test.setting+" "+test.want) {
			t.Errorf("%v is not warned of once with %s:\n%s%s", test.env, test.want, log, doctor.out)
		}
	}
}
