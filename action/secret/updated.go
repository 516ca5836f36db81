package secret

import (
	"context"
	"time"
)

// UpdatedAt says when a secret was last written, by one GET. ok is false when there is none, or when it cannot be told: whoever means to
// write then finds out what is wrong by writing.
func (w *Writer) UpdatedAt(ctx context.Context, target Target, name string) (at time.Time, ok bool) {
	st, _, err := w.open(ctx, target, "write")
	if err != nil {
		return time.Time{}, false
	}
	found, _, err := st.read(ctx, name)
	if err != nil {
		return time.Time{}, false
	}
	return found.UpdatedAt.Time, true
}
