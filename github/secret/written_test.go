package secret_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestASecretThatWasWrittenSinceIsLeftAloneWhateverOurClockSays(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for about, tc := range map[string]struct {
		ahead time.Duration // GitHub's clock before ours
		since time.Duration // after the secret was stored, by ours
		want  secret.Outcome
	}{
		"stored before, by clocks that agree":             {0, s, secret.Updated},
		"stored in the same second":                       {0, 0, secret.Updated},
		"stored since, by clocks that agree":              {0, -s, secret.Elsewhere},
		"stored before, and our clock is behind":          {2 * time.Minute, s, secret.Updated},
		"stored since, and our clock is behind":           {2 * time.Minute, -4 * s, secret.Elsewhere},
		"stored before, and our clock is ahead":           {-8 * s, s, secret.Updated},
		"stored since, and our clock is ahead":            {-8 * s, -4 * s, secret.Elsewhere},
		"stored since, and our clock is a year too early": {365 * 24 * time.Hour, -4 * s, secret.Elsewhere},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := &world{clock: newClock()}
			cfg := githubConfig(w.clock)
			cfg.Now = func() time.Time { return w.clock.Now().Add(tc.ahead) }
			w.github = githubtest.Start(t, cfg)
			w.github.SetSecret("repos/acme/site/actions", name, "old", githubtest.Access{})
			got, err := w.writerAs(t, goodToken).WriteUnless(t.Context(), target(t, "repository"), name, value, w.clock.Now().Add(tc.since))
			if err != nil || got != tc.want {
				t.Errorf("WriteUnless = %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestALookThatHangsOrFailsIsNotRepeated(t *testing.T) {
	t.Parallel()
	for about, fault := range map[string]githubtest.Fault{
		"hangs": {Hold: make(chan struct{})}, "fails": {Status: 503}, "is refused": {Status: 403}, "meets a limit": {Status: 429},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config(t, goodToken)
			cfg.Timeout = 2 * time.Second // that the other requests keep to on a busy machine too
			fault.Times = -1
			w.github.FailNext("GET /"+name, fault)
			got, err := newWriter(t, cfg).WriteUnless(t.Context(), target(t, "repository"), name, value, w.clock.Now().Add(-time.Hour))
			if err != nil || got != secret.Created {
				t.Errorf("WriteUnless = %v, %v, want created", got, err)
			}
			status := fault.Status // 0 for the one that never comes
			want := []string{"GET PAGEFLARE_TOKEN " + map[int]string{0: "0", 503: "503", 403: "403", 429: "429"}[status], "GET public-key 200", "PUT PAGEFLARE_TOKEN 201"}
			asked := w.asked()
			slices.Sort(asked) // GitHub learns late that nobody waits for the one that hangs
			if diff := cmp.Diff(want, asked); diff != "" || len(w.clock.slept) > 0 {
				t.Errorf("requests (-want +got):\n%s; waits %v", diff, w.clock.slept)
			}
		})
	}
}
