package audit

import (
	"context"
	"time"
)

// Pruned is the line about records that are taken away: those with numbers from one to another,
// which were made before a time. Their hashes stay in the chain.
func (log *Log) Pruned(ctx context.Context, from, through int64, before time.Time) Act {
	return log.Act(ctx, RecordsPruned, "", "", Details{"from": from, "through": through, "before": before.Unix()})
}
