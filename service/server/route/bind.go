package route

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A request is read strictly: what we do not know, or what two readers could read differently, is
// refused and nothing is done.

// maxDepth is how deep the JSON of a request may be.
const maxDepth = 8

// BadRequestError is a request that cannot be read; its text tells the sender what to fix.
type BadRequestError struct{ text string }

func (e *BadRequestError) Error() string { return e.text }

// BadRequest makes a BadRequestError.
func BadRequest(format string, args ...any) error {
	return &BadRequestError{fmt.Sprintf(format, args...)}
}

// JSON reads the body, one JSON object in UTF-8, into v. Refused: another content type or charset,
// no object, members that are unknown, doubled or written in another case, wrong types, deep
// nesting, anything behind the object.
func JSON(c *gin.Context, v any) error { return bindObject(c, v, json.RejectUnknownMembers(true)) }

// LooseJSON is JSON for programs that we do not write: members that are not known are ignored, for
// the next version may send them.
func LooseJSON(c *gin.Context, v any) error { return bindObject(c, v) }

func bindObject(c *gin.Context, v any, how ...json.Options) error {
	if err := wantType(c, "application/json"); err != nil {
		return err
	}
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return err
	}
	if err := checkValues(body); err != nil {
		return err
	}
	if err := json.Unmarshal(body, v, how...); err != nil {
		return BadRequest("%s", jsonFault(err))
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
			return fmt.Sprintf("the body has a member %s that is not known here: see /openapi.yaml",
				strconv.Quote(at))
		case at == "":
			return "the body is not a JSON object"
		}
		return fmt.Sprintf("the member %s of the body has a value of the wrong kind: see /openapi.yaml", strconv.Quote(at))
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Sprintf("the body has the member %s twice",
			strconv.Quote(string(syntax.JSONPointer)))
	}
	return "the body is not JSON in UTF-8"
}

// checkValues refuses what is too deep, and text that PostgreSQL cannot hold.
func checkValues(body []byte) error {
	d := jsontext.NewDecoder(strings.NewReader(string(body)))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return nil // its end, or a fault that is named by the reader of its meaning
		}
		if token.Kind() == jsontext.KindString && strings.Contains(token.String(), "\x00") {
			return BadRequest("the member %s of the body holds a NUL", strconv.Quote(string(d.StackPointer())))
		}
		if d.StackDepth() > maxDepth {
			return BadRequest("the body is nested deeper than %d", maxDepth)
		}
	}
}

// Form reads a form (application/x-www-form-urlencoded) and returns its parameters. A parameter
// that is there twice is refused; one that is not known is ignored (RFC 6749, 3.1 and 3.2). The
// query counts for nothing: what stands there reaches logs.
func Form(c *gin.Context) (map[string]string, error) {
	if err := wantType(c, "application/x-www-form-urlencoded"); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, BadRequest("the body is not a form")
	}
	out := map[string]string{}
	for name, all := range values {
		if len(all) > 1 {
			return nil, BadRequest("the form has the parameter %s twice", strconv.Quote(name))
		}
		if !utf8.ValidString(name) || !utf8.ValidString(all[0]) {
			return nil, BadRequest("the form is not in UTF-8")
		}
		out[name] = all[0]
	}
	return out, nil
}

// TypeError says that the body is of another kind than the route reads.
type TypeError struct{ want string }

func (e *TypeError) Error() string {
	return fmt.Sprintf("send the body with Content-Type: %s, in UTF-8 and not compressed", e.want)
}

// WantJSON refuses a body that does not say that it is JSON, for a route that reads it itself.
func WantJSON(c *gin.Context) error { return wantType(c, "application/json") }

// wantType refuses a body of another content type, in another charset, or compressed.
func wantType(c *gin.Context, want string) error {
	headers := c.Request.Header
	if len(headers.Values("Content-Type")) != 1 || headers.Get("Content-Encoding") != "" {
		return &TypeError{want}
	}
	media, params, err := mime.ParseMediaType(headers.Get("Content-Type"))
	if err != nil || media != want {
		return &TypeError{want}
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return &TypeError{want}
	}
	return nil
}

// The sizes of a page.
const (
	defaultPage = 50
	maxPage     = 200
)

// List reads the parameters `limit` and `cursor` of a list, and what it can be narrowed by; cursor
// is "" for the first page.
func List(c *gin.Context,
	others ...string) (cursor string, limit int, query url.Values, err error) {
	if query, err = Parameters(c, append([]string{"limit", "cursor"}, others...)...); err != nil {
		return "", 0, nil, err
	}
	if limit, err = PageSize(query); err != nil {
		return "", 0, nil, err
	}
	return query.Get("cursor"), limit, query, nil
}

// PageSize reads the parameter `limit`.
func PageSize(query url.Values) (int, error) {
	text := query.Get("limit")
	if text == "" {
		return defaultPage, nil
	}
	limit, err := strconv.Atoi(text)
	if err != nil || limit < 1 || limit > maxPage {
		return 0, BadRequest("limit is not a number from 1 to %d", maxPage)
	}
	return limit, nil
}

// noQuery is a handler of a route that takes no parameters.
func noQuery(handle Handler) Handler {
	return func(c *gin.Context) error {
		if _, err := Parameters(c); err != nil {
			return err
		}
		return handle(c)
	}
}

// Parameters reads the query. Other parameters than the named ones are refused: a filter that is
// mistyped must not list everything.
func Parameters(c *gin.Context, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(c.Request.URL.RawQuery)
	if err != nil {
		return nil, BadRequest("the query cannot be read")
	}
	for name, values := range query {
		if len(known) == 0 {
			return nil, BadRequest("there is no parameter %s: this route takes none",
				strconv.Quote(name))
		}
		if !slices.Contains(known, name) {
			return nil, BadRequest("there is no parameter %s: give %s", strconv.Quote(name),
				strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return nil, BadRequest("the parameter %s is there twice", strconv.Quote(name))
		}
		if !utf8.ValidString(values[0]) || strings.Contains(values[0], "\x00") { // no database holds such a text
			return nil, BadRequest("the parameter %s is not text in UTF-8, or holds a NUL", strconv.Quote(name))
		}
	}
	return query, nil
}

// Flag reads the one parameter that a route has, true or false.
func Flag(c *gin.Context, name string) (bool, error) {
	query, err := Parameters(c, name)
	if err != nil {
		return false, err
	}
	return Yes(query, name)
}

// Yes is a parameter that is true or false; false when it is not given.
func Yes(query url.Values, name string) (bool, error) {
	switch query.Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, BadRequest("%s is neither true nor false", name)
}

// Answer writes what an act gave, or hands on its error.
func Answer[T, U any](c *gin.Context, show func(T) U, got T, err error) error {
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, show(got))
	return nil
}
