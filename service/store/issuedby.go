package store

import (
	"context"
	"fmt"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/store/ledger"
)

// issuedFamilies is the families whose first token was issued by something, as far as the audit log
// goes up to a number.
type issuedFamilies struct {
	issuer   string
	upTo     int64
	accounts map[string]string // family -> account
}

// issuedBy looks for the families that something issued, before a transaction that revokes them: it
// may have to read a lot, and the transaction then reads what came since.
func (s *Store) issuedBy(ctx context.Context, issuer string) (*issuedFamilies, error) {
	end, err := s.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	f := &issuedFamilies{issuer: issuer, accounts: map[string]string{}}
	return f, f.add(ctx, s.read, end.Seq)
}

// add adds those that stand in the log behind what was looked at already, up to a number.
func (f *issuedFamilies) add(ctx context.Context, db querier, upTo int64) error {
	q := search{after: f.upTo, before: upTo + 1}
	q.where(ledger.OfIssuer, f.issuer)
	err := q.find(ctx, db, func(_ int64, r *ledger.Reader) bool {
		record := r.Record()
		f.accounts[opaque.TokenID(record.ID).Family()] = record.Account
		return true
	})
	f.upTo = upTo
	return err
}

// revokeRows revokes the families of before there was a ledger. It says once more that issued_by is
// not empty: by that a database knows that the index, which holds no others, has all that is asked
// for.
const revokeRows = `INSERT INTO revocations (subject, account_id, revoked_at, rights)
	SELECT DISTINCT substr(id, 9, 16), account_id, CAST($2 AS BIGINT), CAST($3 AS BIGINT) FROM tokens WHERE issued_by = $1 AND issued_by <> '' ON CONFLICT (subject) DO NOTHING`

// revokePruned revokes the families whose first record was pruned. Those that were pruned since found
// was made are among them.
const revokePruned = `INSERT INTO revocations (subject, account_id, revoked_at, rights)
	SELECT family, account_id, CAST($2 AS BIGINT), CAST($3 AS BIGINT) FROM ledger_families WHERE issued_by = $1 ON CONFLICT (subject) DO NOTHING`

// revokeIssuedBy revokes every family whose first token says that it was issued by this, and
// returns how many were not revoked before; nothing without an act. found is what was found before
// the transaction.
func (t *tx) revokeIssuedBy(ctx context.Context, found *issuedFamilies, act *audit.Act) (families int64, err error) {
	if act == nil {
		return 0, nil
	}
	fault := func(err error) error { return fmt.Errorf("revoke what %s issued: %w", found.issuer, storeError(err)) }
	if err := found.add(ctx, t, t.head.Seq); err != nil {
		return 0, fault(err)
	}
	done, err := t.ExecContext(ctx, revokeRows, found.issuer, millis(act.At), t.head.rights+1)
	if err != nil {
		return 0, fault(err)
	}
	if families, err = done.RowsAffected(); err != nil {
		return 0, err
	}
	done, err = t.ExecContext(ctx, revokePruned, found.issuer, millis(act.At), t.head.rights+1)
	if err != nil {
		return 0, fault(err)
	}
	n, err := done.RowsAffected()
	if err != nil {
		return 0, err
	}
	families += n
	add := t.adder(ctx, `INSERT INTO revocations (subject, account_id, revoked_at, rights) VALUES `, 4, ` ON CONFLICT (subject) DO NOTHING`)
	for family, account := range found.accounts {
		add.row(family, account, millis(act.At), t.head.rights+1)
	}
	if err := add.flush(); err != nil {
		return 0, fault(err)
	}
	if families += add.added; families == 0 {
		return 0, nil
	}
	t.ended = true
	noted := *act
	if noted.Account, err = t.ownerOf(ctx, found.issuer); err != nil {
		return 0, err
	}
	t.log(noted)
	return families, nil
}
