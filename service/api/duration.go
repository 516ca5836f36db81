package api

import (
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration of Go, or whole days of 24 hours, such as 365d, as the Action
// does.
func ParseDuration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	return time.ParseDuration(text)
}
