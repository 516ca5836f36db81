package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pageflare/ci/service/webhook/deliver"
)

// WebhookMeter counts what came of deliveries to webhook endpoints. No label tells an endpoint: there
// can be thousands.
type WebhookMeter struct {
	attempts *prometheus.CounterVec // by outcome
	duration prometheus.Histogram
	first    prometheus.Histogram
	faults   *prometheus.CounterVec // by what
}

var _ deliver.Meter = (*WebhookMeter)(nil)

// NewWebhookMeter returns a meter that has counted nothing.
func NewWebhookMeter() *WebhookMeter {
	m := &WebhookMeter{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_attempts_total",
			Help: "Attempts to deliver an event, by outcome: delivered, retry, throttled, failed, gone, cut, lost.",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_attempt_duration_seconds", Help: "Time of an attempt, from the look-up of the name to the end of the response.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}),
		first: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "webhook_first_attempt_seconds", Help: "Time from an event to the first attempt to deliver it, replays apart.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
		}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "webhook_faults_total",
			Help: "What kept events from being sent here, by what: database, endpoint (it cannot be read), event (it cannot be read, or was pruned).",
		}, []string{"what"}),
	}
	for _, o := range []deliver.Outcome{deliver.Delivered, deliver.Retry, deliver.Throttled, deliver.Failed, deliver.Gone, deliver.Cut, "lost"} {
		m.attempts.WithLabelValues(string(o))
	}
	for _, what := range []string{"database", "endpoint", "event"} {
		m.faults.WithLabelValues(what)
	}
	return m
}

func (m *WebhookMeter) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.duration, m.first, m.faults}
}

// Attempted counts an attempt.
func (m *WebhookMeter) Attempted(outcome string, took time.Duration) {
	m.attempts.WithLabelValues(outcome).Inc()
	m.duration.Observe(took.Seconds())
}

// Began notes how long an event waited for its first attempt.
func (m *WebhookMeter) Began(waited time.Duration) { m.first.Observe(waited.Seconds()) }

// Faulted counts what kept events from being sent.
func (m *WebhookMeter) Faulted(what string) { m.faults.WithLabelValues(what).Inc() }
