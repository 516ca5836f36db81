package license

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
)

// A job that is refused proved who it is, so what it says of itself is true, and it is recorded,
// for the operator to see why. But anyone who has an account at GitHub can have such jobs, as many
// as they like, with branches and environments of any name. So of what they leave in the audit log,
// which nothing can be erased from, these are bounded: the number of lines (refusalLines), the size
// of each value, and what characters it has (clean).

// Refusal is the error for an authentic job that gets no token. Its text is that of its reason; the
// caller must not be told more.
type Refusal struct {
	Identity   oidc.Identity
	Policy     TrustPolicy // the one that came nearest; zero: there is none for the repository
	Clause     oidc.Clause // its first that failed
	Unrecorded error       // why the audit log does not have it though it should; nil: it has, or need not

	reason error
	at     int // index of Clause
	failed int // how many clauses failed
}

func newRefusal(id oidc.Identity) *Refusal {
	return &Refusal{
		Identity: id, reason: auth.ErrNoPolicy,
		Clause: oidc.Clause{
			Name: "policy", Outcome: oidc.Failed, Want: "a policy for this repository",
			Hint: "add a policy for this repository",
		},
	}
}

// consider takes a policy that refuses the job when it came nearer than those before: the one whose
// first failed clause is later in their order, then the one with fewer failed clauses.
func (r *Refusal) consider(p TrustPolicy, clauses []oidc.Clause, reason error) {
	isFailed := func(c oidc.Clause) bool { return c.Outcome == oidc.Failed }
	at := slices.IndexFunc(clauses, isFailed)
	failed := 0
	for _, c := range clauses {
		if isFailed(c) {
			failed++
		}
	}
	if r.Policy.ID == "" || at > r.at || at == r.at && failed < r.failed {
		r.Policy, r.Clause, r.reason, r.at, r.failed = p, clauses[at], reason, at, failed
	}
}

// Error is the text of the reason.
func (r *Refusal) Error() string { return r.reason.Error() }

// Unwrap is the reason.
func (r *Refusal) Unwrap() error { return r.reason }

// known says whether a policy trusts the owner of the repository, which no outsider can bring
// about.
func (r *Refusal) known() bool {
	return r.Policy.ID != "" && r.Policy.Issuer == r.Identity.Issuer &&
		r.Policy.OwnerID == r.Identity.OwnerID
}

// Facts are what the job was and why it was refused, as name and value in turn, for a log: no value
// is long, and none has a character that cannot be printed.
func (r *Refusal) Facts() []any {
	var facts []any
	for _, f := range r.facts() {
		facts = append(facts, f.name, strings.Map(func(c rune) rune {
			if !unicode.IsPrint(c) {
				return unicode.ReplacementChar
			}
			return c
		}, f.value))
	}
	return facts
}

// fact is something about a refused job.
type fact struct{ name, value string }

// facts are those that there are.
func (r *Refusal) facts() []fact {
	id := r.Identity
	return slices.DeleteFunc([]fact{
		{"issuer", clean(id.Issuer)}, {"repository", clean(id.Repository)}, {"repository_id", id.RepositoryID},
		{"repository_owner_id", id.OwnerID}, {"event", clean(id.Event)}, {"ref", clean(id.Ref)},
		{"environment", clean(id.Environment)}, {"job_workflow_ref", clean(id.JobWorkflowRef)},
		{"visibility", clean(id.Visibility)}, {"run_id", clean(id.RunID)},
		{"clause", r.Clause.Name}, {"policy", r.Policy.ID},
	}, func(f fact) bool { return f.value == "" })
}

// maxRecorded is the most bytes of a value that are recorded: as many as a value of a policy can
// have, so what is cut could not have met one.
const maxRecorded = 500

// clean makes a value of a job one that can be recorded: no control characters, nothing that looks
// like a token, maxRecorded bytes and a mark at most.
func clean(s string) string {
	s = opaque.HideSecrets(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return unicode.ReplacementChar
		}
		return c
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar))))
	if len(s) <= maxRecorded {
		return s
	}
	end := maxRecorded
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// PolicyFor is Policies.PolicyFor, and records a refusal in the audit log.
func (j *Jobs) PolicyFor(ctx context.Context,
	id oidc.Identity) (oidc.Policy, account.Account, error) {
	p, a, err := j.policies.PolicyFor(ctx, id)
	if refused, ok := errors.AsType[*Refusal](err); ok {
		refused.Unrecorded = j.record(ctx, refused)
	}
	return p, a, err
}

func (j *Jobs) record(ctx context.Context, r *Refusal) error {
	kind := refusalKind{r.Identity.Issuer, r.Identity.RepositoryID, r.Clause.Name}
	unwritten, ok := j.lines.take(kind, r.known(), j.now())
	if !ok {
		return nil
	}
	details := audit.Details{}
	for _, f := range r.facts() {
		details[f.name] = f.value
	}
	if r.Policy.ID != "" {
		details["policy_version"] = r.Policy.Version
	}
	if unwritten > 0 {
		details["unwritten"] = unwritten
	}
	act := j.log.Act(ctx, audit.ExchangeRefused, r.Policy.AccountID, r.Policy.ID, details)
	job := r.Identity
	job.RunID = clean(job.RunID)
	who := auth.Caller{Kind: auth.ByIdentity, Job: &auth.Job{Identity: job}}.Actor()
	act.Actor.Kind, act.Actor.ID = who.Kind, who.ID
	if err := j.store.AddRefusal(ctx, act); err != nil {
		j.lines.undo(kind, unwritten)
		return err
	}
	return nil
}

const (
	// refusalInterval is how long refusals of one kind are counted after one that got a line.
	refusalInterval = time.Hour
	// refusalsADay is how many lines a process writes for refused jobs in a day at most: so many
	// for owners whom a policy trusts, and as many for all others, who thus cannot use up the
	// former.
	refusalsADay = 500
)

// refusalKind is what has one line an hour.
type refusalKind struct{ issuer, repositoryID, clause string }

// refusalLines decides which refusals get a line in the audit log. The zero value is ready for use.
// It holds no more than two days of lines.
type refusalLines struct {
	mu      sync.Mutex
	begun   time.Time // of the day
	written map[bool]int
	last    map[refusalKind]*lastRefusal
}

// lastRefusal is the last line of a kind, and what came after it.
type lastRefusal struct {
	at        time.Time
	unwritten int64
}

// take says whether a refusal gets a line, and how many of its kind got none since the one before.
func (l *refusalLines) take(k refusalKind, known bool, now time.Time) (unwritten int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if over(l.begun, now, 24*time.Hour) {
		maps.DeleteFunc(l.last, func(_ refusalKind, r *lastRefusal) bool {
			return over(r.at, now, 24*time.Hour)
		})
		l.begun, l.written = now, map[bool]int{}
	}
	r := l.last[k]
	if r != nil && !over(r.at, now, refusalInterval) || l.written[known] >= refusalsADay {
		if r != nil {
			r.unwritten++
		}
		return 0, false
	}
	if r != nil {
		unwritten = r.unwritten
	}
	if l.last == nil {
		l.last = map[refusalKind]*lastRefusal{}
	}
	l.last[k] = &lastRefusal{at: now}
	l.written[known]++
	return unwritten, true
}

// undo lets the next refusal of a kind have the line that could not be written. It counts for the
// day all the same, so that a database in trouble is not asked without end.
func (l *refusalLines) undo(k refusalKind, unwritten int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.last[k]; r != nil {
		r.at, r.unwritten = time.Time{}, r.unwritten+unwritten+1
	}
}

// over says whether a time has passed since begin, or the clock was set back by as much.
func over(begin, now time.Time, d time.Duration) bool {
	return now.Sub(begin).Abs() >= d
}

// RefusedJob is a job that was refused, as the audit log has it.
type RefusedJob struct {
	RequestID string
	At        time.Time
	Identity  oidc.Identity // what a policy can ask for; the audience and the times of its token were good then
	Clause    string        // the first that failed then, of the policy that came nearest
}

var requestID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// ExplainRefused explains a job that was refused, by the id of its request, against the policies of
// today. issuers are those that are trusted today. ErrInvalid: that is no id of a request.
// ErrNotFound: the audit log has no such refusal.
func (j *Jobs) ExplainRefused(ctx context.Context, request string,
	issuers []string) (Explanation, error) {
	if !requestID.MatchString(request) {
		return Explanation{}, failure.Invalid("that is not the id of a request (26 capital letters and digits): " +
			"the answer to it has one in X-Request-Id, and the log in request_id")
	}
	line, err := j.store.Refusal(ctx, request)
	if errors.Is(err, failure.ErrNotFound) {
		return Explanation{}, fmt.Errorf("request %s: %w: the audit log has no refused job of this request, and has a line "+
			"for the same repository and clause once an hour only: the line %s in the log of the service "+
			"says what the job was and which clause failed; or explain the claims of the job, or run it again in an hour",
			request, failure.ErrNotFound, "request_id="+request)
	}
	if err != nil {
		return Explanation{}, err
	}
	job, err := readRefused(line)
	if err != nil {
		return Explanation{}, fmt.Errorf("line %d of the audit log: %w", line.Seq, err)
	}
	e, err := j.policies.explain(ctx, job.Identity, []oidc.Clause{
		explainIssuer(job.Identity.Issuer, issuers),
		{
			Name: "identity", Outcome: oidc.Passed, Want: "proven when the job was refused",
			Got: "proven at " + job.At.Format(time.RFC3339),
		},
	})
	e.Refused = &job
	return e, err
}

// explainIssuer is the clause that an issuer is trusted.
func explainIssuer(issuer string, issuers []string) oidc.Clause {
	c := oidc.Clause{Name: "issuer", Outcome: oidc.Passed, Want: strings.Join(issuers, ", "), Got: issuer}
	if !slices.Contains(issuers, issuer) {
		c.Outcome, c.Hint = oidc.Failed, "add it to LICENSE_OIDC_ISSUERS, character by character, if you trust it"
	}
	return c
}

// readRefused reads what record wrote.
func readRefused(l audit.Line) (RefusedJob, error) {
	var d struct {
		Issuer         string `json:"issuer"`
		Repository     string `json:"repository"`
		RepositoryID   string `json:"repository_id"`
		OwnerID        string `json:"repository_owner_id"`
		Event          string `json:"event"`
		Ref            string `json:"ref"`
		Environment    string `json:"environment"`
		JobWorkflowRef string `json:"job_workflow_ref"`
		Visibility     string `json:"visibility"`
		RunID          string `json:"run_id"`
		Clause         string `json:"clause"`
	}
	if err := json.Unmarshal([]byte(l.Details), &d); err != nil {
		return RefusedJob{}, err
	}
	return RefusedJob{
		RequestID: l.Actor.RequestID, At: l.At, Clause: d.Clause, Identity: oidc.Identity{
			Issuer: d.Issuer, Repository: d.Repository, RepositoryID: d.RepositoryID, OwnerID: d.OwnerID, Event: d.Event,
			Ref: d.Ref, Environment: d.Environment, JobWorkflowRef: d.JobWorkflowRef, Visibility: d.Visibility, RunID: d.RunID,
		},
	}, nil
}
