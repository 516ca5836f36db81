package githubapp_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/servicetest"
)

// listen starts the listener, and returns where GitHub would send the browser back with a code.
func (w *world) listen(t *testing.T, ask githubapp.Ask) (local *githubapp.Local, back string) {
	t.Helper()
	local, err := w.Listen(t.Context(), ask, 0)
	must(t, err)
	t.Cleanup(func() { must(t, local.Close()) })
	at, secret, _ := strings.Cut(local.URL().Reveal(), "/start/")
	form, err := w.Form(ask, at+"/done", githubapp.State(local.Secret()))
	must(t, err)
	if secret != local.Secret().Reveal() {
		t.Fatal("the address does not end with the secret")
	}
	code := w.github.PostManifest(t, form.Action, form.Manifest)
	return local, at + "/done?" + url.Values{"code": {code}, "state": {githubapp.State(local.Secret())}}.Encode()
}

func get(t *testing.T, address, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	must(t, err)
	if host != "" {
		req.Host = host
	}
	return servicetest.Send(t, req)
}

func TestTheListenerAnswersWhoHasItsSecretAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	local, back := w.listen(t, githubapp.Ask{})
	page := local.URL().Reveal()
	for name, c := range map[string]struct {
		address, host string
		want          int
	}{
		"without the secret":                      {page[:len(page)-1], "", http.StatusNotFound},
		"under a name that points here":           {page, "evil.example", http.StatusNotFound},
		"its root":                                {page[:strings.Index(page, "/start/")] + "/", "", http.StatusNotFound},
		"with the secret":                         {page, "", http.StatusOK},
		"a state of somebody else":                {strings.Replace(back, "state=", "state=x", 1), "", http.StatusBadRequest},
		"an answer under a name that points here": {back, "evil.example", http.StatusNotFound},
	} {
		if status, text := get(t, c.address, c.host); status != c.want {
			t.Errorf("%s = %d %s, want %d", name, status, text, c.want)
		}
	}
	if status, _ := get(t, back, ""); status != http.StatusOK {
		t.Errorf("the answer of GitHub = %d", status)
	}
	made, err := local.Wait(t.Context())
	if err != nil || made.Owner != "octocat" {
		t.Errorf("Wait = %+v, %v", made, err)
	}
}

func TestTheAddressOfTheBrowserCanBePasted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	local, back := w.listen(t, githubapp.Ask{Organization: "acme"})
	local.Paste(t.Context(), "  "+back+"\n")
	made, err := local.Wait(t.Context())
	if err != nil || made.Owner != "acme" {
		t.Errorf("Wait = %+v, %v", made, err)
	}
	for name, text := range map[string]string{"nothing": "", "a word": "code", "without a state": back[:strings.Index(back, "?")] + "?code=abc"} {
		w := newWorld(t, nil)
		local, _ := w.listen(t, githubapp.Ask{})
		local.Paste(t.Context(), text)
		if _, err := local.Wait(t.Context()); !errors.Is(err, githubapp.ErrLink) && !errors.Is(err, failure.ErrInvalid) {
			t.Errorf("%s: Wait = %v, want a refusal", name, err)
		}
	}
}

func TestWhoWaitsCanStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	local, _ := w.listen(t, githubapp.Ask{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := local.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v", err)
	}
}
