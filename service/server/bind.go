package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/opaque"
)

// A request is read strictly: what we do not know, or what two readers could read differently, is refused and nothing is done.

// maxDepth is how deep the JSON of a request may be.
const maxDepth = 8

// unfitError is a request that cannot be read; its text tells the sender what to mend.
type unfitError struct{ text string }

func (e *unfitError) Error() string { return e.text }

func unfit(format string, args ...any) error { return &unfitError{fmt.Sprintf(format, args...)} }

// bindJSON reads the body, one JSON object in UTF-8, into v. Refused: another content type or charset, no object, members that are unknown,
// doubled or written in another case, wrong types, deep nesting, anything behind the object.
func bindJSON(c *gin.Context, v any) error { return bindObject(c, v, json.RejectUnknownMembers(true)) }

// bindLoose is bindJSON for programs that we do not write: members that are not known are ignored, for the next version may send them.
func bindLoose(c *gin.Context, v any) error { return bindObject(c, v) }

func bindObject(c *gin.Context, v any, how ...json.Options) error {
	if err := wantType(c, "application/json"); err != nil {
		return err
	}
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return err
	}
	if err := checkDepth(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v, how...); err != nil {
		return unfit("%s", jsonFault(err))
	}
	return nil
}

// jsonFault is what is wrong with a body, without anything of its values.
func jsonFault(err error) string {
	var meaning *json.SemanticError
	if errors.As(err, &meaning) {
		at := string(meaning.JSONPointer)
		switch {
		case errors.Is(err, json.ErrUnknownName):
			return fmt.Sprintf("the body has a member %s that is not known here: see /openapi.yaml", strconv.Quote(at))
		case at == "":
			return "the body is not a JSON object"
		}
		return fmt.Sprintf("the member %s of the body has a value of the wrong kind: see /openapi.yaml", strconv.Quote(at))
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Sprintf("the body has the member %s twice", strconv.Quote(string(syntax.JSONPointer)))
	}
	return "the body is not JSON in UTF-8"
}

func checkDepth(body []byte) error {
	d := jsontext.NewDecoder(strings.NewReader(string(body)))
	for {
		if _, err := d.ReadToken(); err != nil {
			return nil // its end, or a fault that is named by whoever reads it for its meaning
		}
		if d.StackDepth() > maxDepth {
			return unfit("the body is nested deeper than %d", maxDepth)
		}
	}
}

// bindForm reads a form (application/x-www-form-urlencoded) and returns its parameters. A parameter that is there twice is refused; one that is
// not known is ignored (RFC 6749, 3.1 and 3.2). The query counts for nothing: what stands there reaches logs.
func bindForm(c *gin.Context) (map[string]string, error) {
	if err := wantType(c, "application/x-www-form-urlencoded"); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, unfit("the body is not a form")
	}
	out := map[string]string{}
	for name, all := range values {
		if len(all) > 1 {
			return nil, unfit("the form has the parameter %s twice", strconv.Quote(name))
		}
		if !utf8.ValidString(name) || !utf8.ValidString(all[0]) {
			return nil, unfit("the form is not in UTF-8")
		}
		out[name] = all[0]
	}
	return out, nil
}

var (
	errNoAccount = fmt.Errorf("account: %w", failure.ErrNotFound)
	errNoPolicy  = fmt.Errorf("policy: %w", failure.ErrNotFound)
	errNoKey     = fmt.Errorf("signing key: %w", failure.ErrNotFound)
	errNoMachine = fmt.Errorf("machine: %w", failure.ErrNotFound)
)

// ids are the parts of paths that name something by its id, and the answer to what cannot be one. It is not repeated and goes no further: people put
// tokens there, and what stands in a path reaches errors and logs.
var ids = []struct {
	path, name string
	fits       func(string) bool
	refusal    error
}{
	{"/_api/admin/accounts/:id", "id", opaque.OfAccount.Fits, errNoAccount},
	{"/_api/admin/policies/:id", "id", opaque.OfPolicy.Fits, errNoPolicy},
	{"/_api/admin/keys/:kid", "kid", opaque.OfKey.Fits, errNoKey},
	{"/_api/admin/machines/:id", "id", opaque.OfMachine.Fits, errNoMachine},
	{"/_api/admin/tokens/:jti", "jti", func(s string) bool { return opaque.TokenID(s).Family() != "" },
		unfit("that is no id of a token (40 letters and digits)")},
	{"/_api/admin/api-tokens/:id", "id", opaque.OfAPIToken.Fits,
		unfit("that is no id of an API token (at_ and 16 letters or digits): POST /_api/oauth/introspect tells the id of one by its text (jti), " +
			"POST /_api/oauth/revoke ends one by its text")},
	{"/_api/admin/admin-tokens/:id", "id", opaque.OfAdminToken.Fits,
		unfit("that is no id of an admin token (adm_ and 16 letters or digits): GET /_api/admin/admin-tokens lists them")},
}

// wantID refuses what cannot be an id in a path.
func (s *Server) wantID(path string) gin.HandlerFunc {
	for _, id := range ids {
		if strings.HasPrefix(path, id.path) {
			return func(c *gin.Context) {
				if !id.fits(c.Param(id.name)) {
					s.fail(c, id.refusal)
					c.Abort()
				}
			}
		}
	}
	return func(*gin.Context) {}
}

// errType says that the body is of another kind than the route reads.
type errType struct{ want string }

func (e *errType) Error() string {
	return fmt.Sprintf("send the body with Content-Type: %s, in UTF-8 and not compressed", e.want)
}

// wantType refuses a body of another content type, in another charset, or compressed.
func wantType(c *gin.Context, want string) error {
	headers := c.Request.Header
	if len(headers.Values("Content-Type")) != 1 || headers.Get("Content-Encoding") != "" {
		return &errType{want}
	}
	media, params, err := mime.ParseMediaType(headers.Get("Content-Type"))
	if err != nil || media != want {
		return &errType{want}
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return &errType{want}
	}
	return nil
}

// The sizes of a page.
const (
	defaultPage = 50
	maxPage     = 200
)

// page reads the parameters `limit` and `cursor` of a list, and what it can be narrowed by; cursor is "" for the first page.
func page(c *gin.Context, others ...string) (cursor string, limit int, query url.Values, err error) {
	if query, err = parameters(c, append([]string{"limit", "cursor"}, others...)...); err != nil {
		return "", 0, nil, err
	}
	limit = defaultPage
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return "", 0, nil, unfit("limit is not a number from 1 to %d", maxPage)
		}
	}
	return query.Get("cursor"), limit, query, nil
}

// bare is a handler of a route that takes no parameters.
func bare(handle func(*gin.Context) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		if _, err := parameters(c); err != nil {
			return err
		}
		return handle(c)
	}
}

// parameters reads the query. Other parameters than the named ones are refused: a filter that is mistyped must not list everything.
func parameters(c *gin.Context, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, unfit("the query cannot be read")
	}
	for name, values := range query {
		if len(known) == 0 {
			return nil, unfit("there is no parameter %s: this route takes none", strconv.Quote(name))
		}
		if !slices.Contains(known, name) {
			return nil, unfit("there is no parameter %s: give %s", strconv.Quote(name), strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return nil, unfit("the parameter %s is there twice", strconv.Quote(name))
		}
	}
	return query, nil
}
