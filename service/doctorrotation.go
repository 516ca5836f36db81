package main

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/rotation"
)

// checkRotation says how the secrets under managed rotation are doing. Nothing is said where there
// are none.
func (a *app) checkRotation(ctx context.Context, in inside) (out []finding) {
	const what = "rotation"
	if in.err != nil {
		return nil
	}
	err := a.commands.WithNew(ctx, func(ctx context.Context, l *parts.Parts) error {
		stock, err := l.Rotation.Stock(ctx)
		if err != nil {
			return err
		}
		all, failing := int64(0), stock.States[rotation.Failing]+stock.States[rotation.Halted]
		for _, n := range stock.States {
			all += n
		}
		switch {
		case all == 0:
		case failing > 0:
			out = append(out, warned(what, fmt.Sprintf("%d of %d secrets at GitHub cannot be written, or are written no more: see `pageflare-license rotation list` for the remedy of each",
				failing, all)))
		case stock.Overdue > 0:
			out = append(out, warned(what, fmt.Sprintf("%d of %d secrets at GitHub were to be written an hour ago: GitHub's limits are waited for, or no server runs on this database; its log says which",
				stock.Overdue, all)))
		default:
			out = append(out, well(what, fmt.Sprintf("%d secrets at GitHub are kept fresh; %d are to be written now", all, stock.States[rotation.IsDue])))
		}
		return nil
	})
	if err != nil {
		out = append(out, wrong(what, oneLine(err.Error())))
	}
	return out
}
