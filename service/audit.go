package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/parts"
)

type auditCmd struct {
	List   auditList   `cmd:"" help:"List what was done, newest first."`
	Verify auditVerify `cmd:"" help:"Read the audit log and prove that no line was changed, added, taken out or cut off; prints its end, to be noted elsewhere."`

	AcceptClock acceptClock `cmd:"" name:"accept-clock" help:"Say that the clock of this machine is right, and was ahead when newer changes were written."`
}

// auditJSON is how a line of the audit log is printed.
type auditJSON struct {
	Seq       int64           `json:"seq"`
	At        string          `json:"at"`
	Action    audit.Action    `json:"action"`
	Actor     auditActorJSON  `json:"actor"`
	Account   string          `json:"account,omitempty"`
	Object    string          `json:"object"`
	Details   json.RawMessage `json:"details"`
	Address   string          `json:"address,omitempty"`
	RequestID string          `json:"request_id,omitempty"`
	Hash      string          `json:"hash"`
}

type auditActorJSON struct {
	Kind audit.ActorKind `json:"kind"`
	ID   string          `json:"id,omitempty"`
}

func toAuditJSON(l audit.Line) auditJSON {
	return auditJSON{
		l.Seq, stamp(l.At), l.Action, auditActorJSON{l.Actor.Kind, l.Actor.ID}, l.Account, l.Object, json.RawMessage(l.Details), l.Actor.Address,
		l.Actor.RequestID, l.Hash,
	}
}

type auditList struct {
	asJSON
	Limit   limit  `default:"100" help:"How many to list at most."`
	Before  int64  `help:"Continue before this number, to older ones." placeholder:"NUMBER"`
	Account string `help:"Only what was done to this account." placeholder:"ID"`
	Action  string `help:"Only this action, such as token.revoke." placeholder:"ACTION"`
	Actor   string `help:"Only what was done by this one: the id of a token, a session or an account, or the name of a user of the command line." placeholder:"ID"`
}

// Run lists the lines.
func (c auditList) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Log.Lines(ctx, audit.Query{
			Before: c.Before, Limit: int(c.Limit), Account: c.Account, Action: audit.Action(c.Action), Actor: c.Actor,
		})
		if err != nil {
			return refusal(err)
		}
		list := make([]auditJSON, 0, len(found))
		for _, x := range found {
			list = append(list, toAuditJSON(x))
		}
		return c.print(a.stdout, list, func(w io.Writer) {
			row(w, "NUMBER", "AT", "ACTION", "BY", "FROM", "OBJECT", "DETAILS")
			for _, x := range list {
				row(w, x.Seq, x.At, x.Action, strings.TrimSpace(string(x.Actor.Kind)+" "+x.Actor.ID), dash(x.Address), x.Object, string(x.Details))
			}
		})
	})
}

type auditVerify struct {
	asJSON
	From  string `help:"An end that was verified before, as NUMBER:HASH: only its line and what came after it are read." placeholder:"END"`
	Noted string `help:"An end that was printed before, as NUMBER:HASH: the log must still contain it." placeholder:"END"`
}

// Run verifies the log. Exit status 1: it was changed.
func (c auditVerify) Run(ctx context.Context, a *app) error {
	var check audit.Check
	for _, end := range []struct {
		flag, text string
		into       *audit.Head
	}{{"--from", c.From, &check.From}, {"--noted", c.Noted, &check.Noted}} {
		var err error
		if *end.into, err = audit.ParseHead(end.text); err != nil {
			return usagef("%s: %w", end.flag, err)
		}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		head, err := l.Log.Verify(ctx, check)
		if errors.Is(err, audit.ErrTampered) {
			return fmt.Errorf("%w: compare with a backup, and find out who can write to the database", err)
		}
		if err != nil {
			return refusal(err)
		}
		j := struct {
			Status string `json:"status"`
			Lines  int64  `json:"lines"`
			End    string `json:"end"`
		}{"whole", head.Seq, head.String()}
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "status", j.Status)
			row(w, "lines", j.Lines)
			row(w, "end", j.End)
		})
	})
}

type acceptClock struct{ asJSON }

// Run lets the service go by the clock of now, after one that was ahead was corrected.
func (c acceptClock) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		newest, err := l.Log.AcceptClock(ctx)
		if err != nil {
			return refusal(err)
		}
		j := struct {
			Newest string `json:"newest"`
			Now    string `json:"now"`
		}{second(newest), second(time.Now())}
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "newest change was at", j.Newest)
			row(w, "the clock says", j.Now)
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
