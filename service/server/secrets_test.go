package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/server/route"
)

// placed is a request with a secret in one place of it.
type placed struct {
	method, path, body string
	headers            []string
}

// TestNoTokenInAWrongPlaceIsRepeated puts live tokens wherever a caller can put text: in each part
// of a path, as name and as value of a parameter, as name and as value of each member of a body, in
// headers, as the method. None may reach the log, nor come back in a refusal.
func TestNoTokenInAWrongPlaceIsRepeated(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	whole, broken := newRefused(t, &log), newRefused(t, &log)
	broken.Break(t)
	asked := 0
	for _, s := range []refused{whole, broken} {
		kinds := []string{s.apiToken, s.license, s.license[:60]} // the last one lost its end when it was copied; each place gets one of them
		for _, r := range s.Server.Routes() {
			if s.Store == broken.Store && !r.Guard.Open() {
				continue // who calls cannot be told, so nothing else is looked at
			}
			op := doc.Paths.Find(documentPath(r.Path)).GetOperation(r.Method)
			var of [][]placed
			for _, secret := range kinds {
				of = append(of, places(t, r, op, secret))
			}
			for i := range of[0] {
				kind := asked % len(kinds)
				p, secret := of[kind][i], kinds[kind]
				asked++
				got := call(t, s.Service, p.method, p.path, p.body, append(bearer(s.credential(r.Guard)), p.headers...)...)
				if told := got.body + fmt.Sprint(got.header); got.status >= 300 && strings.Contains(told, secret) {
					t.Errorf("%s %s repeats the token: %d %s", p.method, p.path, got.status, told)
				}
			}
		}
		for _, secret := range kinds {
			if end := secret[len(secret)-20:]; strings.Contains(log.String(), end) {
				t.Errorf("a token is in the log:\n%s", linesWith(log.String(), end))
			}
		}
	}
	if asked < 1000 {
		t.Errorf("%d requests, want every place of every route", asked)
	}
}

func linesWith(text, part string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return !strings.Contains(line, part) }), "\n")
}

// places are the requests to a route that have the secret in one place each.
func places(t *testing.T, r route.Route, op *openapi3.Operation, secret string) []placed {
	t.Helper()
	path, body, media := examplePath(r, op), "", ""
	var bodies []string
	if op.RequestBody != nil {
		media = slices.Sorted(maps.Keys(op.RequestBody.Value.Content))[0]
		content := op.RequestBody.Value.Content[media]
		body, bodies = spoiled(t, media, content.Schema.Value, content.Example, secret)
	}
	headers := []string{"Content-Type", media}
	if media == "" {
		headers = nil
	}
	out := []placed{
		{secret, path, body, headers}, // the method
		{r.Method, path + "/" + secret, body, headers},
		{r.Method, path + "?" + secret, body, headers},
		{r.Method, path + "?" + secret + "=1", body, headers},
		{r.Method, path + "?%zz" + secret, body, headers},
		{r.Method, path, secret, headers},
		{r.Method, path, body, []string{"Content-Type", secret}},
		{r.Method, path, body, []string{"Content-Type", media + "; charset=" + secret}},
	}
	for _, name := range []string{"X-Forwarded-For", "X-Request-Id", "User-Agent", "Origin", "Referer", "Cookie", "Traceparent", "X-Pageflare-Client"} {
		out = append(out, placed{r.Method, path, body, append([]string{name, secret}, headers...)})
	}
	for _, p := range op.Parameters {
		switch name := p.Value.Name; p.Value.In {
		case openapi3.ParameterInQuery:
			out = append(out, placed{r.Method, path + "?" + name + "=" + secret, body, headers},
				placed{r.Method, path + "?" + name + "=1&" + name + "=" + secret, body, headers})
		case openapi3.ParameterInPath:
			at := strings.ReplaceAll(documentPath(r.Path), "{"+name+"}", secret)
			out = append(out, placed{r.Method, at, body, headers}, placed{r.Method, strings.Replace(at, secret, secret+"%0A", 1), body, headers})
		}
	}
	for _, b := range bodies {
		out = append(out, placed{r.Method, path, b, headers})
	}
	return out
}

// spoiled is the example body of an operation, and that body with the secret as an additional
// member and in the place of each value.
func spoiled(t *testing.T, media string, schema *openapi3.Schema, example any, secret string) (body string, all []string) {
	t.Helper()
	good, _ := example.(map[string]any)
	if media == "application/x-www-form-urlencoded" {
		values := url.Values{}
		for name, v := range good {
			values.Set(name, fmt.Sprint(v))
		}
		with := func(name, value string) string {
			changed := maps.Clone(values)
			changed.Set(name, value)
			return changed.Encode()
		}
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			all = append(all, with(name, secret), with(name, "x")+"&"+name+"="+secret)
		}
		return values.Encode(), append(all, with(secret, "1"), with(secret, "1")+"&"+secret+"=2")
	}
	with := func(name string, value any) string {
		changed := maps.Clone(good)
		if changed == nil {
			changed = map[string]any{}
		}
		changed[name] = value
		text, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		all = append(all, with(name, secret), with(name, []string{secret}), with(name, map[string]any{secret: secret}))
	}
	text, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	doubled := fmt.Sprintf(`{"%s":1,"%s":2}`, secret, secret)
	return string(text), append(all, with(secret, 1), with("x", map[string]any{secret: 1}), doubled, `{"x":{"`+secret+`":1,"`+secret+`":2}}`)
}

// A path that is no route, too, and what is behind it.
func TestNoTokenInAnUnknownPathIsRepeated(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := newRefused(t, &log)
	for _, path := range []string{"/" + s.apiToken, "/_api/license/" + s.license, "/none?" + s.admin, "/_api/admin/" + s.login + "?x=" + s.admin} {
		got := call(t, s.Service, http.MethodGet, path, "", bearer(s.admin)...)
		got.wantCode(t, http.StatusNotFound, api.CodeNotFound)
		for _, secret := range []string{s.apiToken, s.license, s.admin, s.login} {
			if strings.Contains(got.body+log.String(), secret) {
				t.Errorf("%s: the token is repeated: %s\n%s", path, got.body, log.String())
			}
		}
	}
}
