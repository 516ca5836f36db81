package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
	"github.com/pageflare/ci/service/upkeep"
)

// Records are pruned a segment at a time, when the newest of them is old enough and all their tokens
// have expired: their blocks lose the body, the segment goes, and a line of the audit log says so.
//
// What must outlive a record is whose family it began. A token can be refreshed again and again, and
// what an API token, a login or a policy issued is ended with all that it was refreshed to; so the
// issuer of a family is kept (ledger_families) as long as the family can have a valid token.
//
// How long that is, and how long a revocation is needed, follows from one time: that of the oldest
// record that has not been pruned. All records of before were pruned, so their tokens have expired.
//
//   - A revocation of before that time is not needed: after it nothing was recorded that it is meant
//     for, and what was recorded before has expired. This holds whatever LICENSE_TOKEN_TTL was.
//   - A family all of whose pruned tokens expired before that time has ended: another one would have
//     been refreshed from one of them while that was valid, so recorded before that time.
//
// The clocks of replicas differ, and a record is written some seconds after it was made: pruneSlack
// is more than both.
const pruneSlack = 10 * time.Minute

// pruneBatch is how many rows of other tables than the ledger one transaction removes at most.
const pruneBatch = 500

// restAge is how much later than due records are pruned that do not fill a segment: it bounds how
// many lines of the audit log a quiet service gets for it.
const restAge = 24 * time.Hour

// Prune does the first of these that there is something to do for. Records come last: a log that
// was tampered with stops them for good, and must stop nothing else.
func (s *Store) Prune(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (did bool, err error) {
	for _, step := range []func(context.Context, upkeep.Lease, upkeep.Pruning) (bool, error){
		s.pruneLimits, s.pruneLeases, s.pruneEvents, s.pruneSends,
		s.pruneRows, s.segmentOfRest, s.pruneSegment, s.pruneEnded,
	} {
		if did, err = step(ctx, held, p); did || err != nil {
			return did, err
		}
	}
	return false, nil
}

// segmentOfRest puts old records into a segment that they do not fill.
func (s *Store) segmentOfRest(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	covered, err := coveredUpTo(ctx, s.read)
	if err != nil {
		return false, err
	}
	at, there, err := s.oldestUncovered(ctx, covered)
	if err != nil || !there || at >= millis(p.Before.Add(-restAge)) {
		return false, err
	}
	sum, _, err := s.sumUp(ctx, covered, millis(p.Before))
	if err != nil || sum.seq == 0 {
		return false, err
	}
	return true, s.addSegment(ctx, held, covered, sum)
}

// oldestUncovered is the time of the first block that no segment covers.
func (s *Store) oldestUncovered(ctx context.Context, covered int64) (at int64, there bool, err error) {
	err = s.read.QueryRowContext(ctx, `SELECT at FROM ledger WHERE seq > $1 ORDER BY seq LIMIT 1`, covered).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("read the ledger: %w", storeError(err))
	}
	return at, true, nil
}

// oldest is the time of the oldest record that has not been pruned, a segment apart, in
// milliseconds, and no later than what is old at all.
func (s *Store) oldest(ctx context.Context, apart int64, p upkeep.Pruning) (int64, error) {
	covered, err := coveredUpTo(ctx, s.read)
	if err != nil {
		return 0, err
	}
	oldest := millis(p.Before)
	at, there, err := s.oldestUncovered(ctx, covered)
	if err != nil {
		return 0, err
	}
	if there {
		oldest = min(oldest, at)
	}
	for _, of := range []struct {
		text string
		args []any
	}{
		{`SELECT min(from_at) FROM ledger_segments WHERE seq <> $1`, []any{apart}},
		{`SELECT (SELECT issued_at FROM tokens ORDER BY id LIMIT 1)`, nil},
	} {
		var at sql.NullInt64
		if err := s.read.QueryRowContext(ctx, of.text, of.args...).Scan(&at); err != nil {
			return 0, fmt.Errorf("look for the oldest record: %w", storeError(err))
		}
		if at.Valid {
			oldest = min(oldest, at.Int64)
		}
	}
	return oldest - pruneSlack.Milliseconds(), nil
}

// pruneSegment prunes the records of the oldest segment that can be.
func (s *Store) pruneSegment(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	var seg segment
	var pruned int64
	err := s.read.QueryRowContext(ctx, `SELECT s.seq, s.first, u.pruned FROM ledger_segments s, upkeep u
		WHERE u.id = 1 AND s.to_at < $1 AND s.ends <= $2 ORDER BY s.seq LIMIT 1`, millis(p.Before), expiredAt(p)).Scan(&seg.seq, &seg.first, &pruned)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for records to prune: %w", storeError(err))
	}
	f, blocks, err := s.readToPrune(ctx, seg, p)
	if err != nil {
		return false, err
	}
	oldest, err := s.oldest(ctx, seg.seq, p)
	if err != nil {
		return false, err
	}
	if err := f.match(ctx, s); err != nil {
		return false, err
	}
	return true, inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		err := changedOne(t.ExecContext(ctx, `DELETE FROM ledger_segments WHERE seq = $1 AND first = $2`, seg.seq, seg.first))
		if err != nil {
			return fmt.Errorf("remove a segment: %w", storeError(err))
		}
		done, err := t.ExecContext(ctx, `UPDATE ledger SET body = NULL WHERE seq >= $1 AND seq <= $2`, seg.first, seg.seq)
		if err != nil {
			return fmt.Errorf("prune records: %w", storeError(err))
		}
		if n, err := done.RowsAffected(); err != nil || n != blocks {
			return errors.Join(fmt.Errorf("%w: lines %d to %d were changed while they were read", audit.ErrTampered, seg.first, seg.seq), err)
		}
		// families of before that have tokens in what was pruned already, though that came later:
		// nothing of them was noted then
		late := int64(0)
		if seg.seq < pruned {
			late = millis(p.Now)
		}
		if err := f.keep(ctx, t, late, oldest); err != nil {
			return err
		}
		if _, err := t.ExecContext(ctx, `UPDATE upkeep SET pruned = $1 WHERE id = 1 AND pruned < $1`, seg.seq); err != nil {
			return fmt.Errorf("note what was pruned: %w", storeError(err))
		}
		t.log(p.Act(seg.first, seg.seq))
		return nil
	})
}

// expiredAt is up to when a token must have lived so that no replica takes it for valid any more,
// not one whose clock is behind ours.
func expiredAt(p upkeep.Pruning) int64 { return millis(p.Now.Add(-pruneSlack)) }

// readToPrune reads the records of a segment, and counts its blocks. Anyone who can write the
// database can say of a segment that it is old, or put old records in the place of others; the line
// that they were pruned would then hide that. So each block must be as it was written, and each
// record old and of a token that has expired: audit.ErrTampered.
func (s *Store) readToPrune(ctx context.Context, seg segment,
	p upkeep.Pruning) (f families, blocks int64, err error) {
	f.ends = map[string]int64{}
	follows := p.Follows
	if follows == nil {
		follows = audit.Act{}.Follows
	}
	before, err := lastEntry(ctx, s.read, seg.first-1)
	if err != nil {
		return f, 0, err
	}
	for at := before.Head(); at.Seq < seg.seq; {
		page, err := s.AuditAfter(ctx, max(at.Seq, seg.first-1), blockPage)
		if err != nil {
			return f, 0, err
		}
		for _, e := range page {
			if at.Seq >= seg.seq {
				break
			}
			if e.First() < seg.first || e.Seq > seg.seq || !follows(e, at.Hash) {
				return f, 0, notWhole(e.First(), e.Seq, "are not as they were written")
			}
			at = e.Head()
			if e.Block == nil {
				continue
			}
			blocks++
			if err := f.addBlock(e, p); err != nil {
				return f, 0, err
			}
		}
		if len(page) == 0 {
			return f, 0, notWhole(at.Seq+1, seg.seq, "are missing")
		}
	}
	return f, blocks, nil
}

// notWhole says why nothing is pruned of what has some lines. ErrTampered.
func notWhole(from, through int64, what string) error {
	return fmt.Errorf("%w: lines %d to %d %s, so nothing is pruned there: "+
		"run `pageflare-license audit verify`", audit.ErrTampered, from, through, what)
}

// families is the families of records that are to be pruned.
type families struct {
	ends   map[string]int64 // family -> when the last of its tokens expires
	issued []issuedFamily
	known  []string // those that are in ledger_families already
}

type issuedFamily struct{ family, issuer, account string }

// add adds a record.
func (f *families) add(id opaque.TokenID, issuer, account string, ends int64) {
	family := id.Family()
	f.ends[family] = max(f.ends[family], ends)
	if issuer != "" {
		f.issued = append(f.issued, issuedFamily{family, issuer, account})
	}
}

// addBlock adds the records of a block, all of which must be old.
func (f *families) addBlock(e audit.Entry, p upkeep.Pruning) (err error) {
	if e.Block.Body == nil {
		return notWhole(e.First(), e.Seq, "lack their records")
	}
	before, expired := millis(p.Before), expiredAt(p)
	b := block{seq: e.Seq, n: e.Seq - e.First() + 1, body: e.Block.Body}
	fault := b.each(func(seq int64, r *ledger.Reader) {
		record := r.Record()
		if record.At >= before || record.ExpiresAt*1000 > expired {
			err = notWhole(seq, seq, "are not old, and the index of the ledger says that they are")
		}
		f.add(opaque.TokenID(record.ID), record.IssuedBy, record.Account, record.ExpiresAt*1000)
	})
	return cmp.Or(fault, err)
}

// match looks which families have rows already. Only upkeep adds some.
func (f *families) match(ctx context.Context, s *Store) error {
	var some bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM ledger_families)`).Scan(&some); err != nil || !some {
		return storeError(err)
	}
	all := make([]string, 0, len(f.ends))
	for family := range f.ends {
		all = append(all, family)
	}
	for page := range slices.Chunk(all, 256) {
		if err := f.matchPage(ctx, s, page); err != nil {
			return err
		}
	}
	return nil
}

func (f *families) matchPage(ctx context.Context, s *Store, page []string) error {
	var q filter
	text := `SELECT DISTINCT family FROM ledger_families WHERE family IN (` + oneOf(&q, page) + `)`
	rows, err := s.read.QueryContext(ctx, text, q.args...)
	if err != nil {
		return fmt.Errorf("look up families: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var family string
		if err := rows.Scan(&family); err != nil {
			return fmt.Errorf("look up families: %w", storeError(err))
		}
		f.known = append(f.known, family)
	}
	return storeError(rows.Err())
}

// keep notes the families that can have a valid token: whose last one expires after oldest. All of
// them are taken to have one until late.
func (f *families) keep(ctx context.Context, t *tx, late, oldest int64) error {
	for _, family := range f.known {
		if _, err := t.ExecContext(ctx, `UPDATE ledger_families SET ends = $2 WHERE family = $1 AND ends < $2`, family, max(f.ends[family], late)); err != nil {
			return fmt.Errorf("note the end of a family: %w", storeError(err))
		}
	}
	add := t.adder(ctx, `INSERT INTO ledger_families (family, issued_by, account_id, ends) VALUES `, 4, ` ON CONFLICT (family, issued_by) DO NOTHING`)
	for _, i := range f.issued {
		if ends := max(f.ends[i.family], late); ends >= oldest {
			add.row(i.family, i.issuer, i.account, ends)
		}
	}
	if err := add.flush(); err != nil {
		return fmt.Errorf("note whose families were: %w", err)
	}
	return nil
}

// pruneRows prunes tokens of before there was a ledger, oldest first, up to one that cannot be.
func (s *Store) pruneRows(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	ids, f, err := s.oldRows(ctx, p)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	if err := f.match(ctx, s); err != nil {
		return false, err
	}
	return true, inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		for _, id := range ids {
			if _, err := t.ExecContext(ctx, `DELETE FROM tokens WHERE id = $1`, id); err != nil {
				return fmt.Errorf("prune token %s: %w", id, storeError(err))
			}
		}
		// the ledger may have been pruned farther than this
		return f.keep(ctx, t, millis(p.Now), 0)
	})
}

// oldRows is the first tokens of before there was a ledger that can be pruned.
func (s *Store) oldRows(ctx context.Context, p upkeep.Pruning) (ids []string, f families, err error) {
	f.ends = map[string]int64{}
	rows, err := s.read.QueryContext(ctx, `SELECT id, issued_by, account_id, expires_at, recorded_at FROM tokens ORDER BY id LIMIT $1`, pruneBatch)
	if err != nil {
		return nil, f, fmt.Errorf("look for tokens to prune: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var id, issuer, account string
		var expires, recorded int64
		if err := rows.Scan(&id, &issuer, &account, &expires, &recorded); err != nil {
			return nil, f, fmt.Errorf("look for tokens to prune: %w", storeError(err))
		}
		if expires > expiredAt(p) || recorded >= millis(p.Before) {
			break
		}
		ids = append(ids, id)
		f.add(opaque.TokenID(id), issuer, account, expires)
	}
	return ids, f, storeError(rows.Err())
}

// pruneEnded removes revocations, families and counts that nothing valid can be meant by.
func (s *Store) pruneEnded(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	oldest, err := s.oldest(ctx, 0, p)
	if err != nil {
		return false, err
	}
	hour := hourOf(millis(p.Now)/1000) - 24
	subjects, err := s.oldRevocations(ctx, oldest)
	if err != nil {
		return false, err
	}
	var others bool
	err = s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM ledger_families WHERE ends < $1) OR EXISTS (SELECT 1 FROM ledger_lives WHERE hour < $2)`,
		oldest, hour).Scan(&others)
	if err != nil || len(subjects) == 0 && !others {
		return false, storeError(err)
	}
	return true, inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		for _, subject := range subjects {
			if _, err := t.ExecContext(ctx, `DELETE FROM revocations WHERE subject = $1`, subject); err != nil {
				return fmt.Errorf("prune a revocation: %w", storeError(err))
			}
		}
		_, err := t.ExecContext(ctx, `DELETE FROM ledger_families WHERE family IN (SELECT family FROM ledger_families WHERE ends < $1 ORDER BY ends LIMIT $2)`,
			oldest, pruneBatch)
		if err == nil {
			_, err = t.ExecContext(ctx, `DELETE FROM ledger_lives WHERE hour < $1`, hour)
		}
		return storeError(err)
	})
}

// oldRevocations is some revocations of before a time.
func (s *Store) oldRevocations(ctx context.Context, before int64) (subjects []string, err error) {
	rows, err := s.read.QueryContext(ctx, `SELECT subject FROM revocations WHERE revoked_at < $1 LIMIT $2`, before, pruneBatch)
	if err != nil {
		return nil, fmt.Errorf("look for revocations to prune: %w", storeError(err))
	}
	defer rows.Close()
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			return nil, fmt.Errorf("look for revocations to prune: %w", storeError(err))
		}
		subjects = append(subjects, subject)
	}
	return subjects, storeError(rows.Err())
}

// limitsAge is how long a bucket of a limit has been full when it is removed, which is more than the
// clocks of a replica and its database differ.
const limitsAge = time.Hour

// pruneLimits removes buckets that say nothing any more. It needs no lease: to remove one twice is
// the same.
func (s *Store) pruneLimits(ctx context.Context, _ upkeep.Lease, p upkeep.Pruning) (bool, error) {
	n, err := s.PruneLimits(ctx, p.Now.Add(-limitsAge))
	return n > 0, err
}

// pruneLeases removes leases that have expired by every clock: they say nothing any more of whether
// a key is needed, and that they were given stands in the audit log.
func (s *Store) pruneLeases(ctx context.Context, held upkeep.Lease, p upkeep.Pruning) (bool, error) {
	const expired = `SELECT l.token_id, l.key_id FROM signing_keys k
		JOIN leases l ON l.key_id = k.id WHERE l.expires_at < $1 LIMIT $2`
	var some bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (`+expired+`)`, expiredAt(p), 1).Scan(&some)
	if err != nil {
		return false, fmt.Errorf("look for leases to prune: %w", storeError(err))
	}
	if !some {
		return false, nil
	}
	return true, inTx(ctx, s.write, func(t *tx) error {
		if err := t.holds(ctx, held); err != nil {
			return err
		}
		t.wrote = true
		_, err := t.ExecContext(ctx, `DELETE FROM leases WHERE (token_id, key_id) IN (`+expired+`)`,
			expiredAt(p), pruneBatch)
		if err != nil {
			return fmt.Errorf("prune leases: %w", storeError(err))
		}
		return nil
	})
}
