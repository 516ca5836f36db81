// Package failure is the kinds of failure that every noun of the service shares, and that its
// callers act on: the database returns them, the server has a status for each.
//
// What only one noun can refuse is declared there: audit.ErrTampered, license.ErrExpired.
package failure

import (
	"errors"
	"strings"
)

var (
	// ErrNotFound says that there is nothing by that name.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that something by that name exists already.
	ErrConflict = errors.New("exists already")
	// ErrInvalid says that what was asked for makes no sense; the error that wraps it says why.
	ErrInvalid = errors.New("invalid request")
	// ErrUnavailable says that the database cannot do it now: it is locked, full or out of reach.
	// Nothing is said about the caller.
	ErrUnavailable = errors.New("the database is not available: try again later")
)

// Invalid is an ErrInvalid that prints without the sentinel's prefix.
type Invalid string

// Error is the text alone.
func (i Invalid) Error() string { return string(i) }

// Is says that an Invalid is an ErrInvalid.
func (Invalid) Is(target error) bool { return target == ErrInvalid }

// Cursor is an ErrInvalid of the place where a list is to continue: the text says what is wrong
// with it. The API calls that place cursor; a command puts the name of its flag there.
type Cursor string

// Error is the text with the API's name of the place.
func (c Cursor) Error() string { return "cursor: " + string(c) }

// Is says that a Cursor is an ErrInvalid.
func (Cursor) Is(target error) bool { return target == ErrInvalid }

// Names is a list of names for a message.
func Names[T ~string](names []T) string {
	texts := make([]string, 0, len(names))
	for _, n := range names {
		texts = append(texts, string(n))
	}
	return strings.Join(texts, ", ")
}
