package githubtest

import (
	"encoding/json"
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
