package store

import (
	"fmt"
	"strings"
)

// filter is what a list is narrowed by. A condition that was not asked for is not in the statement
// at all, so that a database finds the rows by the index of those that are; the texts that it makes
// are as many as the combinations of conditions.
type filter struct {
	conditions []string
	args       []any
}

// where adds a condition on a value, which it calls by %s, if the value is given.
func (f *filter) where(condition string, value any, given bool) {
	if given {
		f.conditions = append(f.conditions, fmt.Sprintf(condition, f.mark(value)))
	}
}

// oneOf adds values and returns their names, for IN. There are few texts of it: the last value is
// repeated up to a power of two.
func oneOf[V any](f *filter, values []V) string {
	n := 1
	for n < len(values) {
		n *= 2
	}
	marks := make([]string, n)
	for i := range marks {
		var value V // nothing has it
		if len(values) > 0 {
			value = values[min(i, len(values)-1)]
		}
		marks[i] = f.mark(value)
	}
	return strings.Join(marks, ", ")
}

// mark adds a value and returns its name in the statement.
func (f *filter) mark(value any) string {
	f.args = append(f.args, value)
	return fmt.Sprintf("$%d", len(f.args))
}

// list is the end of a statement: the conditions, the order, and the limit.
func (f *filter) list(order string, limit int) string {
	where := ""
	if len(f.conditions) > 0 {
		where = " WHERE " + strings.Join(f.conditions, " AND ")
	}
	return where + " ORDER BY " + order + " LIMIT " + f.mark(limit)
}
