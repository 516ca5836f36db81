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
	// RenameInstallations gives the installations of an owner the name that it has now.
	RenameInstallations(ctx context.Context, ownerID int64, login string) error
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
	// OwnerRenamed gives rotations for an owner the name that it has now.
	OwnerRenamed(ctx context.Context, ownerID int64, login string) error
	// RepositoryGone stops rotations of a repository that are not for its owner of now (0; it was
	// deleted).
	RepositoryGone(ctx context.Context, repositoryID, ownerID int64, why string) error
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
		"organization":              h.owner,
		"installation_target":       h.owner,
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
	switch in.Action {
	case "renamed":
		return h.unlessLate(ctx, told, func(Repository) error { return h.renamed(ctx, told) }, nil)
	case "transferred":
		gone := func(newest Repository) error {
			return h.gone(ctx, newest, newest.OwnerID, "it was transferred to another owner")
		}
		return h.unlessLate(ctx, told, func(newest Repository) error {
			if err := gone(newest); err != nil {
				return err
			}
			return h.Trust.RepositoryRenamed(ctx, h.Issuer, id(told.ID), told.Name)
		}, gone)
	case "deleted":
		told.Status = Deleted
		gone := func(Repository) error { return h.gone(ctx, told, 0, "it was deleted") }
		return h.unlessLate(ctx, told, gone, nil)
	}
	return nil
}

func id(of int64) string { return strconv.FormatInt(of, 10) }

// renamed gives a repository the name that it has now.
func (h Hears) renamed(ctx context.Context, r Repository) error {
	owner, name, _ := strings.Cut(r.Name, "/")
	err := h.Trust.RepositoryRenamed(ctx, h.Issuer, id(r.ID), r.Name)
	if err != nil || h.Rotations == nil {
		return err
	}
	return h.Rotations.RepositoryRenamed(ctx, r.ID, owner, name)
}

// gone ends what is for another owner of a repository than this one; 0: for all.
func (h Hears) gone(ctx context.Context, r Repository, ownerID int64, why string) error {
	owner := ""
	if ownerID != 0 {
		owner = id(ownerID)
	}
	err := h.Trust.RepositoryGone(ctx, h.Issuer, id(r.ID), owner)
	if err != nil || h.Rotations == nil {
		return err
	}
	return h.Rotations.RepositoryGone(ctx, r.ID, ownerID, why)
}

// unlessLate acts on what GitHub told of a repository, and remembers it after that: what is
// interrupted is done again. When something newer is known, late acts on that instead: what ends
// trust does so in whatever order it is told, by the newest owner that is known. nil: nothing is
// done. A repository that was deleted never comes back, so that is never late.
func (h Hears) unlessLate(ctx context.Context, told Repository, act, late func(newest Repository) error) error {
	known, err := h.Places.GitHubRepository(ctx, told.ID)
	switch {
	case errors.Is(err, failure.ErrNotFound) || err == nil && told.Status == Deleted:
	case err != nil:
		return err
	case known.Status == Deleted:
		return nil
	case known.UpdatedAt.After(told.UpdatedAt):
		if late == nil {
			return nil
		}
		return late(known)
	}
	if err := act(told); err != nil {
		return err
	}
	return h.Places.SaveRepository(ctx, told)
}

// owner hears that an organization or a user has another name. Both events may tell of the same: which
// of them comes is for the App's subscriptions to say; installation_target needs no permission.
func (h Hears) owner(ctx context.Context, d Delivery) error {
	var in struct {
		Action       string
		Organization *account // of organization
		Account      *account // of installation_target
	}
	err := json.Unmarshal(d.Body, &in)
	of, name := in.Organization, "organization"
	if d.Event == "installation_target" {
		of, name = in.Account, "account"
	}
	enterprise := d.Event == "installation_target" && of != nil && of.Login == "" // it owns nothing here
	if err != nil || of == nil || of.ID <= 0 || of.Login == "" && !enterprise {
		return lacks(d, name+".id and login")
	}
	if in.Action != "renamed" || enterprise {
		return nil
	}
	if err := h.Trust.OwnerRenamed(ctx, h.Issuer, id(of.ID), of.Login); err != nil {
		return err
	}
	if err := h.Places.RenameInstallations(ctx, of.ID, of.Login); err != nil || h.Rotations == nil {
		return err
	}
	return h.Rotations.OwnerRenamed(ctx, of.ID, of.Login)
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
