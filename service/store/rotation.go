package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/rotation"
)

var _ rotation.Store = (*Store)(nil)

// placeOf tells a secret at GitHub from all others: names match in any case.
func placeOf(r rotation.Rotation, t rotation.Target) string {
	of := "repository " + strconv.FormatInt(r.RepositoryID, 10)
	name := strings.ToLower(t.Name)
	if kind, _, named := strings.Cut(name, ":"); named && strings.HasSuffix(kind, "organization") {
		of, name = "owner "+strconv.FormatInt(t.OwnerID, 10), kind
	}
	return of + " " + name + " " + r.SecretName
}

func (s *Store) AddRotation(ctx context.Context, r rotation.Rotation, act audit.Act) (made rotation.Rotation, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		if err := t.mayTrust(ctx, r.AccountID); err != nil {
			return err
		}
		made, err = t.addRotation(ctx, r, act)
		return err
	})
	return made, err
}

func (t *tx) addRotation(ctx context.Context, r rotation.Rotation, act audit.Act) (rotation.Rotation, error) {
	there, err := t.atPlaces(ctx, r)
	if err != nil {
		return r, err
	}
	for _, other := range there {
		switch {
		case other.AccountID == r.AccountID && other.Stopped == "" && sameTargets(other, r):
			return other, nil
		case other.AccountID == r.AccountID && other.Stopped != "" && sameTargets(other, r):
			if err := t.dropRotation(ctx, other.ID, act); err != nil {
				return r, err
			}
		default:
			return r, fmt.Errorf("rotation: %w: %s of account %s writes to this secret already: run rotation remove %s first",
				failure.ErrConflict, other.ID, other.AccountID, other.ID)
		}
	}
	_, err = t.ExecContext(ctx, `INSERT INTO rotations (id, account_id, repository, repository_id, owner, owner_id, secret_name, created_at, stopped)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '')`,
		r.ID, r.AccountID, r.Repository, r.RepositoryID, r.Owner, r.OwnerID, r.SecretName, millis(r.CreatedAt))
	if err != nil {
		return r, fmt.Errorf("add rotation: %w", storeError(err))
	}
	for _, target := range r.Targets {
		_, err := t.ExecContext(ctx, `INSERT INTO rotation_targets (rotation_id, target, place, owner_id, due_at, lease_until, fence, tried_at, pending, jti,
			expires_at, written_at, tier, features, valid_until, failure_code, failure_text, failure_remedy, failed_since, told_at, attempts)
			VALUES ($1, $2, $3, $4, 0, 0, 0, 0, '', '', 0, 0, '', '[]', 0, '', '', '', 0, 0, 0)`,
			r.ID, target.Name, placeOf(r, target), target.OwnerID)
		if err != nil {
			return r, fmt.Errorf("add target %s: %w", target.Name, storeError(err))
		}
	}
	t.log(act)
	return r, nil
}

// atPlaces returns the rotations that write to one of the secrets of r.
func (t *tx) atPlaces(ctx context.Context, r rotation.Rotation) ([]rotation.Rotation, error) {
	var f filter
	places := make([]string, len(r.Targets))
	for i, target := range r.Targets {
		places[i] = placeOf(r, target)
	}
	f.conditions = append(f.conditions,
		"r.id IN (SELECT rotation_id FROM rotation_targets WHERE place IN ("+oneOf(&f, places)+"))")
	return rotations(ctx, t, &f, len(places)+1)
}

func sameTargets(a, b rotation.Rotation) bool {
	places := func(r rotation.Rotation) (out []string) {
		for _, t := range r.Targets {
			out = append(out, placeOf(r, t))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(places(a), places(b))
}

// dropRotation ends a rotation, and lets its secrets be those of another.
func (t *tx) dropRotation(ctx context.Context, id string, act audit.Act) error {
	if _, err := t.ExecContext(ctx, `DELETE FROM rotation_targets WHERE rotation_id = $1`, id); err != nil {
		return fmt.Errorf("rotation %s: %w", id, storeError(err))
	}
	act.Action, act.Object, act.Details = audit.RotationRemoved, id, "{}"
	return t.end(ctx, "rotation", "rotations", "removed_at", id, act)
}

func (s *Store) RemoveRotation(ctx context.Context, id string, act audit.Act, issued *audit.Act) (families int64, err error) {
	found := &issuedFamilies{}
	if issued != nil {
		if found, err = s.issuedBy(ctx, id); err != nil {
			return 0, err
		}
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		if err := t.dropRotation(ctx, id, act); err != nil {
			return err
		}
		families, err = t.revokeIssuedBy(ctx, found, issued)
		return err
	})
	return families, err
}

const rotationColumns = `r.id, r.account_id, r.repository, r.repository_id, r.owner, r.owner_id, r.secret_name, r.created_at, r.stopped, a.status, a.valid_until`

const targetColumns = `t.target, t.owner_id, t.due_at, t.jti, t.expires_at, t.written_at, t.tier, t.features, t.valid_until, t.pending, t.tried_at,
	t.failure_code, t.failure_text, t.failure_remedy, t.failed_since, t.told_at, t.attempts`

// rotationRow reads rotationColumns.
type rotationRow struct {
	rotation.Rotation
	created, validUntil int64
}

func (r *rotationRow) into() []any {
	return []any{
		&r.ID, &r.AccountID, &r.Repository, &r.RepositoryID, &r.Owner, &r.OwnerID, &r.SecretName, &r.created, &r.Stopped, &r.AccountStatus, &r.validUntil,
	}
}

func (r *rotationRow) rotation() rotation.Rotation {
	r.CreatedAt, r.ValidUntil = fromMillis(r.created), fromMillis(r.validUntil)
	return r.Rotation
}

// targetRow reads targetColumns.
type targetRow struct {
	rotation.Target
	due, expires, written, validUntil, tried int64
	features                                 string
	failure                                  rotation.Failure
	since, told                              int64
}

func (r *targetRow) into() []any {
	f := &r.failure
	return []any{
		&r.Name, &r.OwnerID, &r.due, &r.JTI, &r.expires, &r.written, &r.Says.Tier, &r.features, &r.validUntil, &r.Pending, &r.tried,
		&f.Code, &f.Text, &f.Remedy, &r.since, &r.told, &f.Attempts,
	}
}

func (r *targetRow) target() (rotation.Target, error) {
	t := r.Target
	t.Due, t.TriedAt = fromZeroMillis(r.due), fromZeroMillis(r.tried)
	if r.JTI != "" {
		t.ExpiresAt, t.WrittenAt, t.Says.ValidUntil = fromMillis(r.expires), fromMillis(r.written), fromMillis(r.validUntil)
		if err := json.Unmarshal([]byte(r.features), &t.Says.Features); err != nil {
			return t, fmt.Errorf("features of target %s: %w", t.Name, err)
		}
	}
	if r.failure.Code != "" {
		f := r.failure
		f.Since, f.ToldAt = fromZeroMillis(r.since), fromZeroMillis(r.told)
		t.Failure = &f
	}
	return t, nil
}

// zeroMillis is a time that may be missing, as 0.
func zeroMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return millis(t)
}

func fromZeroMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return fromMillis(ms)
}

func (s *Store) Rotations(ctx context.Context, q rotation.Query) ([]rotation.Rotation, error) {
	f := filter{conditions: []string{"r.removed_at IS NULL"}}
	f.where("r.id = %s", q.ID, q.ID != "")
	f.where("r.account_id = %s", q.Account, q.Account != "")
	f.where("lower(r.repository) = %s", strings.ToLower(q.Repository), q.Repository != "")
	f.where("r.repository_id = %s", q.RepositoryID, q.RepositoryID != 0)
	f.where("r.id > %s", q.After, q.After != "")
	return rotations(ctx, s.read, &f, q.Limit)
}

// rotations returns the rotations that a filter lets through, with their targets.
func rotations(ctx context.Context, q querier, f *filter, limit int) ([]rotation.Rotation, error) {
	var list []rotation.Rotation
	err := eachRow(ctx, q, `SELECT `+rotationColumns+` FROM rotations r JOIN accounts a ON a.id = r.account_id`+f.list("r.id", limit), f.args,
		func(scan func(...any) error) error {
			var r rotationRow
			if err := scan(r.into()...); err != nil {
				return err
			}
			list = append(list, r.rotation())
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list rotations: %w", err)
	}
	for page := range slices.Chunk(list, 64) {
		if err := addTargets(ctx, q, page); err != nil {
			return nil, fmt.Errorf("list targets of rotations: %w", err)
		}
	}
	return list, nil
}

func addTargets(ctx context.Context, q querier, list []rotation.Rotation) error {
	ids, at := make([]string, len(list)), map[string]int{}
	for i, r := range list {
		ids[i], at[r.ID] = r.ID, i
	}
	var f filter
	marks := oneOf(&f, ids)
	return eachRow(ctx, q, `SELECT t.rotation_id, `+targetColumns+` FROM rotation_targets t WHERE t.rotation_id IN (`+marks+`) ORDER BY t.rotation_id, t.target`,
		f.args, func(scan func(...any) error) error {
			var id string
			var row targetRow
			if err := scan(append([]any{&id}, row.into()...)...); err != nil {
				return err
			}
			t, err := row.target()
			r := &list[at[id]]
			r.Targets = append(r.Targets, t)
			return err
		})
}

// eachRow calls f with each row of a query.
func eachRow(ctx context.Context, q querier, text string, args []any, f func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return storeError(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return storeError(err)
		}
	}
	return storeError(rows.Err())
}

func (s *Store) ClaimTargets(ctx context.Context, c rotation.Claim) (claimed []rotation.Work, err error) {
	there, err := dueTargets(ctx, s.read, c)
	if err != nil || len(there) == 0 { // most often: no writer is kept waiting for that
		return nil, err
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		claimed, err = dueTargets(ctx, t, c)
		if err != nil {
			return err
		}
		for i := range claimed {
			w := &claimed[i]
			done, err := t.ExecContext(ctx, `UPDATE rotation_targets SET lease_until = $3, fence = fence + 1 WHERE rotation_id = $1 AND target = $2 AND fence = $4`,
				w.ID, w.Target.Name, millis(c.Until), w.Fence)
			if err := changedOne(done, err); err != nil {
				return fmt.Errorf("claim a target: %w", storeError(err))
			}
			w.Fence++
		}
		return nil
	})
	return claimed, err
}

func (s *Store) DueTargets(ctx context.Context, c rotation.Claim) ([]rotation.Work, error) {
	return dueTargets(ctx, s.read, c)
}

// dueTargets is what a claim would get. A lease that ends much later than one that begins now is of a
// clock that was far ahead, and counts for nothing. The keys of the joins are expressions, so that
// SQLite begins with the few targets that are due, and not with all rotations.
func dueTargets(ctx context.Context, q querier, c rotation.Claim) ([]rotation.Work, error) {
	var f filter
	now := f.mark(millis(c.Now))
	f.conditions = []string{"r.stopped = ''", "a.status = 'active'", "a.valid_until > " + now}
	switch {
	case c.Rotation != "":
		f.where("t.rotation_id = %s", c.Rotation, true)
	case c.Begun.IsZero():
		f.conditions = append(f.conditions, "t.due_at <= "+now)
	default:
		f.conditions = append(f.conditions, "(t.due_at <= "+now+" OR t.failure_code <> '')")
	}
	if !c.Begun.IsZero() {
		f.conditions = append(f.conditions, "NOT (t.tried_at >= "+f.mark(millis(c.Begun))+" AND t.tried_at <= "+now+")")
	}
	f.conditions = append(f.conditions, "(t.lease_until <= "+now+" OR t.lease_until > "+f.mark(millis(c.Until.Add(c.Until.Sub(c.Now))))+")")
	if len(c.NotOf) > 0 {
		f.conditions = append(f.conditions, "t.owner_id NOT IN ("+oneOf(&f, c.NotOf)+")")
	}
	var list []rotation.Work
	err := eachRow(ctx, q, `SELECT `+rotationColumns+`, t.fence, `+targetColumns+` FROM rotation_targets t
		JOIN rotations r ON r.id = t.rotation_id || '' JOIN accounts a ON a.id = r.account_id || ''`+f.list("t.due_at, t.rotation_id, t.target", c.Limit), f.args,
		func(scan func(...any) error) (err error) {
			var w rotation.Work
			var r rotationRow
			var t targetRow
			if err := scan(append(append(r.into(), &w.Fence), t.into()...)...); err != nil {
				return err
			}
			w.Rotation = r.rotation()
			w.Target, err = t.target()
			list = append(list, w)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("look for targets that are due: %w", err)
	}
	return list, nil
}

func (s *Store) RecordRotated(ctx context.Context, w rotation.Work, r license.TokenRecord, act audit.Act) error {
	return s.group.do(ctx, func(ctx context.Context, t *tx) error {
		done, err := t.ExecContext(ctx, `UPDATE rotation_targets SET pending = $4 WHERE rotation_id = $1 AND target = $2 AND fence = $3`,
			w.ID, w.Target.Name, w.Fence, r.ID)
		if err := lostUnlessOne(changedOne(done, err)); err != nil {
			return err
		}
		return t.recordToken(ctx, r, act)
	})
}

// lostUnlessOne turns "no row was changed" into rotation.ErrLost.
func lostUnlessOne(err error) error {
	if errors.Is(err, failure.ErrNotFound) {
		return rotation.ErrLost
	}
	if err != nil {
		return fmt.Errorf("target of a rotation: %w", storeError(err))
	}
	return nil
}

func (s *Store) FinishTarget(ctx context.Context, w rotation.Work, result rotation.Result, acts ...audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		if err := t.finishTarget(ctx, w, result.Target); err != nil {
			return err
		}
		if result.Repository != w.Repository || result.Stopped != "" {
			_, err := t.ExecContext(ctx, `UPDATE rotations SET repository = $2, stopped = CASE WHEN $3 = '' THEN stopped ELSE $3 END WHERE id = $1`, w.ID, result.Repository, result.Stopped)
			if err != nil {
				return fmt.Errorf("rotation %s: %w", w.ID, storeError(err))
			}
		}
		t.log(acts...)
		return nil
	})
}

// finishTarget stores a target. One that was hurried since it was claimed, and was not written now,
// stays due at once.
func (t *tx) finishTarget(ctx context.Context, w rotation.Work, target rotation.Target) error {
	var f rotation.Failure
	if target.Failure != nil {
		f = *target.Failure
	}
	features := target.Says.Features
	if features == nil {
		features = []string{}
	}
	text, err := json.Marshal(features)
	if err != nil {
		return err
	}
	done, err := t.ExecContext(ctx, `UPDATE rotation_targets SET lease_until = 0, due_at = $4, tried_at = $5, pending = $6, jti = $7, expires_at = $8,
		written_at = $9, tier = $10, features = $11, valid_until = $12, failure_code = $13, failure_text = $14, failure_remedy = $15, failed_since = $16,
		told_at = $17, attempts = $18 WHERE rotation_id = $1 AND target = $2 AND fence = $3`,
		w.ID, w.Target.Name, w.Fence, zeroMillis(target.Due), zeroMillis(target.TriedAt), target.Pending, target.JTI, zeroMillis(target.ExpiresAt),
		zeroMillis(target.WrittenAt), target.Says.Tier, string(text), zeroMillis(target.Says.ValidUntil), f.Code, f.Text, f.Remedy, zeroMillis(f.Since),
		zeroMillis(f.ToldAt), f.Attempts)
	return lostUnlessOne(changedOne(done, err))
}

// changedSince is the targets whose token was revoked, or says of its account what is no longer so.
// Those that fail have a time of their own.
const changedSince = `t.jti <> '' AND t.due_at > 0 AND t.failure_code = '' AND EXISTS (
		SELECT 1 FROM rotations r JOIN accounts a ON a.id = r.account_id
		WHERE r.id = t.rotation_id AND r.stopped = '' AND a.status = 'active' AND a.valid_until > $1
		AND (a.tier <> t.tier OR a.features <> t.features OR a.valid_until <> t.valid_until
			OR EXISTS (SELECT 1 FROM revocations v WHERE v.subject = t.jti OR v.subject = substr(t.jti, 9, 16))))`

func (s *Store) HurryTargets(ctx context.Context, account, id string, now time.Time) (n int64, err error) {
	which, args := `rotation_id IN (SELECT r.id FROM rotations r WHERE r.account_id = $1 AND r.stopped = '')`, []any{account}
	switch {
	case id != "":
		which, args = `rotation_id = $1`, []any{id}
	case account == "":
		var some bool // most often none: no writer is kept waiting for that
		err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM rotation_targets t WHERE `+changedSince+`)`, millis(now)).Scan(&some)
		if err != nil {
			return 0, fmt.Errorf("look for tokens that say what is no longer so: %w", storeError(err))
		}
		if !some {
			return 0, nil
		}
		which, args = changedSince, []any{millis(now)}
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		// the claim of who writes now ends: what it writes may be what is to be replaced
		done, err := t.ExecContext(ctx, `UPDATE rotation_targets AS t SET due_at = 0, fence = fence + 1, lease_until = 0, attempts = 0 WHERE `+which, args...)
		if err != nil {
			return fmt.Errorf("hurry the targets of rotations: %w", storeError(err))
		}
		n, err = done.RowsAffected()
		return err
	})
	return n, err
}

func (s *Store) RenameRepository(ctx context.Context, repositoryID int64, name string) ([]string, error) {
	return s.changeRotations(ctx, `repository = $2 WHERE repository_id = $1`, repositoryID, name)
}

func (s *Store) RenameOwner(ctx context.Context, ownerID int64, login string) error {
	return inTx(ctx, s.write, func(t *tx) error {
		names := map[string]string{}
		err := eachRow(ctx, t, `SELECT id, repository FROM rotations WHERE owner_id = $1 AND removed_at IS NULL`, []any{ownerID},
			func(scan func(...any) error) error {
				var id, name string
				err := scan(&id, &name)
				if _, repository, named := strings.Cut(name, "/"); named {
					name = login + "/" + repository
				}
				names[id] = name
				return err
			})
		if err != nil {
			return err
		}
		for id, name := range names {
			_, err := t.ExecContext(ctx, `UPDATE rotations SET owner = $2, repository = $3 WHERE id = $1`, id, login, name)
			if err != nil {
				return fmt.Errorf("rotation %s: %w", id, storeError(err))
			}
		}
		return nil
	})
}

func (s *Store) StopRepository(ctx context.Context, repositoryID, ownerID int64, why string) ([]string, error) {
	return s.changeRotations(ctx, `stopped = $3 WHERE repository_id = $1 AND owner_id <> $2`, repositoryID, ownerID, why)
}

// changeRotations changes rotations that were not removed, and returns which.
func (s *Store) changeRotations(ctx context.Context, how string, args ...any) (ids []string, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		ids = nil
		return eachRow(ctx, t, `UPDATE rotations SET `+how+` AND removed_at IS NULL RETURNING id`, args,
			func(scan func(...any) error) error {
				var id string
				err := scan(&id)
				ids = append(ids, id)
				return err
			})
	})
	return ids, err
}

func (s *Store) RotationStock(ctx context.Context, now time.Time) (rotation.Stock, error) {
	stock := rotation.Stock{States: map[rotation.State]int64{}}
	for _, state := range rotation.States {
		stock.States[state] = 0
	}
	// of one that is to be written at once (0) nobody noted since when: since it was written last, or made
	err := eachRow(ctx, s.read, `SELECT CASE WHEN r.stopped <> '' THEN 'stopped' WHEN a.status <> 'active' OR a.valid_until <= $1 THEN 'paused'
			WHEN t.failure_code <> '' THEN 'failing' WHEN t.due_at <= $1 THEN 'due' ELSE 'fresh' END AS state, count(*),
			count(CASE WHEN CASE WHEN t.due_at > 0 THEN t.due_at WHEN t.written_at > 0 THEN t.written_at ELSE r.created_at END <= $2 THEN 1 END)
		FROM rotation_targets t JOIN rotations r ON r.id = t.rotation_id JOIN accounts a ON a.id = r.account_id GROUP BY state`,
		[]any{millis(now), millis(now.Add(-rotation.OverdueAfter))},
		func(scan func(...any) error) error {
			var state rotation.State
			var n, since int64
			err := scan(&state, &n, &since)
			stock.States[state] = n
			if state == rotation.IsDue {
				stock.Overdue = since
			}
			return err
		})
	if err != nil {
		return rotation.Stock{}, fmt.Errorf("count the targets of rotations: %w", err)
	}
	return stock, nil
}
