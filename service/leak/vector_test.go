package leak_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/auth"
)

// published are the requests that GitHub's documents of the partner program showed as samples, the
// newest first, with the public keys that GitHub published under their ids:
// https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program
var published = []struct{ id, key, signature, body string }{
	{
		id: "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
		key: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\n" +
			"AjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==",
		// the second number of it is a byte shorter than most
		signature: "MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
		body:      `[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]`,
	},
	{
		id: "f9525bf080f75b3506ca1ead061add62b8633a346606dc5fe544e29231c6ee0d",
		key: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsz9ugWDj5jK5ELBK42ynytbo38gP\n" +
			"HzZFI03Exwz8Lh/tCfL3YxwMdLjB+bMznsanlhK0RwcGP3IDb34kQDIo3Q==",
		signature: "MEUCIQDfLvT8/zM8F1aB3cM0ZwyeWF1m5YR6IhcUIv1OKQYL0wIgBZ5lVXB3gHK+dT8+xt0WgRVLqvsTPFiDO9QP/7eJ4yE=",
		body: `[{"token":"NMIfyYncKcRALEXAMPLE","type":"mycompany_api_token","url":"https://github.com/octocat/Hello-World/` +
			`blob/12345600b9cbe38a219f39a9941c9319b600c002/foo/bar.txt","source":"content"}]`,
	},
	{
		id: "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a",
		key: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\n" +
			"kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==",
		signature: "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc=",
		body:      `[{"token":"some_token","type":"some_type","url":"some_url"}]`,
	},
}

func TestWhatGitHubPublishedAsSamplesVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for _, p := range published {
		w.github.PublishAlertKey(p.id, "-----BEGIN PUBLIC KEY-----\n"+p.key+"\n-----END PUBLIC KEY-----\n")
	}
	for _, p := range published {
		status, answer := w.alert(t, p.id, p.signature, p.body)
		if status != http.StatusOK || strings.Count(answer, `"label":"false_positive"`) != 1 {
			t.Errorf("%s = %d %s, want 200 and a label", p.id, status, answer)
		}
		v, err := w.leaks.Verifier(t.Context(), p.id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range p.body {
			changed := []byte(p.body)
			changed[i] ^= 1
			if err := v.Check(p.signature, changed); !errors.Is(err, auth.ErrUnauthenticated) {
				t.Errorf("%s with byte %d changed: %v, want ErrUnauthenticated", p.id, i, err)
			}
		}
		for _, body := range []string{p.body + "\n", " " + p.body, p.body[1:], ""} {
			if err := v.Check(p.signature, []byte(body)); !errors.Is(err, auth.ErrUnauthenticated) {
				t.Errorf("%s with the body %.20q: %v, want ErrUnauthenticated", p.id, body, err)
			}
		}
		for _, other := range published {
			if other.id != p.id && v.Check(other.signature, []byte(other.body)) == nil {
				t.Errorf("%s verifies what %s signed", p.id, other.id)
			}
		}
	}
}
