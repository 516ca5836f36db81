package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
)

// What one transaction records of tokens is one row, a block of the audit log (docs/decisions/
// 0013-ledger.md): a refresh costs a hundred bytes of it, and no index. So that records are found
// all the same, upkeep sums up stretches of blocks (segment.go), and the newest blocks are read as
// they are (search.go).

// recordToken adds the record of a token and its act to the block of this transaction, unless it
// was recorded before. ErrRetired, and as in mayDescend. ErrNotFound: there is no such account.
func (t *tx) recordToken(ctx context.Context, r license.TokenRecord, act audit.Act) error {
	if err := t.mayGive(ctx, r); err != nil {
		return err
	}
	if t.pool.recent.has(r.ID) || t.blockIDs[r.ID] {
		return nil
	}
	t.addRecord(r, act)
	return nil
}

// mayGive refuses what a right that has ended since it was looked at was asked for by.
func (t *tx) mayGive(ctx context.Context, r license.TokenRecord) error {
	if r.AsOf != 0 && r.AsOf == t.head.rights {
		return nil
	}
	if err := t.mayRecord(ctx, r.KeyID); err != nil {
		return err
	}
	if err := t.mayHold(ctx, r); err != nil {
		return err
	}
	return t.mayDescend(ctx, r)
}

// addRecord adds a record to the block.
func (t *tx) addRecord(r license.TokenRecord, act audit.Act) {
	extra := act.Details
	if extra == "{}" {
		extra = ""
	}
	t.records = append(t.records, ledger.Record{
		ID: string(r.ID), Account: r.AccountID, Parent: string(r.Parent), IssuedBy: r.IssuedBy, Key: r.KeyID,
		IssuedAt: r.IssuedAt.Unix(), ExpiresAt: r.ExpiresAt.Unix(), At: millis(r.Recorded),
		Action: string(act.Action), ActorKind: string(act.Actor.Kind), ActorID: act.Actor.ID,
		Address: act.Actor.Address, RequestID: act.Actor.RequestID, TokenHash: r.Hash, Extra: extra,
	})
	t.recorded = act
	if t.blockIDs == nil {
		t.blockIDs = map[opaque.TokenID]bool{}
	}
	t.blockIDs[r.ID] = true
}

// expect makes room for so many records, so that it does not grow record by record.
func (t *tx) expect(records int) {
	t.records = make([]ledger.Record, 0, records)
	t.blockIDs = make(map[opaque.TokenID]bool, records)
}

// mayHold refuses a token for an account that may not hold one any more. What it may was looked at
// before; here it is certain.
func (t *tx) mayHold(ctx context.Context, r license.TokenRecord) error {
	var a accountRow
	err := t.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM accounts a WHERE a.id = $1`, r.AccountID).Scan(a.into()...)
	if err != nil {
		return fmt.Errorf("account %s: %w", r.AccountID, notFound(err))
	}
	owner, err := a.account()
	if err != nil {
		return err
	}
	return account.MayHoldToken(owner, r.Recorded)
}

// block is the block of the transaction behind the head, and how it is written; no records: none.
func (t *tx) block(head audit.Head) (audit.Head, []command) {
	if len(t.records) == 0 {
		return head, nil
	}
	body := ledger.Append(make([]byte, 0, 160*len(t.records)), t.records)
	digest := sha256.Sum256(body)
	n := int64(len(t.records))
	next := audit.Head{Seq: head.Seq + n}
	next.Hash = t.recorded.LinkBlock(head.Seq+1, next.Seq, digest, head.Hash)
	return next, []command{newCommand(`INSERT INTO ledger (seq, n, at, digest, body, hash) VALUES ($1, $2, $3, $4, $5, $6)`,
		next.Seq, n, t.newestRecord(), digest[:], body, next.Hash)}
}

// newestRecord is the time of the newest record of the block, in milliseconds.
func (t *tx) newestRecord() (newest int64) {
	for i := range t.records {
		newest = max(newest, t.records[i].At)
	}
	return newest
}

// tokenOf is the record of a token as the rules know it.
func tokenOf(r *ledger.Record) license.TokenRecord {
	return license.TokenRecord{
		ID: opaque.TokenID(r.ID), AccountID: r.Account, Parent: opaque.TokenID(r.Parent), IssuedBy: r.IssuedBy, KeyID: r.Key,
		IssuedAt: time.Unix(r.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(r.ExpiresAt, 0).UTC(), Recorded: fromMillis(r.At), Hash: r.TokenHash,
	}
}

// lineOf is the line of a record in the audit log.
func lineOf(seq int64, r *ledger.Record) audit.Line {
	return audit.Line{Seq: seq, Act: audit.Act{
		At:     fromMillis(r.At),
		Actor:  audit.Actor{Kind: audit.ActorKind(r.ActorKind), ID: r.ActorID, Address: r.Address, RequestID: r.RequestID},
		Action: audit.Action(r.Action), Account: r.Account, Object: r.ID, Details: detailsOf(r),
	}}
}

// detailsOf is the details of a record's line: what it says of its token, and what else its act
// noted. A record without the hash of its token has the latter alone.
func detailsOf(r *ledger.Record) string {
	if r.TokenHash == ([ledger.HashSize]byte{}) {
		if r.Extra == "" {
			return "{}"
		}
		return r.Extra
	}
	details := audit.Details{}
	if r.Extra != "" {
		if err := json.Unmarshal([]byte(r.Extra), &details); err != nil {
			return r.Extra // it is shown as it was written
		}
	}
	details["token_sha256"] = fmt.Sprintf("%x", r.TokenHash)
	details["kid"] = r.Key
	details["expires_at"] = r.ExpiresAt
	if r.Parent != "" {
		details["parent"] = r.Parent
	}
	text, err := json.Marshal(details)
	if err != nil {
		panic(err) // it came from JSON
	}
	return string(text)
}
