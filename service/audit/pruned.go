package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"time"
)

// Records of tokens are pruned one day. The hash of a block covers the digest of its records, so
// that what comes after it is proved all the same; and the line that says so is the proof that it was
// the service that pruned them. A block without records is in order exactly when such a line comes
// after it.

// Pruned is what verified lines say was pruned, of what was read of a log.
type Pruned struct {
	Records       int64     // 0: nothing was
	From, Through int64     // numbers of the first and the last
	At            time.Time // when the last were
}

// PruneAct is the act of taking away the records with numbers from one to another, which were made
// before a time.
func (log *Log) PruneAct(ctx context.Context, from, through int64, before time.Time) Act {
	return log.Act(ctx, RecordsPruned, "", "", Details{"from": from, "through": through, "before": before.Unix()})
}

// prunedBy is what a line of RecordsPruned says.
func prunedBy(l Line) (span, error) {
	var s struct {
		From    int64 `json:"from"`
		Through int64 `json:"through"`
	}
	if err := json.Unmarshal([]byte(l.Details), &s); err != nil {
		return span{}, fmt.Errorf("line %d does not say what was pruned: %w", l.Seq, err)
	}
	return span{s.From, s.Through}, nil
}

// span is numbers of records, first and last among them.
type span struct{ from, through int64 }

func (s span) missing() error {
	return tampered("the records of lines %d to %d are missing, and no line says that they were pruned", s.from, s.through)
}

// pruned says whether an entry is a block without its records.
func (e Entry) pruned() bool { return e.Block != nil && e.Block.Body == nil }

// note follows what was pruned.
func (w *walker) note(e Entry) error {
	switch {
	case e.pruned():
		if last := len(w.missing) - 1; last >= 0 && w.missing[last].through+1 == e.First() {
			w.missing[last].through = e.Seq
			return nil
		}
		w.missing = append(w.missing, span{e.First(), e.Seq})
	case e.Block == nil && e.Action == RecordsPruned:
		said, err := prunedBy(e.Line)
		if err != nil {
			return err
		}
		w.explain(said, e.At)
	}
	return nil
}

// explain takes what a line says was pruned at a time out of what is missing, which is in order.
func (w *walker) explain(said span, at time.Time) {
	begin := sort.Search(len(w.missing), func(i int) bool { return w.missing[i].through >= said.from })
	end := begin
	var left []span
	for ; end < len(w.missing) && w.missing[end].from <= said.through; end++ {
		m := w.missing[end]
		gone := span{max(m.from, said.from), min(m.through, said.through)}
		w.pruned.add(gone, at)
		for _, rest := range []span{{m.from, gone.from - 1}, {gone.through + 1, m.through}} {
			if rest.from <= rest.through {
				left = append(left, rest)
			}
		}
	}
	if begin == 0 && len(left) == 0 { // most often: the oldest are pruned first
		w.missing = w.missing[end:]
		return
	}
	w.missing = slices.Replace(w.missing, begin, end, left...)
}

func (p *Pruned) add(s span, at time.Time) {
	if p.Records == 0 {
		p.From = s.from
	}
	p.Records += s.through - s.from + 1
	p.From, p.Through, p.At = min(p.From, s.from), max(p.Through, s.through), at
}

// ContentsFrom is the number of the line from which on it was proved what every line says.
func (p Proof) ContentsFrom(c Check) int64 { return max(1, c.From.Seq, p.Pruned.Through+1) }

// unexplained says what is missing. ErrTampered.
func (w *walker) unexplained() error {
	if len(w.missing) == 0 {
		return nil
	}
	return w.missing[0].missing()
}
