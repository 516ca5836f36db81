package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/store/ledger"
)

// segmentRecords is how many records a segment sums up at most, unless one block has more.
const segmentRecords = 4096

// segment sums up a stretch of blocks.
type segment struct {
	seq, first   int64
	fromAt, toAt int64
	filter       ledger.Filter
}

// lives is how many tokens expire in an hour, of one key.
type lives struct {
	key  string
	hour int64
}

const hourSeconds = 3600

// Index sums up the oldest blocks that no segment covers yet, when there are enough of them for one,
// and says whether there may be more. It is for upkeep: nothing waits for it, and who searches
// meanwhile reads those blocks as they are.
func (s *Store) Index(ctx context.Context) (more bool, err error) {
	covered, err := coveredUpTo(ctx, s.read)
	if err != nil {
		return false, err
	}
	seg, count, err := s.sumUp(ctx, covered)
	if err != nil || seg.seq == 0 {
		return false, err
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		now, err := coveredUpTo(ctx, t)
		if err != nil || now != covered { // another replica was here
			return err
		}
		_, err = t.ExecContext(ctx, `INSERT INTO ledger_segments (seq, first, from_at, to_at, filter) VALUES ($1, $2, $3, $4, $5)`,
			seg.seq, seg.first, seg.fromAt, seg.toAt, seg.filter.Bytes())
		if err != nil {
			return fmt.Errorf("add a segment: %w", storeError(err))
		}
		for l, n := range count {
			_, err := t.ExecContext(ctx, `INSERT INTO ledger_lives (key_id, hour, segment, n) VALUES ($1, $2, $3, $4)`, l.key, l.hour, seg.seq, n)
			if err != nil {
				return fmt.Errorf("add to the tokens of key %s: %w", l.key, storeError(err))
			}
		}
		return nil
	})
	return err == nil, err
}

// sumUp makes the next segment behind what is covered. Its seq is 0 when there are too few records
// for one.
func (s *Store) sumUp(ctx context.Context, covered int64) (segment, map[lives]int64, error) {
	var seg segment
	var records []ledger.Record
	full := false
	for from := covered; !full; {
		page, err := readBlocks(ctx, s.read, ` WHERE seq > $1 ORDER BY seq LIMIT $2`, from, blockPage)
		if err != nil {
			return segment{}, nil, err
		}
		for _, b := range page {
			if full = len(records) > 0 && len(records)+int(b.n) > segmentRecords; full {
				break
			}
			if b.body != nil {
				these, err := ledger.Decode(b.body)
				if err != nil {
					return segment{}, nil, fmt.Errorf("lines %d to %d of the audit log: %w", b.seq-b.n+1, b.seq, err)
				}
				records = append(records, these...)
			}
			if seg.first == 0 {
				seg.first = b.seq - b.n + 1
			}
			seg.seq = b.seq
		}
		if len(page) < blockPage {
			break
		}
		from = page[len(page)-1].seq
	}
	if !full {
		return segment{}, nil, nil
	}
	count := map[lives]int64{}
	seg.fromAt, seg.toAt = records[0].At, records[0].At
	for i := range records {
		seg.fromAt, seg.toAt = min(seg.fromAt, records[i].At), max(seg.toAt, records[i].At)
		count[lives{records[i].Key, hourOf(records[i].ExpiresAt)}]++
	}
	seg.filter = ledger.FilterOf(func(yield func(ledger.Kind, string) bool) {
		for i := range records {
			for kind, name := range ledger.Names(records[i]) {
				// nobody searches by a request, and that a refresh was asked for by the token that it
				// refreshed is known from that
				if kind == ledger.OfRequest || kind == ledger.OfActor && name == records[i].Parent {
					continue
				}
				if !yield(kind, name) {
					return
				}
			}
		}
	})
	return seg, count, nil
}

// hourOf is the hour in which a second falls.
func hourOf(second int64) int64 {
	h := second / hourSeconds
	if second%hourSeconds < 0 {
		h--
	}
	return h
}

// ledgerLives counts the tokens of a key that expire after a time, in milliseconds: whole hours by
// their sums, and the hour of that time, and what no segment covers, by the records.
func ledgerLives(ctx context.Context, db reads, key string, after int64) (n int64, err error) {
	second := after / 1000
	if after%1000 < 0 {
		second--
	}
	hour := hourOf(second)
	if err := db.QueryRowContext(ctx, `SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM ledger_lives WHERE key_id = $1 AND hour > $2`, key, hour).Scan(&n); err != nil {
		return 0, fmt.Errorf("count what key %s signed: %w", key, storeError(err))
	}
	var q search
	q.where(ledger.OfKey, key)
	count := func(_ int64, r *ledger.Reader) bool {
		if r.ExpiresAt()*1000 > after {
			n++
		}
		return true
	}
	covered, err := coveredUpTo(ctx, db)
	if err != nil {
		return 0, err
	}
	if _, err := q.blocks(ctx, db, covered, 0, count); err != nil {
		return 0, err
	}
	segments, err := segmentsOfHour(ctx, db, key, hour)
	if err != nil {
		return 0, err
	}
	for _, s := range segments {
		_, err := q.blocks(ctx, db, s.first-1, s.seq, func(seq int64, r *ledger.Reader) bool {
			return hourOf(r.ExpiresAt()) != hour || count(seq, r)
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// segmentsOfHour is the segments with tokens of a key that expire in an hour.
func segmentsOfHour(ctx context.Context, db reads, key string, hour int64) ([]segment, error) {
	rows, err := db.QueryContext(ctx, `SELECT s.seq, s.first FROM ledger_lives l JOIN ledger_segments s ON s.seq = l.segment WHERE l.key_id = $1 AND l.hour = $2`, key, hour)
	if err != nil {
		return nil, fmt.Errorf("count what key %s signed: %w", key, storeError(err))
	}
	defer rows.Close()
	var list []segment
	for rows.Next() {
		var s segment
		if err := rows.Scan(&s.seq, &s.first); err != nil {
			return nil, fmt.Errorf("count what key %s signed: %w", key, storeError(err))
		}
		list = append(list, s)
	}
	return list, storeError(rows.Err())
}
