package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bearers hands out a token for each request; false when there are no more.
type bearers func() (string, bool)

func repeat(token string) bearers { return func() (string, bool) { return token, true } }

func once(tokens []string) bearers {
	var next atomic.Int64
	return func() (string, bool) {
		i := next.Add(1) - 1
		if i >= int64(len(tokens)) {
			return "", false
		}
		return tokens[i], true
	}
}

// route is what is asked for.
type route struct {
	method, path string
	kind, body   string // content type and body; empty: none
	status       int    // of the answer; 0: 200
}

// load asks over and over, on so many connections at once, for so long or until there are no more bearers. It returns the tokens of the
// answers. Another status than the route's is an error.
func load(ctx context.Context, addr string, what route, next bearers, connections int, length time.Duration) (figures, []string, error) {
	var mu sync.Mutex
	var took []time.Duration
	var tokens []string
	var errs []error
	begun := time.Now()
	end := begun.Add(length)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			t, got, err := ask(ctx, addr, what, next, end)
			mu.Lock()
			defer mu.Unlock()
			took, tokens = append(took, t...), append(tokens, got...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(begun)
	if err := errors.Join(errs...); err != nil {
		return figures{}, nil, err
	}
	if len(took) == 0 {
		return figures{}, nil, errors.New("no request was made")
	}
	slices.Sort(took)
	return figures{float64(len(took)) / elapsed.Seconds(), took[len(took)*99/100]}, tokens, nil
}

// ask is one connection. It speaks HTTP itself: a full client would take more of the machine than the server.
func ask(ctx context.Context, addr string, what route, next bearers, end time.Time) (took []time.Duration, tokens []string, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return nil, nil, err
	}
	in := bufio.NewReaderSize(conn, 8<<10)
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
		bearer, ok := next()
		if !ok {
			break
		}
		head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n", what.method, what.path, addr, bearer)
		if what.body != "" {
			head += fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", what.kind, len(what.body))
		}
		if _, err := io.WriteString(conn, head+"\r\n"+what.body); err != nil {
			return nil, nil, err
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return nil, nil, err
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return nil, nil, err
		}
		if res.StatusCode != cmp.Or(what.status, http.StatusOK) {
			return nil, nil, fmt.Errorf("answer %s: %s", res.Status, body)
		}
		done := time.Now()
		took, now = append(took, done.Sub(now)), done
		var answer struct {
			Token string `json:"token"`
		}
		if what.method == http.MethodPost && what.body == "" { // only the tokens of issue are needed
			if err := json.Unmarshal(body, &answer); err != nil {
				return nil, nil, err
			}
			tokens = append(tokens, answer.Token)
		}
	}
	return took, tokens, nil
}
