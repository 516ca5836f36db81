package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Audit is the commands of the audit log.
type Audit struct {
	List   auditList   `cmd:"" help:"List what was done, newest first."`
	Verify auditVerify `cmd:"" help:"Read the audit log and prove that no line was changed, added, taken out or cut off; prints its end, to be noted elsewhere."`

	AcceptClock acceptClock `cmd:"" name:"accept-clock" help:"Say that the clock of this machine is right, and was ahead when newer changes were written."`
}

type auditList struct {
	Output
	Limit   limit  `default:"100" help:"How many to list at most."`
	Before  int64  `help:"Continue before this number, to older ones." placeholder:"NUMBER"`
	Account string `help:"Only what was done to this account." placeholder:"ID"`
	Action  string `help:"Only this action, such as token.revoke." placeholder:"ACTION"`
	Actor   string `help:"Only what was done by this one: the id of a token, a session or an account, or the name of a user of the command line." placeholder:"ID"`
	Since   moment `help:"Only from this time on: a date, a time, or how long ago, such as 24h or 7d." placeholder:"TIME"`
	Until   moment `help:"Only before this time." placeholder:"TIME"`

	Repository string `help:"Only what was done for this repository: its id, or the name OWNER/NAME that a job of it had." placeholder:"REPOSITORY"`
}

// moment is a time that a person gives: a date, its start in UTC; a time of RFC 3339; or how long
// ago.
type moment struct{ time.Time }

// UnmarshalText reads 2027-03-12, 2027-03-12T12:00:00Z, 24h or 7d.
func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.Time, err = account.ParseDay(string(text)); err == nil {
		return nil
	}
	ago, err := api.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a time: give one such as 2027-03-12, 2027-03-12T12:00:00Z, 24h or 7d", text)
	}
	m.Time = time.Now().Add(-ago)
	return nil
}

// Run lists the lines.
func (c auditList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Log.Lines(ctx, audit.Query{
			Before: c.Before, Limit: c.Limit.andOne(), Account: c.Account, Action: audit.Action(c.Action), Actor: c.Actor,
			Since: c.Since.Time, Until: c.Until.Time, Repository: c.Repository,
		})
		if err != nil {
			return refusal(err)
		}
		page := show.Lines(found, int(c.Limit))
		return c.PrintPage(a, page, "--before", page.NextCursor, func(w io.Writer) {
			Row(w, "NUMBER", "AT", "ACTION", "BY", "FROM", "OBJECT", "DETAILS")
			for _, x := range page.Items {
				Row(w, x.Seq, x.At, x.Action, strings.TrimSpace(x.Actor.Kind+" "+x.Actor.ID),
					dash(x.Address), x.Object, string(x.Details))
			}
		})
	})
}

type auditVerify struct {
	Output
	From         string `help:"An end that was verified before, as NUMBER:HASH: only its line and what came after it are read." placeholder:"END"`
	ExpectedHead string `help:"An end that was printed before, as NUMBER:HASH: the log must still contain it." placeholder:"END"`
}

// Run verifies the log. Exit status 1: it was changed.
func (c auditVerify) Run(ctx context.Context, a *App) error {
	var check audit.Check
	for _, end := range []struct {
		flag, text string
		into       *audit.Head
	}{{"--from", c.From, &check.From}, {"--expected-head", c.ExpectedHead, &check.Expected}} {
		var err error
		if *end.into, err = audit.ParseHead(end.text); err != nil {
			return Usagef("%s: %w", end.flag, err)
		}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		proof, err := l.Log.Verify(ctx, check)
		if errors.Is(err, audit.ErrTampered) {
			return fmt.Errorf("%w: compare with a backup, and find out who can write to the database", err)
		}
		if err != nil {
			return refusal(err)
		}
		j := struct {
			Status       string           `json:"status"`
			Lines        int64            `json:"lines"`
			End          string           `json:"end"`
			ContentsFrom int64            `json:"contents_from"`
			Pruned       api.AuditPruning `json:"pruned,omitzero"`
		}{"intact", proof.Seq, proof.String(), proof.ContentsFrom(check), show.Pruning(proof.Pruned)}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "status", j.Status)
			Row(w, "lines", j.Lines)
			Row(w, "end", j.End)
			if p := j.Pruned; p.Records > 0 {
				Row(w, "pruned", fmt.Sprintf("records of lines %d to %d, the last at %s", p.From, p.Through, p.At))
				Row(w, "contents proved from line", j.ContentsFrom)
			}
		})
	})
}

type acceptClock struct{ Output }

// Run lets the service go by the clock of now, after one that was ahead was corrected.
func (c acceptClock) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		newest, err := l.Log.AcceptClock(ctx)
		if err != nil {
			return refusal(err)
		}
		j := struct {
			Newest string `json:"newest"`
			Now    string `json:"now"`
		}{show.Time(newest), show.Time(time.Now())}
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "newest change was at", j.Newest)
			Row(w, "the clock says", j.Now)
		})
	})
}

// commandLine is who acts on the command line: the user of the operating system.
func commandLine() audit.Actor {
	who := audit.Actor{Kind: audit.ActorCommand}
	if u, err := user.Current(); err == nil && u.Username != "" {
		who.ID = u.Username
	} else if uid := os.Getuid(); uid >= 0 { // as in a container: the number has no name
		who.ID = "uid " + strconv.Itoa(uid)
	}
	return who
}
