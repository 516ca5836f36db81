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
	"sync/atomic"
	"testing"

	"github.com/pageflare/ci/service/servicetest"
	"github.com/pageflare/ci/service/token"
)

var shownCode = regexp.MustCompile(`enter the code ([A-Z]{4}-[A-Z]{4})`)

// login runs the command, lets decide act on the code that it shows, and returns its exit status
// and all that it wrote.
func (j *job) login(decide func(code string), flags ...string) (int, string) {
	j.t.Helper()
	delete(j.env, "PAGEFLARE_TOKEN")
	j.cli("--version") // leaves the environment of a workflow behind
	cmd, _ := j.command(j.t.Context(), append([]string{"login"}, flags...)...)
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

// approve lets the account of the job say yes.
func (j *job) approve(code string) {
	j.t.Helper()
	j.service.DecideLogin(j.t, j.account, code, true)
}

// loggedIn logs in at the service and returns what is stored.
func (j *job) loggedIn() credentials {
	j.t.Helper()
	if code, out := j.login(j.approve); code != 0 {
		j.t.Fatalf("login = %d\n%s", code, out)
	}
	return j.credentials()
}

// credentials is the wire form of the credentials file.
type credentials struct {
	Token     string `json:"token"`
	MachineID string `json:"machine_id"`
	APIURL    string `json:"api_url"`
}

func (j *job) credentials() credentials {
	j.t.Helper()
	b, err := os.ReadFile(filepath.Join(j.dir, ".config", "pageflare", "credentials.json"))
	must(j.t, err)
	var c credentials
	must(j.t, json.Unmarshal(b, &c))
	return c
}

// wantEnded fails unless the service has ended a token, or not.
func (j *job) wantEnded(raw string, want bool) {
	j.t.Helper()
	code, out := j.cli("token", "refresh", "--token", raw)
	if ended := code == 1 && strings.Contains(out, "token_revoked"); ended != want {
		j.t.Errorf("the token has ended = %t, want %t: token refresh = %d\n%s", ended, want, code, out)
	}
}

func TestLoginAndLogout(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	code, out := j.login(j.approve)
	file := filepath.Join(j.dir, ".config", "pageflare", "credentials.json")
	if code != 0 || !strings.Contains(out, "logged in: the license token is in "+file) || !strings.Contains(out, j.service.Origin+"/device?user_code=") {
		t.Fatalf("login = %d\n%s", code, out)
	}
	c := j.credentials()
	if c.APIURL != j.service.URL || len(c.MachineID) != 64 {
		t.Errorf("stored beside the token: %q, %q; want the API and 64 digits", c.APIURL, c.MachineID)
	}
	stored := c.Token
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

// What an API may answer to polls, as strictly as RFC 8628 has it: each answer in turn, then a
// token.
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

func TestLoginAgainEndsTheTokenThatWasStored(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	old := j.loggedIn()
	code, out := j.login(j.approve)
	if code != 0 || strings.Contains(out, "warning") {
		t.Errorf("login again = %d\n%s", code, out)
	}
	j.wantEnded(old.Token, true)
	if code, out := j.cli("token", "refresh"); code != 0 {
		t.Errorf("token refresh with the new one = %d\n%s", code, out)
	}
}

func TestLoginElsewhereEndsTheOldTokenWhereItIsOf(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	old := j.loggedIn()
	elsewhere := servicetest.Start(t, servicetest.Options{})
	account, _ := elsewhere.Account(t, "dev@example.com")
	code, out := j.login(func(code string) { elsewhere.DecideLogin(t, account.ID, code, true) }, "--api-url", elsewhere.URL)
	if code != 0 || strings.Contains(out, "warning") || j.credentials().APIURL != elsewhere.URL {
		t.Errorf("login elsewhere = %d, stored for %s\n%s", code, j.credentials().APIURL, out)
	}
	j.wantEnded(old.Token, true)

	delete(j.env, "PAGEFLARE_API_URL")
	if code, out := j.program("token", "refresh"); code != 0 {
		t.Errorf("token refresh where it is logged in = %d\n%s", code, out)
	}
}

// That the old token could not be ended is no reason to be without the new one.
func TestLoginAgainWarnsWhenTheOldTokenStaysGood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ stored, want string }{
		"its API is not available": {`,"machine_id":"m1","api_url":"%s"`, "is not available"},
		"its API is not known":     {``, "it is not written which License API it is of"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			old := j.service.IssueToken(t, j.account, 0)
			claims, err := token.Decode(old)
			must(t, err)
			down, _ := answering(t, http.StatusServiceUnavailable, "{}")
			j.credentialsFile(`{"token":"` + old + `"` + strings.Replace(c.stored, "%s", down, 1) + `}`)
			code, out := j.login(j.approve, "--api-url", j.service.URL)
			if code != 0 || !strings.Contains(out, "warning: the token that was stored before could not be ended: ") || !strings.Contains(out, c.want) ||
				!strings.Contains(out, "is good until "+day(claims.ExpiresAt)+", its id is \""+claims.ID+"\"") || strings.Contains(out, old) {
				t.Errorf("login = %d, lacks %q and what is still good:\n%s", code, c.want, out)
			}
			if j.credentials().Token == old {
				t.Error("the new token is not stored")
			}
			j.wantEnded(old, false)
		})
	}
}

// answering is a License API that says the same to everybody, and how often it was asked. Nobody
// waits for it.
func answering(t *testing.T, status int, body string) (string, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Retry-After", "3600") // longer than any client waits
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/_api", &asked
}

func TestLoginFindsOutFirstWhetherItCanStoreAnything(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set  func(j *job)
		exit int
		want string
	}{
		"a file in the place of the folder":  {func(j *job) { j.write(".config", "") }, 1, "credentials: "},
		"a folder in the place of the file":  {func(j *job) { j.mkdir(".config/pageflare/credentials.json") }, 1, "is a directory"},
		"a folder that takes no file":        {func(j *job) { j.env["XDG_CONFIG_HOME"] = "/proc" }, 1, "nothing can be stored in /proc/pageflare"},
		"no home":                            {func(j *job) { delete(j.env, "HOME") }, 2, "credentials: there is no folder for them: set HOME or XDG_CONFIG_HOME"},
		"a home and a folder without a root": {func(j *job) { j.env["HOME"], j.env["XDG_CONFIG_HOME"] = "home", "config" }, 2, "there is no folder for them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			c.set(j)
			code, out := j.login(func(code string) {
				t.Error("somebody was asked to approve")
				j.service.DecideLogin(t, j.account, code, false)
			})
			if code != c.exit || !strings.Contains(out, c.want) {
				t.Errorf("login = %d, want %d with %q\n%s", code, c.exit, c.want, out)
			}
			j.wantWhole(false)
		})
	}
}

func TestAFolderThatIsNotAbsoluteCountsForNothing(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.env["XDG_CONFIG_HOME"] = "config"
	j.loggedIn() // in HOME
	j.wantWhole(false)
	delete(j.env, "HOME")
	for _, command := range []string{"token show", "token refresh", "logout"} {
		if code, out := j.cli(strings.Fields(command)...); code != 2 || !strings.Contains(out, "there is no folder for them") {
			t.Errorf("%s without HOME = %d\n%s", command, code, out)
		}
	}
	j.env["XDG_CONFIG_HOME"] = filepath.Join(j.dir, ".config")
	if code, out := j.cli("logout"); code != 0 || !strings.Contains(out, "has ended") {
		t.Errorf("logout with an absolute XDG_CONFIG_HOME = %d\n%s", code, out)
	}
}

func TestATokenThatCannotBeStoredIsEnded(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	code, out := j.login(func(code string) {
		j.mkdir(".config/pageflare/credentials.json") // after it was tried
		j.approve(code)
	})
	if code != 1 || !strings.Contains(out, "not logged in: the token that could not be stored was ended") || strings.Contains(out, "eyJ") {
		t.Errorf("login = %d\n%s", code, out)
	}
	if n := j.service.Acts(t, "machine.deactivate"); n != 1 {
		t.Errorf("machines that were deactivated = %d, want 1", n)
	}
}

func TestATokenThatCanNeitherBeStoredNorEndedIsNamed(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	made := j.service.IssueToken(t, j.account, 0)
	claims, err := token.Decode(made)
	must(t, err)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/auth/device/code":
			fmt.Fprint(w, `{"device_code":"x","user_code":"WDJB-MJHT","verification_uri":"https://l.example/device","expires_in":60,"interval":1}`)
		case r.URL.Path == "/auth/device/token":
			fmt.Fprint(w, `{"access_token":"pf_lt_secret"}`)
		case r.URL.Path == "/license/activate":
			answerToken(w, made)
		default:
			w.Header().Set("Retry-After", "3600") // longer than any client waits
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(api.Close)
	code, out := j.login(func(string) { j.mkdir(".config/pageflare/credentials.json") }, "--api-url", api.URL)
	want := `error: it is good until ` + day(claims.ExpiresAt) + `, its id is "` + claims.ID + `": have it revoked by the operator of its License API`
	if code != 1 || !strings.Contains(out, want) || strings.Contains(out, made) {
		t.Errorf("login = %d, want 1 with %q\n%s", code, want, out)
	}
}
