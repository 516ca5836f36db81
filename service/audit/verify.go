package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pageflare/ci/service/failure"
)

// Anyone who can write the database, but has not the key, can delete lines at the end of the audit log
// and say that it ends earlier. So the end is sealed with the key, by every transaction that adds
// lines. What is left to such a person is an older database that they have kept, seal and all: an
// end that was noted down elsewhere finds that too.

// Head is the end of the log. Noted down elsewhere, it proves later that nothing was cut off.
type Head struct {
	Seq  int64
	Hash string // empty while the log is empty
}

// String is NUMBER:HASH, the form in which people note it down.
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseHead reads NUMBER:HASH; an empty text is the start of the log. ErrInvalid.
func ParseHead(text string) (Head, error) {
	if text == "" {
		return Head{}, nil
	}
	number, hash, _ := strings.Cut(text, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || len(hash) != hex.EncodedLen(sha256.Size) {
		return Head{},
			failure.Invalid(fmt.Sprintf("%q is not an end of the audit log such as 12:5f0c… (NUMBER:HASH, as its verification tells it)", text))
	}
	return Head{n, hash}, nil
}

// End is what the database has at the end of the log, of one moment.
type End struct {
	Head
	Seal   string // see Act.Seal; empty until it is sealed for the first time
	Last   Entry  // the newest entry that is not behind the head; its Seq is 0 when there is none
	Before string // the hash of the entry before that one
	Stray  *int64 // number of a line that is not from 1 to the head; nil: there is none
	Used   bool   // there are accounts or signing keys: each left a line when it was made
}

// ErrTampered says that the audit log is not as it was written; the error that wraps it says where.
var ErrTampered = errors.New("the audit log was changed")

func tampered(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrTampered}, args...)...)
}

// sealEnd seals the end of the log of a new database. Any other log without a seal was tampered
// with and stays so: Verify says it, and all else goes on.
func (log *Log) sealEnd(ctx context.Context) error {
	e, err := log.store.AuditEnd(ctx)
	if err == nil && e.Seal == "" {
		err = log.store.SealAuditEnd(ctx, func(e End) string {
			if !neverSealed(e) {
				return ""
			}
			return Act{key: log.key}.Seal(e.Head)
		})
	}
	if errors.Is(err, ErrTampered) {
		return nil
	}
	return err
}

// neverSealed tells a log that cannot have had a seal: an empty one beside nothing else.
func neverSealed(e End) bool { return e.Head == (Head{}) && e.Stray == nil && !e.Used }

// CheckEnd looks at the end of the log alone and returns it: quick, however long the log is.
// ErrTampered: lines were cut off there, or added.
func (log *Log) CheckEnd(ctx context.Context) (Head, error) {
	e, err := log.store.AuditEnd(ctx)
	if err != nil {
		return Head{}, err
	}
	return e.Head, log.checkEnd(e)
}

// checkEnd is the rule for an end. ErrTampered.
func (log *Log) checkEnd(e End) error {
	switch {
	case e.Stray != nil:
		return tampered("line %d is none that was written here, where the last is line %d",
			*e.Stray, e.Seq)
	case e.Last.Seq != e.Seq:
		return tampered("line %d, its last, is missing", e.Seq)
	case e.Last.Hash != e.Hash:
		return tampered("its end is noted with another hash")
	case e.Seq > 0 && !log.Follows(e.Last, e.Before):
		return tampered("%s, or what stood before was replaced", e.Last.changed())
	case e.Last.pruned(): // the line about it would come after it
		return span{e.Last.First(), e.Last.Seq}.missing()
	case e.Seq == 0 && e.Used:
		return tampered("it is empty, and there are accounts or signing keys, whose lines were there")
	case !Act{key: log.key}.Sealed(e.Head, e.Seal):
		return tampered("line %d was made its end by other means: what stood behind that may have been cut off", e.Seq)
	}
	return nil
}

// Follows says whether an entry is as it was written, behind one with the given hash.
func (log *Log) Follows(e Entry, previous string) bool {
	return Act{key: log.key}.Follows(e, previous)
}

// auditPage is how many lines are verified at a time.
const auditPage = 1000

// Check says what of the log is read, and what it is held against.
type Check struct {
	From     Head // an end that was verified before: its line is read, and what came after it; empty: the whole log
	Expected Head // an end that was returned before: the log must still contain it, so that nothing was cut off behind it; empty: none
}

// Proof is what was read of a log, up to its end or to the first entry that is not as it was written.
type Proof struct {
	Head
	Pruned Pruned
}

// Verify reads the audit log and returns its end. ErrTampered: a line was changed, added or taken
// away. ErrInvalid: the end that was noted is not in the part to be read.
func (log *Log) Verify(ctx context.Context, c Check) (Proof, error) {
	if c.Expected.Seq > 0 && c.Expected.Seq < c.From.Seq {
		return Proof{},
			fmt.Errorf("%w: line %d is expected, and what is read begins at line %d",
				failure.ErrInvalid, c.Expected.Seq, c.From.Seq)
	}
	w := walker{log: log, check: c}
	end, err := w.walkToEnd(ctx)
	proof := Proof{w.at, w.pruned}
	if err != nil {
		return proof, err
	}
	for _, known := range []Head{c.From, c.Expected} {
		if w.at.Seq < known.Seq {
			return proof, tampered("it ends at line %d, and line %d was there", w.at.Seq, known.Seq)
		}
	}
	if err := log.checkEnd(end); err != nil {
		return proof, err
	}
	return proof, w.unexplained()
}

// walker reads the log.
type walker struct {
	log    *Log
	check  Check
	at     Head // the last entry that is as it was written
	pruned Pruned
	// missing is the records that are not there and of which no line has said yet that they were
	// pruned
	missing []span
}

// walkToEnd reads the log up to its end, and returns that. What comes while it reads is not its
// business, unless records are pruned meanwhile: then the line about it is among that.
func (w *walker) walkToEnd(ctx context.Context) (end End, err error) {
	if end, err = w.log.store.AuditEnd(ctx); err != nil {
		return end, err
	}
	if w.at, err = w.log.entryBefore(ctx, min(w.check.From.Seq, end.Seq)); err != nil {
		return end, err
	}
	for {
		if err := w.walk(ctx, end.Seq); err != nil || len(w.missing) == 0 {
			return end, err
		}
		later, err := w.log.store.AuditEnd(ctx)
		if err != nil || later.Seq <= end.Seq {
			return end, err
		}
		end = later
	}
}

// walk reads the log up to a line.
func (w *walker) walk(ctx context.Context, last int64) error {
	for w.at.Seq < last {
		entries, err := w.log.store.AuditAfter(ctx, w.at.Seq, auditPage)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if w.at.Seq == last {
				break
			}
			if err := w.log.checkEntry(e, w.at, w.check); err != nil {
				return err
			}
			if err := w.note(e); err != nil {
				return err
			}
			w.at = e.Head()
		}
		if len(entries) == 0 {
			return tampered("lines %d to %d are missing", w.at.Seq+1, last)
		}
	}
	return nil
}

// entryBefore is where to begin so that the entry with the given number is the first one to be
// checked.
func (log *Log) entryBefore(ctx context.Context, seq int64) (Head, error) {
	if seq < 1 {
		return Head{}, nil
	}
	this, err := log.store.AuditAfter(ctx, seq-1, 1)
	if err != nil || len(this) == 0 || this[0].First() < 2 {
		return Head{}, err // nothing there is found by who reads on
	}
	before, err := log.store.AuditAfter(ctx, this[0].First()-2, 1)
	if err != nil {
		return Head{}, err
	}
	if len(before) == 0 || before[0].Seq != this[0].First()-1 {
		return Head{}, tampered("line %d is missing", this[0].First()-1)
	}
	return before[0].Head(), nil
}

// checkEntry is the rule for an entry behind another one. ErrTampered.
func (log *Log) checkEntry(e Entry, before Head, c Check) error {
	switch {
	case e.First() <= before.Seq:
		return tampered("%s", e.changed())
	case e.First() != before.Seq+1:
		return tampered("lines %d to %d are missing", before.Seq+1, e.First()-1)
	case !log.Follows(e, before.Hash):
		return tampered("%s, or what stood before was replaced", e.changed())
	}
	for _, known := range []Head{c.From, c.Expected} {
		if known.Seq >= e.First() && known.Seq <= e.Seq && known != e.Head() {
			return tampered("line %d has another hash than the one expected", known.Seq)
		}
	}
	return nil
}

// changed says that an entry is not as it was written.
func (e Entry) changed() string {
	if e.Block == nil {
		return fmt.Sprintf("line %d is not as it was written", e.Seq)
	}
	return fmt.Sprintf("lines %d to %d are not as they were written", e.First(), e.Seq)
}
