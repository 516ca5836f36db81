package rotation_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/rotation"
)

// What could not be written is found out before anything is stored, a line each, with its remedy.
func TestWhatCannotBeWrittenIsNotAdded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		add    rotation.NewRotation
		breaks func(*world)
		want   error
		says   []string
	}{
		"nothing is named": {add: rotation.NewRotation{}, want: failure.ErrInvalid, says: []string{"which secrets?"}},
		"all is wrong": {
			add:  rotation.NewRotation{Repository: "acme", Targets: []string{"repo", "environment:", "repository", "repository"}, SecretName: "GITHUB_X"},
			want: failure.ErrInvalid,
			says: []string{"starts with GITHUB_", "want OWNER/NAME", `"repo" is not known`, "name the environment", "listed twice"},
		},
		"a target of another organization": {
			add:  rotation.NewRotation{Organization: "acme", Targets: []string{"organization:other", "repository"}},
			want: failure.ErrInvalid, says: []string{`"organization:other" is not of the organization acme`, `"repository" is not of`},
		},
		"no account": {
			add:  rotation.NewRotation{Account: "user_0000000000000000", Repository: "acme/site"},
			want: failure.ErrNotFound, says: []string{"user_0000000000000000"},
		},
		"not installed": {
			add: rotation.NewRotation{Repository: "acme/none"}, want: failure.ErrInvalid, says: []string{"install the App for repository acme/none"},
		},
		"several at once": {
			add:    rotation.NewRotation{Repository: "acme/site", Targets: []string{"environment:none", "codespaces/repository", "repository"}},
			breaks: func(*world) {}, want: failure.ErrInvalid,
			says: []string{"never makes one", `"Codespaces secrets: read and write"`},
		},
		"suspended": {
			add: rotation.NewRotation{Repository: "acme/site"}, breaks: func(w *world) {
				w.change(func(i *githubtest.Installation) { i.Suspended = true })
			}, want: failure.ErrInvalid, says: []string{"unsuspend"},
		},
		"renamed": {
			add: rotation.NewRotation{Repository: "acme/site"}, breaks: func(w *world) { w.github.Move(7, "acme", 9, "new") },
			want: failure.ErrInvalid, says: []string{"if it was renamed, give the name that it has today"},
		},
		"an organization without the secret": {
			add: rotation.NewRotation{Organization: "acme"}, want: failure.ErrInvalid, says: []string{"create it there once, by hand"},
		},
		"GitHub is down": {
			add: rotation.NewRotation{Repository: "acme/site"}, breaks: func(w *world) {
				w.github.FailNext("", githubtest.Fault{Status: 502})
			}, want: rotation.ErrNoAnswer, says: []string{"502"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if test.add.Account == "" {
				test.add.Account = w.account.ID
			}
			if test.breaks != nil {
				test.breaks(w)
			}
			_, err := w.r.Add(t.Context(), test.add)
			if !errors.Is(err, test.want) {
				t.Fatalf("Add = %v, want %v", err, test.want)
			}
			wantText(t, err.Error(), test.says...)
			if name == "all is wrong" && strings.Count(err.Error(), "\n") != len(test.says)-1 {
				t.Errorf("not a line each:\n%v", err)
			}
			same(t, 0, len(w.all(t)))
			same(t, 0, len(w.acts(t, audit.RotationAdded)))
		})
	}
}

func TestNoAppIsSetUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cfg.App.ID, w.cfg.App.Key = "", ""
	w.start(t)
	_, err := w.r.Add(t.Context(), rotation.NewRotation{Account: w.account.ID, Repository: "acme/site"})
	if !errors.Is(err, failure.ErrInvalid) {
		t.Fatalf("Add = %v", err)
	}
	wantText(t, err.Error(), "github-app create", "LICENSE_GITHUB_APP_ID")
	w.run(t) // there is nothing to do
}

func TestTheSameIsAddedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	checked, err := w.r.Check(t.Context(), rotation.NewRotation{Account: w.account.ID, Repository: "Acme/Site"})
	must(t, err)
	same(t, []any{"", "acme/site", int64(7), int64(9)}, []any{checked.ID, checked.Repository, checked.RepositoryID, checked.OwnerID})
	same(t, 0, len(w.all(t)))
	first := w.add(t, "acme/site")
	same(t, first.ID, w.add(t, "ACME/SITE").ID)
	same(t, 1, len(w.acts(t, audit.RotationAdded)))
	other, _, err := w.Accounts.CreateAccount(t.Context(), account.NewAccount{Email: "b@example.com", Tier: account.Free, ValidUntil: w.now().AddDate(1, 0, 0)})
	must(t, err)
	_, err = w.r.Add(t.Context(), rotation.NewRotation{Account: other.ID, Repository: "acme/site"})
	if !errors.Is(err, failure.ErrConflict) {
		t.Fatalf("Add = %v, want ErrConflict", err)
	}
	wantText(t, err.Error(), first.ID, "rotation remove")
}

// Who may read the secret of an organization stays as it is, whatever that was.
func TestTheSecretOfAnOrganization(t *testing.T) {
	t.Parallel()
	for name, access := range map[string]githubtest.Access{
		"all": {Visibility: "all"}, "private": {Visibility: "private"}, "selected": {Visibility: "selected", Selected: []int64{7, 8}},
		"selected, none": {Visibility: "selected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, store := range []string{"actions", "dependabot"} {
				w.github.SetSecret("orgs/acme/"+store, "PAGEFLARE_TOKEN", "old", access)
			}
			made, err := w.r.Add(t.Context(), rotation.NewRotation{
				Account: w.account.ID, Organization: "acme", Targets: []string{"organization:acme", "dependabot/organization:acme"},
			})
			must(t, err)
			same(t, []any{"", int64(0), int64(9), "acme"}, []any{made.Repository, made.RepositoryID, made.OwnerID, made.Owner})
			w.run(t)
			for _, store := range []string{"actions", "dependabot"} {
				w.secret(t, "orgs/acme/"+store)
				same(t, access, w.github.AccessAt("orgs/acme/"+store, "PAGEFLARE_TOKEN"))
			}
			one, two := w.secret(t, "orgs/acme/actions"), w.secret(t, "orgs/acme/dependabot")
			if one.Family() == two.Family() {
				t.Error("two secrets hold tokens of one family")
			}
		})
	}
}

// Another organization that took the name of one gets nothing.
func TestTheNameOfAnOrganizationIsTakenByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.SetSecret("orgs/acme/actions", "PAGEFLARE_TOKEN", "old", githubtest.Access{Visibility: "all"})
	made, err := w.r.Add(t.Context(), rotation.NewRotation{Account: w.account.ID, Organization: "acme"})
	must(t, err)
	w.pass(2 * time.Hour)
	w.change(func(i *githubtest.Installation) { i.AccountID = 99 })
	w.run(t)
	same(t, rotation.OwnerChanged, w.target(t, made.ID).Failure.Code)
	same(t, 0, len(w.github.Puts()))
}

// The secret of an organization, for a repository: it is made for that one alone.
func TestTheSecretOfAnOrganizationForARepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(t, "acme/site", "organization:acme")
	w.run(t)
	w.secret(t, "orgs/acme/actions")
	same(t, githubtest.Access{Visibility: "selected", Selected: []int64{7}}, w.github.AccessAt("orgs/acme/actions", "PAGEFLARE_TOKEN"))
}

// A repository that is renamed, at any moment, gets its token all the same, and nobody else does.
func TestARepositoryIsRenamed(t *testing.T) {
	t.Parallel()
	takeName := func(w *world) {
		w.github.Change(func(c *githubtest.Config) {
			c.Repositories = append(slices.Clone(c.Repositories), githubtest.Repository{ID: 70, Owner: "acme", OwnerID: 9, Name: "site"})
		})
	}
	for name, test := range map[string]struct {
		when   string // the request before which it happens; empty: before all
		taken  bool   // another repository takes the name
		second bool   // it takes a second run
	}{
		"before":                                    {},
		"before, and its name is taken":             {taken: true},
		"while it is looked up":                     {when: "GET /repositories/7"},
		"between look and write":                    {when: "GET /public-key"},
		"right before the write":                    {when: "PUT /PAGEFLARE_TOKEN"},
		"between look and write, its name is taken": {when: "GET /public-key", taken: true},
		"right before the write, its name is taken": {when: "PUT /PAGEFLARE_TOKEN", taken: true, second: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			made := w.add(t, "acme/site")
			w.pass(2 * time.Hour)
			rename := func() {
				w.github.Move(7, "acme", 9, "new")
				if test.taken {
					takeName(w)
				}
			}
			if test.when == "" {
				rename()
			} else {
				w.github.FailNext(test.when, githubtest.Fault{OnArrive: rename})
			}
			w.run(t)
			if test.second && w.target(t, made.ID).Failure != nil {
				w.pass(2 * time.Hour)
				w.run(t)
			}
			w.secret(t, "repos/acme/new/actions")
			if _, _, there := w.github.SecretAt("repos/acme/site/actions", "PAGEFLARE_TOKEN"); there {
				t.Error("another repository got the token")
			}
			same(t, 1, w.tokens(t))
			w.clock.Store(w.target(t, made.ID).Due.UnixNano())
			w.run(t)
			found, err := w.r.Rotation(t.Context(), made.ID)
			must(t, err)
			same(t, "acme/new", found.Repository)
		})
	}
}

// GitHub's webhooks tell of names and ends before the next write does.
func TestWhatGitHubTellsOfARepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	must(t, w.r.RepositoryRenamed(t.Context(), 7, "acme", "new"))
	found, err := w.r.Rotation(t.Context(), made.ID)
	must(t, err)
	same(t, "acme/new", found.Repository)
	must(t, w.r.RepositoryRenamed(t.Context(), 7, "acme", "site"))
	must(t, w.r.RepositoryGone(t.Context(), 7, 0, "it was transferred to other"))
	must(t, w.r.RepositoryGone(t.Context(), 77, 0, "nobody knows it"))
	w.run(t)
	same(t, 0, len(w.github.Puts()))
	found, err = w.r.Rotation(t.Context(), made.ID)
	must(t, err)
	same(t, rotation.Halted, found.StateOf(found.Targets[0], w.now()))
	if err := w.r.RunNow(t.Context(), made.ID, false, nil); !errors.Is(err, failure.ErrInvalid) {
		t.Errorf("RunNow = %v", err)
	}
	again := w.add(t, "acme/site") // on purpose
	if again.ID == made.ID {
		t.Error("it is still the one that was stopped")
	}
	w.run(t)
	w.secret(t, site)
}

// After a leak, a change of the account, or a revocation, a fresh token is written at once.
func TestAFreshTokenAtOnce(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *world, rotation.Target){
		"a leak": func(t *testing.T, w *world, _ rotation.Target) { must(t, w.r.Hurry(t.Context(), w.account.ID)) },
		"another tier": func(t *testing.T, w *world, _ rotation.Target) {
			_, err := w.Accounts.UpdateAccount(t.Context(), w.account.ID, account.Change{Tier: new(account.Team)})
			must(t, err)
		},
		"a renewed license": func(t *testing.T, w *world, _ rotation.Target) {
			_, err := w.Accounts.UpdateAccount(t.Context(), w.account.ID, account.Change{ValidUntil: new(w.now().AddDate(5, 0, 0))})
			must(t, err)
		},
		"its family was revoked": func(t *testing.T, w *world, at rotation.Target) {
			_, err := w.Licenses.RevokeToken(t.Context(), string(at.JTI), true)
			must(t, err)
		},
		"it was revoked": func(t *testing.T, w *world, at rotation.Target) {
			_, err := w.Licenses.RevokeToken(t.Context(), string(at.JTI), false)
			must(t, err)
		},
		"the operator says so": func(t *testing.T, w *world, _ rotation.Target) {
			_, err := w.r.HurryOne(t.Context(), w.all(t)[0].ID)
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			made := w.add(t, "acme/site")
			w.run(t)
			first := w.target(t, made.ID)
			w.pass(day)
			w.run(t)
			same(t, 1, len(w.github.Puts()))
			change(t, w, first)
			w.run(t)
			same(t, 2, len(w.github.Puts()))
			if w.secret(t, site) == first.JTI {
				t.Error("the token is the same")
			}
			w.run(t)
			same(t, 2, len(w.github.Puts()))
		})
	}
}

// A token that ends with its license is as good as one gets: nothing is written until it is renewed.
func TestALicenseThatEndsSoon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.Accounts.UpdateAccount(t.Context(), w.account.ID, account.Change{ValidUntil: new(w.now().Add(30 * day))})
	must(t, err)
	made := w.add(t, "acme/site")
	w.run(t)
	for range 29 {
		w.pass(day)
		w.run(t)
	}
	same(t, 1, len(w.github.Puts()))
	w.pass(2 * day)
	w.run(t)
	found, err := w.r.Rotation(t.Context(), made.ID)
	must(t, err)
	same(t, rotation.Paused, found.StateOf(found.Targets[0], w.now()))
	_, err = w.Accounts.UpdateAccount(t.Context(), w.account.ID, account.Change{ValidUntil: new(w.now().AddDate(2, 0, 0))})
	must(t, err)
	w.run(t)
	w.secret(t, site)
	same(t, 2, len(w.github.Puts()))
}

func TestARunThatSomebodyWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.add(t, "acme/site")
	w.pass(time.Millisecond)
	two := w.add(t, "acme/docs")
	run := func(id string, dry bool) (out []string) {
		t.Helper()
		w.pass(time.Millisecond)
		must(t, w.r.RunNow(t.Context(), id, dry, func(d rotation.Done) {
			out = append(out, d.Repository+" "+string(d.Outcome))
		}))
		slices.Sort(out)
		return out
	}
	same(t, []string{"acme/docs would be written", "acme/site would be written"}, run("", true))
	same(t, 0, len(w.github.Puts()))
	same(t, 0, w.tokens(t))
	same(t, []string{"acme/site written"}, run(one.ID, false))
	same(t, []string{"acme/docs written"}, run("", false))
	same(t, []string(nil), run("", false))
	same(t, []string{"acme/docs written"}, run(two.ID, false))
	w.pass(2 * time.Hour)
	w.changeSite(func(r *githubtest.Repository) { r.Archived = true })
	same(t, []string{"acme/site failed"}, run(one.ID, false))
	w.changeSite(func(r *githubtest.Repository) { r.Archived = false })
	same(t, []string{"acme/site written"}, run("", false)) // before its time
	_, err := w.Accounts.SuspendAccount(t.Context(), w.account.ID)
	must(t, err)
	if err := w.r.RunNow(t.Context(), one.ID, false, nil); !errors.Is(err, failure.ErrInvalid) {
		t.Errorf("RunNow = %v", err)
	}
	if err := w.r.RunNow(t.Context(), "rot_0000000000000000", false, nil); !errors.Is(err, failure.ErrNotFound) {
		t.Errorf("RunNow = %v", err)
	}
}

func TestARotationIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.run(t)
	jti := w.target(t, made.ID).JTI
	families, err := w.r.Remove(t.Context(), made.ID, false)
	must(t, err)
	same(t, int64(0), families)
	same(t, jti, w.secret(t, site)) // it lives on
	families, err = w.r.Remove(t.Context(), made.ID, true)
	must(t, err)
	same(t, int64(1), families)
	record, err := w.Licenses.Token(t.Context(), string(jti))
	must(t, err)
	same(t, "revoked", record.Status(w.now()))
	w.pass(365 * day)
	w.run(t)
	same(t, 1, len(w.github.Puts()))
}
