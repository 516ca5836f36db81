package account_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
)

func TestAnAccountIsToldOfItsEnd(t *testing.T) {
	t.Parallel()
	end := time.Date(2027, 3, 12, 0, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	before := func(d time.Duration) time.Time { return end.Add(-d) }
	of := func(days int) account.Notice { return account.Notice{ValidUntil: end, Days: days} }
	earlier := account.Notice{ValidUntil: end.Add(-100 * day), Days: 0}
	for name, c := range map[string]struct {
		now    time.Time
		told   account.Notice
		status account.Status
		want   account.Notice
		tell   bool
		next   time.Time
	}{
		"long before":                      {now: before(31 * day), next: before(30 * day)},
		"thirty days before":               {now: before(30 * day), want: of(30), tell: true, next: before(7 * day)},
		"thirty days before, told already": {now: before(29 * day), told: of(30), want: of(30), next: before(7 * day)},
		"seven days before":                {now: before(7 * day), told: of(30), want: of(7), tell: true, next: before(day)},
		"a day before":                     {now: before(day), told: of(7), want: of(1), tell: true, next: end},
		"the end":                          {now: end, told: of(1), want: of(0), tell: true},
		"after the end, told already":      {now: end.Add(day), told: of(0), want: of(0)},
		"of several only the newest":       {now: before(day / 2), want: of(1), tell: true, next: end},
		"the end was missed":               {now: end.Add(29 * day), told: of(30), want: of(0), tell: true},
		"the end was long ago":             {now: end.Add(30 * day), want: of(0)},
		"of another end":                   {now: before(20 * day), told: earlier, want: of(30), tell: true, next: before(7 * day)},
		"of another end, and it is far":    {now: before(90 * day), told: earlier, want: earlier, next: before(30 * day)},
		"suspended":                        {now: before(day), status: account.Suspended},
		"deleted":                          {now: end, told: of(7), status: account.Deleted, want: of(7)},
	} {
		a := account.Account{ValidUntil: end, Status: account.Active}
		if c.status != "" {
			a.Status = c.status
		}
		due, tell, next := account.Due(a, c.told, c.now)
		if diff := cmp.Diff(c.want, due); diff != "" || tell != c.tell || !next.Equal(c.next) {
			t.Errorf("%s: tell = %t, next = %s, want %t, %s (-want +got)\n%s", name, tell, next, c.tell, c.next, diff)
		}
	}
}
