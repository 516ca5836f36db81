package command

import (
	"fmt"
	"time"

	"github.com/pageflare/ci/service/api"
)

// lifetime is a duration that a person gives for a token.
type lifetime struct{ time.Duration }

// UnmarshalText reads 7d, 72h or 90s.
func (l *lifetime) UnmarshalText(text []byte) error {
	d, err := api.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: give hours, such as 168h, or days, such as 7d", text)
	}
	l.Duration = d
	return nil
}
