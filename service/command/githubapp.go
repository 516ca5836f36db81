package command

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// GitHubApp is the commands of the GitHub App.
type GitHubApp struct {
	Create githubAppCreate `cmd:"" help:"Make the GitHub App of this service in a browser: permissions, events, webhook and secrets come filled in, and what GitHub answers is stored encrypted."`
	Show   githubAppShow   `cmd:"" help:"Ask GitHub about the App: permissions, events, webhook, installations, and what is missing."`
}

// createTime is how long a person may take at GitHub.
const createTime = githubapp.SetupTTL

type githubAppCreate struct {
	Output
	Organization string   `help:"Login of the organization that is to own the App, and in which you may make one. Without: you." placeholder:"NAME"`
	Name         string   `help:"Name of the App, at most 34 characters, which nobody at GitHub has yet. It can be changed on GitHub's page." placeholder:"NAME"`
	Store        []string `enum:"dependabot,codespaces" help:"The App may also write secrets of this kind: dependabot or codespaces. Can be given twice." placeholder:"KIND"`
	Port         int      `help:"Port on 127.0.0.1 to which GitHub sends the browser back. On a machine without a browser: connect with ssh -L PORT:127.0.0.1:PORT. Default: a free one."`
	Web          bool     `help:"Print a link to a page of the running service instead, for a browser on another machine. It is good once and for 15 minutes: who has it decides which App this service trusts."`
	Code         string   `help:"Finish with the code that stands in the address to which GitHub sent a browser." placeholder:"CODE"`
	Replace      bool     `help:"Take the place of the App that there is."`
}

// madeApp is what create prints.
type madeApp struct {
	ID         int64  `json:"id"`
	Slug       string `json:"slug"`
	Name       string `json:"name"`
	Owner      string `json:"owner"`
	URL        string `json:"url"`
	InstallURL string `json:"install_url"`
}

// setupLink is what create --web prints.
type setupLink struct {
	URL       string `json:"url"`
	ExpiresAt string `json:"expires_at"`
}

// Run makes the App.
func (c githubAppCreate) Run(ctx context.Context, a *App) error {
	ask := githubapp.Ask{Organization: c.Organization, Stores: c.Store, Name: c.Name, Replace: c.Replace}
	switch {
	case c.Web && (c.Code != "" || c.Port != 0):
		return Usagef("--web: the running service takes the answer of GitHub: leave --code and --port out")
	case c.Code != "" && c.Port != 0:
		return Usagef("--code: GitHub has answered already: leave --port out")
	case c.Port < 0 || c.Port > 65535:
		return Usagef("--port: %d is not a port from 1 to 65535", c.Port)
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		if c.Web {
			link, ends, err := l.App.CreateSetup(ctx, ask)
			if err != nil {
				return refusal(err)
			}
			return c.Print(a.Stdout, setupLink{link.Reveal(), show.Time(ends)}, func(w io.Writer) { fmt.Fprintln(w, link.Reveal()) })
		}
		made, err := c.make(ctx, a, l.App, ask)
		if err != nil {
			return refusal(err)
		}
		return c.report(a, made)
	})
}

func (c githubAppCreate) make(ctx context.Context, a *App, apps *githubapp.Registry, ask githubapp.Ask) (githubapp.App, error) {
	if c.Code != "" {
		return apps.Convert(ctx, ask, c.Code)
	}
	local, err := apps.Listen(ctx, ask, c.Port)
	if err != nil {
		return githubapp.App{}, err
	}
	defer local.Close()
	fmt.Fprintf(a.Stderr, "Open this address in a browser on this machine, where you are signed in to GitHub:\n\n  %s\n\n", local.URL().Reveal())
	if a.Terminal {
		fmt.Fprint(a.Stderr, "Waiting for GitHub. If the browser cannot come back here, paste the address that it ends at: ")
		go func() { // it ends with the program: nothing else reads what is typed
			if text := line(a.Stdin); text != "" {
				local.Paste(ctx, text)
			}
		}()
	}
	ctx, cancel := context.WithTimeout(ctx, createTime)
	defer cancel()
	made, err := local.Wait(ctx)
	if a.Terminal {
		fmt.Fprintln(a.Stderr)
	}
	return made, err
}

func (c githubAppCreate) report(a *App, made githubapp.App) error {
	j := madeApp{made.ID, made.Slug, made.Name, made.Owner, made.HTMLURL, made.InstallURL()}
	err := c.Print(a.Stdout, j, func(w io.Writer) {
		Row(w, "id", j.ID)
		Row(w, "slug", j.Slug)
		Row(w, "owner", j.Owner)
		Row(w, "url", j.URL)
	})
	if err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintf(a.Stderr, "next: install it at %s\nthen run pageflare-license doctor, which says what is still missing\n", j.InstallURL)
	return err
}

type githubAppShow struct{ Output }

// shownApp is what show prints.
type shownApp struct {
	ID            int64             `json:"id"`
	ClientID      string            `json:"client_id"`
	Slug          string            `json:"slug"`
	Name          string            `json:"name"`
	Owner         string            `json:"owner"`
	URL           string            `json:"url"`
	From          string            `json:"from"` // settings or database
	CreatedAt     *string           `json:"created_at"`
	WebhookURL    string            `json:"webhook_url"`
	Permissions   map[string]string `json:"permissions"`
	Events        []string          `json:"events"`
	Installations []shownInstall    `json:"installations"`
	Problems      []string          `json:"problems"`
}

type shownInstall struct {
	ID        int64  `json:"id"`
	Account   string `json:"account"`
	Suspended bool   `json:"suspended"`
}

// Run shows the App as GitHub has it.
func (c githubAppShow) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		s, err := l.App.Ask(ctx)
		if err != nil {
			return refusal(err)
		}
		j := shownApp{
			ID: s.ID, ClientID: s.ClientID, Slug: s.Slug, Name: s.Name, Owner: s.Owner, URL: s.HTMLURL, From: "settings", WebhookURL: s.HookURL,
			Permissions: s.Permissions, Events: append([]string{}, s.Events...), Problems: append([]string{}, l.App.Problems(s)...),
			Installations: show.Each(s.Installations, func(i githubapp.Installation) shownInstall {
				return shownInstall{i.ID, i.Account, i.Suspended}
			}),
		}
		if l.App.GivenID() == "" {
			stored, err := l.App.Stored(ctx)
			if err != nil {
				return err
			}
			j.From, j.CreatedAt = "database", show.Optional(stored.CreatedAt)
		}
		return c.Print(a.Stdout, j, func(w io.Writer) { githubAppText(w, j) })
	})
}

func githubAppText(w io.Writer, j shownApp) {
	Row(w, "id", j.ID)
	Row(w, "client id", dash(j.ClientID))
	Row(w, "slug", j.Slug)
	Row(w, "owner", j.Owner)
	Row(w, "url", j.URL)
	Row(w, "from", j.From)
	Row(w, "webhook", dash(j.WebhookURL))
	var permissions []string
	for _, name := range slices.Sorted(maps.Keys(j.Permissions)) {
		permissions = append(permissions, name+"="+j.Permissions[name])
	}
	Row(w, "permissions", dash(strings.Join(permissions, " ")))
	Row(w, "events", dash(strings.Join(j.Events, " ")))
	for _, i := range j.Installations {
		state := "active"
		if i.Suspended {
			state = "suspended"
		}
		Row(w, "installation", fmt.Sprintf("%s (%d, %s)", i.Account, i.ID, state))
	}
	for _, p := range j.Problems {
		Row(w, "missing", p)
	}
}
