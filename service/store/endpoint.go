package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

// An endpoint that is removed keeps its row, without address and secrets: what was sent to it refers
// to it. Nothing but this file sees such a row.

const endpointColumns = `id, coalesce(account_id, ''), url, events, status, reason, secret, previous_secret, previous_until, created_at, since`

func scanEndpoint(scan func(...any) error) (e out.Sealed, err error) {
	var types string
	var until, created int64
	if err := scan(&e.ID, &e.AccountID, &e.URL, &types, &e.Status, &e.Reason, &e.SealedSecret, &e.SealedPrevious, &until, &created, &e.Since); err != nil {
		return out.Sealed{}, err
	}
	if err := json.Unmarshal([]byte(types), &e.Events); err != nil {
		return out.Sealed{}, fmt.Errorf("events of webhook endpoint %s: %w", e.ID, err)
	}
	e.CreatedAt = fromMillis(created)
	if until != 0 {
		e.PreviousUntil = fromMillis(until)
	}
	return e, nil
}

func (s *Store) AddEndpoint(ctx context.Context, e out.Sealed, act audit.Act) (out.Sealed, error) {
	types, err := json.Marshal(e.Events)
	if err != nil {
		return e, err
	}
	err = inTx(ctx, s.write, func(t *tx) error {
		if e.AccountID != "" {
			if err := t.mayTrust(ctx, e.AccountID); err != nil {
				return err
			}
		}
		if err := t.roomForEndpoint(ctx, e); err != nil {
			return err
		}
		e.Since = t.head.events
		t.log(act)
		_, err := t.ExecContext(ctx, `INSERT INTO webhook_endpoints (id, account_id, url, events, status, reason, secret, previous_secret, previous_until, created_at, since)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			e.ID, nullText(e.AccountID), e.URL, string(types), string(e.Status), e.Reason, e.SealedSecret, nil, int64(0), millis(e.CreatedAt), e.Since)
		return storeError(err)
	})
	return e, err
}

// roomForEndpoint refuses an endpoint too many. out.ErrTooMany; ErrConflict: it is there already.
func (t *tx) roomForEndpoint(ctx context.Context, e out.Sealed) error {
	var there, ofAccount, all int
	err := t.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM webhook_endpoints WHERE id = $1),
		(SELECT count(*) FROM webhook_endpoints WHERE coalesce(account_id, '') = $2 AND status <> 'removed'),
		(SELECT count(*) FROM webhook_endpoints WHERE status <> 'removed')`, e.ID, e.AccountID).Scan(&there, &ofAccount, &all)
	switch {
	case err != nil:
		return fmt.Errorf("count webhook endpoints: %w", storeError(err))
	case there > 0:
		return failure.ErrConflict
	case ofAccount >= out.MaxOfAccount && e.AccountID == "":
		return fmt.Errorf("%w: %d hear all accounts, which is the most there can be: remove one", out.ErrTooMany, ofAccount)
	case ofAccount >= out.MaxOfAccount:
		return fmt.Errorf("%w: account %s has %d, which is the most there can be: remove one", out.ErrTooMany, e.AccountID, ofAccount)
	case all >= out.MaxEndpoints:
		return fmt.Errorf("%w: there are %d, which is the most there can be: remove some", out.ErrTooMany, all)
	}
	return nil
}

func (s *Store) Endpoint(ctx context.Context, id string) (out.Sealed, error) {
	return endpointByID(ctx, s.read, id)
}

func endpointByID(ctx context.Context, q querier, id string) (out.Sealed, error) {
	e, err := scanEndpoint(q.QueryRowContext(ctx, `SELECT `+endpointColumns+` FROM webhook_endpoints WHERE id = $1 AND status <> 'removed'`, id).Scan)
	if err != nil {
		return out.Sealed{}, fmt.Errorf("webhook endpoint %s: %w", id, notFound(err))
	}
	return e, nil
}

func (s *Store) Endpoints(ctx context.Context, q out.Query) ([]out.Sealed, error) {
	f := filter{conditions: []string{"status <> 'removed'"}}
	f.where("account_id = %s", q.Account, q.Account != "")
	f.where("id > %s", q.After, q.After != "")
	rows, err := s.read.QueryContext(ctx, `SELECT `+endpointColumns+` FROM webhook_endpoints`+f.list("id", q.Limit), f.args...)
	if err != nil {
		return nil, fmt.Errorf("list webhook endpoints: %w", storeError(err))
	}
	defer rows.Close()
	var list []out.Sealed
	for rows.Next() {
		e, err := scanEndpoint(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("list webhook endpoints: %w", storeError(err))
		}
		list = append(list, e)
	}
	return list, storeError(rows.Err())
}

func (s *Store) ChangeEndpoint(ctx context.Context, id string, change func(*out.Sealed) error,
	act audit.Act) (e out.Sealed, err error) {
	err = inTx(ctx, s.write, func(t *tx) (err error) {
		e, err = t.changeEndpoint(ctx, id, change, act)
		return err
	})
	return e, err
}

func (s *Store) ChangeEndpointOnce(ctx context.Context, id string, r out.Request,
	change func(*out.Sealed, string) (string, error), act audit.Act) (e out.Sealed, err error) {
	err = inTx(ctx, s.write, func(t *tx) error {
		use, did := license.IdentityUse{Hash: r.Name, At: r.At, Until: r.Until}, ""
		if _, err := t.together(ctx, forgetIdentities(millis(r.At))); err != nil {
			return fmt.Errorf("forget old requests: %w", storeError(err))
		}
		before, err := identityUse(ctx, t, r.Name)
		first := errors.Is(err, failure.ErrNotFound)
		if err != nil && !first {
			return err
		}
		e, err = t.changeEndpoint(ctx, id, func(e *out.Sealed) (err error) {
			did, err = change(e, string(before.Token))
			return err
		}, act)
		if err != nil || !first {
			return err
		}
		use.Token = opaque.TokenID(did)
		return t.useIdentities(ctx, []license.IdentityUse{use})
	})
	return e, err
}

func (t *tx) changeEndpoint(ctx context.Context, id string, change func(*out.Sealed) error,
	act audit.Act) (e out.Sealed, err error) {
	if e, err = endpointByID(ctx, t, id); err != nil {
		return e, err
	}
	before := e
	if err := change(&e); err != nil || sameEndpoint(before, e) {
		return e, err
	}
	types, err := json.Marshal(e.Events)
	if err != nil {
		return e, err
	}
	act.Account = e.AccountID
	t.log(act)
	until := int64(0)
	if !e.PreviousUntil.IsZero() {
		until = millis(e.PreviousUntil)
	}
	_, err = t.ExecContext(ctx, `UPDATE webhook_endpoints SET url = $2, events = $3, status = $4, reason = $5, secret = $6, previous_secret = $7, previous_until = $8
		WHERE id = $1`, id, e.URL, string(types), string(e.Status), e.Reason, e.SealedSecret, e.SealedPrevious, until)
	if err != nil {
		return e, fmt.Errorf("webhook endpoint %s: %w", id, storeError(err))
	}
	if before.URL != e.URL {
		return e, t.beginAnew(ctx, e.Endpoint)
	}
	return e, nil
}

// beginAnew forgets how an endpoint did at the address that it had before: the next claim sends what
// is queued to the new one at once. What is on its way to the old address is sent to the new one as
// well, and what comes of it at the old one counts for nothing, since nobody has the delivery then.
func (t *tx) beginAnew(ctx context.Context, e out.Endpoint) error {
	q, err := t.lockQueue(ctx, e.ID, e.Since)
	if err != nil {
		return err
	}
	_, err = t.ExecContext(ctx, `UPDATE webhook_deliveries SET owner = '' WHERE endpoint_id = $1`, e.ID)
	if err != nil {
		return fmt.Errorf("deliveries of webhook endpoint %s: %w", e.ID, storeError(err))
	}
	q.held, q.circuit, q.next = 1, deliver.Closed, never
	return t.storeQueue(ctx, e.ID, q)
}

// sameEndpoint says whether nothing of an endpoint was changed.
func sameEndpoint(a, b out.Sealed) bool {
	return a.URL == b.URL && slices.Equal(a.Events, b.Events) && a.Status == b.Status && a.Reason == b.Reason &&
		slices.Equal(a.SealedSecret, b.SealedSecret) && slices.Equal(a.SealedPrevious, b.SealedPrevious)
}

func (s *Store) RemoveEndpoint(ctx context.Context, id string, act audit.Act) error {
	return inTx(ctx, s.write, func(t *tx) error {
		err := changedOne(t.ExecContext(ctx, `UPDATE webhook_endpoints SET status = 'removed', url = '', reason = '', secret = $2, previous_secret = NULL, previous_until = 0
			WHERE id = $1 AND status <> 'removed'`, id, []byte{}))
		if err != nil {
			return fmt.Errorf("webhook endpoint %s: %w", id, storeError(err))
		}
		t.log(act)
		return nil
	})
}

func (s *Store) TellEndpoint(ctx context.Context, id string, act audit.Act) (e out.Event, err error) {
	var seq int64
	err = inTx(ctx, s.write, func(t *tx) error {
		to, err := endpointByID(ctx, t, id)
		if err != nil {
			return err
		}
		act.Account = to.AccountID
		t.log(act)
		seq = t.head.events + 1
		return nil
	})
	if err != nil {
		return e, err
	}
	list, err := readEvents(ctx, s.read, ` WHERE seq = $1 LIMIT 1`, seq)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("event %d: %w", seq, failure.ErrNotFound)
	}
	if err != nil {
		return e, err
	}
	return list[0], nil
}
