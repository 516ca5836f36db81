package remedy

import (
	"errors"
	"fmt"

	"github.com/pageflare/ci/github"
)

// App names the inputs in the faults of a GitHub App's id and key, a line for each; nil when err is
// nil.
func App(err error) error {
	e, ok := errors.AsType[*github.AppError](err)
	if !ok {
		return err
	}
	var faults []error
	if e.ID != nil {
		faults = append(faults, fmt.Errorf("app-id: %w", e.ID))
	}
	switch {
	case errors.Is(e.Key, github.ErrNoKey):
		faults = append(faults, fmt.Errorf("app-private-key: %w; a secret that does not exist, or that this job may not read, "+
			"also arrives empty", e.Key))
	case e.Key != nil:
		faults = append(faults, fmt.Errorf("app-private-key: %w", e.Key))
	}
	return errors.Join(faults...)
}
