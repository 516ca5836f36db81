package license_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/keyring"
	"github.com/pageflare/ci/service/servicetest"
)

// change runs SQL on the database as somebody would who has its file and nothing else.
func (b *bench) change(query string) {
	b.t.Helper()
	db, err := sql.Open("sqlite", "file:"+b.file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		b.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(b.t.Context(), query); err != nil {
		b.t.Fatal(err)
	}
}

func TestEveryActLeavesALine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := audit.WithActor(t.Context(), audit.Actor{Kind: audit.ActorAdmin, ID: "adm_1", Address: "192.0.2.7", RequestID: "r1"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, key := b.account()
	_, err := b.UpdateAccount(ctx, a.ID, account.Change{Tier: new(account.Team), Email: new("secret.person@example.com")})
	must(err)
	issued, err := b.Issue(ctx, b.caller(b.Rules, key))
	must(err)
	b.advance(time.Hour)
	refreshed, err := b.Refresh(ctx, b.caller(b.Rules, issued.Token))
	must(err)
	again, err := b.Refresh(ctx, b.caller(b.Rules, issued.Token)) // the same token: nothing new was made
	must(err)
	if again.ID != refreshed.ID {
		t.Fatal("two refreshes gave two tokens")
	}
	_, err = b.RevokeToken(ctx, string(refreshed.ID), false)
	must(err)
	_, err = b.RevokeToken(ctx, string(issued.ID), true)
	must(err)
	text, _, err := b.CreateAPIToken(ctx, a.ID, "ci")
	must(err)
	_, _, err = b.RevokeAPIToken(ctx, text.Reveal(), true) // it issued nothing
	must(err)
	_, err = b.Rotate(ctx, keyring.HS256)
	must(err)
	admin, made, err := b.CreateAdminToken(ctx, auth.NewAdminToken{Scopes: []auth.Scope{auth.ScopeAuditRead}}, nil)
	must(err)
	_, err = b.RevokeAdminToken(ctx, made.ID)
	must(err)
	_, err = b.SuspendAccount(ctx, a.ID)
	must(err)
	_, err = b.SuspendAccount(ctx, a.ID) // it is suspended
	must(err)
	_, err = b.RestoreAccount(ctx, a.ID)
	must(err)
	_, err = b.RestoreAccount(ctx, a.ID) // it is restored
	must(err)
	_, err = b.UpdateAccount(ctx, a.ID, account.Change{Tier: new(account.Team)}) // it is of that tier
	must(err)
	_, err = b.DeleteAccount(ctx, a.ID)
	must(err)

	lines, err := b.Lines(t.Context(), audit.Query{Limit: 100})
	must(err)
	var actions []audit.Action
	all := ""
	for i := range lines {
		l := lines[len(lines)-1-i]
		actions = append(actions, l.Action)
		all += l.Object + l.Details + l.Actor.ID
	}
	want := []audit.Action{
		audit.KeyAdded, audit.AccountCreated, audit.APITokenCreated, audit.AccountUpdated, audit.TokenIssued, audit.TokenRefreshed,
		audit.TokenRevoked, audit.FamilyRevoked, audit.APITokenCreated, audit.APITokenRevoked, audit.KeyAdded, audit.AdminTokenCreated,
		audit.AdminTokenRevoked, audit.AccountSuspended, audit.AccountRestored, audit.AccountDeleted,
	}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("actions (-want +got)\n%s", diff)
	}
	for _, secret := range []string{issued.Token.Reveal(), refreshed.Token.Reveal(), key.Reveal(), text.Reveal(), admin.Reveal(), "secret.person"} {
		if strings.Contains(all, secret) {
			t.Error("the log holds a secret or an address")
		}
	}
	if got := lines[0].Actor; got != (audit.Actor{Kind: audit.ActorAdmin, ID: "adm_1", Address: "192.0.2.7", RequestID: "r1"}) {
		t.Errorf("actor = %+v", got)
	}
	head, err := b.Verify(t.Context(), audit.Check{})
	if err != nil || head.Seq != int64(len(lines)) || head.Hash != lines[0].Hash {
		t.Errorf("VerifyAudit = %+v, %v, want the end of the log", head, err)
	}
}

// newTampered is a service with six lines in its audit log: a key, an account, its API token, and
// then the account is suspended, restored and suspended.
func newTampered(t *testing.T) (*bench, account.Account, audit.Head) {
	t.Helper()
	b := newBench(t)
	a, _ := b.account()
	for _, act := range []func(context.Context, string) (account.Account, error){b.SuspendAccount, b.RestoreAccount, b.SuspendAccount} {
		if _, err := act(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
	}
	end, err := b.Verify(t.Context(), audit.Check{})
	if err != nil || end.Seq != 6 {
		t.Fatalf("VerifyAudit before = %+v, %v", end, err)
	}
	return b, a, end.Head
}

// wantTampered fails unless the log is found to be changed, with a text in what is said of it.
func wantTampered(t *testing.T, s servicetest.Rules, c audit.Check, want string) {
	t.Helper()
	if _, err := s.Verify(t.Context(), c); !errors.Is(err, audit.ErrTampered) || !strings.Contains(err.Error(), want) {
		t.Errorf("VerifyAudit = %v, want ErrTampered with %q", err, want)
	}
}

const (
	copyLine = `INSERT INTO audit_log SELECT %s, at, actor_kind, actor_id, address, request_id, action, account_id, object, details, hash FROM audit_log WHERE seq = 6; `
	cutTail  = `DELETE FROM audit_log WHERE seq > 4; UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit_log WHERE seq = 4); `
	cutAll   = `DELETE FROM audit_log; UPDATE audit_head SET seq = 0, hash = ''; `
)

// Every change is found without anything that was noted down, and most of those at the end by a
// look at the end alone.
func TestATamperedAuditLogIsFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		query, want string
		atEnd       bool // the end alone shows it
	}{
		"a changed detail":               {`UPDATE audit_log SET details = '{}' WHERE seq = 2`, "line 2", false},
		"a changed actor":                {`UPDATE audit_log SET actor_id = 'root' WHERE seq = 4`, "line 4", false},
		"a changed time":                 {`UPDATE audit_log SET at = at + 1 WHERE seq = 2`, "line 2", false},
		"a changed last line":            {`UPDATE audit_log SET actor_id = 'root' WHERE seq = 6`, "line 6", true},
		"a missing line":                 {`DELETE FROM audit_log WHERE seq = 3`, "lines 3 to 3 are missing", false},
		"missing first lines":            {`DELETE FROM audit_log WHERE seq < 3`, "lines 1 to 2 are missing", false},
		"missing last lines":             {`DELETE FROM audit_log WHERE seq > 4`, "lines 5 to 6 are missing", true},
		"no line left":                   {`DELETE FROM audit_log`, "lines 1 to 6 are missing", true},
		"lines that changed places":      {`UPDATE audit_log SET seq = CASE seq WHEN 3 THEN -4 WHEN 4 THEN -3 END WHERE seq IN (3, 4); UPDATE audit_log SET seq = -seq WHERE seq < 0`, "line 3", false},
		"a line taken out, closed up":    {`DELETE FROM audit_log WHERE seq = 3; UPDATE audit_log SET seq = seq - 1 WHERE seq > 3; UPDATE audit_head SET seq = seq - 1`, "line 3", true},
		"a forged line":                  {fmt.Sprintf(copyLine, "7") + `UPDATE audit_head SET seq = 7`, "line 7", true},
		"a forged line behind the end":   {fmt.Sprintf(copyLine, "7"), "line 7 is none that was written here", true},
		"a forged line far behind":       {fmt.Sprintf(copyLine, "1006"), "line 1006 is none that was written here", true},
		"a forged line before the first": {fmt.Sprintf(copyLine, "-5"), "line -5 is none that was written here", true},
		"a forged line zero":             {fmt.Sprintf(copyLine, "0"), "line 0 is none that was written here", true},
		"an end cut off with its head":   {cutTail, "line 4 was made its end by other means", true},
		"the same without a seal":        {cutTail + `UPDATE audit_head SET seal = ''`, "line 4 was made its end by other means", true},
		"everything cut off":             {cutAll, "it is empty, and there are accounts", true},
		"the same without a seal, keys or accounts": {
			cutAll + `UPDATE audit_head SET seal = ''; DELETE FROM api_tokens; DELETE FROM accounts; DELETE FROM signing_keys`, "line 0 was made its end", true},
		"no head": {`DELETE FROM audit_head`, "the row that says where it ends (audit_head) is missing", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _, _ := newTampered(t)
			b.change(test.query)
			wantTampered(t, b.Rules, audit.Check{}, test.want)
			if _, err := b.CheckEnd(t.Context()); errors.Is(err, audit.ErrTampered) != test.atEnd {
				t.Errorf("CheckAuditEnd = %v, want ErrTampered: %t", err, test.atEnd)
			}
		})
	}
}

// Lines that are added later, and services that start later, make no forged end a good one.
func TestAForgedEndStaysForged(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"an end cut off":                          cutTail,
		"an end cut off and its seal taken away":  cutTail + `UPDATE audit_head SET seal = ''`,
		"everything cut off":                      cutAll,
		"everything cut off, and its seal":        cutAll + `UPDATE audit_head SET seal = ''`,
		"a seal taken away, and nothing else":     `UPDATE audit_head SET seal = ''`,
		"the seal of a database of somebody else": `UPDATE audit_head SET seal = hash`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, a, _ := newTampered(t)
			b.change(query)
			for _, s := range []servicetest.Rules{b.Rules, b.replica(), b.replica()} { // a start between the writes
				if _, err := s.UpdateAccount(t.Context(), a.ID, account.Change{Email: new(rand.Text() + "@example.com")}); err != nil {
					t.Fatalf("a write to a database with a forged end = %v, want the service to go on", err)
				}
				wantTampered(t, s, audit.Check{}, "by other means")
			}
		})
	}
}

// An older database with its own seal is whole; an end that was noted down elsewhere tells it from
// the newer one.
func TestANotedEndFindsAnOlderDatabase(t *testing.T) {
	t.Parallel()
	b, a, end := newTampered(t)
	b.change(`CREATE TABLE kept AS SELECT * FROM audit_head`)
	if _, err := b.RestoreAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	noted, err := b.Verify(t.Context(), audit.Check{Expected: end})
	if err != nil || noted.Seq != 7 {
		t.Fatalf("VerifyAudit = %+v, %v", noted, err)
	}
	b.change(`DELETE FROM audit_log WHERE seq > 6; DELETE FROM audit_head; INSERT INTO audit_head SELECT * FROM kept`)
	if _, err := b.Verify(t.Context(), audit.Check{Expected: end}); err != nil {
		t.Errorf("VerifyAudit(noted before) = %v", err)
	}
	for _, c := range []audit.Check{{Expected: noted.Head}, {From: noted.Head}} {
		wantTampered(t, b.Rules, c, "it ends at line 6, and line 7 was there")
	}
}

func TestVerifyReadsFromANotedEnd(t *testing.T) {
	t.Parallel()
	b, _, end := newTampered(t)
	lines, err := b.Lines(t.Context(), audit.Query{Limit: 9})
	if err != nil {
		t.Fatal(err)
	}
	head := func(seq int64) audit.Head { return audit.Head{Seq: seq, Hash: lines[end.Seq-seq].Hash} }
	b.change(`UPDATE audit_log SET details = '{"n":1}' WHERE seq = 2`)
	wantTampered(t, b.Rules, audit.Check{}, "line 2")
	for _, c := range []audit.Check{{From: head(4)}, {From: end}, {From: head(4), Expected: head(4)}, {From: head(4), Expected: end}} {
		if got, err := b.Verify(t.Context(), c); err != nil || got.Head != end {
			t.Errorf("VerifyAudit(%+v) = %v, %v, want %v: what was changed lies before", c, got, err, end)
		}
	}
	for seq := int64(1); seq <= end.Seq; seq++ {
		wantTampered(t, b.Rules, audit.Check{From: audit.Head{Seq: seq, Hash: strings.Repeat("0", 64)}}, "line ")
	}
	wantTampered(t, b.Rules, audit.Check{From: head(2)}, "line 2")
	if _, err := b.Verify(t.Context(), audit.Check{From: head(4), Expected: head(3)}); !errors.Is(err, failure.ErrInvalid) {
		t.Errorf("VerifyAudit(noted before from) = %v, want ErrInvalid", err)
	}
	b.change(`UPDATE audit_log SET actor_id = 'root' WHERE seq = 4`) // under the very line that was noted
	wantTampered(t, b.Rules, audit.Check{From: head(4)}, "line 4")
	b.change(`DELETE FROM audit_log WHERE seq = 5`)
	wantTampered(t, b.Rules, audit.Check{From: end}, "line 5 is missing")
}

// A line that somebody put where the next one goes is no fault of the caller.
func TestATakenLineIsAFaultOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{"the next line is there": fmt.Sprintf(copyLine, "7"), "there is no head": `DELETE FROM audit_head`} {
		b, a, _ := newTampered(t)
		b.change(query)
		for what, err := range map[string]error{
			"RestoreAccount": second(b.RestoreAccount(t.Context(), a.ID)),
			"IssueFor":       second(b.IssueFor(t.Context(), restored(b, a), 0)),
		} {
			if !errors.Is(err, audit.ErrTampered) || errors.Is(err, failure.ErrConflict) || errors.Is(err, failure.ErrNotFound) || !strings.Contains(err.Error(), "audit verify") {
				t.Errorf("%s where %s = %v, want ErrTampered with the remedy", what, name, err)
			}
		}
	}
}

// restored is the account, good again in spite of the log.
func restored(b *bench, a account.Account) string {
	b.t.Helper()
	b.change(`UPDATE accounts SET status = 'active'`)
	return a.ID
}

func second[T any](_ T, err error) error { return err }
