package main

import (
	"context"
	"fmt"
	"net/url"

	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/webhook/out"
)

// checkSent tells of webhook endpoints that accept nothing, or that the service has disabled.
func (a *app) checkSent(ctx context.Context, in inside) (found []finding) {
	if in.err != nil {
		return nil
	}
	err := a.commands.WithNew(ctx, func(ctx context.Context, l *parts.Parts) (err error) {
		found, err = sentFindings(ctx, l)
		return err
	})
	if err != nil {
		found = append(found, wrong("webhooks", oneLine(err.Error())))
	}
	return found
}

func sentFindings(ctx context.Context, l *parts.Parts) (found []finding, err error) {
	stock, err := l.Sent.Stock(ctx)
	if err != nil || stock.Failing == 0 && stock.Endpoints[out.Disabled] == 0 {
		return nil, err
	}
	q := out.Query{Limit: 200}
	for len(found) < maxFindings {
		list, err := l.Endpoints.Endpoints(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			text, err := sentFinding(ctx, l, e)
			if err != nil {
				return nil, err
			}
			if text != "" {
				found = append(found, warned("webhooks", text))
			}
		}
		if len(list) < q.Limit {
			break
		}
		q.After = list[len(list)-1].ID
	}
	return found[:min(len(found), maxFindings)], nil
}

// sentFinding is what is wrong with an endpoint; empty: nothing. Of its address the host alone is told.
func sentFinding(ctx context.Context, l *parts.Parts, e out.Endpoint) (string, error) {
	host := ""
	if u, err := url.Parse(e.URL); err == nil {
		host = u.Host
	}
	switch {
	case e.Status == out.Disabled && e.Reason != "":
		return fmt.Sprintf("endpoint %s (%s) was disabled: %s; when its receiver is back, run pageflare-license webhook update %s --enable: what was queued is sent then",
			e.ID, host, e.Reason, e.ID), nil
	case e.Status != out.Active:
		return "", nil
	}
	q, err := l.Sent.Queue(ctx, e.ID)
	if err != nil || q.FailingSince.IsZero() {
		return "", err
	}
	return fmt.Sprintf("endpoint %s (%s) has accepted nothing since %s, %d deliveries are prepared and %d events wait: pageflare-license webhook deliveries %s says why",
		e.ID, host, q.FailingSince.Format("2006-01-02T15:04:05Z"), q.Pending, q.Waiting, e.ID), nil
}
