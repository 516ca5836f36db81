package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/service/token"
)

var shownCode = regexp.MustCompile(`enter the code ([A-Z]{4}-[A-Z]{4})`)

// login runs the command, lets decide act on the code that it shows, and returns its exit status and all that it wrote.
func (j *job) login(decide func(code string)) (int, string) {
	j.t.Helper()
	delete(j.env, "PAGEFLARE_TOKEN")
	j.cli("--version") // leaves the environment of a workflow behind
	cmd, _ := j.command(j.t.Context(), "login")
	pipe, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	must(j.t, cmd.Start())
	ended := make(chan error, 1)
	go func() { err := cmd.Wait(); write.Close(); ended <- err }()
	var out strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		out.WriteString(lines.Text() + "\n")
		if m := shownCode.FindStringSubmatch(lines.Text()); m != nil {
			decide(m[1])
		}
	}
	<-ended // the exit status is returned
	return cmd.ProcessState.ExitCode(), out.String()
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	code, out := j.login(func(code string) { j.service.DecideLogin(t, j.account, code, true) })
	file := filepath.Join(j.dir, ".config", "pageflare", "credentials.json")
	if code != 0 || !strings.Contains(out, "logged in: the license token is in "+file) || !strings.Contains(out, j.service.Origin+"/device?user_code=") {
		t.Fatalf("login = %d\n%s", code, out)
	}
	stored, err := readCredentials(file)
	must(t, err)
	info, err := os.Stat(file)
	must(t, err)
	claims, err := token.Decode(stored)
	if err != nil || claims.Subject != j.account || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, the token %+v, %v", info.Mode(), claims, err)
	}
	if strings.Contains(out, stored) || strings.Contains(out, "pf_lt_") {
		t.Error("login shows a token")
	}
	if code, out := j.cli("token", "show"); code != 0 || !strings.Contains(out, j.account) {
		t.Errorf("token show = %d\n%s", code, out)
	}

	if code, out := j.cli("logout"); code != 0 || out != "logged out: the token of this machine has ended\n" {
		t.Errorf("logout = %d\n%s", code, out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if code, out := j.cli("token", "refresh", "--token", stored); code == 0 || !strings.Contains(out, "token_revoked") {
		t.Errorf("the token goes on after logout: %d\n%s", code, out)
	}
	if code, out := j.cli("logout"); code != 0 || out != "already logged out\n" {
		t.Errorf("logout again = %d\n%s", code, out)
	}
}

func TestADeniedLoginStoresNothing(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	code, out := j.login(func(code string) { j.service.DecideLogin(t, j.account, code, false) })
	if code != 1 || !strings.Contains(out, "error: log in: the License API at "+strings.TrimPrefix(j.service.Origin, "http://")+" says that the login was denied\n") {
		t.Errorf("login = %d\n%s", code, out)
	}
	if _, err := os.Stat(filepath.Join(j.dir, ".config")); !os.IsNotExist(err) {
		t.Errorf("something was stored: %v", err)
	}
}

// What an API may answer to polls, as strictly as RFC 8628 has it: each answer in turn, then a token.
func TestPolls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []string // status and error of each poll; "200" is a token
		expires int
		exit    int
		says    string
	}{
		"approved at once":            {[]string{"200"}, 60, 0, "logged in"},
		"pending, then approved":      {[]string{"400 authorization_pending", "200"}, 60, 0, "logged in"},
		"expired":                     {[]string{"400 expired_token"}, 60, 1, "was not approved in time, or was used already: log in again"},
		"used before":                 {[]string{"400 invalid_grant"}, 60, 1, "was used already: log in again"},
		"an error of another kind":    {[]string{"400 invalid_client"}, 60, 1, "answered something that is not its answer"},
		"nobody in time":              {[]string{"400 authorization_pending", "400 authorization_pending"}, 1, 1, "nobody approved the code in time"},
		"a fault, then approved":      {[]string{"503 x", "503 x", "503 x", "503 x", "200"}, 60, 0, "logged in"},
		"an answer without its token": {[]string{"200 empty"}, 60, 1, "no token in it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			var mu sync.Mutex
			polls := 0
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				var body map[string]string
				if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
					t.Errorf("%s: %v", r.URL.Path, err)
				}
				w.Header().Set("Content-Type", "application/json")
				switch r.URL.Path {
				case "/_api/auth/device/code":
					fmt.Fprintf(w, `{"device_code":"secret-device-code","user_code":"WDJB-MJHT","verification_uri":"https://l.example/device","expires_in":%d,"interval":1}`, c.expires)
				case "/_api/auth/device/token":
					if body["device_code"] != "secret-device-code" || body["grant_type"] != "urn:ietf:params:oauth:grant-type:device_code" || body["client_id"] == "" {
						t.Errorf("poll = %v", body)
					}
					status, code, _ := strings.Cut(c.answers[min(polls, len(c.answers)-1)], " ")
					polls++
					var n int
					fmt.Sscan(status, &n)
					w.WriteHeader(n)
					if status == "200" && code == "" {
						fmt.Fprint(w, `{"access_token":"pf_lt_secret"}`)
						return
					}
					fmt.Fprintf(w, `{"error":%q}`, code)
				case "/_api/license/activate":
					if r.Header.Get("Authorization") != "Bearer pf_lt_secret" || len(body["machine_id"]) != 64 || body["label"] == "" {
						t.Errorf("activate with %v", body)
					}
					answerToken(w, j.service.IssueToken(t, j.account, 0))
				default:
					http.NotFound(w, r)
				}
			}))
			t.Cleanup(api.Close)
			j.cli("--version")
			j.env["PAGEFLARE_API_URL"] = api.URL + "/_api"
			cmd, log := j.command(t.Context(), "login")
			_ = cmd.Run() // its exit status is looked at
			if code := cmd.ProcessState.ExitCode(); code != c.exit || !strings.Contains(log.String(), c.says) {
				t.Errorf("login = %d, want %d with %q\n%s", code, c.exit, c.says, log)
			}
			for _, secret := range []string{"secret-device-code", "pf_lt_secret", "eyJ"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("login shows %s…", secret[:3])
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if c.expires > 1 && polls < len(c.answers) {
				t.Errorf("polls = %d, want %d", polls, len(c.answers))
			}
		})
	}
}

func TestLogoutRemovesTheFileWhenTheAPIIsOutOfReach(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	file := j.credentialsFile(`{"token":"` + j.service.IssueToken(t, j.account, 0) + `"}`)
	j.cli("--version")
	j.env["PAGEFLARE_API_URL"] = "http://127.0.0.1:9/_api"
	cmd, log := j.command(t.Context(), "logout")
	_ = cmd.Run() // its exit status is looked at
	if cmd.ProcessState.ExitCode() != 0 || !strings.Contains(log.String(), "logged out here; the token itself could not be ended") || !strings.Contains(log.String(), "warning: ") {
		t.Errorf("logout = %d\n%s", cmd.ProcessState.ExitCode(), log)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}
