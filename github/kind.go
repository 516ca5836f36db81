package github

// A Kind is why GitHub did not do what was asked, as far as its answer tells.
type Kind int

// Nothing is known of any right: GitHub may as well have done what was asked (Error.Silent).
const (
	// Unanswered: there was no answer, or none that was understood. Err says whether the context
	// had ended.
	Unanswered Kind = iota + 1
	// Trouble: GitHub answered with 5xx.
	Trouble
	// RateLimited: the requests that GitHub allows in an hour are used up until RetryAt; Hourly has
	// their number, where GitHub said it.
	RateLimited
	// Throttled: GitHub, or a proxy, asks to wait until RetryAt.
	Throttled
	// NotGitHub: something between here and GitHub answered in its place.
	NotGitHub
	// Elsewhere: there was a redirect to another origin, where the token must not go.
	Elsewhere
	// UntrustedCertificate: the certificate is of an authority that is not trusted here.
	UntrustedCertificate
)

// GitHub refused.
const (
	// BadCredentials (401): the token, or the signature of the App, is not good.
	BadCredentials Kind = iota + 100
	// PermissionMissing (403): a personal access token lacks a permission; see Needed.
	PermissionMissing
	// IntegrationForbidden (403): the token of an App, or the job's own GITHUB_TOKEN, lacks a
	// permission. Nothing tells the two apart.
	IntegrationForbidden
	// Forbidden (403): another reason; only Message tells.
	Forbidden
	// AddressForbidden: the organization's list of IP addresses does not have ours.
	AddressForbidden
	// SignOnRequired: a classic token was not authorized for the organization's single sign-on; URL
	// is where to do that, where GitHub told.
	SignOnRequired
	// ClassicForbidden: the organization takes no classic tokens.
	ClassicForbidden
	// FineGrainedForbidden: the organization takes no fine-grained tokens.
	FineGrainedForbidden
	// LifetimeForbidden: the organization takes no tokens that live as long; Message has the limit.
	LifetimeForbidden
	// Archived: the repository is archived.
	Archived
	// NotFound (404): there is no such thing, or the token cannot see it.
	NotFound
	// NoStore (404): the server has no secrets of that sort, as where Dependabot is switched off.
	NoStore
	// Invalid (422): GitHub understood the request and does not accept what it says.
	Invalid
	// Refused: any other refusal; Status and Message tell.
	Refused
	// Unusable: the answer was no refusal, and lacks what it must have.
	Unusable
)

// A GitHub App got no installation token.
const (
	// AppUnknown (401): GitHub does not know the key of the App, or its time is wrong.
	AppUnknown Kind = iota + 200
	// NotInstalled (404): the App is not installed there, or there is no such App.
	NotInstalled
	// Suspended: the installation of the App is suspended.
	Suspended
	// NotGranted: the installation of the App does not have the permission; see Needed.
	NotGranted
	// OutOfReach (422): the installation of the App does not reach the repository.
	OutOfReach
	// AppForbidden (403): another reason; Needed, or else only Message, tells.
	AppForbidden
	// AppInvalid (422): GitHub does not make such a token; only Message tells.
	AppInvalid
)
