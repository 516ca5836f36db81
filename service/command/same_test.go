package command_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/command"
	"github.com/pageflare/ci/service/parts"
	"github.com/pageflare/ci/service/servicetest"
)

// What a command prints with --json is what the API answers, to the last letter of a time.
func TestCommandsPrintWhatTheAPIAnswers(t *testing.T) {
	t.Parallel()
	s := servicetest.Start(t, servicetest.Options{})
	a, _ := s.Account(t, "dev@example.com")
	s.IssueToken(t, a.ID, 0)
	s.IssueToken(t, a.ID, 0)
	admin := s.AdminToken(t, auth.Scopes...)
	for path, args := range map[string][]string{
		"/admin/accounts/" + a.ID:                 {"account", "show", a.ID},
		"/admin/accounts":                         {"account", "list"},
		"/admin/accounts/" + a.ID + "/api-tokens": {"api-token", "list", "--account", a.ID},
		"/admin/accounts/" + a.ID + "/tokens":     {"token", "list", "--account", a.ID},
		"/admin/admin-tokens":                     {"admin-token", "list"},
		"/admin/policies":                         {"policy", "list"},
		"/admin/audit?limit=3":                    {"audit", "list", "--limit", "3"},

		"/admin/accounts/" + a.ID + "/tokens?limit=1": {"token", "list", "--account", a.ID, "--limit", "1"},
		"/admin/keys": {"key", "list"},
	} {
		answer, printed := get(t, s.URL+path, admin), run(t, s, append(args, "--json")...)
		if diff := cmp.Diff(value(t, answer), value(t, printed)); diff != "" {
			t.Errorf("%v and GET %s differ (-API +command)\n%s", args, path, diff)
		}
	}
}

func value(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// run runs a command on the database of a service and returns what it printed.
func run(t *testing.T, s *servicetest.Service, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	app := &command.App{
		Stdout: &out, Stderr: &out, HaveDatabase: func(context.Context) bool { return true },
		Open: func(context.Context) (*parts.Parts, func() error, error) {
			return s.Parts, func() error { return nil }, nil
		},
	}
	var c struct {
		Account    command.Account    `cmd:""`
		APIToken   command.APIToken   `cmd:"" name:"api-token"`
		AdminToken command.AdminToken `cmd:"" name:"admin-token"`
		Token      command.Token      `cmd:""`
		Key        command.Key        `cmd:""`
		Policy     command.Policy     `cmd:""`
		Audit      command.Audit      `cmd:""`
	}
	parser, err := kong.New(&c, kong.Bind(app), kong.BindTo(t.Context(), (*context.Context)(nil)))
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(args)
	if err == nil {
		err = k.Run()
	}
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.Bytes()
}

func get(t *testing.T, url, token string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	status, body := servicetest.Send(t, req)
	if status != http.StatusOK {
		t.Fatalf("GET %s = %d %s", url, status, body)
	}
	return []byte(body)
}
