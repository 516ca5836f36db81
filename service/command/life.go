package command

import (
	"fmt"
	"time"
)

// life is a duration that a person gives for a token.
type life struct{ time.Duration }

// UnmarshalText reads 72h or 90s. Days are no unit: not all of them have 24 hours.
func (l *life) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: give hours, such as 168h", text)
	}
	l.Duration = d
	return nil
}
