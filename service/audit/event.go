package audit

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"
)

// EventType is what an event tells: the name under which receivers of webhooks subscribe to it.
// The names never change.
type EventType string

// The types of events. docs/webhooks.md lists them.
const (
	EventLicenseIssued    EventType = "license.issued"
	EventLicenseRefreshed EventType = "license.refreshed"
	EventLicenseExchanged EventType = "license.exchanged"
	EventLicenseRevoked   EventType = "license.revoked"
	EventLicenseExpiring  EventType = "license.expiring"
	EventLicenseExpired   EventType = "license.expired"

	EventAccountCreated   EventType = "account.created"
	EventAccountUpdated   EventType = "account.updated"
	EventAccountSuspended EventType = "account.suspended"
	EventAccountRestored  EventType = "account.restored"
	EventAccountDeleted   EventType = "account.deleted"
	EventPlanChanged      EventType = "plan.changed"

	EventSecretRotated        EventType = "secret.rotated"
	EventSecretRotationFailed EventType = "secret.rotation_failed"
	EventTokenLeaked          EventType = "token.leaked"
	EventKeyRotated           EventType = "key.rotated"
	EventPolicyAdded          EventType = "policy.added"
	EventPolicyRemoved        EventType = "policy.removed"

	EventWebhookDisabled EventType = "webhook.disabled"
	EventPing            EventType = "ping"
)

// EventReplayed tells those who follow the feed and ask for it that events are sent to an endpoint
// again, so that a listener can take them too. Endpoints do not get it, and cannot subscribe to it.
const EventReplayed EventType = "webhook.replayed"

// ForFollowers is the Endpoint of an event that no endpoint gets.
const ForFollowers = "followers"

// EventTypes are all types that an endpoint can hear.
var EventTypes = []EventType{
	EventLicenseIssued, EventLicenseRefreshed, EventLicenseExchanged, EventLicenseRevoked, EventLicenseExpiring, EventLicenseExpired,
	EventAccountCreated, EventAccountUpdated, EventAccountSuspended, EventAccountRestored, EventAccountDeleted, EventPlanChanged,
	EventSecretRotated, EventSecretRotationFailed, EventTokenLeaked, EventKeyRotated, EventPolicyAdded, EventPolicyRemoved,
	EventWebhookDisabled, EventPing,
}

// eventsOf are which acts are published, and as what. One that has two is told as both.
var eventsOf = map[Action][]EventType{
	TokenIssued: {EventLicenseIssued}, TokenRefreshed: {EventLicenseRefreshed}, TokenExchanged: {EventLicenseExchanged},
	TokenRevoked: {EventLicenseRevoked}, FamilyRevoked: {EventLicenseRevoked}, IssuesRevoked: {EventLicenseRevoked},
	MachineDeactivated: {EventLicenseRevoked}, MachineEnded: {EventLicenseRevoked},
	LicenseExpiring: {EventLicenseExpiring}, LicenseExpired: {EventLicenseExpired},
	AccountCreated: {EventAccountCreated}, AccountUpdated: {EventAccountUpdated, EventPlanChanged}, AccountSuspended: {EventAccountSuspended},
	AccountRestored: {EventAccountRestored}, AccountDeleted: {EventAccountDeleted}, PlanChanged: {EventPlanChanged},
	SecretRotated: {EventSecretRotated}, SecretNotRotated: {EventSecretRotationFailed}, TokenLeaked: {EventTokenLeaked},
	KeyAdded: {EventKeyRotated}, PolicyAdded: {EventPolicyAdded}, PolicyRemoved: {EventPolicyRemoved},
	EndpointDisabled: {EventWebhookDisabled}, DeliveryReplayed: {EventReplayed},
}

// Published says whether an act may be told to others.
func (a Action) Published() bool { return a == EndpointTested || len(eventsOf[a]) > 0 }

// Event is what others are told of an act.
type Event struct {
	Type     EventType
	Account  string // whose; empty: nobody's
	Endpoint string // it is for this endpoint alone, to try it, or ForFollowers; empty: for all that hear it
	Data     string // JSON object: ids and dates, no token and no address of a person; below MaxData
}

// MaxData is more than the data of any event have.
const MaxData = 19 << 10

// TokenFacts are what the record of a license token says.
type TokenFacts struct {
	Family, Parent, IssuedBy string // Parent and IssuedBy may be empty
	ExpiresAt                time.Time
}

// Events are what an act is told as; none: it is not told.
func (a Act) Events() []Event {
	if a.Action == EndpointTested {
		return a.test()
	}
	types := eventsOf[a.Action]
	if len(types) == 0 {
		return nil
	}
	facts := a.facts()
	var list []Event
	for _, t := range types {
		if a.Action == AccountUpdated && t == EventPlanChanged && !changesPlan(facts) {
			continue
		}
		e := Event{Type: t, Account: a.Account, Data: a.data(t, facts)}
		if t == EventReplayed {
			e.Endpoint = ForFollowers
		}
		list = append(list, e)
	}
	return list
}

// TokenEvent is what an act is told as that gave a license token; ok is false when it is not told.
func (a Act) TokenEvent(of TokenFacts) (e Event, ok bool) {
	types := eventsOf[a.Action]
	if len(types) == 0 {
		return Event{}, false
	}
	facts := a.facts()
	facts["family"], facts["expires_at"] = of.Family, float64(of.ExpiresAt.Unix())
	for name, value := range map[string]string{"parent": of.Parent, "issued_by": of.IssuedBy} {
		if value != "" {
			facts[name] = value
		}
	}
	return Event{Type: types[0], Account: a.Account, Data: a.data(types[0], facts)}, true
}

// EventSeed is what the id of an event is made of that the line with this number and hash is told
// as; a record of tokens has the hash of its block. It cannot be foreseen without the key, and is the
// same however often it is asked for. What takes the number of a line that is lost, because an older
// backup was restored, has another hash and so another id.
func (a Act) EventSeed(seq int64, hash string, t EventType) [sha256.Size]byte {
	return sha256.Sum256([]byte(auditMAC(a.key, "event", hash, seq, t)))
}

// facts are the details of an act.
func (a Act) facts() map[string]any {
	facts := map[string]any{}
	if a.Details == "" || a.Details == "{}" {
		return facts
	}
	if err := json.Unmarshal([]byte(a.Details), &facts); err != nil {
		return map[string]any{} // an act is told whatever its details are
	}
	return facts
}

func changesPlan(facts map[string]any) bool {
	return slices.ContainsFunc([]string{"tier", "features", "valid_until"}, func(name string) bool { return facts[name] != nil })
}
