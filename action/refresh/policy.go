package refresh

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	day = 24 * time.Hour

	// usual is how long before its expiry a token is refreshed when nothing better is known.
	usual = 7 * day

	// longest is the longest time before expiry that makes sense to anybody.
	longest = 3650 * day
)

// Policy says how long before its expiry a token is refreshed: a time, or a share of the token's
// lifetime. The zero Policy is 7d.
type Policy struct {
	before  time.Duration
	percent int // when not 0, instead of before
}

// ParsePolicy reads a refresh-before. It takes
//
//	36h  90m  1h30m     a Go duration
//	7d  1d12h           whole days, with a Go duration after them or without
//	20%                 a whole number from 1 to 100: that share of the token's lifetime, so 100% is always
//
// and nothing of 0 or less: once expired, a token cannot be refreshed any more, so waiting until
// then is waiting too long. The error names the setting, the value and the remedy.
func ParsePolicy(s string) (Policy, error) {
	p, err := parsePolicy(s)
	if err != nil {
		return Policy{}, fmt.Errorf("refresh-before %q: %w", s, err)
	}
	return p, nil
}

var errForm = errors.New("not a time before expiry; write it like 36h, 7d or 20%")

func parsePolicy(s string) (Policy, error) {
	if number, ok := strings.CutSuffix(s, "%"); ok {
		return parsePercent(number)
	}
	before, err := parseTime(s)
	if err != nil {
		return Policy{}, err
	}
	if before <= 0 {
		return Policy{}, errors.New("must be more than 0, since an expired token cannot be refreshed; write it like 36h, 7d or 20%")
	}
	if before > longest {
		return Policy{}, fmt.Errorf("must be at most %s; to refresh on every run write 100%%", Policy{before: longest})
	}
	return Policy{before: before}, nil
}

func parsePercent(number string) (Policy, error) {
	percent, err := strconv.ParseUint(number, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return Policy{}, errForm
	}
	if percent < 1 || percent > 100 {
		return Policy{}, errors.New("a share of the token's lifetime is from 1% to 100%")
	}
	return Policy{percent: int(percent)}, nil
}

// parseTime reads whole days, a Go duration, or the one after the other.
func parseTime(s string) (time.Duration, error) {
	days, rest, ok := strings.Cut(s, "d")
	if !ok {
		return parseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 31)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errForm
	}
	whole := time.Duration(min(n, uint64(longest/day)+1)) * day
	if rest == "" {
		return whole, nil
	}
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, errForm
	}
	more, err := parseDuration(rest)
	return whole + min(more, longest), err
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errForm
	}
	return d, nil
}

// String is the policy in a form that ParsePolicy reads: 7d, 36h, 1h30m, 20%.
func (p Policy) String() string {
	if p.percent != 0 {
		return strconv.Itoa(p.percent) + "%"
	}
	before := p.window(0)
	if before%day == 0 {
		return strconv.FormatInt(int64(before/day), 10) + "d"
	}
	return shortDuration(before)
}

// shortDuration is the Go form without the zeros at its end: 36h, not 36h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// window is how long before its expiry a token of the given lifetime is refreshed. A lifetime that
// is not known (0) has no share: then it is the usual time.
func (p Policy) window(lifetime time.Duration) time.Duration {
	if p.percent != 0 && lifetime > 0 {
		return lifetime / 100 * time.Duration(p.percent)
	}
	if p.before == 0 {
		return usual
	}
	return p.before
}
