package api

import "time"

// Time is a time of an answer that a client reckons with. It is written as records have theirs, in
// UTC with milliseconds, and read in any form of RFC 3339, for another License API may have
// another.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// String is the time as it is written.
func (t Time) String() string { return t.UTC().Format(timeLayout) }

// Append appends String.
func (t Time) Append(b []byte) []byte { return t.UTC().AppendFormat(b, timeLayout) }

// MarshalJSON writes String.
func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }
