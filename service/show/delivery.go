package show

import (
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/webhook/deliver"
)

// SentDeliveries is a page of deliveries to a webhook endpoint, with how far it is.
func SentDeliveries(list []deliver.Delivery, q deliver.Queue, limit int) api.WebhookDeliveryPage {
	list, next := cut(list, limit, func(d deliver.Delivery) string { return deliver.Position{Seq: d.Event.Seq, N: d.N}.String() })
	return api.WebhookDeliveryPage{Items: Each(list, sentDelivery), NextCursor: next, Queue: api.WebhookQueue{
		Pending: q.Pending, Waiting: q.Waiting, FailingSince: text(q.FailingSince), NextAt: text(q.NextAt),
	}}
}

func sentDelivery(d deliver.Delivery) api.WebhookDelivery {
	return api.WebhookDelivery{
		Event: d.Event.ID, Type: string(d.Event.Type), Account: d.Event.AccountID, Sequence: d.Event.Seq, State: string(d.State), Tries: d.Tries, Replay: d.Replay,
		AttemptedAt: text(d.TriedAt), NextAt: text(d.NextAt), Status: d.Last.Status, Reason: d.Last.Err, Response: d.Last.Body, Address: d.Last.Addr,
		Milliseconds: d.Last.Took.Milliseconds(),
	}
}

// text is a time; empty for none.
func text(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Time(t)
}

// Replays is a page of replays.
func Replays(list []deliver.Replay, limit int) api.WebhookReplayPage {
	list, next := cut(list, limit, func(r deliver.Replay) string { return r.ID })
	return api.WebhookReplayPage{Items: Each(list, Replay), NextCursor: next}
}

// Replay is events that are sent to a webhook endpoint again.
func Replay(r deliver.Replay) api.WebhookReplay {
	state := "running"
	if !r.EndedAt.IsZero() {
		state = "queued"
	}
	return api.WebhookReplay{
		ID: r.ID, Events: r.Total, Queued: r.Queued, Undelivered: r.Undelivered, State: state, CreatedAt: text(r.CreatedAt), EndedAt: text(r.EndedAt),
	}
}

// CountedReplay is how many events a replay would send.
func CountedReplay(n int64, undelivered bool) api.WebhookReplay {
	return api.WebhookReplay{Events: n, Undelivered: undelivered, State: "counted"}
}
