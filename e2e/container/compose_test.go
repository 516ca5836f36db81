//go:build e2e

package container_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pageflare/ci/e2e/certtest"
)

// publicName is what clients call, as the examples of deploy have it.
const publicName = "license.example.com"

// The containers of deploy/compose.postgres.yaml, started by docker compose as docs/deployment.md
// says: three replicas on PostgreSQL behind HAProxy, whose commands work, which lose no request when
// each is replaced, and whose tokens outlive the containers.
func TestThreeReplicasByCompose(t *testing.T) {
	t.Parallel()
	d := newComposition(t)
	d.compose("up", "--detach", "--no-build", "--wait")
	var made struct {
		APIToken string `json:"api_token"`
	}
	created := d.license("account", "create", "--email", "site@larkmoor.example", "--tier", "team", "--valid-until", "2099-12-31", "--json")
	must(t, json.Unmarshal([]byte(created), &made))
	first, err := d.token(t.Context(), "POST", "/_api/license/issue", made.APIToken)
	must(t, err)

	load := d.load(made.APIToken)
	load.answers(t, 20)
	for _, replica := range []string{"license-1", "license-2", "license-3"} {
		d.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "--wait", replica)
		for !strings.Contains(d.compose("logs", "--no-log-prefix", replica), `"route":"/_api/license/`) {
			load.answers(t, 20) // until the proxy has it back
		}
	}
	load.end(t)
	d.license("audit", "verify")

	d.compose("down")
	d.compose("up", "--detach", "--no-build", "--wait")
	if _, err := d.token(t.Context(), "GET", "/_api/license/refresh", first); err != nil {
		t.Errorf("after down and up: %v", err)
	}
	d.license("audit", "verify")
}

// composition is the project of the compose file, with its variables set.
type composition struct {
	t      *testing.T
	env    []string
	client *http.Client
}

func newComposition(t *testing.T) *composition {
	t.Helper()
	certificate, private, trusted := certtest.SelfSigned(t, publicName)
	file := filepath.Join(t.TempDir(), "license.pem")
	must(t, os.WriteFile(file, append(certificate, private...), 0o644)) // another user reads it, in a container
	key := make([]byte, 32)
	_, err := rand.Read(key)
	must(t, err)
	d := &composition{t: t, env: append(os.Environ(), "VERSION=e2e", "COMPOSE_PROJECT_NAME=pageflare-e2e-"+strings.ToLower(rand.Text()[:8]),
		"LICENSE_PUBLIC_URL=https://"+publicName, "LICENSE_KEY="+base64.StdEncoding.EncodeToString(key), "DATABASE_PASSWORD="+rand.Text(), "TLS_CERTIFICATE="+file)}
	dialer := &net.Dialer{Timeout: patience}
	d.client = &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, "127.0.0.1:443") // where the compose file has the proxy
		},
	}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(d.compose("logs", "--tail", "30"))
		}
		d.compose("down", "--volumes", "--timeout", "1")
	})
	return d
}

// compose runs docker compose on the file, and gives what it wrote to its standard output.
func (d *composition) compose(args ...string) string {
	d.t.Helper()
	root := repositoryRoot(d.t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience) // also in clean-up
	defer cancel()
	args = append([]string{"-f", filepath.Join(root, "deploy", "compose.postgres.yaml")}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(root, "build", "tools", "docker-compose"), args...)
	cmd.Env = d.env
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		d.t.Errorf("docker compose %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
		d.t.FailNow()
	}
	return out.String()
}

// license runs a command of the service in a replica.
func (d *composition) license(args ...string) string {
	d.t.Helper()
	return d.compose(append([]string{"exec", "--no-TTY", "license-1", license}, args...)...)
}

// token asks the proxy for a token.
func (d *composition) token(ctx context.Context, method, path, bearer string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+publicName+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := d.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	var answer struct{ Token string }
	if res.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil || strings.Count(answer.Token, ".") != 2 {
		return "", fmt.Errorf("%s %s = %s %s, want a token", method, path, res.Status, body)
	}
	return answer.Token, nil
}

// composedLoad is somebody who calls through the proxy, ten times a second, until end.
type composedLoad struct {
	stop     context.CancelFunc
	ended    chan error
	answered chan struct{}
	count    atomic.Int64
}

func (d *composition) load(key string) *composedLoad {
	ctx, stop := context.WithCancel(context.Background())
	l := &composedLoad{stop: stop, ended: make(chan error, 1), answered: make(chan struct{}, 1)}
	d.t.Cleanup(stop)
	go func() {
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			// a request that was begun is waited for, also when the load is to end
			token, err := d.token(context.Background(), "POST", "/_api/license/issue", key)
			if err == nil {
				_, err = d.token(context.Background(), "GET", "/_api/license/refresh", token)
			}
			if err != nil {
				l.ended <- err
				return
			}
			l.count.Add(1)
			select {
			case l.answered <- struct{}{}:
			default:
			}
			<-pace.C
		}
		l.ended <- nil
	}()
	return l
}

// answers returns after n more answers.
func (l *composedLoad) answers(t *testing.T, n int64) {
	t.Helper()
	for end := l.count.Load() + n; l.count.Load() < end; {
		select {
		case <-l.answered:
		case err := <-l.ended:
			t.Fatalf("a request was lost: %v", err)
		}
	}
}

func (l *composedLoad) end(t *testing.T) {
	t.Helper()
	l.stop()
	if err := <-l.ended; err != nil {
		t.Errorf("a request was lost: %v", err)
	}
}
