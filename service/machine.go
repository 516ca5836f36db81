package main

import (
	"context"
	"io"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/parts"
)

type machineCmd struct {
	List machineList `cmd:"" help:"List the machines of an account that pageflare CLIs activated."`
	End  machineEnd  `cmd:"" help:"End a machine, with all license tokens that it has and will have."`
}

// machineJSON is how a machine is printed.
type machineJSON struct {
	ID        string  `json:"id"`
	Account   string  `json:"account"`
	MachineID string  `json:"machine_id"`
	Label     string  `json:"label"`
	Family    string  `json:"family"`
	Status    string  `json:"status"`
	CreatedAt string  `json:"created_at"`
	EndedAt   *string `json:"ended_at"`
}

func toMachineJSON(m license.Machine) machineJSON {
	return machineJSON{m.ID, m.AccountID, m.MachineID, m.Label, m.Family, m.Status(), stamp(m.CreatedAt), optional(m.EndedAt)}
}

type machineList struct {
	asJSON
	Account string `required:"" help:"Id of the account." placeholder:"ID"`
	Limit   limit  `default:"100" help:"How many to list at most."`
	After   string `help:"Continue after this id." placeholder:"ID"`
}

// Run lists the machines.
func (c machineList) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		found, err := l.Machines.Machines(ctx, c.Account, c.After, int(c.Limit))
		if err != nil {
			return refusal(err)
		}
		list := make([]machineJSON, 0, len(found))
		for _, m := range found {
			list = append(list, toMachineJSON(m))
		}
		return c.print(a.stdout, list, func(w io.Writer) {
			row(w, "ID", "MACHINE", "LABEL", "CREATED", "ENDED", "STATUS", "FAMILY")
			for _, m := range list {
				row(w, m.ID, m.MachineID, dash(m.Label), m.CreatedAt, orDash(m.EndedAt), m.Status, m.Family)
			}
		})
	})
}

type machineEnd struct {
	asJSON
	ID string `arg:"" help:"Id of the machine (mac_…)."`
}

// Run ends the machine. It holds in every running server with the next request.
func (c machineEnd) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		m, err := l.Machines.EndMachine(ctx, c.ID)
		if err != nil {
			return refusal(err)
		}
		j := toMachineJSON(m)
		return c.print(a.stdout, j, func(w io.Writer) {
			row(w, "id", j.ID)
			row(w, "account", j.Account)
			row(w, "machine", j.MachineID)
			row(w, "label", dash(j.Label))
			row(w, "family", j.Family)
			row(w, "status", j.Status)
			row(w, "ended", orDash(j.EndedAt))
		})
	})
}
