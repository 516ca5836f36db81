package api

// Code is the stable reason that an error of the API carries beside its status. A code never
// changes its meaning, so programs may act on it; a code that a client does not know is read as its
// status alone. 401 has no code: its body is fixed.
type Code string

// No with a reason (403). Asking again with the same token changes nothing.
const (
	// CodeLicenseExpired says that the license ended on its valid_until. Final: the holder renews
	// the subscription.
	CodeLicenseExpired Code = "license_expired"

	// CodeLicenseRevoked says that the account was deleted, and its license with it. Final: the
	// holder asks the operator for another.
	CodeLicenseRevoked Code = "license_revoked"

	// CodeLicenseInactive says that the account is suspended. Final until somebody restores it; the
	// token at hand works again then.
	CodeLicenseInactive Code = "license_inactive"

	// CodeTokenRevoked says that this token, or the family it belongs to, was revoked, and says
	// nothing about the license. Final for the token: the holder issues a new one and replaces
	// every stored copy.
	CodeTokenRevoked Code = "token_revoked"
)

// The identity of a job gets no license token (403). Final for the identity token shown.
const (
	// CodePolicyDenied says that the job is who it says, and that no trust policy allows it:
	// the operator adds one.
	CodePolicyDenied Code = "policy_denied"

	// CodeIdentityUsed says that the identity token was exchanged before: the job requests a new
	// one for each exchange.
	CodeIdentityUsed Code = "identity_used"
)

// The request itself is wrong. Final: the same request gets the same answer.
const (
	// CodeNotFound (404) says that there is no such path: the caller checks the address.
	CodeNotFound Code = "not_found"

	// CodeMethodNotAllowed (405) says that the path has other methods: the caller uses one that the
	// header Allow names.
	CodeMethodNotAllowed Code = "method_not_allowed"

	// CodeInvalidRequest (400) says that the request cannot be read or makes no sense; the message
	// names the part. The caller fixes it.
	CodeInvalidRequest Code = "invalid_request"

	// CodeInsufficientScope (403) says that the token is good and may not do this. The caller takes
	// one that may.
	CodeInsufficientScope Code = "insufficient_scope"

	// CodeConflict (409) says that the request contradicts what is there; the message says what.
	// The caller looks again.
	CodeConflict Code = "conflict"

	// CodeEventsMissing (410) says that events behind the number that was asked for are not there:
	// they were pruned, or an older backup was restored. The caller looks at what may have changed,
	// and goes on where the message says.
	CodeEventsMissing Code = "events_missing"

	// CodeUnsupportedMediaType (415) says that the body is of another kind than the route reads.
	// The caller sends what the message names.
	CodeUnsupportedMediaType Code = "unsupported_media_type"

	// CodeRequestTooLarge (413) says that the request body is above the limit: the caller sends a
	// smaller one, or none.
	CodeRequestTooLarge Code = "request_too_large"

	// CodeRequestTimeout (408) says that the request body came too slowly and that nothing was
	// done. The caller sends it again, in one go.
	CodeRequestTimeout Code = "request_timeout"
)

// Not now. Never a statement about the token or its license: the holder tries again.
const (
	// CodeRateLimited (429) says that the token, or the address of the caller, asked too often, and
	// that nothing was done: the caller waits as many seconds as Retry-After says.
	CodeRateLimited Code = "rate_limited"

	// CodeInternal (500) says that the service has an internal error: the caller tries again, and
	// reports the request id if it stays.
	CodeInternal Code = "internal"

	// CodeUnavailable (503) says that the service cannot answer now, and that no token was handed
	// out: the caller tries again.
	CodeUnavailable Code = "unavailable"
)
