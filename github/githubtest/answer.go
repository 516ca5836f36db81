package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// answer is what goes back: handlers make it, and a fault may change it before it is sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// documentation is where GitHub's refusals point.
const documentation = "https://docs.github.com/rest"

func answerJSON(status int, body any) answer {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // the bodies are our own
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body: text}
}

// signed adds what GitHub puts into every answer, whatever it says:
//
//	X-GitHub-Request-Id: 0D15:EA5E:1
//	X-GitHub-Enterprise-Version: 3.14.2
//	github-authentication-token-expiration: 2026-12-01 10:00:00 UTC
//
// A proxy's answer has none of them. The time is that of a token that was made to expire; that of a
// fine-grained token is told with an offset in place of the zone:
// https://github.com/google/go-github/issues/2649
func (s *Server) signed(req *request, a answer) answer {
	a.header.Set("X-GitHub-Request-Id", fmt.Sprintf("0D15:EA5E:%X", len(s.Requests())+1))
	if s.cfg.Enterprise != "" {
		a.header.Set("X-GitHub-Enterprise-Version", s.cfg.Enterprise)
	}
	if t := req.token; !t.Expires.IsZero() {
		layout := "2006-01-02 15:04:05 -0700"
		if t.Scopes != nil {
			t.Expires, layout = t.Expires.UTC(), "2006-01-02 15:04:05 UTC"
		}
		a.header.Set("Github-Authentication-Token-Expiration", t.Expires.Format(layout))
	}
	return a
}

// refuse answers in the form that all of GitHub's refusals have:
//
//	{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}
func refuse(status int, message string) answer {
	return answerJSON(status, struct {
		Message          string `json:"message"`
		DocumentationURL string `json:"documentation_url"`
		Status           string `json:"status"`
	}{message, documentation, strconv.Itoa(status)})
}

func notFound() answer { return refuse(http.StatusNotFound, "Not Found") }

// invalid is the refusal of a request that was understood but makes no sense.
func invalid(message string) answer { return refuse(http.StatusUnprocessableEntity, message) }

func (a answer) writeTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
