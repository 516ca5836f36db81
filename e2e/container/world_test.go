//go:build e2e

package container_test

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/token"
)

const (
	repository        = "acme/site"
	repositoryID      = 1296269
	repositoryStore   = "repos/" + repository + "/actions"
	organizationStore = "orgs/acme/actions"
	secretName        = "PAGEFLARE_TOKEN"
	license           = "/usr/local/bin/pageflare-license" // in its image

	writerToken = "github_pat_that_writes_secrets"
	readerToken = "github_pat_that_only_reads_them"
)

// world is what a licensed run meets: the License service in a container of its own, a fake GitHub,
// and a fake of its issuer of identities.
type world struct {
	service string // name of the container
	api     string // base path of the License API
	account string
	github  *githubtest.Server
	issuer  *githubtest.Issuer // of the identities of jobs
	appKey  string             // private key of a GitHub App that may write secrets

	log     *lockedText // of the service
	secrets []string    // what nobody may see, beside what the secret in GitHub holds
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{service: containerName(t), log: &lockedText{}, secrets: []string{writerToken, readerToken}}
	app, key := newApp(t, allSecrets("write"))
	w.appKey, w.secrets = key, append(w.secrets, strings.Split(key, "\n")[1])
	w.github = githubtest.Start(t, githubtest.Config{
		Repositories:  []githubtest.Repository{{ID: repositoryID, OwnerID: 1, Owner: "acme", Name: "site"}},
		Organizations: []string{"acme"},
		Tokens:        []githubtest.Token{{Value: writerToken, Permissions: allSecrets("write")}, {Value: readerToken, Permissions: allSecrets("read")}},
		Apps:          []githubtest.App{app},
	})
	issuer, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	must(t, err)
	t.Cleanup(issuer.Close)
	w.issuer, w.secrets = issuer, append(w.secrets, issuer.Environment()["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	w.startService(t)
	w.createAccount(t)
	return w
}

func allSecrets(level string) map[string]string {
	return map[string]string{"metadata": "read", "secrets": level, "dependabot_secrets": level, "organization_secrets": level}
}

// newApp makes a GitHub App that is installed at acme, and its private key.
func newApp(t *testing.T, permissions map[string]string) (githubtest.App, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return githubtest.App{ID: 4711, Key: &key.PublicKey, Installations: []githubtest.Installation{{ID: 1, Account: "acme", Permissions: permissions}}}, string(text)
}

// startService starts the service as its image says, but on a port that is free, and reads from its
// log which one that is.
func (w *world) startService(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", "run", "--name", w.service, "--network", "host", "--read-only", "--cap-drop", "ALL", "--no-healthcheck",
		"--env", "LICENSE_LISTEN=127.0.0.1:0", "--env", "LICENSE_LOG_FORMAT=json",
		"--env", "LICENSE_OIDC_ISSUERS="+w.issuer.URL(), "--env", "LICENSE_GITHUB_API_URL="+w.github.URL(), serviceImage)
	stream, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	found, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stream); lines.Scan(); w.log.add(lines.Text()) {
			var line struct {
				Addr string `json:"addr"`
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Addr != "" {
				found <- line.Addr
			}
		}
	}()
	t.Cleanup(func() {
		<-ended
		_ = cmd.Wait() // the container was removed
	})
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "--force", "--volumes", w.service).Run() })
	select {
	case addr := <-found:
		w.api = "http://" + addr + "/_api"
	case <-ended:
		t.Fatalf("the service did not start:\n%s", w.log.text())
	case <-time.After(patience):
		t.Fatalf("the service says no address:\n%s", w.log.text())
	}
}

// license runs a command of the service in its container, beside the running server.
func (w *world) license(t *testing.T, args ...string) string {
	t.Helper()
	return docker(t, append([]string{"exec", w.service, license}, args...)...)
}

func (w *world) licenseJSON(t *testing.T, into any, args ...string) {
	t.Helper()
	must(t, json.Unmarshal([]byte(w.license(t, append(args, "--json")...)), into))
}

func (w *world) createAccount(t *testing.T) {
	t.Helper()
	var account struct {
		ID       string `json:"id"`
		APIToken string `json:"api_token"`
	}
	w.licenseJSON(t, &account, "account", "create", "--email", "team@larkmoor.example", "--tier", "pro", "--valid-until", "2099-12-31")
	w.account, w.secrets = account.ID, append(w.secrets, account.APIToken)
}

// issue gives a license token that lives for ttl.
func (w *world) issue(t *testing.T, ttl string) string {
	t.Helper()
	raw := w.license(t, "token", "issue", "--account", w.account, "--ttl", ttl)
	w.secrets = append(w.secrets, raw)
	return raw
}

// trust allows jobs of the repository, by its name, whose ids the service asks GitHub for.
func (w *world) trust(t *testing.T) {
	t.Helper()
	docker(t, "exec", "--env", "GITHUB_TOKEN="+readerToken, w.service, license, "policy", "add", "--account", w.account, "--repository", repository)
}

// record is what the service knows of a token.
type record struct {
	ID     string `json:"jti"`
	Parent string `json:"parent"`
	Status string `json:"status"`
}

func (w *world) record(t *testing.T, raw string) record {
	t.Helper()
	var r record
	w.licenseJSON(t, &r, "token", "show", claims(t, raw).ID)
	return r
}

// issued counts the tokens of the account.
func (w *world) issued(t *testing.T) int {
	t.Helper()
	var all struct {
		Items []record `json:"items"`
	}
	w.licenseJSON(t, &all, "token", "list", "--account", w.account)
	return len(all.Items)
}

func claims(t *testing.T, raw string) token.Claims {
	t.Helper()
	c, err := token.Decode(raw)
	must(t, err)
	return c
}

// stored opens the secret in GitHub; empty: there is none.
func (w *world) stored() string { return w.storedIn(repositoryStore) }

func (w *world) storedIn(store string) string {
	value, _, _ := w.github.SecretAt(store, secretName)
	return value
}

// wantSuccessorStored fails unless the secret holds a live token that the service made from the old
// one.
func (w *world) wantSuccessorStored(t *testing.T, old string) {
	t.Helper()
	w.wantSuccessorIn(t, repositoryStore, old)
}

func (w *world) wantSuccessorIn(t *testing.T, store, old string) {
	t.Helper()
	stored := w.storedIn(store)
	if stored == "" {
		t.Fatalf("the secret in %s holds nothing, want the new token", store)
	}
	got, was := w.record(t, stored), claims(t, old)
	if got.Parent != was.ID || got.Status != "live" || !claims(t, stored).ExpiresAt.After(was.ExpiresAt) {
		t.Errorf("the secret in %s holds %+v, want a live token made from %s", store, got, was.ID)
	}
}

// licensed is a step that can reach all of it, with a token in its environment and one for GitHub
// that may write the secret.
func (w *world) licensed(t *testing.T, raw string) *step {
	t.Helper()
	s := newStep(t)
	s.world = w
	s.inputs["api-url"], s.inputs["github-token"] = w.api, writerToken
	s.env["GITHUB_API_URL"], s.env["PAGEFLARE_TOKEN"] = w.github.URL(), raw
	return s
}

// wantNoSecretIn hunts for every secret of this world, and for what would be as good: the signature
// by itself, base64, and the form in a URL.
func (w *world) wantNoSecretIn(t *testing.T, seen map[string]string) {
	t.Helper()
	seen["log of the service"] = w.log.text()
	for _, s := range append([]string{w.stored(), w.storedIn(organizationStore)}, w.secrets...) {
		if s == "" {
			continue
		}
		forms := []string{s, s[len(s)-12:], base64.StdEncoding.EncodeToString([]byte(s)), url.QueryEscape(s)}
		for where, text := range seen {
			for _, form := range forms {
				if strings.Contains(text, form) {
					t.Errorf("a secret is in %s", where)
					break
				}
			}
		}
	}
}

// lockedText is a log that is written and read at once.
type lockedText struct {
	mu    sync.Mutex
	lines []string
}

func (l *lockedText) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *lockedText) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
