package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pageflare/ci/service/rotation"
)

// rotationCollector is a Prometheus collector of managed rotation: how the secrets are doing, counted
// in the database at most every collectAge, and what this process has written.
type rotationCollector struct {
	stock  func(context.Context) (rotation.Stock, error)
	counts func() rotation.Counts
	now    func() time.Time

	mu   sync.Mutex
	at   time.Time
	last []prometheus.Metric
}

var (
	rotationSecrets = prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "rotation_secrets"),
		"Secrets at GitHub under managed rotation, by state: fresh, due, failing, paused, stopped.", []string{"state"}, nil)
	rotationOverdue = prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "rotation_overdue"),
		"Secrets under managed rotation that are due, and were to be written an hour ago.", nil, nil)
	rotationWrites = prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "rotation_writes_total"),
		"Tries of this replica to write a secret under managed rotation, by result: written, failed, limited.", []string{"result"}, nil)
)

func (*rotationCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- rotationSecrets
	ch <- rotationOverdue
	ch <- rotationWrites
}

func (r *rotationCollector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range r.counted() {
		ch <- m
	}
	c := r.counts()
	for result, n := range map[string]int64{"written": c.Written, "failed": c.Failed, "limited": c.Limited} {
		ch <- prometheus.MustNewConstMetric(rotationWrites, prometheus.CounterValue, float64(n), result)
	}
}

// counted is what was counted last, or now, if that is too old; nothing when the database does not
// answer.
func (r *rotationCollector) counted() []prometheus.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.last == nil || now.Sub(r.at) >= collectAge || now.Before(r.at) {
		ctx, cancel := context.WithTimeout(context.Background(), collectPatience)
		defer cancel()
		stock, err := r.stock(ctx)
		if err != nil {
			return nil
		}
		r.at = now
		r.last = []prometheus.Metric{
			prometheus.MustNewConstMetric(rotationOverdue, prometheus.GaugeValue, float64(stock.Overdue)),
		}
		for state, n := range stock.States {
			r.last = append(r.last, prometheus.MustNewConstMetric(rotationSecrets, prometheus.GaugeValue, float64(n), string(state)))
		}
	}
	return r.last
}
