package servicetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/pageflare/ci/service/api"
)

// Every answer of a service that a test starts is held against openapi.yaml: its status, its
// headers and its body must be described there, and a request that is answered with success must be
// one that the document allows. So the document stays true without a test that thinks of it.

// contract is the document, ready to judge.
type contract struct {
	doc    *openapi3.T
	router routers.Router

	mu   sync.Mutex
	seen map[string]bool // "GET /path 200"
}

var theContract = sync.OnceValues(func() (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	Strict(doc)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	for _, media := range []string{
		"application/yaml", "text/html", "text/css", "text/javascript",
	} { // a text is as good as it is
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.PlainBodyDecoder)
	}
	return &contract{doc: doc, router: router, seen: map[string]bool{}}, nil
})

// Answer is what a service sent.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// CheckContract fails the test unless the document says that this request may be answered so. body
// is that of the request.
func CheckContract(t testing.TB, req *http.Request, body []byte, a Answer) {
	t.Helper()
	c, err := theContract()
	must(t, err)
	if err := c.check(req, body, a); err != nil {
		t.Errorf("%s %s was answered %d, not as openapi.yaml says: %v", req.Method, req.URL.Path,
			a.Status, err)
	}
}

// Unseen are the answers that the document promises and no test of this program has got so far, as
// `GET /path 200`.
func Unseen() ([]string, error) {
	c, err := theContract()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for path, item := range c.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if name := method + " " + path + " " + status; !c.seen[name] {
					out = append(out, name)
				}
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func (c *contract) check(req *http.Request, body []byte, a Answer) error {
	method := req.Method
	if method == http.MethodHead { // answered like GET, without its body
		method = http.MethodGet
	}
	asked := req.Clone(context.Background())
	asked.Method, asked.Body = method, io.NopCloser(bytes.NewReader(body))
	asked.URL.Scheme, asked.URL.Host = "", "" // any server may have the document
	route, params, err := c.router.FindRoute(asked)
	if err != nil || req.Method == http.MethodHead && a.Status == http.StatusMethodNotAllowed {
		return c.checkOther(asked, a, req.Method == http.MethodHead)
	}
	c.mu.Lock()
	c.seen[method+" "+route.Path+" "+strconv.Itoa(a.Status)] = true
	c.mu.Unlock()
	in := &openapi3filter.RequestValidationInput{Request: asked, PathParams: params, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
	}}
	if err := validate(in, a, req.Method == http.MethodHead); err != nil {
		return err
	}
	if a.Status >= 300 {
		return nil
	}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		return fmt.Errorf("the request was accepted, and the document forbids it: %w", err)
	}
	return nil
}

// checkOther checks the answer to a path or a method that is not in the document.
func (c *contract) checkOther(req *http.Request, a Answer, headersAlone bool) error {
	name := map[int]string{
		http.StatusNotFound: "NotFound", http.StatusMethodNotAllowed: "MethodNotAllowed",
	}[a.Status]
	if name == "" {
		return fmt.Errorf("there is no such operation, which is 404 or 405")
	}
	op := &openapi3.Operation{
		Responses: openapi3.NewResponses(openapi3.WithStatus(a.Status,
			c.doc.Components.Responses[name])),
	}
	return validate(&openapi3filter.RequestValidationInput{
		Request: req, Route: &routers.Route{Spec: c.doc, Operation: op},
	}, a, headersAlone)
}

func validate(in *openapi3filter.RequestValidationInput, a Answer, headersAlone bool) error {
	if strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") && len(a.Body) == 0 &&
		!headersAlone {
		return fmt.Errorf("the body is empty")
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)),
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, ExcludeResponseBody: headersAlone,
		},
	})
}

// contracted is a handler whose answers are checked.
type contracted struct {
	t     testing.TB
	watch *watch
	http.Handler
}

// ServeHTTP serves, and checks what was answered.
func (h contracted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked := r.Clone(r.Context())
	asked.URL.Path = strings.Replace(asked.URL.Path, "/_api//", "/_api/", 1) // as of a client whose base URL ends with a slash
	var body bytes.Buffer
	r.Body = teed{io.TeeReader(r.Body, &body), r.Body}
	answered := &recorder{ResponseWriter: w, status: http.StatusOK}
	h.Handler.ServeHTTP(answered, r)
	h.watch.answered(asked, answered.status)
	CheckContract(h.t, asked, body.Bytes(),
		Answer{answered.status, w.Header(), answered.body.Bytes()})
}

type teed struct {
	io.Reader
	io.Closer
}

// recorder keeps what it passes on.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	r.body.Write(p)
	return r.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
