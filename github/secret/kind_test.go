package secret_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestEachKindIsCreatedThenUpdatedInItsOwnPlaceAlone(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		t.Run(k.target, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.writer = w.writerAs(t, "token-for-every-kind")
			for i, want := range []secret.Outcome{secret.Created, secret.Updated} {
				text := fmt.Sprintf("%s-%d", value, i)
				got, err := w.writer.Write(t.Context(), target(t, k.target), name, text)
				if err != nil || got != want {
					t.Fatalf("Write(%s) = %v, %v, want %v", k.target, got, err, want)
				}
				if got, _, ok := w.github.SecretAt(k.place, name); got != text || !ok {
					t.Errorf("%s holds %q, %v, want %q", k.place, got, ok, text)
				}
			}
			for _, other := range kinds() {
				if _, _, ok := w.github.SecretAt(other.place, name); ok && other != k {
					t.Errorf("%s was written too", other.place)
				}
			}
		})
	}
}

func TestEachKindIsWrittenWithAsFewCallsAsItTakes(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		w := newWorld(t)
		if k.ofOrganization() {
			w.github.SetSecret(k.place, name, "old", githubtest.Access{Visibility: "all"})
		}
		if _, err := w.writerAs(t, "token-for-every-kind").Write(t.Context(), target(t, k.target), name, value); err != nil {
			t.Fatalf("Write(%s) = %v", k.target, err)
		}
		want := []string{"GET public-key", "PUT PAGEFLARE_TOKEN"}
		if k.ofOrganization() {
			want = []string{"GET public-key", "GET PAGEFLARE_TOKEN", "PUT PAGEFLARE_TOKEN"}
		}
		if diff := cmp.Diff(want, w.lastParts()); diff != "" {
			t.Errorf("requests for %s (-want +got):\n%s", k.target, diff)
		}
	}
}

// lastParts gives the requests with the last part of their paths.
func (w *world) lastParts() []string {
	var out []string
	for _, r := range w.github.Requests() {
		out = append(out, r.Method+" "+r.Path[strings.LastIndex(r.Path, "/")+1:])
	}
	return out
}

func TestAPermissionForOneKindIsNoneForAnother(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		cfg := githubConfig(newClock())
		rest := every("write")
		delete(rest, k.permission)
		cfg.Tokens = []githubtest.Token{{Value: "all-but-one", Permissions: rest}}
		w := &world{clock: newClock(), github: githubtest.Start(t, cfg)}
		_, err := w.writerAs(t, "all-but-one").Write(t.Context(), target(t, k.target), name, value)
		var got *secret.Error
		if !errors.As(err, &got) || got.Status != 403 {
			t.Errorf("Write(%s) without %s = %v, want a 403", k.target, k.permission, err)
		}
	}
}

func TestAClassicTokenWritesEveryKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writer = w.writerAs(t, "classic-token")
	for _, k := range kinds() {
		if got, err := w.writer.Write(t.Context(), target(t, k.target), name, value); err != nil || got != secret.Created {
			t.Errorf("Write(%s) = %v, %v, want created", k.target, got, err)
		}
	}
}

func TestAKeyOfEveryKindThatIsRotatedIsFetchedAgain(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		w := newWorld(t)
		w.github.FailNext("PUT /"+name, githubtest.Fault{OnArrive: func() { w.github.RotateKeyAt(k.place) }})
		got, err := w.writerAs(t, "token-for-every-kind").Write(t.Context(), target(t, k.target), name, value)
		if err != nil || got != secret.Created {
			t.Errorf("Write(%s, while the key is rotated) = %v, %v, want created", k.target, got, err)
		}
	}
}

func TestEnvironmentsWithHostileNamesAreReachedByBothPaths(t *testing.T) {
	t.Parallel()
	for about, spoil := range map[string]func(*githubtest.Config){
		"both paths":        func(*githubtest.Config) {},
		"the new path only": func(c *githubtest.Config) { c.NoOldEnvironmentPaths = true },
		"the old path only": func(c *githubtest.Config) { c.NoNewEnvironmentPaths = true },
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			cfg := githubConfig(newClock())
			spoil(&cfg)
			w := &world{clock: newClock(), github: githubtest.Start(t, cfg)}
			w.writer = w.writerAs(t, "token-for-every-kind")
			for _, env := range hostileNames() {
				at := "repos/acme/site/environments/" + env
				for _, want := range []secret.Outcome{secret.Created, secret.Updated} {
					got, err := w.writer.Write(t.Context(), target(t, "environment:"+env), name, value+env)
					if err != nil || got != want {
						t.Errorf("Write(%q) = %v, %v, want %v", env, got, err, want)
					}
				}
				if got, _, ok := w.github.SecretAt(at, name); got != value+env || !ok {
					t.Errorf("%q holds %q, %v", env, got, ok)
				}
			}
		})
	}
}

func TestTheOldPathOfAnEnvironmentTakesTheIDThatTheRunnerSays(t *testing.T) {
	t.Parallel()
	for id, want := range map[int64][]string{
		7: {"GET /repos/acme/site/environments/prod/secrets/public-key 404", "GET /repositories/7/environments/prod/secrets/public-key 200",
			"PUT /repositories/7/environments/prod/secrets/PAGEFLARE_TOKEN 201"},
		0: {"GET /repos/acme/site/environments/prod/secrets/public-key 404", "GET /repos/acme/site 200",
			"GET /repositories/7/environments/prod/secrets/public-key 200", "PUT /repositories/7/environments/prod/secrets/PAGEFLARE_TOKEN 201"},
	} {
		cfg := githubConfig(newClock())
		cfg.NoNewEnvironmentPaths = true
		w := &world{clock: newClock(), github: githubtest.Start(t, cfg)}
		writer := writerConfig(w.config(t, "token-for-every-kind"))
		writer.RepoID = id
		made, err := secret.NewWriter(writer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := made.Write(t.Context(), target(t, "environment:prod"), name, value); err != nil {
			t.Fatalf("Write = %v", err)
		}
		if diff := cmp.Diff(want, w.asked()); diff != "" {
			t.Errorf("requests with id %d (-want +got):\n%s", id, diff)
		}
	}
}

func TestOneTargetThatFailsLeavesTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writer = w.writerAs(t, "token-for-every-kind")
	w.github.FailNext("PUT /repos/acme/site/dependabot/secrets/"+name, githubtest.Fault{Status: 422})
	var failed []string
	for _, k := range kinds() {
		if _, err := w.writer.Write(context.Background(), target(t, k.target), name, value); err != nil {
			failed = append(failed, k.target)
		}
	}
	if diff := cmp.Diff([]string{"dependabot/repository"}, failed); diff != "" {
		t.Errorf("failed targets (-want +got):\n%s", diff)
	}
}
