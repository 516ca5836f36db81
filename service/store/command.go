package store

import "context"

// command is a statement that gives no rows.
type command struct {
	text string
	args []any
}

// together runs commands in their order and returns how many rows each changed; with an error, each
// before the one that failed. The transaction can do nothing more then.
func (t *tx) together(ctx context.Context, commands ...command) ([]int64, error) {
	changed := make([]int64, 0, len(commands))
	for _, c := range commands {
		var n int64
		done, err := t.ExecContext(ctx, c.text, c.args...)
		if err == nil {
			n, err = done.RowsAffected()
		}
		if err != nil {
			return changed, err
		}
		changed = append(changed, n)
	}
	return changed, nil
}
