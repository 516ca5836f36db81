package githubapp

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/github"
)

// Status is what GitHub says of the App today.
type Status struct {
	ID            int64
	ClientID      string
	Slug          string
	Name          string
	Owner         string
	HTMLURL       string
	Permissions   map[string]string // that it asks its installations for
	Events        []string          // that it subscribes to
	HookURL       string            // of its webhook; empty: it has none
	Installations []Installation
	Failed        *Delivery // the newest delivery of the webhook, when it failed
	Failures      int       // how many of the newest ones in a row failed
}

// Delivery is a try of GitHub's to deliver an event to us.
type Delivery struct {
	Event  string
	At     time.Time
	Status string // GitHub's word for what happened
	Code   int    // that it got for an answer; 0: none
}

// Installation is an account that the App is installed in.
type Installation struct {
	ID          int64
	Account     string
	Suspended   bool
	Permissions map[string]string // that it was granted
}

// maxInstallations is how many are looked at.
const maxInstallations = 1000

// described is an App in GitHub's words, wherever it tells of one.
type described struct {
	ID       int64  `json:"id"`
	ClientID string `json:"client_id"`
	Slug     string `json:"slug"`
	Name     string `json:"name"`
	HTMLURL  string `json:"html_url"`
	Owner    struct {
		Login string `json:"login"`
	} `json:"owner"`
}

// Ask asks GitHub about the App. ErrNotFound: none is set up; an error of GitHub's is a *github.Error.
func (r *Registry) Ask(ctx context.Context) (Status, error) {
	clients, err := r.Installations(ctx)
	if err != nil {
		return Status{}, err
	}
	var app struct {
		described
		Permissions map[string]string `json:"permissions"`
		Events      []string          `json:"events"`
	}
	if err := clients.Call(ctx, http.MethodGet, "app", nil, &app); err != nil {
		return Status{}, err
	}
	var hook struct {
		URL string `json:"url"`
	}
	if err := clients.Call(ctx, http.MethodGet, "app/hook/config", nil, &hook); err != nil && !noHook(err) {
		return Status{}, err
	}
	s := Status{
		ID: app.ID, ClientID: github.Plain(app.ClientID), Slug: github.Plain(app.Slug), Name: github.Plain(app.Name), Owner: github.Plain(app.Owner.Login),
		HTMLURL: github.Plain(app.HTMLURL), Permissions: app.Permissions, Events: app.Events, HookURL: github.Plain(hook.URL),
	}
	if s.Installations, err = installations(ctx, clients); err != nil {
		return s, err
	}
	if s.HookURL != "" {
		err = s.askDeliveries(ctx, clients)
	}
	return s, err
}

// askDeliveries looks at the newest deliveries of the webhook.
func (s *Status) askDeliveries(ctx context.Context, clients *github.Installations) error {
	var list []struct {
		Event  string    `json:"event"`
		At     time.Time `json:"delivered_at"`
		Status string    `json:"status"`
		Code   int       `json:"status_code"`
	}
	if err := clients.Call(ctx, http.MethodGet, "app/hook/deliveries?per_page=30", nil, &list); err != nil {
		return err
	}
	for _, d := range list {
		if d.Code >= 200 && d.Code < 300 {
			break
		}
		if s.Failures++; s.Failed == nil {
			s.Failed = &Delivery{github.Plain(d.Event), d.At, github.Plain(d.Status), d.Code}
		}
	}
	return nil
}

// noHook tells the answer for an App that has no webhook.
func noHook(err error) bool {
	fault := github.Explain(context.Background(), err)
	return fault.Kind == github.NotFound
}

func installations(ctx context.Context, clients *github.Installations) (all []Installation, err error) {
	const size = 100
	for page := 1; len(all) < maxInstallations; page++ {
		var list []struct {
			ID      int64 `json:"id"`
			Account struct {
				Login string `json:"login"`
			} `json:"account"`
			SuspendedAt *time.Time        `json:"suspended_at"`
			Permissions map[string]string `json:"permissions"`
		}
		if err := clients.Call(ctx, http.MethodGet, fmt.Sprintf("app/installations?per_page=%d&page=%d", size, page), nil, &list); err != nil {
			return nil, err
		}
		for _, i := range list {
			all = append(all, Installation{i.ID, github.Plain(i.Account.Login), i.SuspendedAt != nil, i.Permissions})
		}
		if len(list) < size {
			break
		}
	}
	return all, nil
}

// Problems is what is missing of the App, each with its remedy. None: it is as it should be.
func (r *Registry) Problems(s Status) (out []string) {
	settings := "on the page " + s.HTMLURL + " (App settings)"
	if want := r.cfg.PublicURL + HookPath; s.HookURL == "" {
		out = append(out, "it has no webhook, so nothing of what happens at GitHub comes here: set its webhook URL to "+want+" "+settings)
	} else if s.HookURL != want {
		out = append(out, fmt.Sprintf("its webhook goes to %s, and not to %s: change it %s, or set LICENSE_PUBLIC_URL", s.HookURL, want, settings))
	}
	if d := s.Failed; d != nil {
		out = append(out, fmt.Sprintf("its webhook does not arrive: the last %d deliveries failed, the newest at %s with status %d (%s): see its Recent Deliveries on that page; what failed within three days is asked for again on its own",
			s.Failures, d.At.UTC().Format(time.RFC3339), d.Code, d.Status))
	}
	least := Permissions(Ask{})
	if lacks := lacking(s.Permissions, least); len(lacks) > 0 {
		out = append(out, "it does not ask for "+strings.Join(lacks, ", ")+": add them "+settings+", then accept them in each installation")
	}
	for _, e := range Events() {
		if !slices.Contains(s.Events, e) {
			out = append(out, "it does not subscribe to the event "+e+": tick it "+settings)
		}
	}
	if len(s.Installations) == 0 {
		out = append(out, "it is installed nowhere: install it at "+App{HTMLURL: s.HTMLURL}.InstallURL())
	}
	for _, i := range s.Installations {
		if i.Suspended {
			out = append(out, "its installation in "+i.Account+" is suspended: an owner of "+i.Account+" can end that in the settings of its installed GitHub Apps")
		} else if lacks := lacking(i.Permissions, least); len(lacks) > 0 && len(lacking(s.Permissions, least)) == 0 {
			out = append(out, "its installation in "+i.Account+" does not have "+strings.Join(lacks, ", ")+": an owner of "+i.Account+" has to accept the new permissions")
		}
	}
	return out
}

// lacking is what of the permissions is not there, in GitHub's form: "secrets=write".
func lacking(has, wants map[string]string) (out []string) {
	for _, name := range slices.Sorted(maps.Keys(wants)) {
		if !(github.Installation{Permissions: has}).Has(name, wants[name]) {
			out = append(out, name+"="+wants[name])
		}
	}
	return out
}
