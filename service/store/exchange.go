package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/license"
)

// forgotten is how many uses of identities that can be forgotten are forgotten with each
// transaction at most: more than come in with it.
const forgotten = 2 * maxGroup

func (s *Store) RecordExchange(ctx context.Context, use license.IdentityUse, r license.TokenRecord,
	by *license.Repository, act audit.Act) (first license.IdentityUse, err error) {
	if err := s.recent.remember(ctx); err != nil {
		return license.IdentityUse{}, err
	}
	var found license.IdentityUse
	err = s.group.doWith(ctx, &use, func(ctx context.Context, t *tx) error {
		if t.firstUse[use.Hash] {
			delete(t.firstUse, use.Hash) // the same identity again in this transaction is not the first
			found = use
			if err := t.recordToken(ctx, r, act); err != nil {
				return err
			}
			if by == nil {
				return nil
			}
			return t.useRepository(ctx, *by)
		}
		before, err := identityUse(ctx, t, use.Hash)
		found = before // not read when the caller has left
		return err
	})
	if err != nil {
		return license.IdentityUse{}, err
	}
	return found, nil
}

// useIdentities stores the uses of identities that arrived together, many to a statement, and notes
// which of them are the first of their identity. It forgets old ones.
func (t *tx) useIdentities(ctx context.Context, uses []license.IdentityUse) error {
	if len(uses) == 0 {
		return nil
	}
	t.firstUse = map[string]bool{}
	seen := map[string]bool{}
	uses = slices.DeleteFunc(uses, func(u license.IdentityUse) bool {
		again := seen[u.Hash]
		seen[u.Hash] = true
		return again
	})
	commands := []command{forgetIdentities(millis(uses[0].At))}
	for _, n := range usesTogether {
		for ; len(uses) >= n; uses = uses[n:] {
			commands = append(commands, t.addUses(uses[:n]))
		}
	}
	if _, err := t.together(ctx, commands...); err != nil {
		return fmt.Errorf("remember identities: %w", storeError(err))
	}
	return nil
}

// usesTogether is how many uses share a statement: so that there are few statements, and few texts
// of them.
var usesTogether = []int{64, 8, 1}

// insertUses is the statement that adds so many uses.
var insertUses = func() map[int]string {
	texts := map[int]string{}
	for _, n := range usesTogether {
		marks := make([]string, n)
		for i := range marks {
			marks[i] = fmt.Sprintf("($%d, $%d, $%d, $%d)", 4*i+1, 4*i+2, 4*i+3, 4*i+4)
		}
		texts[n] = `INSERT INTO used_identities (hash, at, until, token_id) VALUES ` + strings.Join(marks, ", ") +
			` ON CONFLICT (hash) DO NOTHING RETURNING hash`
	}
	return texts
}()

// addUses adds uses and notes whose the first is.
func (t *tx) addUses(uses []license.IdentityUse) command {
	args := make([]any, 0, 4*len(uses))
	for _, u := range uses {
		args = append(args, u.Hash, millis(u.At), millis(u.Until), string(u.Token))
	}
	return command{text: insertUses[len(uses)], args: args, row: func(scan func(into ...any) error) error {
		var hash string
		err := scan(&hash)
		t.firstUse[hash] = true
		return err
	}}
}

// forgetIdentities forgets uses that can be forgotten.
func forgetIdentities(now int64) command {
	return newCommand(`DELETE FROM used_identities WHERE hash IN (SELECT hash FROM used_identities WHERE until < $1 LIMIT $2)`,
		now, forgotten)
}

func (s *Store) IdentityUse(ctx context.Context, hash string) (license.IdentityUse, error) {
	return identityUse(ctx, s.read, hash)
}

func identityUse(ctx context.Context, q querier, hash string) (license.IdentityUse, error) {
	var at, until int64
	use := license.IdentityUse{Hash: hash}
	err := q.QueryRowContext(ctx, `SELECT at, until, token_id FROM used_identities WHERE hash = $1`,
		hash).Scan(&at, &until, &use.Token)
	if err != nil {
		return license.IdentityUse{},
			fmt.Errorf("use of an identity: %w", notFound(storeError(err)))
	}
	use.At, use.Until = fromMillis(at), fromMillis(until)
	return use, nil
}
