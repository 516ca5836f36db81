package command

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/show"
)

// Rotation is the commands of managed rotation.
type Rotation struct {
	Add    rotationAdd    `cmd:"" help:"Keep the license token in secrets of a repository or an organization fresh: the service writes a new one long before the old one expires."`
	List   rotationList   `cmd:"" help:"List the secrets that are kept fresh: when each was written last, when it is written next, and why it could not be."`
	Run    rotationRun    `cmd:"" help:"Write now what is due and what failed, or all secrets of one rotation. Exit status 1 when something failed."`
	Remove rotationRemove `cmd:"" help:"Stop keeping secrets fresh. The secrets stay as they are."`
}

type rotationAdd struct {
	Output
	Account      string   `required:"" help:"Id of the account whose license is used." placeholder:"ID"`
	Repository   string   `help:"The repository. GitHub is asked for its id, which is what counts from then on." placeholder:"OWNER/NAME"`
	Organization string   `help:"An organization instead, whose secrets of its own are meant." placeholder:"NAME"`
	FromFile     string   `help:"File with a repository OWNER/NAME in each line, or CSV with the columns repository, organization, target and secret_name; - is standard input. Each line is added for itself." placeholder:"FILE"`
	Target       []string `sep:"none" help:"Where the secret is: repository (the default), environment:NAME, organization:NAME; the first and the last also with dependabot/ or codespaces/ before them. Can be given several times." placeholder:"TARGET"`
	SecretName   string   `help:"Name of the secret." default:"PAGEFLARE_TOKEN" placeholder:"NAME"`
	DryRun       bool     `help:"Look whether it could be done, and store nothing."`
}

// Run adds the rotation, or those of a file.
func (c rotationAdd) Run(ctx context.Context, a *App) error {
	base := rotation.NewRotation{
		Account: c.Account, Repository: c.Repository, Organization: c.Organization, Targets: c.Target, SecretName: c.SecretName,
	}
	if c.FromFile != "" {
		if c.Repository != "" || c.Organization != "" {
			return Usagef("--from-file names the repositories: leave --repository and --organization out")
		}
		return c.addFile(ctx, a, base)
	}
	var made rotation.Rotation
	err := a.withGitHub(ctx, func(ctx context.Context, l *parts.Parts) (err error) {
		made, err = c.add(ctx, l, base)
		return err
	})
	if err != nil {
		return refusal(err)
	}
	j := show.Rotation(made, time.Now())
	return c.Print(a.Stdout, j, func(w io.Writer) { rotationText(w, j) })
}

func (c rotationAdd) add(ctx context.Context, l *parts.Parts, n rotation.NewRotation) (rotation.Rotation, error) {
	if c.DryRun {
		return l.Rotation.Check(ctx, n)
	}
	return l.Rotation.Add(ctx, n)
}

// addFile adds what the lines of a file name, each for itself: what is added stays, also when another
// line is wrong, and the file can be given again.
func (c rotationAdd) addFile(ctx context.Context, a *App, base rotation.NewRotation) error {
	text, err := a.file(c.FromFile)
	if err != nil {
		return err
	}
	list, lines, err := readRotations(text, base)
	if err != nil {
		return UsageError{prefixed("--from-file", err)}
	}
	var made []rotation.Rotation
	var faults []error
	err = a.withGitHub(ctx, func(ctx context.Context, l *parts.Parts) error {
		for i, n := range list {
			r, err := c.add(ctx, l, n)
			if err != nil {
				faults = append(faults, prefixed(fmt.Sprintf("--from-file: line %d", lines[i]), err))
			} else {
				made = append(made, r)
			}
			if errors.Is(err, rotation.ErrNoAnswer) || ctx.Err() != nil { // the next line would meet the same
				faults = append(faults, fmt.Errorf("--from-file: the lines after %d were not looked at", lines[i]))
				break
			}
		}
		return nil
	})
	if err != nil {
		return refusal(err)
	}
	now := time.Now()
	j := show.Each(made, func(r rotation.Rotation) api.Rotation { return show.Rotation(r, now) })
	return errors.Join(c.Print(a.Stdout, j, func(w io.Writer) { rotationRows(w, j) }), errors.Join(faults...))
}

var rotationColumns = []string{"repository", "organization", "target", "secret_name"}

// readRotations reads a file of repositories as readPolicies does. Of target there may be several,
// separated by |.
func readRotations(text string, base rotation.NewRotation) (out []rotation.NewRotation, lines []int, err error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	head := []string{"repository"}
	var faults []error
	for first := true; ; first = false {
		record, err := r.Read()
		if record == nil {
			if err != nil && !errors.Is(err, io.EOF) {
				faults = append(faults, err)
			}
			break
		}
		line, _ := r.FieldPos(0)
		if first && (slices.Contains(record, "repository") || slices.Contains(record, "organization")) {
			head = record
			for i, name := range head {
				if !slices.Contains(rotationColumns, name) || slices.Contains(head[:i], name) {
					faults = append(faults, fmt.Errorf("line %d: %q is not a column, or there twice: give some of %s", line, name, strings.Join(rotationColumns, ",")))
				}
			}
			continue
		}
		if len(record) > len(head) {
			faults = append(faults, fmt.Errorf("line %d: it has %d values for the columns %s", line, len(record), strings.Join(head, ",")))
			continue
		}
		out, lines = append(out, rotationOf(head, record, base)), append(lines, line)
	}
	if len(out) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("no line names a repository"))
	}
	return out, lines, errors.Join(faults...)
}

// rotationOf is what a line stands for.
func rotationOf(head, record []string, base rotation.NewRotation) rotation.NewRotation {
	n := base
	for i, value := range record {
		if value = strings.TrimSpace(value); value == "" {
			continue
		}
		switch head[i] {
		case "repository":
			n.Repository = value
		case "organization":
			n.Organization = value
		case "target":
			n.Targets = strings.Split(value, "|")
		case "secret_name":
			n.SecretName = value
		}
	}
	return n
}

// rotationText is a rotation, for people.
func rotationText(w io.Writer, j api.Rotation) {
	Row(w, "id", dash(j.ID))
	Row(w, "account", j.Account)
	if j.Repository == "" {
		Row(w, "organization", j.Owner)
	} else {
		Row(w, "repository", j.Repository)
		Row(w, "repository id", j.RepositoryID)
	}
	Row(w, "owner id", j.OwnerID)
	Row(w, "secret", j.SecretName)
	for _, t := range j.Targets {
		Row(w, "target", t.Target)
	}
}

type rotationList struct {
	Output
	Account    string `help:"Only those of this account." placeholder:"ID"`
	Repository string `help:"Only those of this repository." placeholder:"OWNER/NAME"`
	Limit      limit  `default:"100" help:"How many to list at most."`
	After      string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the rotations.
func (c rotationList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Rotation.Rotations(ctx, rotation.Query{
			Account: c.Account, Repository: c.Repository, After: c.After, Limit: c.Limit.andOne(),
		})
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.Rotations(found, int(c.Limit), time.Now())
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) { rotationRows(w, page.Items) })
	})
}

// rotationRows is a table of targets.
func rotationRows(w io.Writer, list []api.Rotation) {
	Row(w, "ID", "REPOSITORY", "TARGET", "SECRET", "STATE", "LAST WRITTEN", "NEXT", "WHY")
	for _, r := range list {
		where := r.Repository
		if where == "" {
			where = r.Owner
		}
		for _, t := range r.Targets {
			why := r.Reason
			if f := t.Failure; f != nil && why == "" {
				why = f.Message + ": " + f.Remedy
			}
			Row(w, dash(r.ID), where, t.Target, r.SecretName, t.State, orDash(t.WrittenAt), nextText(t), dash(why))
		}
	}
}

// nextText is when a target is written next.
func nextText(t api.RotationTarget) string {
	if t.State == string(rotation.IsDue) {
		return "now"
	}
	return orDash(t.NextAt)
}

type rotationRun struct {
	Output
	ID     string `arg:"" optional:"" help:"Id of a rotation, whose secrets are written whether they are due or not. Without it: what is due, and what failed."`
	DryRun bool   `help:"Say what would be written, and whether GitHub would let it; write nothing."`
}

// Run writes what is due.
func (c rotationRun) Run(ctx context.Context, a *App) error {
	list := []rotatedTarget{}
	failed := 0
	err := a.withGitHub(ctx, func(ctx context.Context, l *parts.Parts) error {
		return l.Rotation.RunNow(ctx, c.ID, c.DryRun, func(d rotation.Done) {
			list = append(list, rotated(d))
			if d.Outcome == rotation.Failed {
				failed++
			}
		})
	})
	fault := c.Print(a.Stdout, list, func(w io.Writer) { rotatedRows(w, list) })
	switch {
	case err != nil:
		return errors.Join(refusal(err), fault)
	case failed > 0 && fault == nil:
		return fmt.Errorf("%d of %d secrets could not be written", failed, len(list))
	}
	return fault
}

// rotatedTarget is what became of a secret in a run.
type rotatedTarget struct {
	Rotation   string               `json:"rotation"`
	Account    string               `json:"account"`
	Repository string               `json:"repository"`
	Target     string               `json:"target"`
	Outcome    string               `json:"outcome"`
	Jti        string               `json:"jti,omitempty"`
	ExpiresAt  *string              `json:"expires_at,omitempty"`
	NextAt     *string              `json:"next_at,omitempty"`
	Failure    *api.RotationFailure `json:"failure,omitempty"`
}

func rotated(d rotation.Done) rotatedTarget {
	return rotatedTarget{
		Rotation: d.ID, Account: d.AccountID, Repository: d.Repository, Target: d.Work.Target.Name, Outcome: string(d.Outcome), Jti: string(d.JTI),
		ExpiresAt: show.Optional(d.ExpiresAt), NextAt: show.Optional(d.Next), Failure: show.RotationFailure(d.Failure),
	}
}

func rotatedRows(w io.Writer, list []rotatedTarget) {
	if len(list) == 0 {
		Row(w, "nothing is due")
		return
	}
	Row(w, "ROTATION", "REPOSITORY", "TARGET", "OUTCOME", "TOKEN", "NEXT", "WHY")
	for _, t := range list {
		why := ""
		if f := t.Failure; f != nil {
			why = f.Message + ": " + f.Remedy
		}
		Row(w, t.Rotation, dash(t.Repository), t.Target, t.Outcome, dash(t.Jti), orDash(t.NextAt), dash(why))
	}
}

type rotationRemove struct {
	Output
	Confirm
	ID         string `arg:"" help:"Id of the rotation."`
	WithTokens bool   `help:"Also every license token that was written for it: the secrets then hold a dead one."`
}

// Run removes the rotation.
func (c rotationRemove) Run(ctx context.Context, a *App) error {
	if c.WithTokens {
		if err := c.confirm(a, "Rotation %s ends, with every license token that was written for it", c.ID); err != nil {
			return err
		}
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		families, err := l.Rotation.Remove(ctx, c.ID, c.WithTokens)
		if err != nil {
			return refusal(err)
		}
		j := api.RemovedRotation{ID: c.ID, Status: "removed", FamiliesRevoked: families}
		err = c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "status", j.Status)
			if c.WithTokens {
				Row(w, "families revoked", j.FamiliesRevoked)
			}
		})
		if err == nil && !c.JSON {
			_, err = fmt.Fprintln(a.Stderr, "note: the secrets at GitHub are as they were: nobody writes to them any more but your workflows")
		}
		return err
	})
}

// withGitHub is with, for what makes tokens at GitHub: they are ended when f has.
func (a *App) withGitHub(ctx context.Context, f func(context.Context, *parts.Parts) error) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		err := f(ctx, l)
		if fault := l.App.Revoke(ctx); fault != nil {
			fmt.Fprintf(a.Stderr, "warning: %v\n", fault)
		}
		return err
	})
}
