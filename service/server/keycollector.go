package server

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

// Counting the live tokens takes the longer the more there are. So the database is asked at most
// every collectAge, and never for more than a twentieth of the time; a scrape in between, or one
// that has waited for collectPatience, gets the counts of before.
const (
	collectAge      = 10 * time.Second
	collectShare    = 20
	collectPatience = 2 * time.Second
)

// keyCollector is a Prometheus collector of what the database holds: signing keys, live tokens,
// policies, licenses that end soon, keys of issuers, its size and its newest backup. It is
// refreshed at most every 10 s.
type keyCollector struct {
	keys  func(context.Context) ([]keyring.Key, error)
	stock func(context.Context, time.Time) (license.Stock, error)
	sends func(context.Context) (deliver.Stock, error)
	now   func() time.Time

	asks chan chan struct{} // to loop, which closes what it gets when last is new enough
	mu   sync.Mutex
	last []prometheus.Metric // what was counted last

	up, tokens, age, policies, ending, issuerAge, size, backupAge *prometheus.Desc

	endpoints, failing, pending, pendingAge *prometheus.Desc // of webhooks
	open, late, unmatched                   *prometheus.Desc // deliveries of GitHub's, purchases
}

func newKeyCollector(keys func(context.Context) ([]keyring.Key, error),
	stock func(context.Context, time.Time) (license.Stock, error), sends func(context.Context) (deliver.Stock, error), now func() time.Time) *keyCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &keyCollector{
		keys: keys, stock: stock, sends: sends, now: now, asks: make(chan chan struct{}),
		up: desc("database_up",
			"1 when the database answered the last time it was asked, else 0."),
		tokens: desc("tokens_live",
			"License tokens (HS256) and leases (EdDSA) that were handed out and have not expired, by signing key.", "alg", "kid"),
		age: desc("signing_key_age_seconds",
			"Time since a signing key was made, by key and state: waiting, signing, verifying.", "alg", "kid", "state"),
		policies: desc("policies", "Trust policies that hold."),
		ending: desc("licenses_ending",
			"Licenses of active accounts that end within so many days and have not ended: 7d, 30d.", "within"),
		issuerAge: desc("issuer_keys_age_seconds",
			"Time since the keys of an issuer of identities were fetched and stored.", "issuer"),
		open: desc("github_deliveries_open",
			"Deliveries of GitHub's webhooks that are not processed, by state: received, failed.", "state"),
		late: desc("github_deliveries_late",
			"Deliveries of GitHub's webhooks that should have been processed five minutes ago."),
		unmatched: desc("purchases_unmatched", "Purchases that nobody gets."),
		size:      desc("database_bytes", "Size of the database on the disk, with its write-ahead log."),
		backupAge: desc("backup_age_seconds",
			"Time since the command backup made the newest copy. Missing before the first, and on PostgreSQL."),
		endpoints:  desc("webhook_endpoints", "Webhook endpoints, by status: active, disabled.", "status"),
		failing:    desc("webhook_endpoints_failing", "Active webhook endpoints whose newest attempt failed."),
		pending:    desc("webhook_pending", "Webhook deliveries that are prepared and were not accepted yet, by the status of their endpoint.", "status"),
		pendingAge: desc("webhook_pending_age_seconds", "Time since the oldest event of those happened, by the status of the endpoint.", "status"),
	}
}

func (s *keyCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		s.up, s.tokens, s.age, s.policies, s.ending, s.issuerAge, s.size, s.backupAge,
		s.endpoints, s.failing, s.pending, s.pendingAge,
		s.open, s.late, s.unmatched,
	} {
		ch <- d
	}
}

func (s *keyCollector) Collect(ch chan<- prometheus.Metric) {
	s.ask()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.last {
		ch <- m
	}
}

// ask lets loop count, if it is time to, and returns when it has, or when patience is over.
func (s *keyCollector) ask() {
	patience := time.NewTimer(collectPatience)
	defer patience.Stop()
	counted := make(chan struct{})
	select {
	case s.asks <- counted:
	case <-patience.C: // loop counts for somebody else
		return
	}
	select {
	case <-counted:
	case <-patience.C:
	}
}

// loop counts when it is asked, until ctx ends.
func (s *keyCollector) loop(ctx context.Context) {
	var next time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case counted := <-s.asks:
			if begun := s.now(); !begun.Before(next) {
				s.keep(s.count(ctx))
				ended := s.now()
				next = ended.Add(max(collectAge, collectShare*ended.Sub(begun)))
			}
			close(counted)
		}
	}
}

func (s *keyCollector) keep(m []prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = m
}

func (s *keyCollector) count(ctx context.Context) []prometheus.Metric {
	now := s.now()
	keys, err := s.keys(ctx)
	var stock license.Stock
	if err == nil {
		stock, err = s.stock(ctx, now)
	}
	var sends deliver.Stock
	if err == nil {
		sends, err = s.sends(ctx)
	}
	if err != nil {
		return []prometheus.Metric{prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, 0)}
	}
	list := []prometheus.Metric{prometheus.MustNewConstMetric(s.up, prometheus.GaugeValue, 1)}
	for _, k := range keys {
		list = append(list,
			prometheus.MustNewConstMetric(s.tokens, prometheus.GaugeValue, float64(k.LiveTokens),
				string(k.Algorithm), k.ID),
			prometheus.MustNewConstMetric(s.age, prometheus.GaugeValue,
				now.Sub(k.CreatedAt).Seconds(), string(k.Algorithm), k.ID, string(k.State)))
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		list = append(list, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...))
	}
	gauge(s.policies, float64(stock.Policies))
	gauge(s.ending, float64(stock.EndingWeek), "7d")
	gauge(s.ending, float64(stock.EndingMonth), "30d")
	gauge(s.size, float64(stock.Bytes))
	gauge(s.open, float64(stock.Waiting), "received")
	gauge(s.open, float64(stock.Failed), "failed")
	gauge(s.late, float64(stock.Late))
	gauge(s.unmatched, float64(stock.Unmatched))
	if !stock.BackedUp.IsZero() {
		gauge(s.backupAge, now.Sub(stock.BackedUp).Seconds())
	}
	for issuer, fetched := range stock.IssuerKeys {
		gauge(s.issuerAge, now.Sub(fetched).Seconds(), issuer)
	}
	gauge(s.failing, float64(sends.Failing))
	for _, status := range []out.Status{out.Active, out.Disabled} {
		age := 0.0
		if oldest := sends.Oldest[status]; !oldest.IsZero() {
			age = now.Sub(oldest).Seconds()
		}
		gauge(s.endpoints, float64(sends.Endpoints[status]), string(status))
		gauge(s.pending, float64(sends.Pending[status]), string(status))
		gauge(s.pendingAge, age, string(status))
	}
	return list
}
