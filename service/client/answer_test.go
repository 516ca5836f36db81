package client_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	page := "<html>" + strings.Repeat("x", 500) + "</html>"
	tests := map[string]struct {
		answer http.HandlerFunc
		want   error
		asked  int
		says   string
	}{
		"200 that is a page":                       {answer(200, "text/html; charset=utf-8", page), client.ErrAnswer, 1, "answered something that is not its answer (text/html, 513 bytes): check api-url"},
		"200 that is a page said to be JSON":       {answer(200, json, page), client.ErrAnswer, 1, "application/json, not its JSON, 513 bytes"},
		"200 with JSON said to be text":            {answer(200, "text/plain", `{"token":"`+fresh+`"}`), client.ErrAnswer, 1, "text/plain, 47 bytes"},
		"200 without a content type":               {answer(200, "", `{"token":"`+fresh+`"}`), client.ErrAnswer, 1, "no content type"},
		"200 without a token":                      {answer(200, json, `{}`), client.ErrAnswer, 1, "no token"},
		"200 with an empty token":                  {answer(200, json, `{"token":""}`), client.ErrAnswer, 1, "no token"},
		"200 with null":                            {answer(200, json, `null`), client.ErrAnswer, 1, "no token"},
		"200 with a list":                          {answer(200, json, `["`+fresh+`"]`), client.ErrAnswer, 1, "not its JSON"},
		"200 with a token that is a number":        {answer(200, json, `{"token":12}`), client.ErrAnswer, 1, "not its JSON"},
		"200 with a line break in the token":       {answer(200, json, `{"token":"`+fresh+`\n"}`), client.ErrAnswer, 1, "a token with a space"},
		"200 with a space in the token":            {answer(200, json, `{"token":"`+fresh+` x"}`), client.ErrAnswer, 1, "a token with a space"},
		"200 with a letter beyond ASCII":           {answer(200, json, `{"token":"`+fresh+`é"}`), client.ErrAnswer, 1, "a token with a space"},
		"200 with more after its JSON":             {answer(200, json, `{"token":"`+fresh+`"}{}`), client.ErrAnswer, 1, "something after"},
		"200 with a time that is none":             {answer(200, json, `{"token":"`+fresh+`","expires_at":"tomorrow"}`), client.ErrAnswer, 1, "not its JSON"},
		"200 with nothing in it":                   {answer(200, json, ``), client.ErrAnswer, 5, "cut off, 0 bytes"},
		"200 with half of its JSON":                {answer(200, json, `{"token":"new-hea`), client.ErrAnswer, 5, "cut off, 17 bytes"},
		"200 that is huge":                         {answer(200, json, `{"token":"`+strings.Repeat("x", 2<<20)+`"}`), client.ErrAnswer, 1, "more than 1048576 bytes"},
		"204":                                      {answer(204, json, ``), client.ErrAnswer, 1, "status 204"},
		"202 with a token":                         {answer(202, json, `{"token":"`+fresh+`"}`), client.ErrAnswer, 1, "status 202"},
		"304":                                      {answer(304, json, ``), client.ErrAnswer, 1, "status 304"},
		"302 to nowhere":                           {answer(302, json, ``), client.ErrAnswer, 1, "status 302"},
		"400":                                      {answer(400, json, `{"error":"Bad Request"}`), client.ErrAnswer, 1, "status 400"},
		"404 of the service":                       {refusal(404, api.CodeNotFound), client.ErrAnswer, 1, "status 404, application/json, 69 bytes): check api-url"},
		"405 of the service":                       {refusal(405, api.CodeMethodNotAllowed), client.ErrAnswer, 1, "status 405"},
		"408":                                      {answer(408, json, `{}`), client.ErrAnswer, 1, "status 408"},
		"413 of the service":                       {refusal(413, api.CodeRequestTooLarge), client.ErrAnswer, 1, "status 413"},
		"401 of the contract":                      {answer(401, json, `{"error":"Unauthorized"}`), client.ErrUnauthorized, 1, "does not accept the token (401)"},
		"401 with nothing in it":                   {answer(401, "", ``), client.ErrUnauthorized, 1, "(401)"},
		"401 that is a page of a proxy":            {answer(401, "text/html", page), client.ErrAnswer, 1, "status 401, text/html"},
		"403 without a code":                       {answer(403, json, `{"error":"Forbidden"}`), client.ErrRefused, 1, "refused (403): there is no active license"},
		"403 with nothing in it":                   {answer(403, "", ``), client.ErrRefused, 1, "refused (403)"},
		"403 that is a page of a firewall":         {answer(403, "text/html", page), client.ErrAnswer, 1, "status 403, text/html, 513 bytes"},
		"403 that is huge":                         {answer(403, json, `{"message":"`+strings.Repeat("x", 2<<20)+`"}`), client.ErrAnswer, 1, "more than 1048576 bytes"},
		"403 with a message that is an object":     {answer(403, json, `{"code":"license_expired","message":{}}`), client.ErrRefused, 1, "refused (403 license_expired)"},
		"429 without a wish":                       {refusal(429, api.CodeRateLimited), client.ErrUnavailable, 5, "429 rate_limited, do this and that; gave up after 5 tries; try again later"},
		"500 of the service":                       {refusal(500, api.CodeInternal), client.ErrUnavailable, 5, "500 internal, do this and that"},
		"502 that is a page":                       {answer(502, "text/html", page), client.ErrUnavailable, 5, "is not available: 502, no reason given; gave up after 5 tries"},
		"503 of the service":                       {refusal(503, api.CodeUnavailable), client.ErrUnavailable, 5, "503 unavailable, do this and that"},
		"504 with nothing in it":                   {answer(504, "", ``), client.ErrUnavailable, 5, "504, no reason given"},
		"599, which nobody defined, with a number": {answer(599, json, `7`), client.ErrUnavailable, 5, "599"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for op, call := range map[string]func(*client.Client, context.Context, string) (api.IssuedToken, error){
				"issue license token: ": (*client.Client).Issue, "refresh license token: ": (*client.Client).Refresh,
			} {
				w := newWorld(t, tt.answer)
				got, err := call(w.client, t.Context(), bearer)
				e := wantFailure(t, err, tt.want)
				wantText(t, err, op+"the License API at "+strings.TrimPrefix(w.URL, "http://"), tt.says)
				if w.requests() != tt.asked || e.Tries != tt.asked {
					t.Errorf("%sasked %d times and says %d, want %d", op, w.requests(), e.Tries, tt.asked)
				}
				if got != (api.IssuedToken{}) {
					t.Errorf("%sreturned a token with the error", op)
				}
				if status, err := strconv.Atoi(name[:3]); err != nil || e.Status != status && !strings.Contains(name, "half") {
					t.Errorf("%sError.Status = %d, want %s", op, e.Status, name[:3])
				}
			}
		})
	}
}

func TestEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	_, err := w.client.Refresh(t.Context(), bearer)
	wantFailure(t, err, client.ErrAnswer)
	wantText(t, err, "more than 1048576 bytes")
}

func TestRefusalIsNeverTriedAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []api.Code{api.CodeLicenseExpired, api.CodeLicenseRevoked, api.CodeLicenseInactive, api.CodeTokenRevoked, "code_of_tomorrow"} {
		w := newWorld(t, refusal(403, code, "X-Request-Id", "req-7", "Retry-After", "1"))
		_, err := w.client.Refresh(t.Context(), bearer)
		e := wantFailure(t, err, client.ErrRefused)
		if e.Code != code || e.Message != "do this and that" || e.RequestID != "req-7" || e.Op != "refresh license token" {
			t.Errorf("Refresh(%s) = %+v", code, e)
		}
		wantText(t, err, "refused (403 "+string(code)+"): do this and that (request id req-7)")
		if n := w.requests(); n != 1 || len(w.waits) != 0 {
			t.Errorf("Refresh(%s) asked %d times and waited %v, want once", code, n, w.waits)
		}
	}
}

func TestTextsOfTheOtherSideAreTamed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ said, want string }{
		"line breaks and escapes":  {`one\ntwo\r\n\u001b[31m::error::three\u0000\u202e`, "one two  [31m::error::three"},
		"the token itself":         {"you sent " + bearer + ", did you", "you sent [token], did you"},
		"the token beyond the cut": {strings.Repeat("x", 290) + bearer, strings.Repeat("x", 290) + "[token]"},
		"too much":                 {strings.Repeat("é", 400), strings.Repeat("é", 299) + "…"},
		"nothing that prints":      {`\u200b\n`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, answer(403, "application/json", `{"code":"x","message":"`+tt.said+`"}`))
			_, err := w.client.Refresh(t.Context(), bearer)
			if e := wantFailure(t, err, client.ErrRefused); e.Message != tt.want {
				t.Errorf("Message = %q, want %q", e.Message, tt.want)
			}
		})
	}
}

func TestServerThatEchoesTheTokenEverywhereLeaksNothing(t *testing.T) {
	t.Parallel()
	body := `{"error":"` + bearer + `","code":"` + bearer + `","message":"` + bearer + `"}`
	for _, status := range []int{200, 302, 401, 403, 404, 429, 500} {
		for _, contentType := range []string{"application/json", "text/" + bearer} {
			w := newWorld(t, answer(status, contentType, body,
				"X-Request-Id", bearer, "Retry-After", bearer, "Location", "http://"+bearer+".example/"))
			_, err := w.client.Refresh(t.Context(), bearer)
			hunt(t, err)
			if err == nil {
				t.Errorf("%d: no error", status)
			}
		}
	}
	// An API token has the form of a code.
	w := newWorld(t, answer(403, "application/json", `{"code":"pf_at_example"}`))
	_, err := w.client.Issue(t.Context(), "pf_at_example")
	if e := wantFailure(t, err, client.ErrRefused); e.Code != "" || strings.Contains(err.Error(), "pf_at_example") {
		t.Errorf("Issue() = %v with code %q", err, e.Code)
	}
}

func TestCodeAndRequestIDMustHaveTheirForm(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"Two Words", "<b>", strings.Repeat("x", 200), "é"} {
		w := newWorld(t, refusal(403, api.Code(bad), "X-Request-Id", bad+"!"))
		_, err := w.client.Refresh(t.Context(), bearer)
		if e := wantFailure(t, err, client.ErrRefused); e.Code != "" || e.RequestID != "" {
			t.Errorf("%q: Code = %q, RequestID = %q, want none", bad, e.Code, e.RequestID)
		}
	}
}
