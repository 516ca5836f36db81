package command

import (
	"context"
	"errors"
	"io"
)

// Migrate brings the database up to date.
type Migrate struct{ Output }

// Run brings the tables of the database up to date. Of all commands only this one and serve change
// those of a database that is in use: a newer binary that is tried beside an older server must not
// take the database away from it.
func (c Migrate) Run(ctx context.Context, a *App) error {
	if !a.HaveDatabase(ctx) {
		return a.noDatabase()
	}
	_, closeStore, err := a.OpenToMigrate(ctx)
	if err != nil {
		return err
	}
	j := struct {
		Database string `json:"database"`
		Status   string `json:"status"`
	}{a.Database, "current"}
	return errors.Join(closeStore(), c.Print(a.Stdout, j, func(w io.Writer) {
		Row(w, "database", j.Database)
		Row(w, "status", j.Status)
	}))
}
