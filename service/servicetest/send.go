package servicetest

import (
	"io"
	"net/http"
	"testing"
)

// Send sends a request on a connection of its own and returns status and body of the answer.
func Send(tb testing.TB, req *http.Request) (status int, body string) {
	tb.Helper()
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatalf("read the answer of %s %s: %v", req.Method, req.URL.Path, err)
	}
	return res.StatusCode, string(text)
}
