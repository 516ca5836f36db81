package secret_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/github/secret"
)

func TestTheFirstWriteCreatesAndTheNextUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, want := range []secret.Outcome{secret.Created, secret.Updated, secret.Updated} {
		got, err := w.write(t)
		if err != nil || got != want {
			t.Fatalf("Write = %v, %v, want %v", got, err, want)
		}
	}
	if got, updated, ok := w.github.Secret("acme/site", name); got != value || !ok || !updated.Equal(w.clock.Now()) {
		t.Errorf("the secret holds %q (%v, %v), want %q", got, updated, ok, value)
	}
	want := []string{
		"GET public-key 200", "PUT PAGEFLARE_TOKEN 201",
		"GET public-key 200", "PUT PAGEFLARE_TOKEN 204",
		"GET public-key 200", "PUT PAGEFLARE_TOKEN 204",
	}
	if diff := cmp.Diff(want, w.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestTheLargestValueArrivesWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	large := strings.Repeat("v", secret.MaxValue)
	if _, err := w.writer.Write(t.Context(), target(t, "repository"), name, large); err != nil {
		t.Fatalf("Write(48 KB) = %v", err)
	}
	if got, _, _ := w.github.Secret("acme/site", name); got != large {
		t.Errorf("the secret holds %d bytes, want %d", len(got), len(large))
	}
}

func TestNameAndValueAreCheckedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.writer.Write(t.Context(), target(t, "repository"), "1-X", "")
	var refused *secret.Error
	if !errors.As(err, &refused) || refused.Status != 0 {
		t.Fatalf("Write(bad name, no value) = %v, want an *Error without a status", err)
	}
	for _, want := range []string{"write secret 1-X to repository acme/site", "use only these", "value is empty"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Write = %v, want an error with %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("Write = %q, want one line", err)
	}
	if got := w.asked(); got != nil {
		t.Errorf("requests = %v, want none", got)
	}
}

func TestAKeyThatIsRotatedBetweenTheCallsIsFetchedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("PUT /"+name, githubtest.Fault{OnArrive: func() { w.github.RotateKey("acme/site") }})
	if got, err := w.write(t); err != nil || got != secret.Created {
		t.Errorf("Write(while the key is rotated) = %v, %v, want created", got, err)
	}
	want := []string{"GET public-key 200", "PUT PAGEFLARE_TOKEN 422", "GET public-key 200", "PUT PAGEFLARE_TOKEN 201"}
	if diff := cmp.Diff(want, w.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got, _, _ := w.github.Secret("acme/site", name); got != value {
		t.Errorf("the secret holds %q, want %q", got, value)
	}
}

func TestAKeyThatIsRotatedAgainAndAgainIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("PUT /"+name, githubtest.Fault{Times: 2, OnArrive: func() { w.github.RotateKey("acme/site") }})
	if _, err := w.write(t); err == nil || !strings.Contains(err.Error(), "GitHub refused (422)") {
		t.Errorf("Write = %v, want the second refusal", err)
	}
	if got := len(w.asked()); got != 4 {
		t.Errorf("%d requests, want 4", got)
	}
}

func TestARefusedValueIsNotSentAgainUnderTheSameKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("PUT /"+name, githubtest.Fault{Status: 422})
	_, err := w.write(t)
	if err == nil || !strings.Contains(err.Error(), "GitHub refused (422): Validation Failed") {
		t.Errorf("Write = %v, want the refusal", err)
	}
	want := []string{"GET public-key 200", "PUT PAGEFLARE_TOKEN 422", "GET public-key 200"}
	if diff := cmp.Diff(want, w.asked()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestAWriteWhoseAnswerIsLostIsRepeatedAndCountsAsAnUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.github.FailNext("PUT /"+name, githubtest.Fault{CloseConnection: true})
	if got, err := w.write(t); err != nil || got != secret.Updated {
		t.Errorf("Write(answer lost) = %v, %v, want updated", got, err)
	}
	if got, _, _ := w.github.Secret("acme/site", name); got != value {
		t.Errorf("the secret holds %q, want %q", got, value)
	}
}
