package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/servicetest"
)

// machineToken is the license token of a machine of that id.
func (j *job) machineToken(id string) string {
	j.t.Helper()
	c, err := client.New(client.Config{BaseURL: j.service.URL})
	must(j.t, err)
	codes, err := c.BeginLogin(j.t.Context(), "cl_pageflare_action")
	must(j.t, err)
	j.approve(codes.UserCode)
	access, err := c.PollLogin(j.t.Context(), "cl_pageflare_action", codes.DeviceCode)
	must(j.t, err)
	issued, err := c.Activate(j.t.Context(), access, id, "another name")
	must(j.t, err)
	return issued.Token
}

// The id of a machine is that of its login: made anew, it would be another one when the host has
// got another name.
func TestLogoutOfAHostThatWasRenamed(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	held := j.machineToken("m1")
	file := j.credentialsFile(`{"token":"` + held + `","machine_id":"m1","api_url":"` + j.service.URL + `"}`)
	if code, out := j.cli("logout"); code != 0 || out != "logged out: the token of this machine has ended\n" {
		t.Errorf("logout = %d\n%s", code, out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	j.wantEnded(held, true)
}

func TestLogoutAfterARefreshEndsTheWholeFamily(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	first := j.loggedIn()
	if code, out := j.cli("token", "refresh"); code != 0 {
		t.Fatalf("token refresh = %d\n%s", code, out)
	}
	next := j.credentials()
	if next.Token == first.Token || next.MachineID != first.MachineID || next.APIURL != first.APIURL {
		t.Errorf("stored after a refresh: %q for %q; want another token for the same machine and API", next.MachineID, next.APIURL)
	}
	if code, out := j.cli("logout"); code != 0 {
		t.Errorf("logout = %d\n%s", code, out)
	}
	j.wantEnded(first.Token, true)
	j.wantEnded(next.Token, true)
}

// Files of our first versions, of the vendor's programs and of people have nothing but a token.
// What was not made for this machine cannot be ended from here.
func TestLogoutWithATokenOfAnotherMachineKeepsIt(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	held := j.machineToken("m1")
	file := j.credentialsFile(`{"token":"` + held + `"}`)
	code, out := j.cli("logout")
	if code != 1 || !strings.Contains(out, "made for another") || !strings.Contains(out, "error: still logged in: the token in "+file+" is good until ") ||
		strings.Contains(out, "check api-url") {
		t.Errorf("logout = %d\n%s", code, out)
	}
	if j.credentials().Token != held {
		t.Error("the token is not in the file any more")
	}
	j.wantEnded(held, false)
}

func TestLogoutKeepsTheFileUntilTheTokenHasEnded(t *testing.T) {
	t.Parallel()
	good, over := time.Now().AddDate(1, 0, 0), time.Now().Add(-time.Hour)
	const notFound = `{"error":"Not Found","code":"not_found","message":"no such machine"}`
	for name, c := range map[string]struct {
		status int
		body   string
		ours   bool // the file was written by login
		exp    time.Time
		ends   bool
	}{
		"done":                                   {200, `{"status":"deactivated"}`, true, good, true},
		"done, without a word":                   {204, "", true, good, true},
		"it was revoked":                         {403, `{"error":"Forbidden","code":"token_revoked"}`, true, good, true},
		"it was revoked, in a file of others":    {403, `{"error":"Forbidden","code":"token_revoked"}`, false, good, true},
		"it is accepted no more":                 {401, `{"error":"Unauthorized"}`, true, good, true},
		"it may be of another API":               {401, `{"error":"Unauthorized"}`, false, good, false},
		"it has expired, in a file of others":    {401, `{"error":"Unauthorized"}`, false, over, true},
		"the machine is gone":                    {404, notFound, true, good, true},
		"the id was a guess":                     {404, notFound, false, good, false},
		"something else answers":                 {404, "<h1>Not found</h1>", true, good, false},
		"the API has a fault":                    {503, `{"error":"Service Unavailable","code":"unavailable"}`, true, good, false},
		"the API is asked too often":             {429, `{"error":"Too Many Requests","code":"rate_limited"}`, true, good, false},
		"the API takes the request for nonsense": {400, `{"error":"Bad Request","code":"invalid_request"}`, true, good, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			api, _ := answering(t, c.status, c.body)
			held := foreignToken(t, "user_me", c.exp)
			content := `{"token":"` + held + `"}`
			if c.ours {
				content = `{"token":"` + held + `","machine_id":"m1","api_url":"` + api + `"}`
			}
			file := j.credentialsFile(content)
			code, out := j.cli("logout", "--api-url", api)
			b, err := os.ReadFile(file)
			if c.ends && (code != 0 || !os.IsNotExist(err) || out != "logged out: the token of this machine has ended\n") {
				t.Errorf("logout = %d, the file is gone: %t\n%s", code, os.IsNotExist(err), out)
			}
			if !c.ends && (code != 1 || string(b) != content || !strings.Contains(out, "still logged in: the token in "+file+" is good until "+day(c.exp))) {
				t.Errorf("logout = %d, the file is as it was: %t\n%s", code, string(b) == content, out)
			}
			if strings.Contains(out, held) {
				t.Error("logout shows the token")
			}
		})
	}
}

func TestLogoutKeepsTheFileWhenTheAPIIsOutOfReach(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	content := `{"token":"` + j.service.IssueToken(t, j.account, 0) + `"}`
	file := j.credentialsFile(content)
	code, out := j.cli("logout", "--api-url", "http://127.0.0.1:9/_api")
	b, err := os.ReadFile(file)
	if code != 1 || err != nil || string(b) != content || !strings.Contains(out, "connection refused") || !strings.Contains(out, ": try again, or have it revoked") {
		t.Errorf("logout = %d, the file: %v\n%s", code, err, out)
	}
}

func TestLogoutRemovesAFileWithoutAToken(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	file := j.credentialsFile("secretish")
	if code, out := j.cli("logout"); code != 0 || out != "logged out: "+file+" held no token\n" {
		t.Errorf("logout = %d\n%s", code, out)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
}

// A stored token goes to the API that it is of, and nowhere else.
func TestAStoredTokenIsSentToItsOwnAPIAlone(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"token issue", "token refresh", "logout"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			j := newJob(t)
			elsewhere, asked := answering(t, http.StatusUnauthorized, `{"error":"Unauthorized"}`)
			held := j.loggedIn()
			want := "error: api-url: the token in " + j.dir + "/.config/pageflare/credentials.json is of " + j.service.URL + " and is not sent to " + elsewhere
			args := strings.Fields(command)
			if code, out := j.cli(append(args, "--api-url", elsewhere)...); code != 2 || !strings.Contains(out, want) {
				t.Errorf("%s elsewhere by a flag = %d, want 2 with %q\n%s", command, code, want, out)
			}
			j.env["PAGEFLARE_API_URL"] = elsewhere
			if code, out := j.program(args...); code != 2 || !strings.Contains(out, want) {
				t.Errorf("%s elsewhere by the variable = %d, want 2 with %q\n%s", command, code, want, out)
			}
			if asked.Load() != 0 || j.credentials() != held {
				t.Errorf("%s asked another API %d times, the file is as it was: %t", command, asked.Load(), j.credentials() == held)
			}
			j.env["PAGEFLARE_API_URL"] = j.service.URL + "/" // the same in other words
			if command == "logout" {
				j.env["PAGEFLARE_API_URL"] = ""                                                         // which names nothing
				j.env["HTTPS_PROXY"], j.env["https_proxy"] = "http://127.0.0.1:1", "http://127.0.0.1:1" // no test calls the vendor
			}
			if code, out := j.program(args...); code != 0 {
				t.Errorf("%s = %d\n%s", command, code, out)
			}
		})
	}
}

// The token of another place is not the stored one: it goes where the flag says.
func TestATokenInHandGoesWhereTheFlagSays(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.loggedIn()
	elsewhere := servicetest.Start(t, servicetest.Options{})
	account, _ := elsewhere.Account(t, "dev@example.com")
	raw := elsewhere.IssueToken(t, account.ID, 0)
	if code, out := j.cli("token", "refresh", "--token", raw, "--api-url", elsewhere.URL); code != 0 {
		t.Errorf("token refresh = %d\n%s", code, out)
	}
}
