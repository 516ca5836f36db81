package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/pageflare/ci/github/githubtest"
)

// identitiesPerRound are signed before a round begins: an issuer's RSA takes longer than all that is measured.
const identitiesPerRound = 3000

// others measures the routes beside issue and refresh.
type others struct {
	addr       string
	jobs       *githubtest.Issuer
	key        string // an API token
	deviceCode string
}

// newOthers makes what these routes need: a trust policy, and a device login that nobody approves.
func newOthers(ctx context.Context, env []string, service string, jobs *githubtest.Issuer, addr, account, key string) (*others, error) {
	cmd := exec.CommandContext(ctx, service, "policy", "add", "--account", account, "--repository-id", "1296269", "--repository-owner-id", "1")
	cmd.Env, cmd.Stderr = env, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("add a policy: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/_api/auth/device/code",
		bytes.NewReader([]byte(`{"client_id":"cl_pageflare_cli","scope":"openid"}`)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var login struct {
		DeviceCode string `json:"device_code"`
	}
	if err := json.NewDecoder(res.Body).Decode(&login); err != nil || login.DeviceCode == "" {
		return nil, fmt.Errorf("begin a device login: %s: %w", res.Status, err)
	}
	return &others{addr, jobs, key, login.DeviceCode}, nil
}

func (o *others) introspect(ctx context.Context, token string, connections int, length time.Duration) (figures, error) {
	what := route{method: "POST", path: "/_api/oauth/introspect", kind: "application/x-www-form-urlencoded", body: url.Values{"token": {token}}.Encode()}
	f, _, err := load(ctx, o.addr, what, repeat(o.key), connections, length)
	return f, err
}

// exchange uses up new identities: each is good once.
func (o *others) exchange(ctx context.Context, connections int, length time.Duration) (figures, error) {
	identities := make([]string, identitiesPerRound)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for half := range errs {
		wg.Go(func() {
			for i := half; i < len(identities) && errs[half] == nil; i += len(errs) {
				identities[i], errs[half] = o.jobs.Sign(map[string]any{"aud": "http://" + o.addr})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return figures{}, err
		}
	}
	f, _, err := load(ctx, o.addr, route{method: "POST", path: "/_api/license/issue"}, once(identities), connections, length)
	return f, err
}

// poll asks for the token of a login that nobody approves, as often as it can: each answer says slow_down, and is written down.
func (o *others) poll(ctx context.Context, connections int, length time.Duration) (figures, error) {
	body, err := json.Marshal(map[string]string{
		"client_id": "cl_pageflare_cli", "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": o.deviceCode,
	})
	if err != nil {
		return figures{}, err
	}
	what := route{method: "POST", path: "/_api/auth/device/token", kind: "application/json", body: string(body), status: http.StatusBadRequest}
	f, _, err := load(ctx, o.addr, what, repeat("none"), connections, length)
	return f, err
}
