package command

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/schollz/progressbar/v3"

	"github.com/pageflare/ci/service/audit"
)

// MigrateEngine moves the database to the other engine.
type MigrateEngine struct {
	Output
	From string `required:"" placeholder:"URL" help:"The database to move: sqlite:PATH or postgres://…; - reads the URL from standard input."`
	To   string `required:"" placeholder:"URL" help:"Where to, of the other engine: an empty database, or what an interrupted move left; - reads the URL from standard input."`
}

// Moved is a database that was moved.
type Moved struct {
	From, To string // without passwords
	Tables   []MovedTable
	Audit    audit.Head
	Resumed  bool
}

// MovedTable is a table that is the same on both sides.
type MovedTable struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"`
}

// Run moves the database. The service must not run: its writes would be refused meanwhile, and lost
// to the new database afterwards.
func (c MigrateEngine) Run(ctx context.Context, a *App) error {
	if err := c.readURLs(a.Stdin); err != nil {
		return err
	}
	if addr := a.Runs(ctx); addr != "" {
		return Usagef("migrate-engine: a License service answers at %s: stop it first, and every other one on this database", addr)
	}
	report := progressLines(a.Stderr)
	if a.Watched && !c.JSON {
		report = progressBar(a.Stderr)
	}
	moved, err := a.Move(ctx, c.From, c.To, report)
	if errors.Is(err, context.Canceled) {
		return errors.New("migrate-engine: interrupted: the source is as it was, and the target not usable yet; " +
			"run the same command again, and it goes on where this one ended")
	}
	if err != nil {
		return err
	}
	return c.Print(a.Stdout, moved.json(), moved.text)
}

// readURLs reads the one that is -, which need not stand on a command line with its password.
func (c *MigrateEngine) readURLs(stdin io.Reader) error {
	if c.From == "-" && c.To == "-" {
		return Usagef("migrate-engine: one of --from and --to can be -, not both")
	}
	for _, url := range []*string{&c.From, &c.To} {
		if *url != "-" {
			continue
		}
		if *url = line(stdin); *url == "" {
			return Usagef("migrate-engine: standard input has no URL")
		}
	}
	return nil
}

type movedJSON struct {
	From    string       `json:"from"`
	To      string       `json:"to"`
	End     string       `json:"audit_end"`
	Rows    int64        `json:"rows"`
	Resumed bool         `json:"resumed"`
	Tables  []MovedTable `json:"tables"`
}

func (m Moved) json() movedJSON {
	j := movedJSON{From: m.From, To: m.To, End: m.Audit.String(), Resumed: m.Resumed, Tables: m.Tables}
	for _, t := range m.Tables {
		j.Rows += t.Rows
	}
	return j
}

func (m Moved) text(w io.Writer) {
	j := m.json()
	Row(w, "from", j.From)
	Row(w, "to", j.To)
	Row(w, "tables", len(j.Tables))
	Row(w, "rows", j.Rows)
	Row(w, "compared", "all rows of all tables are the same on both sides")
	Row(w, "end of the audit log", j.End)
	Row(w, "next", "1. prove it: pageflare-license audit verify --expected-head "+j.End+", with the settings of 2")
	Row(w, "", "2. set LICENSE_DATABASE_URL to the URL of --to on every replica, and LICENSE_KEY to the same key as before")
	Row(w, "", "3. start the service, and keep the old database as a backup: nothing that is written to it from now on is in the new one")
}

// Progress is how far a move is.
type Progress struct {
	Table       string
	Done, Total int64
}

// progressBar draws a bar for a person.
func progressBar(w io.Writer) func(Progress) {
	var bar *progressbar.ProgressBar
	return func(p Progress) {
		if bar == nil {
			bar = progressbar.NewOptions64(p.Total, progressbar.OptionSetWriter(w), progressbar.OptionFullWidth(),
				progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
		}
		bar.Describe(p.Table)
		_ = bar.Set64(min(p.Done, p.Total)) // what cannot be drawn is no reason to stop
	}
}

// progressLines writes a line for each tenth of the way.
func progressLines(w io.Writer) func(Progress) {
	tenth := int64(0)
	return func(p Progress) {
		if now := p.Done * 10 / max(p.Total, 1); now > tenth {
			tenth = now
			fmt.Fprintf(w, "moved %d %%: %d of %d rows copied and compared, now in table %s\n", now*10, p.Done/2, p.Total/2, p.Table)
		}
	}
}
