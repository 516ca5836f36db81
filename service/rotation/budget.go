package rotation

import (
	"sync"
	"time"

	"github.com/pageflare/ci/github"
)

// GitHub's limits are those of an installation, or of the App itself, and the webhooks of the
// service, its leak response and others live by them too. Only one replica does rotation at a time,
// so what it uses is what all use.
const (
	// reserve is the share of an hour's requests that is left for others.
	reserve = 0.2
	// perMinute and perHour bound the writes for one owner: GitHub asks to slow down above about 80
	// and 500, also when the limit of requests is far away.
	// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
	perMinute, perHour = 40, 400
)

// ofApp stands for the App itself among the owners.
const ofApp = 0

// budget is what may still be asked of GitHub, by the owner whose installation pays for it.
type budget struct {
	mu     sync.Mutex
	owners map[int64]*spending
}

type spending struct {
	until          time.Time // nothing is asked before
	minute, hour   time.Time // when these began
	inMinute, inHr int
}

func newBudget() *budget { return &budget{owners: map[int64]*spending{}} }

func (b *budget) of(owner int64) *spending {
	s := b.owners[owner]
	if s == nil {
		s = &spending{}
		b.owners[owner] = s
	}
	return s
}

// note takes what GitHub says is left. Below the reserve nothing is asked before it is reset.
func (b *budget) note(owner int64, a github.Allowance) {
	if float64(a.Remaining) < reserve*float64(a.Limit) {
		b.wait(owner, a.Reset)
	}
}

// wait lets nothing be asked before a time.
func (b *budget) wait(owner int64, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.of(owner); until.After(s.until) {
		s.until = until
	}
}

// take counts a write that is about to be made; false: it has to wait.
func (b *budget) take(owner int64, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.of(ofApp).until) {
		return false
	}
	s := b.of(owner)
	if now.Before(s.until) {
		return false
	}
	if d := now.Sub(s.minute); d < 0 || d >= time.Minute { // also after a clock was set back
		s.minute, s.inMinute = now, 0
	}
	if d := now.Sub(s.hour); d < 0 || d >= time.Hour {
		s.hour, s.inHr = now, 0
	}
	switch {
	case s.inHr >= perHour:
		s.until = s.hour.Add(time.Hour)
		return false
	case s.inMinute >= perMinute:
		s.until = s.minute.Add(time.Minute)
		return false
	}
	s.inMinute++
	s.inHr++
	return true
}

// longestWait bounds what is believed of a limit's end, and heals a clock that was set back.
const longestWait = 2 * time.Hour

// blocked returns the owners for whom nothing may be asked at now; app: for none.
func (b *budget) blocked(now time.Time) (owners []int64, app bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for owner, s := range b.owners {
		if s.until.After(now.Add(longestWait)) {
			s.until = now.Add(longestWait)
		}
		switch {
		case !s.until.After(now):
			if now.Sub(s.hour) > time.Hour {
				delete(b.owners, owner)
			}
		case owner == ofApp:
			app = true
		default:
			owners = append(owners, owner)
		}
	}
	return owners, app
}
