package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pageflare/ci/service/webhook/in"
)

// receivedCollector is a Prometheus collector of what this replica heard of GitHub.
type receivedCollector struct{ from *in.Receiver }

var (
	receivedDeliveries = prometheus.NewDesc(prometheus.BuildFQName(namespace, "github", "deliveries_total"),
		"Deliveries of GitHub's webhooks, by event (other: one that nobody wants) and outcome: received, repeated, processed, failed, ignored, refused; asked: GitHub was asked to deliver it again.",
		[]string{"event", "outcome"}, nil)
	receivedByOldSecret = prometheus.NewDesc(prometheus.BuildFQName(namespace, "github", "previous_secret_total"),
		"Deliveries that were signed with the previous secret of the webhook.", nil, nil)
)

func (receivedCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- receivedDeliveries
	ch <- receivedByOldSecret
}

func (r receivedCollector) Collect(ch chan<- prometheus.Metric) {
	counts, old := r.from.Counts()
	for c, n := range counts {
		ch <- prometheus.MustNewConstMetric(receivedDeliveries, prometheus.CounterValue, float64(n), c.Event, c.Outcome)
	}
	ch <- prometheus.MustNewConstMetric(receivedByOldSecret, prometheus.CounterValue, float64(old))
}
