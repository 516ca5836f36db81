package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/token"
)

// cli runs a command outside of a workflow, with the service in PAGEFLARE_API_URL.
func (j *job) cli(args ...string) (int, string) {
	j.t.Helper()
	j.env["PAGEFLARE_API_URL"] = j.service.URL
	return j.program(args...)
}

// program runs a command outside of a workflow, with the environment as it is otherwise.
func (j *job) program(args ...string) (int, string) {
	j.t.Helper()
	for name := range j.env {
		if strings.HasPrefix(name, "INPUT_") || strings.HasPrefix(name, "GITHUB_") {
			delete(j.env, name)
		}
	}
	cmd, log := j.command(j.t.Context(), args...)
	_ = cmd.Run() // the exit status is returned
	return cmd.ProcessState.ExitCode(), log.String()
}

func (j *job) credentialsFile(content string) string {
	j.t.Helper()
	j.mkdir(".config/pageflare")
	return j.write(".config/pageflare/credentials.json", content)
}

func TestTokenIssueAndRefreshPrintTheTokenAlone(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	_, key := j.service.Account(t, "cli@example.com")
	j.env["PAGEFLARE_TOKEN"] = key
	code, issued := j.cli("token", "issue")
	if _, err := token.Decode(strings.TrimSuffix(issued, "\n")); code != 0 || err != nil {
		t.Fatalf("token issue = %d %q, %v", code, issued, err)
	}
	delete(j.env, "PAGEFLARE_TOKEN")
	code, refreshed := j.cli("token", "refresh", "--token", strings.TrimSpace(issued))
	if _, err := token.Decode(strings.TrimSuffix(refreshed, "\n")); code != 0 || err != nil || refreshed == issued {
		t.Errorf("token refresh = %d %q, %v", code, refreshed, err)
	}
}

func TestTokenRefreshStoresWhatCameFromTheFile(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	old := j.service.IssueToken(t, j.account, time.Hour)
	file := j.credentialsFile(`{"token":"` + old + `"}`)
	must(t, os.Chmod(file, 0o644)) // the vendor's CLI leaves it readable to all
	code, out := j.cli("token", "refresh")
	b, err := os.ReadFile(file)
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	if code != 0 || !strings.Contains(string(b), strings.TrimSpace(out)) || strings.Contains(string(b), old) || info.Mode().Perm() != 0o600 {
		t.Errorf("token refresh = %d; the file has mode %v and the new token: %t", code, info.Mode(), strings.Contains(string(b), strings.TrimSpace(out)))
	}
}

func TestTokenShowTellsTheClaimsAndNotTheToken(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	raw := j.service.IssueToken(t, j.account, 49*time.Hour)
	j.env["PAGEFLARE_TOKEN"] = raw
	code, out := j.cli("token", "show", "--token", "another")
	for _, want := range []string{j.account, "dev@example.com", "pro", "in 2 days", "PAGEFLARE_TOKEN is set and wins over --token"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("token show = %d, lacks %q:\n%s", code, want, out)
		}
	}
	if strings.Contains(out, raw) {
		t.Error("token show shows the token")
	}
}

func TestCommandsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(j *job)
		args string
		exit int
		want string
	}{
		"no token anywhere":        {nil, "token refresh", 2, "error: no token: set PAGEFLARE_TOKEN"},
		"a file without a token":   {func(j *job) { j.credentialsFile("{}") }, "token show", 2, "holds no token"},
		"a file that is not JSON":  {func(j *job) { j.credentialsFile("secretish") }, "token show", 2, "holds no token"},
		"something that is none":   {nil, "token show --token secretish", 2, "not a license token"},
		"an API that is no URL":    {nil, "token issue --token x --api-url example.com", 2, "api-url"},
		"an API nobody serves":     {nil, "token issue --token x --api-url http://127.0.0.1:1/_api", 1, "connection refused"},
		"a token nobody knows":     {nil, "token refresh --token " + foreignToken(t, "user_x", time.Now().Add(time.Hour)), 1, "does not accept the token (401)"},
		"no token to refresh":      {nil, "token refresh --token secretish --api-url http://127.0.0.1:1/_api", 2, "not a license token"},
		"an API token to refresh":  {nil, "token refresh --token pf_at_secretish", 2, "this is an API token"},
		"an unknown command":       {nil, "destroy", 2, "unexpected argument destroy: see pageflare-action --help"},
		"an unknown token command": {nil, "token destroy", 2, "unexpected argument destroy: see pageflare-action token --help"},
		"an unknown flag":          {nil, "token show --destroy", 2, "unknown flag --destroy: see pageflare-action token show --help"},
		"a token to log in with":   {nil, "login --token secretish", 2, "unknown flag --token: see pageflare-action login --help"},
		"a token to log out with":  {nil, "logout --token secretish", 2, "unknown flag --token: see pageflare-action logout --help"},
		"no command":               {nil, "", 2, "this is the pageflare GitHub Action"},
		"a token with a space":     {func(j *job) { j.env["PAGEFLARE_TOKEN"] = "a secretish" }, "token issue", 1, "unusable token"},
		"help":                     {nil, "--help", 0, "token refresh"},
		"help of a command":        {nil, "token issue --help", 0, "--api-url"},
		"version":                  {nil, "--version", 0, "go1."},
		"a folder for credentials": {func(j *job) { j.mkdir(".config/pageflare/credentials.json") }, "token show", 1, "is a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			if c.set != nil {
				c.set(j)
			}
			delete(j.env, "GITHUB_ACTIONS")
			code, out := j.cli(strings.Fields(c.args)...)
			if code != c.exit || !strings.Contains(out, c.want) || strings.Contains(out, "secretish") {
				t.Errorf("pageflare-action %s = %d, want %d with %q and no secret:\n%s", c.args, code, c.exit, c.want, out)
			}
		})
	}
}

// The settings come last, and a command offers no flag that it ignores.
func TestHelpOfACommandShowsItsOwnFlagsFirst(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	for command, own := range map[string]bool{"token refresh": true, "token show": true, "login": false, "logout": false} {
		code, out := j.cli(append(strings.Fields(command), "--help")...)
		flags, settings, grouped := strings.Cut(out, "\nSettings:\n")
		if code != 0 || !grouped || !strings.Contains(settings, "--api-url") || strings.Contains(flags, "--api-url") || strings.Contains(flags, "--token=TOKEN") != own {
			t.Errorf("%s --help = %d\n%s", command, code, out)
		}
	}
}

func TestABadAnswerDoesNotReplaceTheCredentials(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"no token":                   "abc",
		"a token of another account": foreignToken(t, "user_somebody_else", time.Now().AddDate(1, 0, 0)),
		"a token that has expired":   foreignToken(t, "user_me", time.Now().Add(-time.Hour)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			good := `{"token":"` + foreignToken(t, "user_me", time.Now().Add(time.Hour)) + `"}`
			file := j.credentialsFile(good)
			j.api(func(w http.ResponseWriter, _ *http.Request) { answerToken(w, answer) })
			api := j.env["INPUT_API-URL"]
			code, out := j.cli("token", "refresh", "--api-url", api)
			b, err := os.ReadFile(file)
			must(t, err)
			if code != 1 || string(b) != good || strings.Contains(out, answer) {
				t.Errorf("token refresh = %d, the file is as it was: %t:\n%s", code, string(b) == good, out)
			}
		})
	}
}
