package server_test

import (
	"crypto/elliptic"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/servicetest"
)

const alertPath = "/_api/webhooks/github/secret-scanning"

// alerted is a service beside a fake GitHub, which signs alerts with a key that it publishes.
type alerted struct {
	*servicetest.Service
	t      *testing.T
	github *githubtest.Server
	key    string // id of the key
}

func newAlerted(t *testing.T, o servicetest.Options) *alerted {
	t.Helper()
	g := githubtest.Start(t, githubtest.Config{})
	o.GitHub = g.URL()
	return &alerted{servicetest.Start(t, o), t, g, g.AddAlertKey(elliptic.P256())}
}

// send sends a body with the signature of another one, or of its own.
func (a *alerted) send(body, media, signed string) answer {
	a.t.Helper()
	return call(a.t, a.Service, "POST", alertPath, body, "Content-Type", media,
		"Github-Public-Key-Identifier", a.key, "Github-Public-Key-Signature", a.github.SignAlert(a.key, []byte(signed)))
}

// What the tokens of an alert come to is tested in service/leak; here is how its route answers.
func TestAnAlertOfGitHubIsAnswered(t *testing.T) {
	t.Parallel()
	a := newAlerted(t, servicetest.Options{})
	_, token := a.Account(t, "dev@example.com")
	body := `[{"token":"` + token + `","type":"pageflare_api_token","url":"","source":"commit"},{"token":"hunter2","type":"x","url":"","source":"commit"}]`
	a.send(body, "application/json", "[]").wantUnauthorized(t)
	a.send(body, "text/plain", body).wantCode(t, http.StatusUnsupportedMediaType, api.CodeUnsupportedMediaType)
	for _, bad := range []string{"", "{}", `[{"token":`, "[] []"} {
		a.send(bad, "application/json", bad).wantCode(t, http.StatusBadRequest, api.CodeInvalidRequest)
	}
	large := "[" + strings.Repeat(" ", leak.MaxBody)
	a.send(large, "application/json", large).wantCode(t, http.StatusRequestEntityTooLarge, api.CodeRequestTooLarge)
	if n := a.Acts(t, audit.TokenLeaked); n != 0 {
		t.Errorf("%d tokens ended by alerts that were refused", n)
	}
	got := into[api.LeakLabels](t, a.send(body, "application/json", body))
	want := api.LeakLabels{
		{TokenHash: leak.HashOf(token), TokenType: "pageflare_api_token", Label: "true_positive"},
		{TokenHash: leak.HashOf("hunter2"), TokenType: "x", Label: "false_positive"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got)\n%s", diff)
	}
	call(t, a.Service, "POST", "/_api/license/issue", "", bearer(token)...).wantUnauthorized(t)
}

func TestAnAlertThatComesTooSlowly(t *testing.T) {
	t.Parallel()
	a := newAlerted(t, servicetest.Options{})
	addr := serveShortened(t, a.Service, long, short)
	header := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nGithub-Public-Key-Identifier: %s\r\n"+
		"Github-Public-Key-Signature: %s\r\nContent-Length: 9\r\n\r\n", alertPath, a.key, a.github.SignAlert(a.key, []byte("[]")))
	sendHalf(t, addr, header, "[").wantCode(t, http.StatusRequestTimeout, api.CodeRequestTimeout)
}

// Who guesses signatures is held up, and GitHub is not.
func TestForgedAlertsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	a := newAlerted(t, servicetest.Options{BadCredentials: 1, Now: frozen()})
	a.send("[]", "application/json", "[ ]").wantUnauthorized(t)
	over := a.send("[]", "application/json", "[ ]")
	over.wantCode(t, http.StatusTooManyRequests, api.CodeRateLimited)
	if over.header.Get("Retry-After") == "" {
		t.Error("it is not said when to try again")
	}
	a.send("[]", "application/json", "[]").want(t, http.StatusOK, "[]")
}
