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

// Ask asks GitHub about the App. ErrNotFound: none is set up; an error of GitHub's is a
// *github.Error.
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
	err = clients.Call(ctx, http.MethodGet, "app/hook/config", nil, &hook)
	if err != nil && !noHook(err) {
		return Status{}, err
	}
	s := Status{
		ID: app.ID, ClientID: github.Plain(app.ClientID), Slug: github.Plain(app.Slug),
		Name: github.Plain(app.Name), Owner: github.Plain(app.Owner.Login),
		HTMLURL: github.Plain(app.HTMLURL), Permissions: app.Permissions, Events: app.Events,
		HookURL: github.Plain(hook.URL),
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
	err := clients.Call(ctx, http.MethodGet, "app/hook/deliveries?per_page=30", nil, &list)
	if err != nil {
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
		path := fmt.Sprintf("app/installations?per_page=%d&page=%d", size, page)
		if err := clients.Call(ctx, http.MethodGet, path, nil, &list); err != nil {
			return nil, err
		}
		for _, i := range list {
			login := github.Plain(i.Account.Login)
			all = append(all, Installation{i.ID, login, i.SuspendedAt != nil, i.Permissions})
		}
		if len(list) < size {
			break
		}
	}
	return all, nil
}

// Problems is what is missing of the App, each with its remedy. None: it is as it should be.
func (r *Registry) Problems(s Status) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	settings := "on the page " + s.HTMLURL + " (App settings)"
	if want := r.cfg.PublicURL + HookPath; s.HookURL == "" {
		say("it has no webhook, so nothing of what happens at GitHub comes here: set its webhook URL to %s %s",
			want, settings)
	} else if s.HookURL != want {
		say("its webhook goes to %s, and not to %s: change it %s, or set LICENSE_PUBLIC_URL",
			s.HookURL, want, settings)
	}
	if d := s.Failed; d != nil {
		say("its webhook does not arrive: the last %d deliveries failed, the newest at %s with status %d (%s): "+
			"see its Recent Deliveries on that page; what failed within three days is asked for again on its own",
			s.Failures, d.At.UTC().Format(time.RFC3339), d.Code, d.Status)
	}
	least := Permissions(Ask{})
	if lacks := lacking(s.Permissions, least); len(lacks) > 0 {
		say("it does not ask for %s: add them %s, then accept them in each installation",
			strings.Join(lacks, ", "), settings)
	}
	for _, e := range Events() {
		if !slices.Contains(s.Events, e) {
			say("it does not subscribe to the event %s: tick it %s", e, settings)
		}
	}
	if len(s.Installations) == 0 {
		say("it is installed nowhere: install it at %s", App{HTMLURL: s.HTMLURL}.InstallURL())
	}
	asks := len(lacking(s.Permissions, least)) == 0
	for _, i := range s.Installations {
		lacks := lacking(i.Permissions, least)
		switch {
		case i.Suspended:
			say("its installation in %[1]s is suspended: an owner of %[1]s can end that in the settings of its installed GitHub Apps",
				i.Account)
		case asks && len(lacks) > 0:
			say("its installation in %[1]s does not have %[2]s: an owner of %[1]s has to accept the new permissions",
				i.Account, strings.Join(lacks, ", "))
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
