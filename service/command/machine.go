package command

import (
	"context"
	"io"

	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/show"
)

// Machine is the commands of machines.
type Machine struct {
	List machineList `cmd:"" help:"List the machines of an account that pageflare CLIs activated."`
	End  machineEnd  `cmd:"" help:"End a machine, with all license tokens that it has and will have."`
}

type machineList struct {
	Output
	Account string `required:"" help:"Id of the account." placeholder:"ID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	After   string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the machines.
func (c machineList) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Machines.Machines(ctx, c.Account, c.After, c.Limit.andOne())
		if err != nil {
			return listRefusal("--after", err)
		}
		page := show.Machines(found, int(c.Limit))
		return c.PrintPage(a, page, "--after", page.NextCursor, func(w io.Writer) {
			Row(w, "ID", "MACHINE", "LABEL", "CREATED", "ENDED", "STATUS", "FAMILY")
			for _, m := range page.Items {
				Row(w, m.ID, m.MachineID, dash(m.Label), m.CreatedAt, orDash(m.EndedAt), m.Status,
					m.Family)
			}
		})
	})
}

type machineEnd struct {
	Output
	Confirm
	ID string `arg:"" help:"Id of the machine (mac_…)."`
}

// Run ends the machine. It holds in every running server within 250 ms.
func (c machineEnd) Run(ctx context.Context, a *App) error {
	if err := c.confirm(a, "Machine %s ends, with all license tokens that it has and will have", c.ID); err != nil {
		return err
	}
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		m, err := l.Machines.EndMachine(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		j := show.Machine(m)
		return c.Print(a.Stdout, j, func(w io.Writer) {
			Row(w, "id", j.ID)
			Row(w, "account", j.Account)
			Row(w, "machine", j.MachineID)
			Row(w, "label", dash(j.Label))
			Row(w, "family", j.Family)
			Row(w, "status", j.Status)
			Row(w, "ended", orDash(j.EndedAt))
		})
	})
}
