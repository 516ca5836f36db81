package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/billing"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/oidc"
	"github.com/pageflare/ci/service/opaque"
	"github.com/pageflare/ci/service/rotation"
	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/webhook/out"
)

func document(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", name))
	must(t, err)
	return string(text)
}

// table is the rows of the first table with that head, as cells.
func table(t *testing.T, text, head string) [][]string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n"+head+"\n")
	if !ok {
		t.Fatalf("no table %s", head)
	}
	var rows [][]string
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "| ---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

func code(s string) string { return "`" + s + "`" }

func TestSettingsAndTheirTableAgree(t *testing.T) {
	t.Parallel()
	want := map[string][2]string{
		"`LICENSE_KEY`": {"none", "not set"}, "`LICENSE_GITHUB_WEBHOOK_PREVIOUS_SECRET`": {"none", "not set"},
		"`LICENSE_GITHUB_WEBHOOK_SECRET`": {"none", "the one that `github-app create` made"},
	}
	for f := range reflect.TypeFor[Settings]().Fields() {
		name := f.Tag.Get("env")
		flag := "--" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "LICENSE_"), "_", "-"))
		want[code(name)] = [2]string{code(flag), code(f.Tag.Get("default"))}
		if f.Tag.Get("default") == "" {
			want[code(name)] = [2]string{code(flag), "in words"}
		}
	}
	got := map[string][2]string{}
	for _, row := range table(t, document(t, "service.md"), "| variable | flag | default | meaning |") {
		if len(row) != 4 || slices.Contains(row, "") {
			t.Fatalf("row %q lacks something", row)
		}
		def := row[2]
		if !strings.HasPrefix(def, "`") && row[1] != "none" {
			def = "in words"
		}
		got[row[0]] = [2]string{row[1], def}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-struct +docs/service.md):\n%s", diff)
	}
}

func TestEventsAndTheirTableAgree(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for _, e := range audit.EventTypes {
		want[code(string(e))] = code(strings.Join(e.Members(), "`, `"))
	}
	got := map[string]string{}
	for _, row := range table(t, document(t, "webhooks.md"), "| type | what happened | `data` |") {
		if len(row) != 3 || row[1] == "" {
			t.Fatalf("row %q lacks something", row)
		}
		got[row[0]] = row[2]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-code +docs/webhooks.md):\n%s", diff)
	}
}

func TestEveryCommandIsInTheDocument(t *testing.T) {
	t.Parallel()
	text := document(t, "service.md")
	for _, leaf := range model(t).Leaves(false) {
		path := strings.TrimPrefix(leaf.Path(), program+" ")
		if !strings.Contains(text, program+" "+path) && !strings.Contains(text, code(path)) {
			t.Errorf("docs/service.md does not name %s", path)
		}
	}
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```\n")

// TestCommandsOfTheDocumentWork runs what docs/service.md shows of the program, in its order.
func TestCommandsOfTheDocumentWork(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	// the dates of the document are near; the test shall hold for long
	text := strings.ReplaceAll(document(t, "service.md"), "2027-03-12", "2099-03-12")
	ran := 0
	for i, block := range shellBlock.FindAllStringSubmatch(text, -1) {
		if strings.Contains(block[1], "$SERVER") {
			continue // of PostgreSQL, which has a test of its own
		}
		b.exampleVariables(i)
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSpace(line)
			if !strings.Contains(line, program+" ") || strings.HasPrefix(line, "docker ") || line == program+" serve" {
				continue
			}
			ran++
			if line == program+" doctor" {
				line += " --oidc-issuers=" // no test asks GitHub
			}
			if out, err := b.shell(line); err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		}
	}
	if ran < 20 {
		t.Errorf("ran %d commands of the document", ran)
	}
}

// The recipe of docs/service.md is run as it stands: the copy of a database that is in use comes
// back in a new one, with all that was acknowledged before.
func TestTheRecipeForBackupsOnPostgreSQLWorks(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(postgrestest.New(t))
	must(t, err)
	b := newBox(t)
	b.env["LICENSE_DATABASE_URL"], b.env["LICENSE_KEY"], b.env["LICENSE_LISTEN"], b.env[issuersSetting] = u.String(), zeroKey, "127.0.0.1:0", ""
	b.env["PGUSER"], b.env["PGSSLMODE"], b.env["SERVER"] = "postgres", "disable", "postgres://"+u.Host
	b.used()
	b.serve()
	b.env["END"] = mustMember(t, b.ok("audit", "verify", "--json"), "end")
	restored := "restored_" + strings.Trim(u.Path, "/")
	ran := 0
	for _, block := range shellBlock.FindAllStringSubmatch(document(t, "service.md"), -1) {
		if !strings.Contains(block[1], "$SERVER") || slices.ContainsFunc(moveBlocks, func(of string) bool { return strings.Contains(block[1], of) }) {
			continue
		}
		ran++
		script := strings.NewReplacer("license_restored", restored, "$SERVER/license\"", "$SERVER"+u.Path+"\"").Replace(block[1])
		out, err := b.shell(script)
		if err != nil || !strings.Contains(out, b.env["END"]) {
			t.Errorf("%s: %v, want it to work and the end %s:\n%s", script, err, b.env["END"], out)
		}
	}
	if ran != 2 {
		t.Errorf("ran %d blocks of the document, want one that copies and one that restores", ran)
	}
	b.env["LICENSE_DATABASE_URL"] = b.env["SERVER"] + "/" + restored
	if said := b.ok("account", "list"); !strings.Contains(said, "dev@example.com") {
		t.Errorf("account list of the restored database = %s, want the account of before", said)
	}
	if out, err := b.shell(`dropdb --force --maintenance-db="$SERVER/postgres" ` + restored); err != nil {
		t.Errorf("dropdb: %v: %s", err, out)
	}
}

// moveBlocks are in the blocks of docs/service.md that are the recipe for moving to PostgreSQL.
var moveBlocks = []string{"migrate-engine", "pageflare-license.db.key"}

// The recipe is run as it stands: a service that began on SQLite is on PostgreSQL afterwards.
func TestTheRecipeForMovingToPostgreSQLWorks(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(postgrestest.Empty(t))
	must(t, err)
	b := newBox(t)
	b.env["LICENSE_LISTEN"], b.env[issuersSetting] = "127.0.0.1:0", ""
	b.env["PGUSER"], b.env["PGSSLMODE"], b.env["SERVER"] = "postgres", "disable", "postgres://"+u.Host
	b.used()
	b.env["END"] = mustMember(t, b.ok("audit", "verify", "--json"), "end")
	target := "moved_" + strings.Trim(u.Path, "/")
	ran := 0
	for _, block := range shellBlock.FindAllStringSubmatch(document(t, "service.md"), -1) {
		if !strings.Contains(block[1], "$SERVER") || !slices.ContainsFunc(moveBlocks, func(of string) bool { return strings.Contains(block[1], of) }) {
			continue
		}
		ran++
		script := strings.NewReplacer(`$SERVER/license"`, "$SERVER/"+target+`"`, `postgres" license`, `postgres" `+target).Replace(block[1])
		out, err := b.shell(script)
		if err != nil || !strings.Contains(out, b.env["END"]) {
			t.Errorf("%s: %v, want it to work and the end %s:\n%s", script, err, b.env["END"], out)
		}
	}
	if ran != 2 {
		t.Errorf("ran %d blocks of the document, want one that moves and one that goes on there", ran)
	}
	if out, err := b.shell(`dropdb --force --maintenance-db="$SERVER/postgres" ` + target); err != nil {
		t.Errorf("dropdb: %v: %s", err, out)
	}
}

// exampleVariables sets what the examples of block i speak of. A new key signs, and one before it never signed anything.
func (b *box) exampleVariables(i int) {
	b.t.Helper()
	made := b.ok("account", "create", "--email", fmt.Sprintf("example%d@example.com", i), "--valid-until", "2099-03-12", "--json")
	b.env["KID"] = mustMember(b.t, b.ok("key", "rotate", "--json"), "kid")
	b.ok("key", "rotate")
	b.alter("UPDATE signing_keys SET signs_from = created_at")
	b.env["ACCOUNT"], b.env["API_TOKEN"] = mustMember(b.t, made, "id"), mustMember(b.t, made, "api_token")
	issued := b.ok("token", "issue", "--account", b.env["ACCOUNT"], "--json")
	b.env["TOKEN"], b.env["JTI"] = mustMember(b.t, issued, "token"), mustMember(b.t, issued, "jti")
	b.env["POLICY"] = mustMember(b.t, b.ok("policy", "add", "--account", b.env["ACCOUNT"], "--repository-id", "7", "--repository-owner-id", "8", "--json"), "id")
	b.env["WEBHOOK"] = mustMember(b.t, b.ok("webhook", "add", "--account", b.env["ACCOUNT"], "--url", "https://example.com/example", "--json"), "id")
	b.env["ADMIN_TOKEN"] = strings.TrimSpace(b.ok("admin-token", "create", "--scope", "audit:read"))
	shown := b.ok("token", "show", b.env["JTI"], "--json")
	b.env["MACHINE"] = fmt.Sprintf("mac_%016d", i)
	b.alter(fmt.Sprintf("INSERT INTO machines (id, account_id, machine_id, label, family, created_at) VALUES ('%s', '%s', 'm', '', '%s', 1000)",
		b.env["MACHINE"], b.env["ACCOUNT"], mustMember(b.t, shown, "family")))
}

// shell runs a line as a person would.
func (b *box) shell(line string) (string, error) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "sh", "-eu", "-c", line)
	cmd.Dir, cmd.Env = b.dir, []string{quickExit, "PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}
	for k, v := range b.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestEveryFieldOfTheLogIsInTheDocument(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.env["LICENSE_LOG_FORMAT"], b.env["LICENSE_UNKNOWN"] = "json", "1"
	r := b.serve()
	made := b.ok("account", "create", "--email", "dev@example.com", "--valid-until", "2020-03-12", "--json")
	r.wantCall(t, "POST", "/_api/license/issue", mustMember(t, made, "api_token"), 403)
	_, log, err := r.stop(syscall.SIGTERM)
	must(t, err)
	text := document(t, "service.md")
	fields := map[string]bool{}
	for line := range strings.Lines(log) {
		var entry map[string]any
		must(t, json.Unmarshal([]byte(line), &entry))
		if msg := entry["msg"].(string); !strings.Contains(text, "| "+code(msg)+" | "+entry["level"].(string)+" |") {
			t.Errorf("docs/service.md does not name the message %s of level %s", msg, entry["level"])
		}
		for _, own := range []string{"msg", "level", "time"} {
			delete(entry, own)
		}
		for name := range entry {
			fields[name] = true
		}
	}
	for _, f := range slices.Sorted(maps.Keys(fields)) {
		if !strings.Contains(text, code(f)) {
			t.Errorf("docs/service.md does not name the field %s", f)
		}
	}
	if len(fields) < 14 {
		t.Errorf("fields in the log = %q", slices.Sorted(maps.Keys(fields)))
	}
}

// example is one of docs/api.md: a shell block, the status, and often the body.
var example = regexp.MustCompile("(?s)```sh\n([^`]*?)```\n\n([0-9]{3})\n(?:\n```json\n([^`]*?)\n```\n)?")

// TestExamplesOfTheAPIWork runs each with the real curl against a real service of its own.
func TestExamplesOfTheAPIWork(t *testing.T) {
	t.Parallel()
	text := document(t, "api.md")
	examples := example.FindAllStringSubmatch(text, -1)
	if blocks := strings.Count(text, "```sh\n"); len(examples) != blocks || blocks < 30 {
		t.Fatalf("%d examples have a status, of %d", len(examples), blocks)
	}
	for _, e := range examples {
		command, status, body := e[1], e[2], e[3]
		t.Run(strings.TrimSpace(command), func(t *testing.T) {
			t.Parallel()
			b := newBox(t)
			b.env = exampleService(t)
			b.write(".curlrc", "silent\nshow-error\nwrite-out = \"\\n%{http_code}\"\n")
			out, err := b.shell(command)
			i := strings.LastIndex(out, "\n")
			if err != nil || i < 0 || out[i+1:] != status {
				t.Fatalf("= %v\n%s\nwant %s", err, out, status)
			}
			if body != "" {
				wantAlike(t, command, body, out[:i])
			}
		})
	}
}

// exampleService starts a service with what the examples of docs/api.md speak of, and returns their
// variables.
func exampleService(t *testing.T) map[string]string {
	t.Helper()
	ctx := t.Context()
	var ahead atomic.Int64 // in seconds, so that the token issued last is the newest
	jobs, err := githubtest.NewIssuer(githubtest.IssuerConfig{Claims: map[string]any{"repository": "acme/observatory", "repository_owner_id": "583231"}})
	must(t, err)
	t.Cleanup(jobs.Close)
	s := servicetest.Start(t, servicetest.Options{Issuers: []string{jobs.URL()}, App: githubapp.Given{Secrets: []opaque.Secret{hookSecret}}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load()) * time.Second) }})
	command := audit.WithActor(ctx, audit.Actor{Kind: audit.ActorCommand, ID: "root"})
	a, apiToken, err := s.CreateAccount(command, account.NewAccount{
		Email: "dev@example.com", Tier: account.Pro, Features: []string{"critical_css"}, ValidUntil: time.Date(2099, 3, 12, 0, 0, 0, 0, time.UTC),
	})
	must(t, err)
	caller, err := s.Authenticate(ctx, apiToken.Reveal())
	must(t, err)
	_, err = s.Issue(ctx, caller)
	must(t, err)
	revoked := s.IssueToken(t, a.ID, 0)
	_, err = s.RevokeToken(ctx, revoked, false)
	must(t, err)
	ahead.Add(1)
	issued, err := s.IssueFor(ctx, a.ID, 0)
	must(t, err)
	keys, err := s.Keys(ctx)
	must(t, err)
	policy, err := s.AddPolicy(ctx, license.TrustPolicy{AccountID: a.ID, Repository: "acme/observatory", Policy: oidc.Policy{
		Issuer: jobs.URL(), RepositoryID: "1296269", OwnerID: "583231",
	}})
	must(t, err)
	identity, err := jobs.Sign(map[string]any{"aud": s.Origin})
	must(t, err)
	admin, adminRecord, err := s.CreateAdminToken(ctx, auth.NewAdminToken{Scopes: auth.Scopes}, nil)
	must(t, err)
	env := map[string]string{
		"ORIGIN": s.Origin, "API": s.URL, "API_TOKEN": apiToken.Reveal(), "TOKEN": issued.Token.Reveal(), "REVOKED": revoked, "ADMIN_TOKEN": admin.Reveal(),
		"ACCOUNT": a.ID, "JTI": string(issued.ID), "KID": keys[0].ID, "API_TOKEN_ID": caller.ID, "POLICY": policy.ID, "IDENTITY": identity,
		"ADMIN_TOKEN_ID": adminRecord.ID,
	}
	kept, err := s.Store.AddRotation(command, rotation.Rotation{
		ID: "rot_0123456789abcdef", AccountID: a.ID, Repository: "acme/observatory", RepositoryID: 1296269, Owner: "acme", OwnerID: 583231,
		SecretName: rotation.DefaultSecret, CreatedAt: time.Now(), Targets: []rotation.Target{{Name: "repository", OwnerID: 583231}},
	}, s.Parts.Log.Act(command, audit.RotationAdded, a.ID, "rot_0123456789abcdef", nil))
	must(t, err)
	env["ROTATION"] = kept.ID
	webhook, err := s.Parts.Endpoints.Add(ctx, out.NewEndpoint{AccountID: a.ID, URL: "https://example.com/hooks", Events: []audit.EventType{audit.EventAccountUpdated}})
	must(t, err)
	env["WEBHOOK"] = webhook.ID
	exampleLogins(t, s, a.ID, env)
	examplePurchase(t, s, env)
	return env
}

// hookSecret is the secret of the webhook of GitHub.
const hookSecret = "It's a Secret to Everybody"

func hookSignature(body string) string {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// examplePurchase adds a plan, and the webhook of a purchase.
func examplePurchase(t *testing.T, s *servicetest.Service, env map[string]string) {
	t.Helper()
	_, err := s.Parts.Billing.AddPlan(t.Context(), billing.Plan{Source: billing.FromMarketplace, Number: 435, Tier: account.Pro, Features: []string{"critical_css"}})
	must(t, err)
	const id = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	body := string(githubtest.Payload(t, "marketplace_purchase", "purchased", githubtest.Set{
		"effective_date": "2026-03-12T00:00:00Z", "marketplace_purchase.account.login": "octo-org",
		"marketplace_purchase.account.organization_billing_email": "dev@example.com",
		"marketplace_purchase.next_billing_date":                  "2099-03-01T00:00:00Z",
	}))
	header := http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {"marketplace_purchase"}, "X-Github-Delivery": {id}, "X-Hub-Signature-256": {hookSignature(body)}}
	_, err = s.Parts.Received.Receive(t.Context(), header, strings.NewReader(body), -1)
	must(t, err)
	_, err = s.Parts.Received.Work(t.Context(), slog.New(slog.DiscardHandler))
	must(t, err)
	env["DELIVERY"], env["SIGNATURE"] = id, hookSignature(`{"zen":"Design for failure."}`)
}

// exampleLogins adds what the examples of device logins and pages speak of.
func exampleLogins(t *testing.T, s *servicetest.Service, account string, env map[string]string) {
	t.Helper()
	ctx := t.Context()
	linkSecret := func() string {
		link, _, err := s.CreateSignInLink(ctx, account)
		must(t, err)
		_, secret, _ := strings.Cut(link.Reveal(), "link=")
		return secret
	}
	begin := func() auth.DeviceCodes {
		codes, err := s.BeginDevice(ctx, "cl_pageflare_cli", "192.0.2.7")
		must(t, err)
		return codes
	}
	secret, session, err := s.SignIn(ctx, linkSecret())
	must(t, err)
	person, err := s.Session(ctx, secret.Reveal())
	must(t, err)
	approved, used, waiting := begin(), begin(), begin()
	for _, codes := range []auth.DeviceCodes{approved, used} {
		_, err = s.ApproveDevice(ctx, person, codes.UserCode.Reveal())
		must(t, err)
	}
	login, err := s.PollDevice(ctx, "cl_pageflare_cli", used.DeviceCode.Reveal())
	must(t, err)
	program, err := s.Authenticate(ctx, login.Token.Reveal())
	must(t, err)
	machine, record, err := s.Activate(ctx, program, "0f3a5c", "build-7")
	must(t, err)
	maps.Copy(env, map[string]string{
		"SETUP": setupSecret(t, s), "LINK": linkSecret(), "SESSION": secret.Reveal(), "DEVICE_CODE": approved.DeviceCode.Reveal(), "USER_CODE": waiting.UserCode.Reveal(),
		"LOGIN_TOKEN": login.Token.Reveal(), "MACHINE_TOKEN": machine.Token.Reveal(), "MACHINE": record.ID, "FORM_DEVICE": session.FormToken("device"),
		"FORM_SIGN_OUT": session.FormToken("sign-out"), "FORM_DECIDE": session.FormToken("decide " + waiting.UserCode.Reveal()),
	})
}

// setupSecret is the secret of a link by which the GitHub App is made.
func setupSecret(t *testing.T, s *servicetest.Service) string {
	t.Helper()
	link, _, err := s.Parts.App.CreateSetup(t.Context(), githubapp.Ask{})
	must(t, err)
	_, secret, _ := strings.Cut(link.Reveal(), "link=")
	return secret
}

// ofItsOwn are the members whose value differs from run to run.
var ofItsOwn = map[string]bool{
	"token": true, "expires_at": true, "refresh_after": true, "id": true, "account": true, "jti": true, "family": true, "kid": true, "sub": true, "iss": true,
	"iat": true, "exp": true, "created_at": true, "received_at": true, "processed_at": true, "due_at": true, "updated_at": true, "issued_at": true, "signs_from": true, "at": true, "object": true, "hash": true, "end": true,
	"seq": true, "lines": true, "lease": true, "grace_until": true, "x": true,
	"issuer": true, "api_token": true, "admin_token": true, "next_cursor": true,
	"timestamp": true, "sequence": true, "next": true, "latest": true, "secret": true, "previous_secret_until": true,
	"device_code": true, "user_code": true, "verification_uri": true, "verification_uri_complete": true, "access_token": true, "machine": true, "url": true, "ended_at": true,
	"token_endpoint": true, "device_authorization_endpoint": true, "introspection_endpoint": true, "revocation_endpoint": true,
}

var anyID = regexp.MustCompile(`\bk_[0-9a-z]{16}\b`)

// wantAlike fails unless both bodies have the same members; what is not of its own must be the same
// too.
func wantAlike(t *testing.T, command, document, answer string) {
	t.Helper()
	var want, got any
	must(t, json.Unmarshal([]byte(anyID.ReplaceAllString(document, "k_…")), &want))
	must(t, json.Unmarshal([]byte(anyID.ReplaceAllString(answer, "k_…")), &got))
	if diff := cmp.Diff(ownHidden(want), ownHidden(got)); diff != "" {
		t.Errorf("%s(-docs/api.md +answer):\n%s", command, diff)
	}
}

// ownHidden replaces the values of members that are of their own, unless they are null.
func ownHidden(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if ofItsOwn[name] && value != nil {
				v[name] = "of its own"
				continue
			}
			v[name] = ownHidden(value)
		}
	case []any:
		for i := range v {
			v[i] = ownHidden(v[i])
		}
	}
	return v
}

// documentPath is a path as the documents write it.
func documentPath(path string) string {
	return regexp.MustCompile(`:(\w+)`).ReplaceAllString(path, "{$1}")
}

func TestEveryRouteIsInTheDocument(t *testing.T) {
	t.Parallel()
	sections := map[string]string{}
	for _, section := range strings.Split(document(t, "api.md"), "\n## ")[1:] {
		title, text, _ := strings.Cut(section, "\n")
		sections[title] = text
	}
	routes := servicetest.Start(t, servicetest.Options{}).Server.Routes()
	for _, r := range routes {
		title := r.Method + " " + documentPath(r.Path)
		text, ok := sections[title]
		if !ok {
			t.Errorf("docs/api.md has no section %s", title)
		}
		if want := "Who may call: " + r.Guard.String() + "."; ok && !strings.Contains(text, want) {
			t.Errorf("docs/api.md does not say under %s: %s", title, want)
		}
		delete(sections, title)
	}
	for title := range sections {
		if strings.Contains(title, " /") {
			t.Errorf("docs/api.md has a section %s, and there is no such route", title)
		}
	}
	if len(routes) == 0 {
		t.Error("there are no routes")
	}
}

// What docs/api.md shows of Go is code that is compiled and run.
func TestTheGoOfTheAPIDocumentIsAnExample(t *testing.T) {
	t.Parallel()
	var sources string
	for _, of := range []string{"token", "client"} {
		source, err := os.ReadFile(filepath.Join(of, "example_test.go"))
		must(t, err)
		sources += string(source)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(document(t, "api.md"), -1)
	for _, b := range blocks {
		if !strings.Contains(sources, b[1]) {
			t.Errorf("neither service/token/example_test.go nor service/client/example_test.go has\n%s", b[1])
		}
	}
	if len(blocks) == 0 {
		t.Error("docs/api.md shows no Go")
	}
}

// Every action that the service writes is explained, and no other.
func TestEveryActionIsInTheDocument(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("audit", "audit.go"))
	must(t, err)
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Action = "([a-z.-]+)"(?: +//.*)?$`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, code(m[1]))
	}
	for _, row := range table(t, document(t, "api.md"), "| action | what happened |") {
		got = append(got, strings.Split(row[0], ", ")...)
	}
	var known []string
	for _, a := range audit.Actions {
		known = append(known, code(string(a)))
	}
	slices.Sort(want)
	slices.Sort(got)
	slices.Sort(known)
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("actions (-service/license +docs/api.md):\n%s", diff)
	}
	if diff := cmp.Diff(want, known); diff != "" {
		t.Errorf("actions (-constants +license.Actions):\n%s", diff)
	}
}

func TestEveryKindOfActorIsInTheDocument(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("audit", "audit.go"))
	must(t, err)
	openapi, err := os.ReadFile(filepath.Join("api", "openapi.yaml"))
	must(t, err)
	_, kinds, _ := strings.Cut(string(openapi), "    AuditActor:\n")
	kinds, _, _ = strings.Cut(kinds, "id:")
	all := regexp.MustCompile(`ActorKind = "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1)
	for _, m := range all {
		if !strings.Contains(kinds, m[1]) {
			t.Errorf("openapi.yaml does not name the kind of actor %s", m[1])
		}
	}
	if len(all) < 5 {
		t.Errorf("kinds = %d", len(all))
	}
}

func TestEveryCodeIsInTheDocument(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile(filepath.Join("api", "errors.go"))
	must(t, err)
	openapi, err := os.ReadFile(filepath.Join("api", "openapi.yaml"))
	must(t, err)
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^\tCode\w+ Code = "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
		status := regexp.MustCompile("\\| `" + m[1] + "` \\| (\\d+) \\|").FindStringSubmatch(string(openapi))
		if status == nil {
			t.Fatalf("openapi.yaml does not say the status of %s", m[1])
		}
		want = append(want, code(m[1])+" "+status[1])
	}
	var got []string
	for _, row := range table(t, document(t, "api.md"), "| code | status | meaning | what to do |") {
		got = append(got, row[0]+" "+row[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("codes and their status (-service/api +docs/api.md):\n%s", diff)
	}
}
