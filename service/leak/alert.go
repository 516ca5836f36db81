package leak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// alertEvent is what of the webhook secret_scanning_alert counts here.
type alertEvent struct {
	Action string `json:"action"`
	Alert  struct {
		Number  int64  `json:"number"`
		HTMLURL string `json:"html_url"`
	} `json:"alert"`
	Repository struct {
		ID    int64  `json:"id"`
		Name  string `json:"name"`
		Owner struct {
			Login string `json:"login"`
		} `json:"owner"`
	} `json:"repository"`
	Installation struct {
		ID int64 `json:"id"`
	} `json:"installation"`
}

// openAlert is an alert as GitHub tells it.
type openAlert struct {
	State   string        `json:"state"` // open, resolved
	Secret  opaque.Secret `json:"secret"`
	HTMLURL string        `json:"html_url"`
}

// resolution is what we tell GitHub of an alert whose token has ended.
type resolution struct {
	State      string `json:"state"`
	Resolution string `json:"resolution"`
	Comment    string `json:"resolution_comment"`
}

// Alert does what an event of the webhook secret_scanning_alert asks for: the alert is read, for
// the event does not have the secret, the token ends, and the alert is resolved as revoked. An
// alert of another secret is left alone: another program may be waiting for it. One that a person
// has resolved stays so, and its token ends all the same. An error means that the event is to be
// tried again, unless it is an ErrInvalid.
func (s *Service) Alert(ctx context.Context, delivery string, body []byte) error {
	var e alertEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return failure.Invalid("secret_scanning_alert: the body cannot be read")
	}
	switch e.Action {
	case "created", "reopened", "publicly_leaked":
	default:
		return nil
	}
	if e.Alert.Number <= 0 || e.Repository.ID <= 0 {
		return failure.Invalid("secret_scanning_alert: the event names no alert or no repository")
	}
	ctx = audit.WithActor(ctx, audit.Actor{Kind: audit.ActorGitHub, ID: delivery})
	api, mayResolve, err := s.clientFor(ctx, e)
	if err != nil {
		return fmt.Errorf("secret_scanning_alert: %w", err)
	}
	// by the id of the repository, which keeps it when it is renamed
	path := fmt.Sprintf("repositories/%d/secret-scanning/alerts/%d", e.Repository.ID, e.Alert.Number)
	var a openAlert
	if _, err := api.Call(ctx, http.MethodGet, path, nil, &a); err != nil {
		return s.alertFault(ctx, "read", e, err)
	}
	if a.Secret == "" {
		return fmt.Errorf("secret_scanning_alert: GitHub does not tell the secret of alert %d: "+
			"give the App the permission secret_scanning_alerts=write", e.Alert.Number)
	}
	v, err := s.Report(ctx, Found{
		Token: a.Secret, Door: ByAlert, Source: e.Action, URL: a.HTMLURL,
		Repository: e.Repository.Owner.Login + "/" + e.Repository.Name,
		RepoID:     strconv.FormatInt(e.Repository.ID, 10),
	})
	if err != nil || !v.Ours() || a.State == "resolved" {
		return err
	}
	if mayResolve != nil {
		return fmt.Errorf("secret_scanning_alert: %s %s has ended, and alert %d stays open: %w",
			v.Kind, v.ID, e.Alert.Number, mayResolve)
	}
	_, err = api.Call(ctx, http.MethodPatch, path, resolution{
		"resolved", "revoked", "Revoked by pageflare-license: " + string(v.Kind) + " " + v.ID + ".",
	}, nil)
	if err != nil {
		return s.alertFault(ctx, "resolve", e, err)
	}
	return nil
}

// clientFor is a client for the repository of an event, with the right to its alerts alone. Where
// the App may only read them the token can end all the same: mayResolve says why the alert cannot.
func (s *Service) clientFor(ctx context.Context, e alertEvent) (
	api *github.Client, mayResolve, err error,
) {
	if s.cfg.Installations == nil {
		return nil, nil, fmt.Errorf("GitHub App: %w", failure.ErrNotFound)
	}
	all, err := s.cfg.Installations(ctx)
	if err != nil {
		return nil, nil, err
	}
	grant := func(level string) github.Grant {
		return github.Grant{
			Repo:   github.Repo{Owner: e.Repository.Owner.Login, Name: e.Repository.Name},
			RepoID: e.Repository.ID, Installation: e.Installation.ID,
			Permissions: map[string]string{"secret_scanning_alerts": level},
		}
	}
	api, err = all.Client(ctx, grant("write"))
	fault, ok := errors.AsType[*github.Error](err)
	if !ok || fault.Kind != github.NotGranted {
		return api, nil, err
	}
	mayResolve = fmt.Errorf("%w: an owner of %.100q has to accept the permission secret_scanning_alerts=write of the App",
		err, e.Repository.Owner.Login)
	if api, err = all.Client(ctx, grant("read")); err != nil {
		return nil, nil, mayResolve
	}
	return api, mayResolve, nil
}

// alertFault is what a refusal of GitHub's means. An alert that is gone, with its repository or
// without, has nothing left to do.
func (s *Service) alertFault(ctx context.Context, what string, e alertEvent, err error) error {
	fault := github.Explain(ctx, err)
	if fault.Kind == github.NotFound || fault.Status == http.StatusGone {
		s.cfg.Events.Warn("alert is gone",
			"repository_id", e.Repository.ID, "alert", e.Alert.Number, "step", what)
		return nil
	}
	return fmt.Errorf("secret_scanning_alert: %s alert %d of repository %d: %w",
		what, e.Alert.Number, e.Repository.ID, fault)
}
