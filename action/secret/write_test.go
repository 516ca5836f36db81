package secret_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/action/githubtest"
	"github.com/pageflare/ci/action/secret"
)

func TestTheFirstWriteCreatesAndTheNextUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, want := range []secret.Outcome{secret.Created, secret.Updated, secret.Updated} {
		got, err := w.write(t.Context())
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
	if _, err := w.writer.Write(t.Context(), secret.RepositoryTarget{}, name, large); err != nil {
		t.Fatalf("Write(48 KB) = %v", err)
	}
	if got, _, _ := w.github.Secret("acme/site", name); got != large {
		t.Errorf("the secret holds %d bytes, want %d", len(got), len(large))
	}
}

func TestNameAndValueAreCheckedBeforeAnyCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.writer.Write(t.Context(), secret.RepositoryTarget{}, "1-X", "")
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
	if got, err := w.write(t.Context()); err != nil || got != secret.Created {
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
	if _, err := w.write(t.Context()); err == nil || !strings.Contains(err.Error(), "GitHub refused (422)") {
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
	_, err := w.write(t.Context())
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
	if got, err := w.write(t.Context()); err != nil || got != secret.Updated {
		t.Errorf("Write(answer lost) = %v, %v, want updated", got, err)
	}
	if got, _, _ := w.github.Secret("acme/site", name); got != value {
		t.Errorf("the secret holds %q, want %q", got, value)
	}
}

func TestUpdatedAtTellsWhenTheSecretWasLastWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if at, found, err := w.writer.UpdatedAt(t.Context(), secret.RepositoryTarget{}, name); err != nil || found {
		t.Errorf("UpdatedAt(no secret) = %v, %v, %v, want not found", at, found, err)
	}
	if _, err := w.write(t.Context()); err != nil {
		t.Fatalf("Write: %v", err)
	}
	written := w.clock.Now()
	if err := w.clock.Sleep(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	at, found, err := w.writer.UpdatedAt(t.Context(), secret.RepositoryTarget{}, name)
	if err != nil || !found || !at.Equal(written) {
		t.Errorf("UpdatedAt = %v, %v, %v, want %v", at, found, err, written)
	}
	_, _, err = w.writerAs(t, "token-that-may-nothing").UpdatedAt(t.Context(), secret.RepositoryTarget{}, name)
	if err == nil || !strings.HasPrefix(err.Error(), "read secret PAGEFLARE_TOKEN of repository acme/site: GitHub refused (403)") {
		t.Errorf("UpdatedAt(no permission) = %v, want the refusal", err)
	}
}
