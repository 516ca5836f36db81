package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// IssuerConfig says what the fake issuer of identity tokens says of a job.
type IssuerConfig struct {
	Claims map[string]any   // added to the standard ones, or in their place: "repository_id": "1296269"
	Now    func() time.Time // optional; the system's clock
}

// Issuer is a fake of GitHub's OIDC provider and of the token endpoint that a runner offers to a job with `id-token: write`.
// https://docs.github.com/en/actions/reference/security/oidc
type Issuer struct {
	cfg    IssuerConfig
	server *httptest.Server
	url    string
	key    *rsa.PrivateKey
	bearer string

	mu       sync.Mutex
	faults   []Fault
	minted   int
	requests int
}

const issuerKeyID = "fake-github-1"

// NewIssuer starts an issuer; Close stops it.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the key of the issuer: %w", err)
	}
	i := &Issuer{cfg: cfg, key: key, bearer: "request-token-" + rand.Text()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_apis/token", i.mint)
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /.well-known/jwks", i.keys)
	i.server = httptest.NewUnstartedServer(mux)
	i.url = "http://" + i.server.Listener.Addr().String()
	i.server.Start()
	return i, nil
}

// Close stops the issuer.
func (i *Issuer) Close() { i.server.Close() }

// URL is the `iss` of the tokens.
func (i *Issuer) URL() string { return i.url }

// Environment is what a runner sets for a job with `id-token: write`.
func (i *Issuer) Environment() map[string]string {
	return map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL":   i.url + "/_apis/token?api-version=2.0",
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": i.bearer,
	}
}

// Minted is how many tokens were handed out.
func (i *Issuer) Minted() int { i.mu.Lock(); defer i.mu.Unlock(); return i.minted }

// Requests is how often somebody asked for a token.
func (i *Issuer) Requests() int { i.mu.Lock(); defer i.mu.Unlock(); return i.requests }

// FailNext plans a fault for the next request for a token: its Status, OnArrive, Hold and CloseConnection count.
func (i *Issuer) FailNext(f Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for range max(1, f.Times) {
		i.faults = append(i.faults, f)
	}
}

func (i *Issuer) nextFault() (Fault, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests++
	if len(i.faults) == 0 {
		return Fault{}, false
	}
	f := i.faults[0]
	i.faults = i.faults[1:]
	return f, true
}

// mint answers {"value": "<JWT>"} to a job that shows its request token.
func (i *Issuer) mint(w http.ResponseWriter, r *http.Request) {
	if f, ok := i.nextFault(); ok {
		if f.OnArrive != nil {
			f.OnArrive()
		}
		if f.Hold != nil {
			select {
			case <-f.Hold:
			case <-r.Context().Done():
			}
		}
		if f.CloseConnection {
			panic(http.ErrAbortHandler)
		}
		http.Error(w, "the token service is busy", f.Status)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+i.bearer || r.URL.Query().Get("api-version") != "2.0" {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	raw, err := i.Sign(map[string]any{"aud": r.URL.Query().Get("audience")})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	i.mu.Lock()
	i.minted++
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"count":%d,"value":%q}`, len(raw), raw)
}

// Sign makes an identity token: GitHub's claims, those of the configuration, and those given, each in the place of the ones before.
func (i *Issuer) Sign(claims map[string]any) (string, error) {
	now := i.cfg.Now()
	all := jwt.MapClaims{
		"iss": i.URL(), "sub": "repo:acme/site:ref:refs/heads/main", "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"repository": "acme/site", "repository_id": "1296269", "repository_owner": "acme", "repository_owner_id": "1", "repository_visibility": "private",
		"event_name": "push", "ref": "refs/heads/main", "ref_type": "branch", "run_id": "42", "run_attempt": "1", "actor_id": "1",
		"job_workflow_ref": "acme/site/.github/workflows/site.yml@refs/heads/main", "runner_environment": "github-hosted",
	}
	for _, more := range []map[string]any{i.cfg.Claims, claims} {
		for k, v := range more {
			all[k] = v
		}
	}
	t := jwt.NewWithClaims(jwt.SigningMethodRS256, all)
	t.Header["kid"] = issuerKeyID
	return t.SignedString(i.key)
}

// PublicKey is what the tokens verify with.
func (i *Issuer) PublicKey() *rsa.PublicKey { return &i.key.PublicKey }

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer": i.URL(), "jwks_uri": i.URL() + "/.well-known/jwks", "id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
	})
}

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	writeJSON(w, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": issuerKeyID,
		"n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that left needs no answer
}
