package rotation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

// attempt is one try of one target: what it found out, and how it ended.
type attempt struct {
	r  *Rotations
	at *github.Installations
	w  Work

	target secret.Target
	repo   github.Repo // as it is called now; zero of an organization
	issued license.Issued
	says   Says

	written bool
	err     error
}

// do looks, gets the token and writes it. A panic is its error.
func (a *attempt) do(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			a.err = fmt.Errorf("panic: %v", p)
			a.r.cfg.Events.Error("rotation", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	a.err = a.steps(ctx)
	if mayBeStale(a.err) {
		a.forget()
		a.err = a.steps(ctx)
	}
}

// mayBeStale tells refusals that a token of an installation meets which has ended, or was changed,
// since it was made: a new one tells which it is.
func mayBeStale(err error) bool {
	var e *github.Error
	return errors.As(err, &e) && (e.Kind == github.BadCredentials || e.Kind == github.NotFound || e.Kind == github.IntegrationForbidden)
}

func (a *attempt) steps(ctx context.Context) (err error) {
	if a.target, err = a.w.Target.parsed(); err != nil {
		return err
	}
	if a.w.RepositoryID != 0 {
		if a.repo, err = github.ParseRepo(a.w.Repository); err != nil {
			return err
		}
	}
	if err := a.look(ctx); err != nil {
		return err
	}
	if a.issued.Token == "" {
		if a.issued, a.says, err = a.token(ctx); err != nil {
			return err
		}
	}
	w, err := a.r.writer(a.at, a.repo, a.w.RepositoryID)
	if err != nil {
		return err
	}
	defer w.Close(ctx)
	if _, err := w.Write(ctx, a.target, a.w.SecretName, a.issued.Token.Reveal()); err != nil {
		return err
	}
	a.written = true
	return nil
}

func (t Target) parsed() (secret.Target, error) {
	list, err := secret.ParseTargets(t.Name)
	if err != nil {
		return secret.Target{}, err
	}
	return list[0], nil
}

// look finds what the repository is called now, and whose it is. Right after it the secret is
// written by that name, with a token of GitHub's that is for this repository alone: whoever takes
// the name in between gets nothing.
func (a *attempt) look(ctx context.Context) error {
	grant := grantOf(a.repo, a.w.RepositoryID, a.target)
	if a.target.InOrganization() {
		in, err := a.at.Find(ctx, grant)
		if err == nil && in.Account.ID != a.w.Target.OwnerID {
			err = fmt.Errorf("organization %s: %w", a.target.Organization(), errOwnerChanged)
		}
		return err
	}
	client, err := a.at.Client(ctx, grant)
	if err != nil {
		return err
	}
	found, err := client.RepositoryByID(ctx, a.w.RepositoryID)
	if err != nil {
		return err
	}
	if found.OwnerID != a.w.OwnerID {
		return fmt.Errorf("repository %s: %w", a.w.Repository, errOwnerChanged)
	}
	a.repo, err = github.ParseRepo(found.FullName)
	return err
}

// forget drops the clients that were used, so that the next ones are new.
func (a *attempt) forget() {
	a.at.Forget(grantOf(a.repo, a.w.RepositoryID, a.target))
	if before, err := github.ParseRepo(a.w.Repository); err == nil && before != a.repo {
		a.at.Forget(grantOf(before, a.w.RepositoryID, a.target))
	}
}

// token gives the token to write: the one that was recorded for this before and not written, while
// it is as good as a new one, else a new one, which is recorded first.
func (a *attempt) token(ctx context.Context) (license.Issued, Says, error) {
	t, now := a.w.Target, a.r.cfg.Now()
	if t.Pending != "" {
		issued, owner, err := a.r.cfg.Tokens.Again(ctx, t.Pending)
		at, known := t.Pending.IssuedAt()
		switch {
		case err == nil && known && reusable(at, issued.ExpiresAt, now, issued.Capped, place(a.w.Rotation, t)):
			return issued, saysOf(owner), nil
		case mayNotHold(err):
			return issued, Says{}, err
		}
	}
	issued, owner, err := a.r.cfg.Tokens.IssueBy(ctx, a.w.AccountID, a.w.ID,
		func(ctx context.Context, record license.TokenRecord, act audit.Act) error {
			return a.r.store.RecordRotated(ctx, a.w, record, act)
		})
	if err == nil {
		a.w.Target.Pending = issued.ID
	}
	return issued, saysOf(owner), err
}

func saysOf(a account.Account) Says {
	return Says{Tier: a.Tier, Features: a.Features, ValidUntil: a.ValidUntil}
}

// mayNotHold tells the refusals of an account, which are nobody's failure.
func mayNotHold(err error) bool {
	return errors.Is(err, account.ErrExpired) || errors.Is(err, account.ErrInactive) || errors.Is(err, account.ErrRevoked)
}

// giveBack ends the claim as if nothing had been.
func (a *attempt) giveBack(ctx context.Context) error {
	return a.store(ctx, Result{Repository: a.w.Repository, Target: a.w.Target})
}

// storeTime is how long it may take to note how a try ended, also when its context has.
const storeTime = 10 * time.Second

func (a *attempt) store(ctx context.Context, result Result, acts ...audit.Act) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return a.r.store.FinishTarget(ctx, a.w, result, acts...)
}

// finish notes how the try ended.
func (a *attempt) finish(ctx context.Context) (Done, error) {
	now := a.r.cfg.Now()
	done := Done{Work: a.w}
	result := Result{Repository: a.w.Repository, Target: a.w.Target}
	if a.repo != (github.Repo{}) {
		result.Repository = a.repo.String()
	}
	result.Target.TriedAt = now
	until, limited := limitedUntil(a.err)
	switch {
	case a.written:
		return a.wrote(ctx, done, result)
	case errors.Is(a.err, ErrLost):
		return done, ErrLost
	case ctx.Err() != nil: // the service stops
		return Done{}, a.giveBack(ctx)
	case limited:
		a.wait(until)
		done.Outcome, done.Next = Waits, until
		return done, a.giveBack(ctx)
	case mayNotHold(a.err): // it goes on when that is over
		done.Outcome = Waits
		return done, a.giveBack(ctx)
	}
	return a.failed(ctx, done, result)
}

// wait lets nothing be asked for the owner before a time, and for nobody when it is the App's own
// limit.
func (a *attempt) wait(until time.Time) {
	a.r.limited.Add(1)
	a.r.budget.wait(a.w.Target.OwnerID, until)
	a.r.cfg.Events.Info("rotation waits for GitHub's limit", "owner_id", a.w.Target.OwnerID, "until", until)
}

func (a *attempt) wrote(ctx context.Context, done Done, result Result) (Done, error) {
	now := a.r.cfg.Now()
	issuedAt, _ := a.issued.ID.IssuedAt()
	t := &result.Target
	t.JTI, t.ExpiresAt, t.WrittenAt, t.Says = a.issued.ID, a.issued.ExpiresAt, now, a.says
	t.Due = Due(issuedAt, a.issued.ExpiresAt, a.issued.Capped, place(a.w.Rotation, a.w.Target))
	t.Pending, t.Failure = "", nil
	details := a.details(result)
	details["jti"], details["family"], details["expires_at"] = a.issued.ID, a.issued.ID.Family(), a.issued.ExpiresAt.Unix()
	done.Target, done.Outcome, done.JTI, done.ExpiresAt, done.Next = *t, Written, a.issued.ID, t.ExpiresAt, t.Due
	return done, a.store(ctx, result, a.r.cfg.Log.Act(ctx, audit.SecretRotated, a.w.AccountID, a.w.ID, details))
}

func (a *attempt) failed(ctx context.Context, done Done, result Result) (Done, error) {
	now := a.r.cfg.Now()
	f := failureOf(a.err, a.w.Rotation, a.target).after(a.w.Target.Failure, now)
	t := &result.Target
	t.Failure, t.Due = &f, now.Add(f.pause(place(a.w.Rotation, a.w.Target)))
	if f.Code == OwnerChanged && !a.target.InOrganization() {
		result.Stopped = f.Text
	}
	var acts []audit.Act
	if f.tell(now) {
		f.ToldAt = now
		details := a.details(result)
		details["reason"], details["message"], details["remedy"] = f.Code, opaque.HideSecrets(f.Text), f.Remedy
		details["next_at"] = t.Due.Unix()
		acts = append(acts, a.r.cfg.Log.Act(ctx, audit.SecretNotRotated, a.w.AccountID, a.w.ID, details))
	}
	done.Target, done.Outcome, done.Next, done.Failure = *t, Failed, t.Due, &f
	return done, a.store(ctx, result, acts...)
}

// details are what an act tells of the target.
func (a *attempt) details(result Result) audit.Details {
	d := audit.Details{"target": a.w.Target.Name, "secret": a.w.SecretName}
	if a.w.RepositoryID != 0 {
		d["repository"], d["repository_id"] = result.Repository, strconv.FormatInt(a.w.RepositoryID, 10)
	}
	return d
}

// tellDue tells what a run would write.
func (r *Rotations) tellDue(ctx context.Context, c Claim, tell func(Done)) error {
	at, err := r.installations(ctx)
	if err != nil {
		return err
	}
	due, err := r.store.DueTargets(ctx, r.claimOf(c, tellAtMost))
	if err != nil {
		return err
	}
	for _, w := range due {
		tell(r.would(ctx, at, w))
	}
	return ctx.Err()
}

// would says what a try would do.
func (r *Rotations) would(ctx context.Context, at *github.Installations, w Work) Done {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	a := attempt{r: r, at: at, w: w}
	a.err = a.onlyLook(ctx)
	done := Done{Work: w, Outcome: Would}
	if a.err != nil {
		f := failureOf(a.err, w.Rotation, a.target).after(w.Target.Failure, r.cfg.Now())
		done.Outcome, done.Failure = Failed, &f
	}
	return done
}

func (a *attempt) onlyLook(ctx context.Context) (err error) {
	if a.target, err = a.w.Target.parsed(); err != nil {
		return err
	}
	if a.w.RepositoryID != 0 {
		if a.repo, err = github.ParseRepo(a.w.Repository); err != nil {
			return err
		}
	}
	if err := a.look(ctx); err != nil {
		return err
	}
	w, err := a.r.writer(a.at, a.repo, a.w.RepositoryID)
	if err != nil {
		return err
	}
	defer w.Close(ctx)
	return w.Check(ctx, []secret.Target{a.target}, a.w.SecretName)[0].Err
}

// mayRun refuses a rotation of which nothing would be written.
func (r *Rotations) mayRun(ctx context.Context, id string) error {
	found, err := r.Rotation(ctx, id)
	if err != nil {
		return err
	}
	if found.Stopped != "" {
		return invalid("rotation %s is stopped: %s: remove it, and add it again if that is meant", id, found.Stopped)
	}
	if err := found.Paused(r.cfg.Now()); err != nil {
		return invalid("rotation %s: account %s: %w", id, found.AccountID, err)
	}
	return nil
}
