package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/pageflare/ci/service/api"
)

// maxAnswer is how many bytes of an answer are read. Real ones have about one thousand.
const maxAnswer = 1 << 20

// judge reads the answer and returns nil when it is the one that was asked for, else an *Error.
func (t *tries) judge(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return t.judgeOK(resp, body, err)
	}
	if resp.StatusCode == http.StatusNoContent && t.request.silent {
		return nil
	}
	return t.refusal(resp, body, err)
}

func (t *tries) judgeOK(resp *http.Response, body []byte, broken error) error {
	media := contentType(resp)
	if media != "application/json" {
		return t.odd(resp, media, body)
	}
	if broken != nil {
		e := t.failure(ErrUnavailable,
			fmt.Sprintf("its answer broke off after %d bytes (%v)", len(body), broken))
		e.again = true
		return e
	}
	if len(body) > maxAnswer {
		return t.odd(resp, media, body)
	}
	if err := t.request.accept(body); err != nil {
		e := t.odd(resp, media+", "+err.Error(), body)
		e.again = errors.Is(err, errCutOff)
		return e
	}
	return nil
}

// refusal turns every status but 200 into its Error.
func (t *tries) refusal(resp *http.Response, body []byte, broken error) *Error {
	said, fromAPI := readError(body, broken)
	var e *Error
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests || s >= 500:
		e = t.failure(ErrUnavailable, "")
		e.again = true
		e.RetryAfter = t.retryAfter(resp.Header)
	case s == http.StatusUnauthorized && fromAPI:
		e = t.failure(ErrUnauthorized, "")
	case s == http.StatusForbidden && fromAPI:
		e = t.failure(ErrRefused, "")
	case s < 500 && t.request.rejects && fromAPI && t.code(said.Code) != "":
		e = t.failure(ErrRejected, "")
	case s == http.StatusBadRequest:
		if e := t.grantError(body); e != nil {
			return e
		}
		return t.odd(resp, contentType(resp), body)
	default:
		return t.odd(resp, contentType(resp), body)
	}
	e.Status = resp.StatusCode
	e.Code = t.code(said.Code)
	e.undone = e.Code == api.CodeRateLimited || e.Code == api.CodeUnavailable
	e.Message = clean(said.Message, t.request.hidden())
	e.RequestID = t.requestID(resp.Header)
	return e
}

// odd says that the answer is not one of the API, by its status, content type and size: its text
// would tell nothing.
func (t *tries) odd(resp *http.Response, media string, body []byte) *Error {
	size := strconv.Itoa(len(body))
	if len(body) > maxAnswer {
		size = "more than " + strconv.Itoa(maxAnswer)
	}
	if media == "" {
		media = "no content type"
	}
	if resp.StatusCode != http.StatusOK {
		media = fmt.Sprintf("status %d, %s", resp.StatusCode, media)
	}
	e := t.failure(ErrAnswer, fmt.Sprintf("%s, %s bytes", media, size))
	e.Status = resp.StatusCode
	e.RequestID = t.requestID(resp.Header)
	return e
}

// readError reads the body of an error. The API sends a JSON object; an empty or lost body may be
// its own too, and a page may not.
func readError(body []byte, broken error) (said api.Error, fromAPI bool) {
	if broken != nil || len(body) == 0 {
		return said, true
	}
	if len(body) > maxAnswer {
		return said, false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object == nil {
		return said, false
	}
	// Member by member: a foreign API may use a name for something else, and that must not cost the
	// others.
	_ = json.Unmarshal(object["code"], &said.Code)
	_ = json.Unmarshal(object["message"], &said.Message)
	return said, true
}
