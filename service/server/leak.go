package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/server/route"
	"github.com/pageflare/ci/service/show"
)

// alertTime is how long the tokens of an alert may take: GitHub waits for 30 s.
const alertTime = 25 * time.Second

// alertsAtOnce is how many large alerts are in memory at a time: each may have 25 MB, which nobody has
// a right to before all of it was read.
const alertsAtOnce = 2

// The headers of an alert.
const (
	alertKeyHeader       = "Github-Public-Key-Identifier"
	alertSignatureHeader = "Github-Public-Key-Signature"
)

// secretScanning answers POST /_api/webhooks/github/secret-scanning. Nothing of the body is read
// before its signature names a key that is GitHub's.
func (s *Server) secretScanning(c *gin.Context) error {
	id, signature, err := alertHeaders(c.Request.Header)
	if err != nil {
		return s.countRefusal(c, err)
	}
	v, err := s.parts.Leaks.Verifier(c.Request.Context(), id)
	if err != nil {
		if errors.Is(err, leak.ErrKeys) {
			s.log.Warn("alert not checked", "request_id", route.RequestID(c), "err", opaque.HideSecrets(err.Error()))
		}
		return s.countRefusal(c, err)
	}
	if err := route.WantJSON(c); err != nil {
		return err
	}
	ctx, end := s.extendDeadline(c, alertTime)
	defer end()
	body, done, err := s.readAlert(ctx, c)
	if err != nil {
		return err
	}
	defer done()
	if err := v.Check(signature, body); err != nil {
		return s.countRefusal(c, err)
	}
	ctx = audit.WithActor(ctx, audit.Actor{
		Kind: audit.ActorGitHub, ID: "secret-scanning", Address: c.ClientIP(), RequestID: route.RequestID(c),
	})
	labels, err := s.parts.Leaks.Alerts(ctx, v, body)
	if err != nil {
		return s.countRefusal(c, err)
	}
	c.JSON(http.StatusOK, show.Each(labels, show.LeakLabel))
	return nil
}

// smallAlert is as many bytes as an alert may have without waiting for others: nearly all have less.
const smallAlert = 64 << 10

// readAlert reads the body. Of large ones few are read at a time, and the ids of GitHub's keys are no
// secret: who sends one slowly must not hold up what is small. done is called when the body is not
// needed any more.
func (s *Server) readAlert(ctx context.Context, c *gin.Context) (body []byte, done func(), err error) {
	done = func() {}
	all := http.MaxBytesReader(c.Writer, c.Request.Body, leak.MaxBody)
	body, err = io.ReadAll(io.LimitReader(all, smallAlert))
	if err != nil {
		return nil, done, bodyFault(c, err)
	}
	if len(body) < smallAlert {
		return body, done, nil
	}
	select {
	case s.alerts <- struct{}{}:
	case <-ctx.Done():
		return nil, done, ctx.Err()
	}
	rest, err := io.ReadAll(all)
	if err != nil {
		<-s.alerts
		return nil, done, bodyFault(c, err)
	}
	return append(body, rest...), func() { <-s.alerts }, nil
}

// alertHeaders are the id of the key and the signature, each once.
func alertHeaders(h http.Header) (id, signature string, err error) {
	ids, signatures := h.Values(alertKeyHeader), h.Values(alertSignatureHeader)
	if len(ids) != 1 || len(signatures) != 1 {
		return "", "", auth.ErrUnauthenticated
	}
	return ids[0], signatures[0], nil
}

// leakCollector is a Prometheus collector of what leaked.
type leakCollector struct{ counts func() map[leak.Count]int64 }

var leaksDesc = prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "leaks_total"),
	"Texts that were reported to this replica as leaked tokens, by door, kind and outcome.", []string{"door", "kind", "outcome"}, nil)

func (l leakCollector) Describe(ch chan<- *prometheus.Desc) { ch <- leaksDesc }

func (l leakCollector) Collect(ch chan<- prometheus.Metric) {
	for c, n := range l.counts() {
		kind := string(c.Kind)
		if kind == "" {
			kind = none
		}
		ch <- prometheus.MustNewConstMetric(leaksDesc, prometheus.CounterValue, float64(n), string(c.Door), kind, string(c.Outcome))
	}
}
