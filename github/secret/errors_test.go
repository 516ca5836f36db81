package secret_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"github.com/pageflare/ci/github/githubtest"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// Every way to fail, one after the other: no error may tell the token or the value, nor span lines.
func TestNoErrorTellsTheTokenOrTheValue(t *testing.T) {
	t.Parallel()
	echo := `{"message":"bad request: Authorization: Bearer ` + goodToken + `\n\u001b[31mred ` + strings.Repeat("x", 5000) +
		`","errors":["also ` + goodToken + `"]}`
	faults := map[string]githubtest.Fault{
		"a broken connection": {CloseConnection: true, Times: -1},
		"an answer cut off":   {Status: 201, Body: echo, Truncate: true, Times: -1},
		"an echo in HTML":     {Status: 418, Body: "<html>" + goodToken},
		"a limit for long":    {Status: 429, Header: header("Retry-After", "30"), Body: echo, Times: -1},
	}
	for _, status := range []int{300, 400, 401, 403, 404, 422, 429, 500, 503} {
		faults[fmt.Sprintf("an echo with %d", status)] = githubtest.Fault{Status: status, Body: echo, Times: -1}
	}
	for about, fault := range faults {
		for _, request := range []string{"GET /public-key", "PUT /" + name} {
			t.Run(about+" on "+request, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.github.FailNext(request, fault)
				_, err := w.write(t)
				if err == nil {
					t.Fatal("Write = nil, want an error")
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					hunt(t, e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e))
				}
				if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 1000 {
					t.Errorf("Write = %q, want one plain line", err)
				}
			})
		}
	}
}

func hunt(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, goodToken) || strings.Contains(text, value) {
			t.Errorf("the error tells a secret: %s", text)
		}
	}
}

func TestPrintedClientsAndWritersHideTheToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config(t, goodToken)
	hunt(t, fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), fmt.Sprintf("%v %+v %#v", w.writer, w.writer, w.writer))
}
