package rights_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/rights"
)

// list is what databases have added, by the state in which it was, and what was asked of them.
type list struct {
	added map[int64][]string
	err   error
	asked []int64
}

func (l *list) since(_ context.Context, state int64, limit int) ([]string, error) {
	l.asked = append(l.asked, state)
	if l.err != nil {
		return nil, l.err
	}
	var names []string
	for at, added := range l.added {
		if at > state {
			names = append(names, added...)
		}
	}
	return names[:min(len(names), limit)], nil
}

func wantMayHave(t *testing.T, s *rights.Set, asOf int64, want bool, names ...string) {
	t.Helper()
	if got, err := s.MayHave(t.Context(), asOf, names...); err != nil || got != want {
		t.Errorf("MayHave(%d, %q) = %v, %v, want %v", asOf, names, got, err, want)
	}
}

func TestASetKnowsWhatWasAddedAndAsksForTheRestAlone(t *testing.T) {
	t.Parallel()
	l := &list{added: map[int64][]string{2: {"one"}, 3: {"two"}}}
	s := &rights.Set{Since: l.since}
	wantMayHave(t, s, 3, true, "one")
	wantMayHave(t, s, 3, true, "none", "two")
	wantMayHave(t, s, 3, false, "none")
	l.added[5] = []string{"none"}
	wantMayHave(t, s, 5, true, "none")
	wantMayHave(t, s, 5, true, "one")
	if diff := cmp.Diff([]int64{0, 3}, l.asked); diff != "" {
		t.Errorf("states asked from (-want +got):\n%s", diff)
	}
}

func TestASetOfADatabaseThatCannotTellLetsEverybodyBeLookedUp(t *testing.T) {
	t.Parallel()
	l := &list{}
	wantMayHave(t, &rights.Set{Since: l.since}, 0, true, "anybody")
	if len(l.asked) != 0 {
		t.Errorf("the database was asked from %v", l.asked)
	}
}

// A database that was restored, or is another one, has a lower state: nothing of the one before is
// known of it, and all that is in its own list is.
func TestALowerStateIsAnotherDatabase(t *testing.T) {
	t.Parallel()
	l := &list{added: map[int64][]string{2: {"revoked there"}, 9: {"late"}}}
	s := &rights.Set{Since: l.since}
	wantMayHave(t, s, 9, true, "late")
	l.added = map[int64][]string{1: {"revoked here"}}
	wantMayHave(t, s, 4, true, "revoked here")
	wantMayHave(t, s, 4, false, "late", "revoked there")
}

func TestASetThatCouldNotBeReadIsReadAgain(t *testing.T) {
	t.Parallel()
	l := &list{added: map[int64][]string{1: {"one"}}, err: errors.New("broken")}
	s := &rights.Set{Since: l.since}
	for range 2 {
		if may, err := s.MayHave(t.Context(), 1, "nobody"); !errors.Is(err, l.err) || may {
			t.Errorf("MayHave = %v, %v, want %v", may, err, l.err)
		}
	}
	l.err = nil
	wantMayHave(t, s, 1, true, "one")
	// what is known already is no answer for a state that cannot be read
	l.err = errors.New("broken again")
	if _, err := s.MayHave(t.Context(), 2, "nobody"); !errors.Is(err, l.err) {
		t.Errorf("MayHave of a newer state = %v, want %v", err, l.err)
	}
}

// What does not fit is not forgotten: everybody is looked up, until there is another database.
func TestASetThatIsTooLargeTellsNobodyApart(t *testing.T) {
	t.Parallel()
	const bound = 500_000
	many := make([]string, bound+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	l := &list{added: map[int64][]string{7: many[:bound]}}
	s := &rights.Set{Since: l.since}
	wantMayHave(t, s, 7, true, many[bound-1])
	wantMayHave(t, s, 7, false, "nobody")
	l.added[8] = many[bound:]
	wantMayHave(t, s, 8, true, "nobody")
	wantMayHave(t, s, 9, true, "nobody")
	l.added = map[int64][]string{1: {"one"}}
	wantMayHave(t, s, 1, false, "nobody")
}
