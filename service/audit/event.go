package audit

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

// EventTypes are all types there are.
var EventTypes = []EventType{
	EventLicenseIssued, EventLicenseRefreshed, EventLicenseExchanged, EventLicenseRevoked, EventLicenseExpiring, EventLicenseExpired,
	EventAccountCreated, EventAccountUpdated, EventAccountSuspended, EventAccountRestored, EventAccountDeleted, EventPlanChanged,
	EventSecretRotated, EventSecretRotationFailed, EventTokenLeaked, EventKeyRotated, EventPolicyAdded, EventPolicyRemoved,
	EventWebhookDisabled, EventPing,
}

// events are which acts are published, and as what.
var events = map[Action]EventType{
	TokenIssued: EventLicenseIssued, TokenRefreshed: EventLicenseRefreshed, TokenExchanged: EventLicenseExchanged,
	TokenRevoked: EventLicenseRevoked, FamilyRevoked: EventLicenseRevoked, IssuesRevoked: EventLicenseRevoked,
	LicenseExpiring: EventLicenseExpiring, LicenseExpired: EventLicenseExpired,
	AccountCreated: EventAccountCreated, AccountUpdated: EventAccountUpdated, AccountSuspended: EventAccountSuspended,
	AccountRestored: EventAccountRestored, AccountDeleted: EventAccountDeleted, PlanChanged: EventPlanChanged,
	SecretRotated: EventSecretRotated, SecretNotRotated: EventSecretRotationFailed, TokenLeaked: EventTokenLeaked,
	KeyAdded: EventKeyRotated, PolicyAdded: EventPolicyAdded, PolicyRemoved: EventPolicyRemoved,
	EndpointDisabled: EventWebhookDisabled, EndpointTested: EventPing,
}

// Event is what an act is published as; false: it is not.
func (a Action) Event() (EventType, bool) {
	t, ok := events[a]
	return t, ok
}
