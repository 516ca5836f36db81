package license_test

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/license"
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
	ctx := license.WithActor(t.Context(), license.Actor{Kind: license.ActorAdmin, ID: "adm_1", Address: "192.0.2.7", RequestID: "r1"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, key := b.account()
	_, err := b.UpdateAccount(ctx, a.ID, license.AccountChange{Tier: new(license.Team), Email: new("secret.person@example.com")})
	must(err)
	issued, err := b.Issue(ctx, b.caller(b.Service, key))
	must(err)
	b.advance(time.Hour)
	refreshed, err := b.Refresh(ctx, b.caller(b.Service, issued.Token))
	must(err)
	again, err := b.Refresh(ctx, b.caller(b.Service, issued.Token)) // the same token: nothing new was made
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
	_, err = b.RotateKey(ctx, license.HS256)
	must(err)
	admin, made, err := b.CreateAdminToken(ctx, license.NewAdminToken{Scopes: []license.Scope{license.ScopeAuditRead}}, nil)
	must(err)
	_, err = b.RevokeAdminToken(ctx, made.ID)
	must(err)
	_, err = b.SuspendAccount(ctx, a.ID)
	must(err)
	_, err = b.RestoreAccount(ctx, a.ID)
	must(err)
	_, err = b.DeleteAccount(ctx, a.ID)
	must(err)

	lines, err := b.Audit(t.Context(), license.AuditQuery{Limit: 100})
	must(err)
	var actions []license.Action
	all := ""
	for i := range lines {
		l := lines[len(lines)-1-i]
		actions = append(actions, l.Action)
		all += l.Object + l.Details + l.Actor.ID
	}
	want := []license.Action{
		license.KeyAdded, license.AccountCreated, license.APITokenCreated, license.AccountUpdated, license.TokenIssued, license.TokenRefreshed,
		license.TokenRevoked, license.FamilyRevoked, license.APITokenCreated, license.APITokenRevoked, license.KeyAdded, license.AdminTokenCreated,
		license.AdminTokenRevoked, license.AccountSuspended, license.AccountRestored, license.AccountDeleted,
	}
	if diff := cmp.Diff(want, actions); diff != "" {
		t.Errorf("actions (-want +got)\n%s", diff)
	}
	for _, secret := range []string{issued.Token.Reveal(), refreshed.Token.Reveal(), key.Reveal(), text.Reveal(), admin.Reveal(), "secret.person"} {
		if strings.Contains(all, secret) {
			t.Error("the log holds a secret or an address")
		}
	}
	if got := lines[0].Actor; got != (license.Actor{Kind: license.ActorAdmin, ID: "adm_1", Address: "192.0.2.7", RequestID: "r1"}) {
		t.Errorf("actor = %+v", got)
	}
	head, err := b.VerifyAudit(t.Context(), license.AuditHead{})
	if err != nil || head.Seq != int64(len(lines)) || head.Hash != lines[0].Hash {
		t.Errorf("VerifyAudit = %+v, %v, want the end of the log", head, err)
	}
}

func TestATamperedAuditLogIsFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ query, want string }{
		"a changed detail":            {`UPDATE audit_log SET details = '{}' WHERE seq = 2`, "line 2"},
		"a changed actor":             {`UPDATE audit_log SET actor_id = 'root' WHERE seq = 4`, "line 4"},
		"a changed time":              {`UPDATE audit_log SET at = at + 1 WHERE seq = 2`, "line 2"},
		"a missing line":              {`DELETE FROM audit_log WHERE seq = 3`, "lines 3 to 3 are missing"},
		"missing first lines":         {`DELETE FROM audit_log WHERE seq < 3`, "lines 1 to 2 are missing"},
		"missing last lines":          {`DELETE FROM audit_log WHERE seq > 4`, "lines 5 to 6 are missing"},
		"lines that changed places":   {`UPDATE audit_log SET seq = CASE seq WHEN 3 THEN -4 WHEN 4 THEN -3 END WHERE seq IN (3, 4); UPDATE audit_log SET seq = -seq WHERE seq < 0`, "line 3"},
		"a line taken out, closed up": {`DELETE FROM audit_log WHERE seq = 3; UPDATE audit_log SET seq = seq - 1 WHERE seq > 3; UPDATE audit_head SET seq = seq - 1`, "line 3"},
		"a forged line":               {`INSERT INTO audit_log SELECT 7, at, actor_kind, actor_id, address, request_id, action, account_id, object, details, hash FROM audit_log WHERE seq = 6; UPDATE audit_head SET seq = 7`, "line 7"},
		"an end cut off with its head": {`DELETE FROM audit_log WHERE seq > 4; UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit_log WHERE seq = 4)`,
			"it ends at line 4, and line 6 was there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a, _ := b.account() // lines 2 and 3; the first key is line 1
			for range 3 {
				if _, err := b.SuspendAccount(t.Context(), a.ID); err != nil {
					t.Fatal(err)
				}
			}
			noted, err := b.VerifyAudit(t.Context(), license.AuditHead{})
			if err != nil || noted.Seq != 6 {
				t.Fatalf("VerifyAudit before = %+v, %v", noted, err)
			}
			b.change(test.query)
			_, err = b.VerifyAudit(t.Context(), noted)
			if !errors.Is(err, license.ErrTampered) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("VerifyAudit = %v, want ErrTampered with %q", err, test.want)
			}
		})
	}
}
