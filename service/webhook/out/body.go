package out

import (
	"encoding/json"

	"github.com/pageflare/ci/service/audit"
)

// Body is what receivers get of an event, by a delivery and by the feed alike: always the same
// bytes for the same event.
//
//	{"id":"evt_…","type":"account.created","timestamp":"2027-03-12T00:00:00.000Z",
//	 "created_at":"2027-03-12T00:00:00.000Z","sequence":7,"data":{"account":"user_…"}}
//
// timestamp is as Standard Webhooks has it, created_at is the same for receivers that were written
// for the vendor's API.
func (e Event) Body() []byte {
	at := e.At.UTC().Format("2006-01-02T15:04:05.000Z")
	body, err := json.Marshal(struct {
		ID        string          `json:"id"`
		Type      audit.EventType `json:"type"`
		Timestamp string          `json:"timestamp"`
		CreatedAt string          `json:"created_at"`
		Sequence  int64           `json:"sequence"`
		Data      json.RawMessage `json:"data"`
	}{e.ID, e.Type, at, at, e.Seq, e.data()})
	if err != nil {
		panic(err) // data are JSON
	}
	return body
}

// MaxBody is more than any body has.
const MaxBody = audit.MaxData + 512

// data are the data of the event; none when what is stored is not JSON: one row that was damaged
// must not stop those behind it.
func (e Event) data() json.RawMessage {
	if !json.Valid([]byte(e.Data)) {
		return json.RawMessage(`{}`)
	}
	return json.RawMessage(e.Data)
}
