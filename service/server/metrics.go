package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/server/route"
)

// The metrics of the service, on a registry of its own. docs/operations.md lists them; a test keeps
// both in step.
//
// No label holds what a caller may choose, so nobody can make them grow: a route is its template,
// an unknown path or method is "none", and no token, account or address is among them.

const namespace = "pageflare_license"

// none is the route of a path, and the method of a request, that we do not know.
const none = "none"

// granted is the outcome of an act that was not refused.
const granted = "granted"

type metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec   // by route, method, status
	duration    *prometheus.HistogramVec // by route
	tokens      *prometheus.CounterVec   // by act, outcome
	refusals    *prometheus.CounterVec   // by reason
	limited     *prometheus.CounterVec   // by what is counted
	portions    *prometheus.CounterVec   // by outcome
	panics      prometheus.Counter
	connections *prometheus.GaugeVec // by state
	inState     map[http.ConnState]prometheus.Gauge
	collector   *keyCollector
	usual       map[*route.Route]*usual // of routes that are asked often
}

func newMetrics(version string, collector *keyCollector) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: name, Help: help,
		}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("http_requests_total",
			"Requests that were answered, by route, method and status.", "route", "method", "status"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "http_request_duration_seconds", Help: "Time from the header of a request to its answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		tokens: counter("tokens_total",
			"Requests for a license token by act (issue, refresh) and outcome: granted, or why not.", "act", "outcome"),
		refusals: counter("refusals_total", "Refused requests, by reason.", "reason"),
		limited:  counter("rate_limited_total", "Requests over a limit, by what is counted.", "by"),
		portions: counter("limit_portions_total",
			"Portions of limits that were asked of the database, where replicas count together, by outcome: granted, refused, failed.", "outcome"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "panics_total",
			Help: "Errors of the program that were caught.",
		}),
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "connections", Help: "Open connections, by state: new, active, idle.",
		}, []string{"state"}),
		collector: collector, usual: map[*route.Route]*usual{}, inState: map[http.ConnState]prometheus.Gauge{},
	}
	for _, state := range []http.ConnState{http.StateNew, http.StateActive, http.StateIdle} { // the others end a connection
		m.inState[state] = m.connections.WithLabelValues(state.String())
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, for the version that runs.",
	}, []string{"version", "go"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.tokens, m.refusals, m.limited, m.portions, m.panics, m.connections, m.collector, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// unauthorized is the reason of a 401, which has no code on the wire.
const unauthorized api.Code = "unauthorized"

// telemetry shows how many reports of pageflare CLIs came in.
func (m *metrics) telemetry(reports func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: "telemetry_reports_total", Help: "Reports of pageflare CLIs; nothing of them is stored.",
	}, func() float64 { return float64(reports()) }))
}

// upkeepCollector is a Prometheus collector of when each task of upkeep was last done. The label is
// not called job, for that is the one by which Prometheus tells what it scrapes.
type upkeepCollector struct {
	done func() map[string]time.Time
	desc *prometheus.Desc
}

func newUpkeepCollector(done func() map[string]time.Time) upkeepCollector {
	tasks := slices.Sorted(maps.Keys(done()))
	help := "When a task of upkeep was last done by this replica without an error, 0 when it was not, by task: " +
		strings.Join(tasks, ", ") + "."
	name := prometheus.BuildFQName(namespace, "", "upkeep_success_timestamp_seconds")
	return upkeepCollector{done, prometheus.NewDesc(name, help, []string{"task"}, nil)}
}

func (u upkeepCollector) Describe(ch chan<- *prometheus.Desc) { ch <- u.desc }

func (u upkeepCollector) Collect(ch chan<- prometheus.Metric) {
	for task, at := range u.done() {
		seconds := 0.0
		if !at.IsZero() {
			seconds = float64(at.UnixMilli()) / 1000
		}
		ch <- prometheus.MustNewConstMetric(u.desc, prometheus.GaugeValue, seconds, task)
	}
}

// usual is where a token that was given is counted, found once: names of metrics are looked up
// by all their labels, which costs a refresh as much as its record.
type usual struct {
	requests prometheus.Counter
	duration prometheus.Observer
	tokens   prometheus.Counter
}

func (u *usual) answered(took time.Duration) {
	u.requests.Inc()
	u.duration.Observe(took.Seconds())
	u.tokens.Inc()
}

// know finds where the usual answers of a route that gives tokens are counted. They are there from
// then on, as 0.
func (m *metrics) know(r *route.Route) {
	if r.Counts == "" {
		return
	}
	m.usual[r] = &usual{
		requests: m.requests.WithLabelValues(r.Path, r.Method, strconv.Itoa(http.StatusOK)),
		duration: m.duration.WithLabelValues(r.Path),
		tokens:   m.tokens.WithLabelValues(r.Counts, granted),
	}
}

// answered counts a request that is over.
func (m *metrics) answered(c *gin.Context, took time.Duration) {
	path, method := c.FullPath(), c.Request.Method
	if path == "" {
		path, method = none, knownMethod(method)
	}
	reason, _, refused := route.RefusalOf(c)
	if known := m.usual[route.From(c)]; known != nil && !refused && c.Writer.Status() == http.StatusOK {
		known.answered(took)
		return
	}
	m.requests.WithLabelValues(path, method, strconv.Itoa(c.Writer.Status())).Inc()
	m.duration.WithLabelValues(path).Observe(took.Seconds())
	outcome := granted
	if refused {
		outcome = string(reason)
		m.refusals.WithLabelValues(outcome).Inc()
	}
	if act := route.From(c).Counts; act != "" {
		m.tokens.WithLabelValues(act, outcome).Inc()
	}
}

func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return none
}

// ServeMetrics answers GET /metrics on a listener of its own until ctx ends. It returns nil after a
// graceful stop.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var counting sync.WaitGroup
	counting.Go(func() { s.metrics.collector.loop(ctx) })
	defer counting.Wait()
	defer cancel()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics",
		promhttp.HandlerFor(s.metrics.registry,
			promhttp.HandlerOpts{ErrorLog: scrapeLog{s.log}, MaxRequestsInFlight: scrapes}))
	return s.serve(ctx, s.httpServer(mux, timeouts{headerTimeout, readTimeout, writeTimeout}), l)
}

// scrapes is how many scrapes are answered at once.
const scrapes = 4

// scrapeLog takes what goes wrong at a scrape.
type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Error("metrics", "err", fmt.Sprint(v...)) }
