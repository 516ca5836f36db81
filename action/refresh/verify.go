package refresh

import (
	"errors"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/token"
)

// Why an answer must not replace the token in hand.
var (
	// ErrOtherAccount says that the answer is the token of somebody else: the License API mixed up
	// its callers, or api-url names another service than the one that issued the token.
	ErrOtherAccount = errors.New("the new token is of another account")

	// ErrAlreadyExpired says that the answer has expired by the clock of this machine.
	ErrAlreadyExpired = errors.New("the new token has expired already")

	// ErrOlder says that the answer expires before the token that it would replace.
	ErrOlder = errors.New("the new token expires before the old one")
)

// Verify reports whether a fresh token may replace the old one: it is of the same account, and
// expires later than now and not before the old one. Ending at the same second is fine: so it is
// when the license ends then, and when a refresh is asked for twice.
//
// The form of a token (algorithm, size, no whitespace) is checked by token.Decode, which made the
// claims. The error wraps one of ErrOtherAccount, ErrAlreadyExpired and ErrOlder, and quotes
// nothing but times.
func Verify(old, fresh token.Claims, now time.Time) error {
	if fresh.Subject == "" || fresh.Subject != old.Subject {
		return fmt.Errorf("%w; the old one stays: check that api-url is the service that issued it", ErrOtherAccount)
	}
	if !fresh.ExpiresAt.After(now) {
		return fmt.Errorf("%w, on %s; the old one stays: check the clock of this machine (%s)", ErrAlreadyExpired, moment(fresh.ExpiresAt), moment(now))
	}
	if fresh.ExpiresAt.Before(old.ExpiresAt) {
		return fmt.Errorf("%w, on %s instead of %s; the old one stays", ErrOlder, moment(fresh.ExpiresAt), moment(old.ExpiresAt))
	}
	return nil
}
