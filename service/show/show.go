// Package show is how the nouns of the service look to programs: the same by the API and by the
// commands with --json.
//
// The types are those of service/api; what they mean stands in openapi.yaml.
package show

import (
	"encoding/json"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
)

// Each is every item of a list as it is shown; never null.
func Each[T, U any](list []T, show func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, x := range list {
		out = append(out, show(x))
	}
	return out
}

// Time is a time as it is shown: RFC 3339 with milliseconds, as in the claims of a token.
func Time(t time.Time) string { return api.Time{Time: t}.String() }

// Optional is a time that may be missing.
func Optional(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(Time(t))
}

// Account is an account, without its first API token.
func Account(a account.Account) api.Account {
	return api.Account{
		ID: a.ID, Email: a.Email, Tier: string(a.Tier), Features: a.Features, ValidUntil: Time(a.ValidUntil), Status: string(a.Status),
		CreatedAt: Time(a.CreatedAt),
	}
}

// AdminToken is the record of an admin token, without its text.
func AdminToken(t auth.AdminToken) api.AdminToken {
	return api.AdminToken{
		ID: t.ID, Name: t.Name, Scopes: Each(t.Scopes,
			func(s auth.Scope) string { return string(s) }),
		CreatedAt: Time(t.CreatedAt), ExpiresAt: Optional(t.ExpiresAt), RevokedAt: Optional(t.RevokedAt),
	}
}

// Line is a line of the audit log.
func Line(l audit.Line) api.AuditLine {
	return api.AuditLine{
		Seq: l.Seq, At: Time(l.At), Action: string(l.Action), Actor: api.AuditActor{
			Kind: string(l.Actor.Kind), ID: l.Actor.ID,
		}, Account: l.Account,
		Object: l.Object, Details: json.RawMessage(l.Details), Address: l.Actor.Address, RequestID: l.Actor.RequestID, Hash: l.Hash,
	}
}

// Pruning is what was pruned of a log; zero when nothing was.
func Pruning(p audit.Pruned) api.AuditPruning {
	if p.Records == 0 {
		return api.AuditPruning{}
	}
	return api.AuditPruning{Records: p.Records, From: p.From, Through: p.Through, At: Time(p.At)}
}

// Key is a signing key.
func Key(k keyring.Key) api.SigningKey {
	return api.SigningKey{
		Kid: k.ID, Alg: string(k.Algorithm), State: string(k.State), CreatedAt: Time(k.CreatedAt), SignsFrom: Time(k.SignsFrom), LiveTokens: k.LiveTokens,
	}
}

// Machine is a machine.
func Machine(m license.Machine) api.Machine {
	return api.Machine{
		ID: m.ID, Account: m.AccountID, MachineID: m.MachineID, Label: m.Label, Family: m.Family, Status: m.Status(), CreatedAt: Time(m.CreatedAt),
		EndedAt: Optional(m.EndedAt),
	}
}

// Policy is a trust policy.
func Policy(p license.TrustPolicy) api.Policy {
	return api.Policy{
		ID: p.ID, Version: int64(p.Version), Account: p.AccountID, Repository: p.Repository, Issuer: p.Issuer, RepositoryID: p.RepositoryID,
		RepositoryOwnerID: p.OwnerID, Ref: p.Refs, Environment: p.Environments, Event: p.Events, JobWorkflowRef: p.JobWorkflowRefs,
		Visibility: p.Visibilities, CreatedAt: Time(p.CreatedAt),
	}
}

// Clause is a clause of an explanation.
func Clause(c oidc.Clause) api.Clause {
	return api.Clause{
		Name: c.Name, Outcome: string(c.Outcome), Want: c.Want, Got: c.Got, Hint: c.Hint,
	}
}

// Verdict is what a policy says of a job.
func Verdict(v license.PolicyVerdict) api.PolicyVerdict {
	return api.PolicyVerdict{
		ID: v.Policy.ID, Version: int64(v.Policy.Version), Account: v.Policy.AccountID,
		Allowed: oidc.Met(v.Clauses), Clauses: Each(v.Clauses, Clause),
	}
}

// APIToken is the record of an API token, without its text.
func APIToken(t account.APIToken) api.APIToken {
	return api.APIToken{
		ID: t.ID, Account: t.AccountID, Name: t.Name, CreatedAt: Time(t.CreatedAt),
		RevokedAt: Optional(t.RevokedAt),
	}
}

// Token is the record of a license token as it is at now.
func Token(t license.TokenRecord, now time.Time) api.TokenRecord {
	return api.TokenRecord{
		Jti: string(t.ID), Account: t.AccountID, Family: t.ID.Family(), Parent: string(t.Parent), Kid: t.KeyID,
		IssuedAt: Time(t.IssuedAt), ExpiresAt: Time(t.ExpiresAt), Status: t.Status(now),
	}
}

// Explanation is why a job is allowed or refused.
func Explanation(e license.Explanation) api.Explanation {
	out := api.Explanation{
		Allowed: e.Outcome == oidc.Passed, Outcome: e.Verdict(), Identity: Each(e.Identity,
			Clause), Policies: Each(e.Policies, Verdict),
	}
	if e.Refused != nil {
		out.Job = new(RefusedJob(*e.Refused))
	}
	return out
}

// RefusedJob is a job that was refused.
func RefusedJob(j license.RefusedJob) api.RefusedJob {
	id := j.Identity
	return api.RefusedJob{
		RequestID: j.RequestID, At: Time(j.At), Issuer: id.Issuer, Repository: id.Repository, RepositoryID: id.RepositoryID,
		RepositoryOwnerID: id.OwnerID, Event: id.Event, Ref: id.Ref, Environment: id.Environment,
		JobWorkflowRef: id.JobWorkflowRef, Visibility: id.Visibility, RunID: id.RunID, Clause: j.Clause,
	}
}

// Repository is a repository that uses the service.
func Repository(r license.Repository) api.Repository {
	return api.Repository{
		Account: r.AccountID, Repository: r.Name, Issuer: r.Issuer, RepositoryID: r.RepositoryID,
		RepositoryOwnerID: r.OwnerID, LastUsedAt: Time(r.LastUsedAt),
	}
}

// Issued is a license token that was just issued or refreshed.
func Issued(i license.Issued) api.IssuedToken {
	out := api.IssuedToken{
		Token: i.Token.Reveal(), ExpiresAt: Second(i.ExpiresAt),
		RefreshAfter: Second(i.RefreshAfter),
	}
	if i.Capped {
		out.CappedBy = api.CappedByValidUntil
	}
	return out
}

// IssuedJSON is the JSON of Issued, written sooner: most answers of the service are one.
func IssuedJSON(i license.Issued) []byte {
	b := make([]byte, 0, len(i.Token)+160)
	b = append(b, '{')
	if i.Capped {
		b = append(append(append(b, `"capped_by":"`...), api.CappedByValidUntil...), `",`...)
	}
	b = Second(i.ExpiresAt).Append(append(b, `"expires_at":"`...))
	b = Second(i.RefreshAfter).Append(append(b, `","refresh_after":"`...))
	b = append(append(b, `","token":"`...), i.Token.Reveal()...) // base64url and dots
	return append(b, `"}`...)
}

// Second is a time in whole seconds, as the claims of a token have it.
func Second(t time.Time) api.Time { return api.Time{Time: t.UTC().Truncate(time.Second)} }
