package main

import (
	"bufio"
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

// load asks over and over, on so many connections at once, for so long or until there are no more bearers. It returns the tokens of the
// answers. Anything but 200 is an error.
func load(ctx context.Context, addr, method, path string, next bearers, connections int, length time.Duration) (figures, []string, error) {
	var mu sync.Mutex
	var took []time.Duration
	var tokens []string
	var errs []error
	begun := time.Now()
	end := begun.Add(length)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			t, got, err := ask(ctx, addr, method, path, next, end)
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
func ask(ctx context.Context, addr, method, path string, next bearers, end time.Time) (took []time.Duration, tokens []string, err error) {
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
		if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", method, path, addr, bearer); err != nil {
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
		if res.StatusCode != http.StatusOK {
			return nil, nil, fmt.Errorf("answer %s", res.Status)
		}
		done := time.Now()
		took, now = append(took, done.Sub(now)), done
		var answer struct {
			Token string `json:"token"`
		}
		if method == http.MethodPost { // only the tokens of issue are needed
			if err := json.Unmarshal(body, &answer); err != nil {
				return nil, nil, err
			}
			tokens = append(tokens, answer.Token)
		}
	}
	return took, tokens, nil
}
