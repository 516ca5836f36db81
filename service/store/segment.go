package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/store/ledger"
	"github.com/pageflare/ci/service/upkeep"
)

// segmentRecords is how many records a segment sums up at most, unless one block has more.
const segmentRecords = 4096

// segment sums up a stretch of blocks.
type segment struct {
	seq, first   int64
	fromAt, toAt int64
	ends         int64
	filter       ledger.Filter
}

// summary is a segment that is not stored yet, with what else is stored of its records.
type summary struct {
	segment
	records      int
	lives        map[lives]int64
	repositories map[repositoryName]bool
}

// lives is an hour in which tokens of a key expire.
type lives struct {
	key  string
	hour int64
}

// repositoryName is a name that a repository has in a record.
type repositoryName struct{ name, id string }

const hourSeconds = 3600

// Index sums up the oldest blocks that no segment covers yet, when there are enough of them for
// one. Nothing waits for it: who searches meanwhile reads those blocks as they are.
func (s *Store) Index(ctx context.Context, held upkeep.Lease) (more bool, err error) {
	covered, err := coveredUpTo(ctx, s.read)
	if err != nil {
		return false, err
	}
	if enough, err := s.enoughFor(ctx, covered); err != nil || !enough {
		return false, err
	}
	sum, full, err := s.sumUp(ctx, covered, 0)
	if err != nil || !full {
		return false, err
	}
	return true, s.addSegment(ctx, held, covered, sum)
}

// enoughFor says whether there are more records behind what is covered than a segment has. Most
// often the end of the log alone says no.
func (s *Store) enoughFor(ctx context.Context, covered int64) (bool, error) {
	end, err := s.AuditHead(ctx)
	if err != nil || end.Seq-covered <= segmentRecords {
		return false, err
	}
	var n int64
	err = s.read.QueryRowContext(ctx, `SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM (SELECT n FROM ledger WHERE seq > $1 ORDER BY seq LIMIT $2) AS next`,
		covered, segmentRecords+1).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("read the ledger: %w", storeError(err))
	}
	return n > segmentRecords, nil
}

// addSegment stores a segment behind what is covered.
func (s *Store) addSegment(ctx context.Context, held upkeep.Lease, covered int64, sum *summary) error {
	return inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		if now, err := coveredUpTo(ctx, t); err != nil || now != covered {
			return err
		}
		if sum.records > 0 {
			_, err := t.ExecContext(ctx, `INSERT INTO ledger_segments (seq, first, from_at, to_at, ends, filter) VALUES ($1, $2, $3, $4, $5, $6)`,
				sum.seq, sum.first, sum.fromAt, sum.toAt, sum.ends, sum.filter.Bytes())
			if err != nil {
				return fmt.Errorf("add a segment: %w", storeError(err))
			}
		}
		add := t.adder(ctx, `INSERT INTO ledger_lives (key_id, hour, n) VALUES `, 3, ` ON CONFLICT (key_id, hour) DO UPDATE SET n = ledger_lives.n + excluded.n`)
		for l, n := range sum.lives {
			add.row(l.key, l.hour, n)
		}
		if err := add.flush(); err != nil {
			return fmt.Errorf("count the tokens of keys: %w", err)
		}
		add = t.adder(ctx, `INSERT INTO ledger_repositories (name, repository_id) VALUES `, 2, ` ON CONFLICT (name, repository_id) DO NOTHING`)
		for r := range sum.repositories {
			add.row(r.name, r.id)
		}
		if err := add.flush(); err != nil {
			return fmt.Errorf("add names of repositories: %w", err)
		}
		if _, err := t.ExecContext(ctx, `UPDATE upkeep SET indexed = $1 WHERE id = 1`, sum.seq); err != nil {
			return fmt.Errorf("note how far the index goes: %w", storeError(err))
		}
		return nil
	})
}

// sumUp makes the next segment behind what is covered, of blocks of before a time (0: of any time),
// and says whether it has as many records as one can have. Its seq is 0 when there is no block.
func (s *Store) sumUp(ctx context.Context, covered, before int64) (sum *summary, full bool, err error) {
	m := &summaryMaker{}
	for from := covered; ; {
		page, err := readBlocks(ctx, s.read, ` WHERE seq > $1 ORDER BY seq LIMIT $2`, from, blockPage)
		if err != nil {
			return nil, false, err
		}
		for _, b := range page {
			if len(m.records) > 0 && len(m.records)+int(b.n) > segmentRecords {
				return m.finish(), true, nil
			}
			if before != 0 && b.at >= before {
				return m.finish(), false, nil
			}
			if err := m.add(b); err != nil {
				return nil, false, err
			}
		}
		if len(page) < blockPage {
			return m.finish(), false, nil
		}
		from = page[len(page)-1].seq
	}
}

// summaryMaker makes a summary of blocks.
type summaryMaker struct {
	sum     summary
	records []ledger.Record
}

// add adds a block, of which a pruned one has no records.
func (m *summaryMaker) add(b block) error {
	if m.sum.first == 0 {
		m.sum.first = b.seq - b.n + 1
	}
	m.sum.seq = b.seq
	if b.body == nil {
		return nil
	}
	return b.each(func(_ int64, r *ledger.Reader) { m.records = append(m.records, r.Record()) })
}

// finish sums up what was added.
func (m *summaryMaker) finish() *summary {
	s := &m.sum
	s.records = len(m.records)
	s.lives, s.repositories = map[lives]int64{}, map[repositoryName]bool{}
	for i := range m.records {
		r := &m.records[i]
		ends := r.ExpiresAt * 1000
		if i == 0 {
			s.fromAt, s.toAt, s.ends = r.At, r.At, ends
		}
		s.fromAt, s.toAt, s.ends = min(s.fromAt, r.At), max(s.toAt, r.At), max(s.ends, ends)
		s.lives[lives{r.Key, hourOf(r.ExpiresAt)}]++
		if id, name := ledger.Repository(r); id != "" && name != "" {
			s.repositories[repositoryName{name, id}] = true
		}
	}
	s.filter = ledger.FilterOf(func(yield func(ledger.Kind, string) bool) {
		for i := range m.records {
			for kind, name := range ledger.Names(m.records[i]) {
				// nobody searches by a request, and that a refresh was asked for by the token that it
				// refreshed is known from that
				if kind == ledger.OfRequest || kind == ledger.OfActor && name == m.records[i].Parent {
					continue
				}
				if !yield(kind, name) {
					return
				}
			}
		}
	})
	return s
}

// hourOf is the hour in which a second falls.
func hourOf(second int64) int64 {
	h := second / hourSeconds
	if second%hourSeconds < 0 {
		h--
	}
	return h
}

// ledgerLives counts the tokens of a key that expire after a time, in milliseconds. Those in
// segments are counted by whole hours: one that expired in the hour of that time counts too. So a key
// is needed for an hour longer at most, and nobody has to read records.
func ledgerLives(ctx context.Context, db querier, key string, after int64) (n int64, err error) {
	second := after / 1000
	if after%1000 < 0 {
		second--
	}
	covered, err := coveredUpTo(ctx, db) // first: what is covered meanwhile counts twice, and not at all is never
	if err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM ledger_lives WHERE key_id = $1 AND hour >= $2`, key, hourOf(second)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count what key %s signed: %w", key, storeError(err))
	}
	var q search
	q.where(ledger.OfKey, key)
	_, err = q.blocks(ctx, db, covered, 0, func(_ int64, r *ledger.Reader) bool {
		if r.ExpiresAt()*1000 > after {
			n++
		}
		return true
	})
	return n, err
}
