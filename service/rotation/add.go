package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/secret"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// DefaultSecret is the name of a secret that is not named.
const DefaultSecret = "PAGEFLARE_TOKEN"

// maxTargets is how many targets a rotation has at most.
const maxTargets = 20

// NewRotation is what a rotation starts with. Repository or Organization must be given, not both.
type NewRotation struct {
	Account      string
	Repository   string   // OWNER/NAME
	Organization string   // NAME
	Targets      []string // as secret.ParseTargets reads each; none: repository, or organization:NAME
	SecretName   string   // empty: DefaultSecret
}

// ErrNoAnswer says that GitHub could not be asked: it is out of reach, has a fault, or lets us ask
// no more for now.
var ErrNoAnswer = errors.New("GitHub does not answer: try again later")

var errNoApp = failure.Invalid("no GitHub App is set up: run pageflare-license github-app create, or set LICENSE_GITHUB_APP_ID and LICENSE_GITHUB_APP_KEY_FILE")

// Check looks at GitHub whether the secrets of a rotation could be written, and returns it as Add
// would store it, without an id. It stores nothing. Refusals: failure.ErrInvalid with a line for
// each fault; failure.ErrNotFound: no such account; account.ErrDeleted; ErrNoAnswer.
func (r *Rotations) Check(ctx context.Context, n NewRotation) (Rotation, error) {
	made, targets, err := parse(n)
	if err != nil {
		return made, err
	}
	a, err := r.store.Account(ctx, n.Account)
	if err != nil {
		return made, fmt.Errorf("account %s: %w", n.Account, err)
	}
	if a.Status == account.Deleted {
		return made, fmt.Errorf("account %s: %w", n.Account, account.ErrDeleted)
	}
	made.AccountStatus, made.ValidUntil = a.Status, a.ValidUntil
	at, err := r.installations(ctx)
	if err != nil {
		return made, err
	}
	l := look{r: r, at: at, made: &made}
	return made, l.all(ctx, targets)
}

// Add puts the secrets of a repository or an organization under rotation, when Check finds nothing
// wrong. They are written soon, by the replica whose turn it is. One of the account that is for the
// same targets is that one. Refusals: those of Check; failure.ErrConflict: a secret is under another
// rotation.
func (r *Rotations) Add(ctx context.Context, n NewRotation) (Rotation, error) {
	made, err := r.Check(ctx, n)
	if err != nil {
		return made, err
	}
	if made.ID, err = opaque.OfRotation.New(r.cfg.Rand); err != nil {
		return made, err
	}
	made.CreatedAt = r.cfg.Now()
	names := make([]string, len(made.Targets))
	for i, t := range made.Targets {
		names[i] = t.Name
	}
	details := audit.Details{"targets": names, "secret": made.SecretName}
	if made.Repository != "" {
		details["repository"], details["repository_id"] = made.Repository, strconv.FormatInt(made.RepositoryID, 10)
	}
	status, until := made.AccountStatus, made.ValidUntil
	made, err = r.store.AddRotation(ctx, made,
		r.cfg.Log.Act(ctx, audit.RotationAdded, made.AccountID, made.ID, details))
	if err != nil {
		return made, err
	}
	made.AccountStatus, made.ValidUntil = status, until
	r.wake()
	return made, nil
}

// installations gives the App. failure.ErrInvalid: none is set up.
func (r *Rotations) installations(ctx context.Context) (*github.Installations, error) {
	if r.cfg.Apps == nil {
		return nil, errNoApp
	}
	at, err := r.cfg.Apps.Installations(ctx)
	if errors.Is(err, failure.ErrNotFound) {
		err = errNoApp
	}
	return at, err
}

// parse reads what can be read without GitHub. failure.ErrInvalid with a line for each fault.
func parse(n NewRotation) (Rotation, []secret.Target, error) {
	made := Rotation{AccountID: n.Account, SecretName: n.SecretName}
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, failure.Invalid(err.Error()))
		}
	}
	if made.SecretName == "" {
		made.SecretName = DefaultSecret
	}
	made.SecretName = strings.ToUpper(made.SecretName) // names match in any case
	fault(secret.CheckName(made.SecretName))
	if !opaque.OfAccount.Fits(n.Account) {
		fault(fmt.Errorf("account %.100q is not an id such as user_0123456789abcdef", n.Account))
	}
	usual := "repository"
	switch {
	case (n.Repository == "") == (n.Organization == ""):
		fault(errors.New("which secrets? give a repository OWNER/NAME, or an organization"))
	case n.Repository != "":
		repo, err := github.ParseRepo(n.Repository)
		fault(err)
		made.Repository, made.Owner = n.Repository, repo.Owner
	default:
		usual, made.Owner = "organization:"+n.Organization, n.Organization
	}
	list := n.Targets
	if len(list) == 0 {
		list = []string{usual}
	}
	targets, err := secret.ParseTargets(strings.Join(list, "\n"))
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fault(errors.New(line))
		}
	}
	if len(targets) > maxTargets {
		fault(fmt.Errorf("%d targets are more than %d: add them in several rotations", len(targets), maxTargets))
	}
	for _, t := range targets {
		if n.Organization != "" && !strings.EqualFold(t.Organization(), n.Organization) {
			fault(fmt.Errorf("target %q is not of the organization %s: give the repository that it is of", t, n.Organization))
		}
		made.Targets = append(made.Targets, Target{Name: t.String()})
	}
	return made, targets, errors.Join(faults...)
}

// look is a look at GitHub before anything is stored.
type look struct {
	r    *Rotations
	at   *github.Installations
	made *Rotation

	faults []error
}

func (l *look) all(ctx context.Context, targets []secret.Target) error {
	repo, err := l.repository(ctx, targets)
	if err != nil {
		return err
	}
	if len(l.faults) == 0 {
		err = l.targets(ctx, repo, targets)
	}
	return errors.Join(err, errors.Join(l.faults...))
}

// fault notes what is wrong, with its remedy. The error is what nobody can say now.
func (l *look) fault(err error, t secret.Target) error {
	f := failureOf(err, *l.made, t)
	if f.Code == NoAnswer {
		return fmt.Errorf("%w (%s)", ErrNoAnswer, f.Text)
	}
	l.faults = append(l.faults, failure.Invalid(f.Text+": "+f.Remedy))
	return nil
}

// repository finds the ids.
func (l *look) repository(ctx context.Context, targets []secret.Target) (github.Repo, error) {
	if l.made.Repository == "" {
		return github.Repo{}, nil
	}
	repo, err := github.ParseRepo(l.made.Repository)
	if err != nil {
		return repo, err
	}
	t := targets[max(0, slices.IndexFunc(targets, func(t secret.Target) bool { return !t.InOrganization() }))]
	client, err := l.at.Client(ctx, grantOf(repo, 0, t))
	var found github.Repository
	if err == nil {
		found, err = client.Repository(ctx, repo)
	}
	if err != nil {
		return repo, l.fault(err, t)
	}
	if now := found.FullName; !strings.EqualFold(now, l.made.Repository) { // GitHub follows what was renamed or transferred
		l.faults = append(l.faults, failure.Invalid(fmt.Sprintf("repository %s is called %.200q now: if its owner of today is to have tokens of this account, give that name",
			l.made.Repository, now)))
		return repo, nil
	}
	l.made.Repository, l.made.RepositoryID, l.made.OwnerID = found.FullName, found.ID, found.OwnerID
	return github.ParseRepo(found.FullName)
}

func (l *look) targets(ctx context.Context, repo github.Repo, targets []secret.Target) error {
	w, err := l.r.writer(l.at, repo, l.made.RepositoryID)
	if err != nil {
		return err
	}
	defer w.Close(ctx)
	for i, found := range w.Check(ctx, targets, l.made.SecretName) {
		t := &l.made.Targets[i]
		t.OwnerID = l.made.OwnerID
		if found.Err != nil {
			if err := l.fault(found.Err, found.Target); err != nil {
				return err
			}
			continue
		}
		if !found.Target.InOrganization() {
			continue
		}
		in, err := l.at.Find(ctx, grantOf(repo, l.made.RepositoryID, found.Target))
		if err != nil {
			return l.fault(err, found.Target)
		}
		t.OwnerID = in.Account.ID
		if l.made.RepositoryID == 0 {
			l.made.OwnerID, l.made.Owner = in.Account.ID, in.Account.Login
		}
	}
	return nil
}

// grantOf is what is needed to write to a target.
func grantOf(repo github.Repo, id int64, t secret.Target) github.Grant {
	return github.Grant{
		Organization: t.Organization(), Repo: repo, RepoID: id,
		Permissions: map[string]string{t.PermissionKey(): "write"},
	}
}

func (r *Rotations) writer(at *github.Installations, repo github.Repo, id int64) (*secret.Writer, error) {
	return secret.NewWriter(secret.WriterConfig{
		API: github.Config{Now: r.cfg.Now}, Installations: at, Repo: repo, RepoID: id, Rand: r.cfg.Rand,
	})
}

// invalid makes a failure.ErrInvalid of a text.
func invalid(format string, args ...any) error {
	return failure.Invalid(fmt.Errorf(format, args...).Error())
}
