package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/store/ledger"
)

// name is what records are searched by.
type name struct {
	kind ledger.Kind
	name string
}

// search says which records are wanted: those that have all the names, and one of oneOf.
type search struct {
	names, oneOf []name
	before       int64 // numbers below this one; 0: all
	after        int64 // numbers above this one
	since, until int64 // times from and below, in milliseconds; 0: all
}

// where adds a name if it is given.
func (q *search) where(kind ledger.Kind, n string) {
	if n != "" {
		q.names = append(q.names, name{kind, n})
	}
}

// has says whether a record is wanted.
func (q *search) has(r *ledger.Reader) bool {
	for _, n := range q.names {
		if !r.Has(n.kind, n.name) {
			return false
		}
	}
	if len(q.oneOf) > 0 && !slices.ContainsFunc(q.oneOf, func(n name) bool { return r.Has(n.kind, n.name) }) {
		return false
	}
	at := r.At()
	return (q.since == 0 || at >= q.since) && (q.until == 0 || at < q.until)
}

// mayBeIn says whether a segment may have wanted records.
func (q *search) mayBeIn(s segment) bool {
	return !slices.ContainsFunc(q.names, func(n name) bool { return !s.mayHave(n) }) &&
		(len(q.oneOf) == 0 || slices.ContainsFunc(q.oneOf, s.mayHave))
}

// mayHave says whether a record of the segment may have a name.
func (s segment) mayHave(n name) bool {
	return s.filter.MayHave(n.kind, n.name) || n.kind == ledger.OfActor && s.filter.MayHave(ledger.OfParent, n.name)
}

const (
	blockPage   = 64 // blocks that are read at a time
	segmentPage = 64 // segments whose filters are read at a time
)

// find calls use with the wanted records, newest first, until it returns false. It reads the blocks
// that no segment covers yet, and of the others those whose segment may have what is wanted.
func (q search) find(ctx context.Context, db querier, use func(seq int64, r *ledger.Reader) bool) error {
	covered, err := coveredUpTo(ctx, db)
	if err != nil {
		return err
	}
	going, err := q.blocks(ctx, db, max(covered, q.after), 0, use)
	for at := covered + 1; going && err == nil; { // what was covered since has been read already
		var page []segment
		if page, err = q.segments(ctx, db, at); err != nil || len(page) == 0 {
			return err
		}
		for _, s := range page {
			if at = s.first; !q.mayBeIn(s) {
				continue
			}
			if going, err = q.blocks(ctx, db, max(s.first-1, q.after), s.seq, use); !going || err != nil {
				return err
			}
		}
	}
	return err
}

// coveredUpTo is the number of the newest record that was put into a segment, pruned ones included.
func coveredUpTo(ctx context.Context, db querier) (seq int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(indexed), 0) FROM upkeep WHERE id = 1`).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read the segments of the ledger: %w", storeError(err))
	}
	return seq, nil
}

// segments is a page of segments with numbers below at that the search touches.
func (q search) segments(ctx context.Context, db querier, at int64) ([]segment, error) {
	var f filter
	f.where("seq > %s", q.after, true)
	f.where("first < %s", q.before, q.before != 0)
	f.where("seq < %s", at, true)
	f.where("to_at >= %s", q.since, q.since != 0)
	f.where("from_at < %s", q.until, q.until != 0)
	rows, err := db.QueryContext(ctx, `SELECT seq, first, from_at, to_at, filter FROM ledger_segments`+f.list("seq DESC", segmentPage), f.args...)
	if err != nil {
		return nil, fmt.Errorf("read the segments of the ledger: %w", storeError(err))
	}
	defer rows.Close()
	var page []segment
	for rows.Next() {
		var s segment
		var stored []byte
		if err := rows.Scan(&s.seq, &s.first, &s.fromAt, &s.toAt, &stored); err != nil {
			return nil, fmt.Errorf("read the segments of the ledger: %w", storeError(err))
		}
		if s.filter, err = ledger.ParseFilter(stored); err != nil {
			return nil, fmt.Errorf("segment %d of the ledger: %w", s.seq, err)
		}
		page = append(page, s)
	}
	return page, storeError(rows.Err())
}

// blocks calls use with the wanted records of the blocks above from and up to to (0: all), newest
// first; it returns false when use did.
func (q search) blocks(ctx context.Context, db querier, from, to int64, use func(seq int64, r *ledger.Reader) bool) (bool, error) {
	if q.before != 0 && (to == 0 || q.before-1 < to) {
		// the block that has the number before-1 may end behind it
		err := db.QueryRowContext(ctx, `SELECT coalesce(min(seq), 0) FROM ledger WHERE seq >= $1`, q.before-1).Scan(&to)
		if err != nil {
			return false, fmt.Errorf("read the ledger: %w", storeError(err))
		}
	}
	for {
		var f filter
		f.where("seq > %s", from, true)
		f.where("seq <= %s", to, to != 0)
		page, err := readBlocks(ctx, db, f.list("seq DESC", blockPage), f.args...)
		if err != nil || len(page) == 0 {
			return true, err
		}
		for _, b := range page {
			if going, err := q.block(b, use); !going || err != nil {
				return going, err
			}
		}
		to = page[len(page)-1].seq - page[len(page)-1].n
		if len(page) < blockPage || to <= from {
			return true, nil
		}
	}
}

// block calls use with the wanted records of a block, newest first.
func (q search) block(b block, use func(seq int64, r *ledger.Reader) bool) (bool, error) {
	if b.body == nil { // pruned
		return true, nil
	}
	// a block is read from its start: first which are wanted, then each of them from behind
	var wanted []int64
	err := b.each(func(seq int64, r *ledger.Reader) {
		if (q.before == 0 || seq < q.before) && seq > q.after && q.has(r) {
			wanted = append(wanted, seq)
		}
	})
	if err != nil || len(wanted) == 0 {
		return err == nil, err
	}
	readers := make([]ledger.Reader, 0, len(wanted))
	r := ledger.NewReader(b.body)
	next := 0
	for seq := b.seq - b.n + 1; next < len(wanted) && r.Next(); seq++ {
		if seq == wanted[next] {
			readers = append(readers, *r)
			next++
		}
	}
	for i := len(readers) - 1; i >= 0; i-- {
		if !use(wanted[i], &readers[i]) {
			return false, nil
		}
	}
	return true, nil
}

// block is a row of the ledger.
type block struct {
	seq, n int64
	at     int64  // time of the newest record
	body   []byte // nil when it was pruned
	digest []byte
	hash   string
}

// each calls use with each record and its number, oldest first. audit.ErrTampered: the block has not
// as many records as its row says.
func (b block) each(use func(seq int64, r *ledger.Reader)) error {
	first := b.seq - b.n + 1
	r := ledger.NewReader(b.body)
	seq := first
	for ; r.Next(); seq++ {
		if seq <= b.seq {
			use(seq, r)
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("lines %d to %d of the audit log: %w", first, b.seq, err)
	}
	if seq != b.seq+1 {
		return fmt.Errorf("%w: lines %d to %d have %d records: run `pageflare-license audit verify`", audit.ErrTampered, first, b.seq, seq-first)
	}
	return nil
}

func readBlocks(ctx context.Context, db querier, which string, args ...any) ([]block, error) {
	rows, err := db.QueryContext(ctx, `SELECT seq, n, at, body, digest, hash FROM ledger`+which, args...)
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", storeError(err))
	}
	defer rows.Close()
	var page []block
	for rows.Next() {
		var b block
		if err := rows.Scan(&b.seq, &b.n, &b.at, &b.body, &b.digest, &b.hash); err != nil {
			return nil, fmt.Errorf("read the ledger: %w", storeError(err))
		}
		page = append(page, b)
	}
	return page, storeError(rows.Err())
}

// entry is the block as the chain knows it.
func (b block) entry() (audit.Entry, error) {
	e := audit.Entry{Line: audit.Line{Seq: b.seq, Hash: b.hash}, Block: &audit.Block{First: b.seq - b.n + 1, Body: b.body}}
	if len(b.digest) != len(e.Block.Digest) {
		return e, fmt.Errorf("%w: the digest of the lines up to %d has %d bytes", audit.ErrTampered, b.seq, len(b.digest))
	}
	copy(e.Block.Digest[:], b.digest)
	return e, nil
}

// newestRecords is the records of the newest blocks that are not older than a time, oldest first. It
// reads no further back than that, but for the difference of clocks.
func (s *Store) newestRecords(ctx context.Context, since time.Time, limit int) ([]ledger.Record, error) {
	var found []ledger.Record
	q, oldest := search{since: millis(since)}, millis(since.Add(-audit.ClockSlack))
	going := true
	for to := int64(math.MaxInt64); going; {
		page, err := readBlocks(ctx, s.read, ` WHERE seq < $1 ORDER BY seq DESC LIMIT $2`, to, blockPage)
		if err != nil {
			return nil, err
		}
		for _, b := range page {
			if going = going && b.at >= oldest; !going {
				break
			}
			going, err = q.block(b, func(_ int64, r *ledger.Reader) bool {
				found = append(found, r.Record())
				return len(found) < limit
			})
			if err != nil {
				return nil, err
			}
			to = b.seq
		}
		going = going && len(page) == blockPage
	}
	slices.Reverse(found)
	return found, nil
}
