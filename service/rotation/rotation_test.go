package rotation_test

import (
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
)

const site = "repos/acme/site/actions"

func TestASecretIsWrittenLongBeforeItsTokenEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.add(t, "acme/site")
	w.run(t)
	first := w.secret(t, site)
	got := w.target(t, made.ID)
	same(t, first, got.JTI)
	if life := got.ExpiresAt.Sub(w.now()); life < 364*day {
		t.Errorf("the token lives for %s", life)
	}
	if next := got.Due.Sub(w.now()); next < 140*day || next > 183*day {
		t.Errorf("the next one is due in %s, want about half of a year", next)
	}
	w.run(t)
	same(t, 1, len(w.github.Puts()))
	w.clock.Store(got.Due.Add(-time.Second).UnixNano())
	w.run(t)
	same(t, 1, len(w.github.Puts()))
	w.pass(time.Second)
	w.run(t)
	second := w.secret(t, site)
	if second == first || second.Family() == first.Family() {
		t.Errorf("the second token %s is of the family of the first %s", second, first)
	}
	old, err := w.Licenses.Token(t.Context(), string(first))
	must(t, err)
	same(t, "live", old.Status(w.now()))
	same(t, made.ID, old.IssuedBy)
	acts := w.acts(t, audit.SecretRotated)
	same(t, 2, len(acts))
	wantText(t, acts[1], `"jti":"`+string(second)+`"`, `"repository":"acme/site"`, `"repository_id":"7"`, `"target":"repository"`, `"expires_at":`)
}
