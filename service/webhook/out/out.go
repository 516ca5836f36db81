// Package out is who hears what happened: endpoints of webhooks, what each subscribes to, and the
// feed of events that all can catch up from.
//
// Which acts are events is decided in service/audit; that an event is in the transaction of its
// act, in service/store; how an event reaches its receiver, in service/webhook/deliver.
package out

import (
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
)

// Status is whether events are sent to an endpoint.
type Status string

// The statuses. What happens while an endpoint is disabled is kept, and sent when it is active
// again.
const (
	Active   Status = "active"
	Disabled Status = "disabled"
	Removed  Status = "removed" // permanently: its secrets and its address are gone, and nobody is shown it
)

// Endpoint is where events are sent. Its secrets are sealed wherever they are stored.
type Endpoint struct {
	ID        string // "wh_" and 16 letters or digits
	AccountID string // whose events it hears; empty: all of them, and those that are nobody's
	URL       string
	Events    []audit.EventType // what it hears; empty: everything
	Status    Status
	Reason    string        // why the service disabled it; empty: it did not
	Secret    opaque.Secret // whsec_...
	Previous  opaque.Secret // it signs too until PreviousUntil; empty: none
	CreatedAt time.Time
	Since     int64 // number of the newest event when it was made: it hears later ones

	PreviousUntil time.Time
}

// Hears says whether an event of a type and an account is for the endpoint.
func (e Endpoint) Hears(t audit.EventType, account string) bool {
	if e.AccountID != "" && e.AccountID != account {
		return false
	}
	return len(e.Events) == 0 || slices.Contains(e.Events, t)
}

// Event is what happened, as receivers hear it.
type Event struct {
	Seq       int64  // grows in the order in which things were made durable
	ID        string // "evt_" and 16 letters or digits; the same in every delivery
	Type      audit.EventType
	AccountID string // whose; empty: nobody's
	At        time.Time

	EndpointID string // it is for this endpoint alone, or audit.ForFollowers; empty: for all that hear it
	Data       string // JSON object: ids and dates, no token and no address of a person
}
