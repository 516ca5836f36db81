// Package githubtest is a strict fake of the GitHub REST API on loopback, for tests and for the
// demo. It refuses what GitHub refuses, and some of what GitHub is patient with, so that a careless
// client is found here and not by a user.
//
// server.go carries a request from the wire to its answer, routes.go lists what can be asked and
// who may ask, place.go finds what a path names, policy.go has what accounts forbid, secrets.go and
// access.go keep secrets, app.go and installation.go are for GitHub Apps, fault.go breaks answers
// on demand. What a client makes of the answers is decided in action/secret.
package githubtest

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxBody is above any request that GitHub would take here.
const maxBody = 1 << 20

// Config says what the fake GitHub holds at its start.
type Config struct {
	Repositories  []Repository
	Organizations []string // logins
	Tokens        []Token
	Apps          []App

	// Which forms of the path to the secrets of environments are missing: GitHub Enterprise Server before 3.8 has only the
	// old one (/repositories/{id}/…), and the new one (/repos/{owner}/{repo}/…) may be all that is left some day.
	NoOldEnvironmentPaths, NoNewEnvironmentPaths bool

	Policies     []Policy // what accounts forbid to tokens
	Enterprise   string   // version of GitHub Enterprise Server, "3.14.2"; empty: github.com
	NoDependabot bool     // a server where Dependabot is switched off has no secrets for it

	BasePath string           // optional; "/api/v3" makes it look like GitHub Enterprise Server
	Now      func() time.Time // optional; the system's clock
	Rand     io.Reader        // optional; makes the key pairs; the system's randomness
}

// A Repository is one that the fake GitHub knows. Names match in any case.
type Repository struct {
	ID          int64
	Owner, Name string
	OwnerID     int64
	Public      bool

	Environments []string // names; they match in any case
	FormerNames  []string // "acme/old-site": what is asked of these is redirected
	Archived     bool     // nothing in it can be written
}

// A Request is one that was answered. Bodies, headers and tokens are not kept.
type Request struct {
	Method string
	Path   string // as sent, without BasePath
	Status int    // 0 when the connection was broken instead
}

// Server is a running fake GitHub. Its methods may be called from several goroutines.
type Server struct {
	cfg  Config
	http *http.Server
	addr string
	done chan struct{} // closed when no more connections are taken

	world sync.RWMutex // guards cfg, see Change

	mu       sync.Mutex
	stores   map[string]*store // by the path that owns them: "repos/acme/site/actions"
	minted   []*minted         // installation tokens
	madeApps []*madeApp        // by manifests
	requests []Request
	faults   []string
	planned  []*plan
	shop     shop

	alertKeys []alertKey
	alerts    map[string][]Alert // by repository, in small letters
}

// NewServer starts a fake GitHub; Close stops it.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the fake github: %w", err)
	}
	s := &Server{cfg: cfg, addr: listener.Addr().String(), done: make(chan struct{}), stores: make(map[string]*store)}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener)
	}()
	return s, nil
}

// URL is what GITHUB_API_URL says: no trailing slash.
func (s *Server) URL() string { return "http://" + s.addr + s.cfg.BasePath }

// Close stops the server and breaks the connections that are still open.
func (s *Server) Close() {
	_ = s.http.Close()
	<-s.done
}

// Requests gives what was asked so far, in the order of the answers.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Faults gives what no client of GitHub should have done, and what the test planned in vain: requests to unknown routes,
// and planned faults that nothing met.
func (s *Server) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults := append([]string(nil), s.faults...)
	for _, p := range s.planned {
		if p.left > 0 {
			faults = append(faults, fmt.Sprintf("the fault planned for %q was not met (%d left)", p.match, p.left))
		}
	}
	return faults
}

// request is one request, read in full.
type request struct {
	*http.Request
	path   string // escaped, without BasePath
	inBase bool   // the path was below BasePath
	body   []byte
	values map[string]string // of the route's {parts}
	token  Token
	app    *App // set when the request was signed by an App instead of having a token
	place  place
}

// serve reads the request in full before anything else: only then does net/http notice a client that leaves.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return
	}
	path, inBase := strings.CutPrefix(r.URL.EscapedPath(), s.cfg.BasePath)
	req := &request{Request: r, path: path, inBase: inBase, body: body}
	fault, ok := s.nextFault(req)
	if !ok {
		s.send(w, req, s.signed(req, s.answer(req)))
		return
	}
	if !fault.arrive(r.Context()) {
		s.log(req, 0)
		return
	}
	s.sendFaulty(w, req, fault)
}

func (s *Server) send(w http.ResponseWriter, req *request, a answer) {
	s.log(req, a.status)
	if a.header.Get("Date") == "" {
		a.header.Set("Date", s.cfg.Now().UTC().Format(http.TimeFormat))
	}
	a.writeTo(w)
}

func (s *Server) log(req *request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{Method: req.Method, Path: req.path, Status: status})
}

func (s *Server) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}
