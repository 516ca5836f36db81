package in

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/failure"
)

// Installation is a place where the GitHub App is installed.
type Installation struct {
	ID        int64
	OwnerID   int64 // of the account of GitHub
	Login     string
	Status    string // active, suspended, deleted
	UpdatedAt time.Time
}

// Repository is what GitHub told last of a repository.
type Repository struct {
	ID        int64
	OwnerID   int64
	Name      string // OWNER/NAME
	Status    string // active, deleted
	UpdatedAt time.Time
}

// The statuses.
const (
	Active    = "active"
	Suspended = "suspended"
	Deleted   = "deleted"
)

// Places is what is remembered of installations and repositories. A deleted one stays deleted, and
// what is older than what is known changes nothing.
type Places interface {
	// SaveInstallation stores an installation, unless a newer state of it is known.
	SaveInstallation(ctx context.Context, i Installation) error
	// GitHubInstallations returns all installations that are not deleted, in the order of their ids.
	GitHubInstallations(ctx context.Context) ([]Installation, error)
	// GitHubRepository returns a repository. ErrNotFound.
	GitHubRepository(ctx context.Context, id int64) (Repository, error)
	// SaveRepository stores a repository, unless a newer state of it is known.
	SaveRepository(ctx context.Context, r Repository) error
}

// Trust is what trust policies hear of repositories; ids and issuer are as identities have them.
type Trust interface {
	// RepositoryRenamed gives policies of a repository the name that it has now.
	RepositoryRenamed(ctx context.Context, issuer, repositoryID, name string) error
	// RepositoryGone ends policies of a repository that are not for its owner of now (""; it was
	// deleted), and the tokens that were issued under them.
	RepositoryGone(ctx context.Context, issuer, repositoryID, ownerID string) error
	// OwnerRenamed gives policies of all repositories of an owner the name that it has now.
	OwnerRenamed(ctx context.Context, issuer, ownerID, login string) error
}

// Rotations is what managed rotation hears of repositories.
type Rotations interface {
	RepositoryRenamed(ctx context.Context, repositoryID int64, owner, name string) error
	RepositoryGone(ctx context.Context, repositoryID int64, why string) error
}

// Hears is what handlers need of others. All must be set unless they say what nil means.
type Hears struct {
	Billing   *billing.Registry
	Places    Places
	Trust     Trust
	Rotations Rotations // nil: there are none
	Issuer    string    // of identities of jobs, at the GitHub whose webhooks are heard
}

// Handlers are the handlers of the events that this package knows.
func (h Hears) Handlers() map[string]Handler {
	return map[string]Handler{
		"marketplace_purchase":      h.marketplacePurchase,
		"sponsorship":               h.sponsorship,
		"installation":              h.installation,
		"installation_repositories": h.installation,
		"repository":                h.repository,
		"organization":              h.organization,
		"installation_target":       h.installationTarget,
	}
}

func (h Hears) marketplacePurchase(ctx context.Context, d Delivery) error {
	n, known, err := billing.ParseMarketplace(d.Body)
	if err != nil || !known {
		return err
	}
	return h.Billing.Hear(ctx, n)
}

func (h Hears) sponsorship(ctx context.Context, d Delivery) error {
	n, known, err := billing.ParseSponsorship(d.Body, d.ReceivedAt)
	if err != nil || !known {
		return err
	}
	return h.Billing.Hear(ctx, n)
}

// IssuerOf is the issuer of identities of jobs at the GitHub of an API: that of github.com, of a
// subdomain of ghe.com, or of an Enterprise Server. "": the address is none of GitHub's.
// https://docs.github.com/en/actions/reference/security/oidc
func IssuerOf(apiURL string) string {
	u, err := url.Parse(apiURL)
	if err != nil || u.Host == "" {
		return ""
	}
	if host, ok := strings.CutPrefix(u.Host, "api."); ok && u.Scheme == "https" {
		if host == "github.com" {
			host = "actions.githubusercontent.com"
		} else {
			host = "actions." + host
		}
		return "https://token." + host
	}
	return u.Scheme + "://" + u.Host + "/_services/token"
}

// account is an account of GitHub in a payload.
type account struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

func (h Hears) installation(ctx context.Context, d Delivery) error {
	var in struct {
		Action       string
		Installation struct {
			ID          int64
			Account     *account
			SuspendedAt *stamp `json:"suspended_at"`
			UpdatedAt   stamp  `json:"updated_at"`
		}
	}
	err := json.Unmarshal(d.Body, &in)
	if at := in.Installation; err != nil || at.ID <= 0 || at.Account == nil {
		return lacks(d, "installation.id and installation.account")
	}
	i := Installation{
		ID: in.Installation.ID, OwnerID: in.Installation.Account.ID, Login: in.Installation.Account.Login, Status: Active,
		UpdatedAt: cmp.Or(in.Installation.UpdatedAt.Time, d.ReceivedAt),
	}
	switch {
	case d.Event == "installation" && in.Action == "deleted":
		i.Status = Deleted
	case d.Event == "installation" && in.Action == "suspend",
		in.Action != "unsuspend" && in.Installation.SuspendedAt != nil && !in.Installation.SuspendedAt.IsZero():
		i.Status = Suspended
	}
	return h.Places.SaveInstallation(ctx, i)
}

func (h Hears) repository(ctx context.Context, d Delivery) error {
	var in struct {
		Action     string
		Repository struct {
			ID        int64
			Name      string
			FullName  string `json:"full_name"`
			Owner     *account
			UpdatedAt stamp `json:"updated_at"`
		}
	}
	err := json.Unmarshal(d.Body, &in)
	r := in.Repository
	owner, name, _ := strings.Cut(r.FullName, "/")
	if err != nil || r.ID <= 0 || r.Owner == nil || r.Owner.ID <= 0 || owner == "" || name == "" {
		return lacks(d, "repository.id, full_name and owner")
	}
	told := Repository{ID: r.ID, OwnerID: r.Owner.ID, Name: r.FullName, Status: Active, UpdatedAt: cmp.Or(r.UpdatedAt.Time, d.ReceivedAt)}
	var act func() error
	id, ownerID := strconv.FormatInt(r.ID, 10), strconv.FormatInt(r.Owner.ID, 10)
	switch in.Action {
	case "renamed":
		act = func() error {
			return h.both(h.Trust.RepositoryRenamed(ctx, h.Issuer, id, r.FullName), func(to Rotations) error {
				return to.RepositoryRenamed(ctx, r.ID, owner, name)
			})
		}
	case "transferred":
		act = func() error {
			err := h.both(h.Trust.RepositoryGone(ctx, h.Issuer, id, ownerID), func(to Rotations) error {
				return to.RepositoryGone(ctx, r.ID, "it was transferred to another owner")
			})
			if err != nil {
				return err
			}
			return h.Trust.RepositoryRenamed(ctx, h.Issuer, id, r.FullName)
		}
	case "deleted":
		told.Status = Deleted
		act = func() error {
			return h.both(h.Trust.RepositoryGone(ctx, h.Issuer, id, ""), func(to Rotations) error {
				return to.RepositoryGone(ctx, r.ID, "it was deleted")
			})
		}
	default:
		return nil
	}
	return h.unlessOlder(ctx, told, act)
}

// both goes on with rotations when policies have done their part.
func (h Hears) both(err error, rotate func(Rotations) error) error {
	if err != nil || h.Rotations == nil {
		return err
	}
	return rotate(h.Rotations)
}

// unlessOlder acts on what GitHub told of a repository unless something newer is known, and remembers
// it after that: what is interrupted is done again.
func (h Hears) unlessOlder(ctx context.Context, told Repository, act func() error) error {
	known, err := h.Places.GitHubRepository(ctx, told.ID)
	switch {
	case errors.Is(err, failure.ErrNotFound):
	case err != nil:
		return err
	case known.Status == Deleted && told.Status != Deleted || known.UpdatedAt.After(told.UpdatedAt):
		return nil
	}
	if err := act(); err != nil {
		return err
	}
	return h.Places.SaveRepository(ctx, told)
}

func (h Hears) organization(ctx context.Context, d Delivery) error {
	var in struct {
		Action       string
		Organization *account
	}
	if err := json.Unmarshal(d.Body, &in); err != nil || in.Organization == nil || in.Organization.ID <= 0 || in.Organization.Login == "" {
		return lacks(d, "organization.id and login")
	}
	if in.Action != "renamed" {
		return nil
	}
	return h.Trust.OwnerRenamed(ctx, h.Issuer, strconv.FormatInt(in.Organization.ID, 10), in.Organization.Login)
}

// installationTarget tells of the account that the App is installed in, as organization does, and
// needs no permission.
func (h Hears) installationTarget(ctx context.Context, d Delivery) error {
	var in struct {
		Action  string
		Account *account
	}
	if err := json.Unmarshal(d.Body, &in); err != nil || in.Account == nil || in.Account.ID <= 0 {
		return lacks(d, "account.id")
	}
	if in.Action != "renamed" || in.Account.Login == "" { // an enterprise has no login, and no policies
		return nil
	}
	return h.Trust.OwnerRenamed(ctx, h.Issuer, strconv.FormatInt(in.Account.ID, 10), in.Account.Login)
}

func lacks(d Delivery, what string) error {
	return failure.Invalid(fmt.Sprintf("the payload of %s is not as GitHub describes it: it needs %s", d.Event, what))
}

// stamp is a time as GitHub writes it: RFC 3339, or seconds since 1970. What is neither is zero.
type stamp struct{ time.Time }

// UnmarshalJSON reads either.
func (s *stamp) UnmarshalJSON(text []byte) error {
	s.Time = time.Time{}
	var written string
	if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil && seconds < 1<<35 {
		s.Time = time.Unix(seconds, 0).UTC()
	} else if json.Unmarshal(text, &written) == nil {
		if t, err := time.Parse(time.RFC3339, written); err == nil {
			s.Time = t.UTC().Truncate(time.Millisecond)
		}
	}
	return nil
}
