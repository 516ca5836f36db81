package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// drillKeys starts a second server on a database for the drill.
func (b *serviceBench) drillKeys(ctx context.Context, s *setup) (err error) {
	second, err := start(ctx, s.one.env(), b.service, "serve")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, second.stop()) }()
	d := keyDrill{
		service: b.service, env: s.one.env(), servers: []string{s.one.server.addr, second.addr}, apiToken: s.owner.apiToken, on: s.engine.name(),
	}
	return d.run(ctx)
}

// keyDrill changes the signing key of two servers on one database while callers use both, in real
// time. A valid token that is refused is an error.
type keyDrill struct {
	service  string
	env      []string
	servers  []string // addresses
	apiToken string
	on       string // the engine's name
	client   *http.Client

	mu       sync.Mutex
	tokens   []string
	keys     map[string]int // kid -> tokens that it signed
	requests int
	rejected []string // what was answered
}

const (
	drillCallers = 16
	drillTokens  = 512                     // that callers hold; older ones are forgotten
	keyTakesOver = 6500 * time.Millisecond // after it was added: it waits for 5 seconds, and some more are for the load
)

func (d *keyDrill) run(ctx context.Context) error {
	loaded, stop := context.WithCancel(ctx)
	defer stop()
	d.keys, d.client = map[string]int{}, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: drillCallers}, Timeout: 30 * time.Second}
	defer d.client.CloseIdleConnections()
	var callers sync.WaitGroup
	for range drillCallers {
		callers.Go(func() {
			for loaded.Err() == nil {
				d.call(ctx)
			}
		})
	}
	err := d.changeKeys(ctx)
	stop()
	callers.Wait()
	if err != nil {
		return err
	}
	fmt.Printf("\nkey rotation under load on %s, %d servers: %d requests, tokens by %d keys, %d valid tokens rejected\n",
		d.on, len(d.servers), d.requests, len(d.keys), len(d.rejected))
	switch {
	case len(d.rejected) > 0:
		return fmt.Errorf("valid tokens were rejected: %s", d.rejected[0])
	case len(d.keys) != 3:
		return fmt.Errorf("tokens by %d keys, want 3: one, and two that were added", len(d.keys))
	}
	return nil
}

// changeKeys adds two keys, one after the other, and tries to retire the first, which live tokens
// depend on.
func (d *keyDrill) changeKeys(ctx context.Context) error {
	out, err := d.command(ctx, "key", "list", "--json")
	if err != nil {
		return err
	}
	var page struct {
		Items []struct {
			ID string `json:"kid"`
		} `json:"items"`
	}
	if err := json.Unmarshal(out, &page); err != nil {
		return err
	}
	for range 2 {
		if _, err := d.command(ctx, "key", "rotate"); err != nil {
			return err
		}
		select {
		case <-time.After(keyTakesOver):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if _, err = d.command(ctx, "key", "retire", page.Items[0].ID); err == nil {
		return errors.New("key retire ended a key under live tokens")
	}
	return nil
}

func (d *keyDrill) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.service, args...)
	cmd.Env = d.env
	if args[1] != "retire" { // which is refused, and says so
		cmd.Stderr = os.Stderr
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// call refreshes a token that some caller holds at any of the servers; now and then it issues one
// instead.
func (d *keyDrill) call(ctx context.Context) {
	method, path, bearer := http.MethodPost, "/_api/license/issue", d.apiToken
	d.mu.Lock()
	if n := len(d.tokens); n > 0 && rand.IntN(8) > 0 {
		method, path, bearer = http.MethodGet, "/_api/license/refresh", d.tokens[min(rand.IntN(2*n), n-1)] // often the newest
	}
	d.mu.Unlock()
	token, kid, err := d.ask(ctx, method, "http://"+d.servers[rand.IntN(len(d.servers))]+path, bearer)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests++
	if err != nil {
		if ctx.Err() == nil {
			d.rejected = append(d.rejected, err.Error())
		}
		return
	}
	d.keys[kid]++
	if d.tokens = append(d.tokens, token); len(d.tokens) > drillTokens {
		d.tokens = d.tokens[1:]
	}
}

// ask returns the token of the answer and the key that signed it.
func (d *keyDrill) ask(ctx context.Context, method, url, bearer string) (token, kid string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := d.client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return "", "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("%s %s: %s %s", method, req.URL.Path, res.Status, body)
	}
	var answer struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", "", err
	}
	encoded, _, _ := strings.Cut(answer.Token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", err
	}
	var header struct {
		ID string `json:"kid"`
	}
	err = json.Unmarshal(raw, &header)
	return answer.Token, header.ID, err
}
