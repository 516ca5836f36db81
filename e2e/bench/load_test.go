package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnAnswerIsReadHoweverItComesInPieces(t *testing.T) {
	t.Parallel()
	const answer = "HTTP/1.1 200 OK\r\nX-Request-Id: A\r\nContent-Length: 13\r\n\r\n{\"token\":\"t\"}"
	for n := range len(answer) {
		if body, whole, err := parseAnswer([]byte(answer[:n])); whole || err != nil {
			t.Fatalf("parseAnswer(the first %d bytes) = %q, %v, %v, want more", n, body, whole, err)
		}
	}
	body, whole, err := parseAnswer([]byte(answer))
	if string(body) != `{"token":"t"}` || !whole || err != nil {
		t.Errorf("parseAnswer = %q, %v, %v", body, whole, err)
	}
}

func TestAnAnswerThatIsNotUnderstoodIsAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"chunked":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a length of letters":  "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"more than was said":   "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab",
		"no status, no header": "\r\nContent-Length: 0\r\n\r\n",
	} {
		if body, _, err := parseAnswer([]byte(text)); err == nil {
			t.Errorf("%s: parseAnswer = %q, want an error", name, body)
		}
	}
}

// counter is a server whose tokens are numbers: a token is answered by the number after it.
func counter(t *testing.T) (what target, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		n, err := strconv.Atoi(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"token":"%d"}`, n+1)
	}))
	t.Cleanup(server.Close)
	return target{
		addr: strings.TrimPrefix(server.URL, "http://"), method: "GET", path: "/", cpu: func() usage { return usage{} },
	}, asked
}

func TestEachSessionGoesOnWithTheTokenThatItGotLast(t *testing.T) {
	t.Parallel()
	what, asked := counter(t)
	all := newSessions([]string{"0", "0", "0", "0", "0", "0", "0"}, false)
	var answers int
	for range 2 { // a second load goes on where the first one ended
		f, err := load(t.Context(), what, share(all, 3), 50*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		answers += f.answers
	}
	var sum int
	for _, s := range all {
		n, err := strconv.Atoi(string(s.token))
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != answers || int64(answers) != asked.Load() {
		t.Errorf("the sessions made %d steps in %d answers to %d requests", sum, answers, asked.Load())
	}
}

func TestATokenThatComesBackIsAnError(t *testing.T) {
	t.Parallel()
	s := newSessions([]string{"a"}, false)[0]
	if err := s.answered([]byte(`{"token":"a"}`)); !errors.Is(err, errNotRecorded) {
		t.Errorf("answered = %v, want errNotRecorded", err)
	}
	if err := s.answered([]byte(`{"status":"ok"}`)); err == nil {
		t.Error("an answer without a token is taken")
	}
}

func TestAStatusThatIsNotExpectedEndsALoad(t *testing.T) {
	t.Parallel()
	what, _ := counter(t)
	_, err := load(t.Context(), what, same("not a number", 2), time.Minute)
	if err == nil || !strings.Contains(err.Error(), "status 401") {
		t.Errorf("load = %v, want status 401", err)
	}
}

func TestACredentialThatIsGoodOnceIsUsedOnce(t *testing.T) {
	t.Parallel()
	what, asked := counter(t)
	o := &once{all: [][]byte{[]byte("1"), []byte("2"), []byte("3")}}
	f, err := load(t.Context(), what, []bearers{o, o}, time.Minute)
	if err != nil || f.answers != 3 || asked.Load() != 3 {
		t.Errorf("load = %d answers, %v; %d requests, want 3", f.answers, err, asked.Load())
	}
}

func TestARowIsTheMedianOfItsRoundsAgainstTheBareHandlerOfEach(t *testing.T) {
	t.Parallel()
	of := func(service, bare float64) sample {
		return sample{
			figures{perSecond: service, p50: 3 * time.Millisecond, p99: 8 * time.Millisecond, cpu: usage{40 * time.Microsecond, 9 * time.Microsecond}},
			figures{perSecond: bare, p50: 2 * time.Millisecond, p99: 4 * time.Millisecond},
		}
	}
	r := row{name: "refresh", engine: "SQLite", connections: 32, samples: []sample{of(900, 1000), of(100, 1000), of(1200, 2000)}}
	want := []string{"refresh", "SQLite", "32", "900", "0.60 (0.10–0.90)", "3.0 ms", "1.50", "8.0 ms", "2.00 (2.00–2.00)", "40 + 9 µs"}
	if diff := cmp.Diff(want, r.cells()); diff != "" {
		t.Error(diff)
	}
}

func TestATableIsMarkdownWithEvenColumns(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	printTable(&out, [][]string{{"", "a"}, {"µ–é", "12345"}})
	const want = "|     |     a |\n| --- | ----: |\n| µ–é | 12345 |\n"
	if out.String() != want {
		t.Errorf("printTable wrote\n%s\nwant\n%s", out.String(), want)
	}
}
