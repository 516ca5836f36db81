package main

import (
	"context"
	"errors"
	"io"

	"github.com/pageflare/ci/service/store"
)

type migrateCmd struct{ asJSON }

// Run brings the tables of the database up to date. Of all commands only this one and serve change those of a database that is in use: a newer binary
// that is tried beside an older server must not take the database away from it.
func (c migrateCmd) Run(ctx context.Context, a *app) error {
	if !a.haveDatabase() {
		return usagef("there is no database at %s: run this in the folder of the server, or set LICENSE_DATABASE_URL", hideUserInfo(a.cfg.DatabaseURL))
	}
	_, closeStore, err := a.open(ctx, store.Open, a.publicURL(a.cfg.Listen), nil)
	if err != nil {
		return err
	}
	j := struct {
		Database string `json:"database"`
		Status   string `json:"status"`
	}{hideUserInfo(a.cfg.DatabaseURL), "current"}
	return errors.Join(closeStore(), c.print(a.stdout, j, func(w io.Writer) {
		row(w, "database", j.Database)
		row(w, "status", j.Status)
	}))
}
