package githubtest

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// Secret opens a secret of the Actions store of a repository ("acme/site"). ok is false when there is none.
func (s *Server) Secret(repository, name string) (value string, updated time.Time, ok bool) {
	return s.SecretAt("repos/"+repository+"/actions", name)
}

// SecretAt opens a secret of any place. Places are named "repos/acme/site/actions" (or dependabot, or codespaces),
// "repos/acme/site/environments/prod", and "orgs/acme/actions". ok is false when there is none.
func (s *Server) SecretAt(place, name string) (value string, updated time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.store(place).secrets[strings.ToUpper(name)]
	if !ok {
		return "", time.Time{}, false
	}
	value, ok = v.open()
	return value, v.updated, ok
}

// SetSecret puts a secret into a place, as if it had always been there.
func (s *Server) SetSecret(place, name, value string, access Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now().UTC().Truncate(time.Second)
	st := s.store(place)
	v := stored{sealed: st.seal(value, s.cfg.Rand), public: st.public, private: st.private, created: now, updated: now, access: access}
	st.secrets[strings.ToUpper(name)] = v
}

// RotateKey gives the Actions store of a repository a new key pair: values sealed for the old one are refused from now on.
func (s *Server) RotateKey(repository string) { s.RotateKeyAt("repos/" + repository + "/actions") }

// RotateKeyAt gives any place a new key pair.
func (s *Server) RotateKeyAt(place string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(place).rotate(s.cfg.Rand)
}

// publicKey answers
//
//	{"key_id":"…","key":"base64 of 32 bytes"}
func (s *Server) publicKey(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.store(req.place.key)
	return answerJSON(http.StatusOK, struct {
		KeyID string `json:"key_id"`
		Key   string `json:"key"`
	}{st.keyID, base64.StdEncoding.EncodeToString(st.public[:])})
}

// getSecret answers everything but the value
//
//	{"name":"PAGEFLARE_TOKEN","created_at":"2026-08-01T10:00:00Z","updated_at":"2026-08-02T10:00:00Z"}
//
// and for an organization also who may read it.
func (s *Server) getSecret(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToUpper(req.values["name"])
	v, ok := s.store(req.place.key).secrets[name]
	if !ok {
		return notFound()
	}
	body := struct {
		Name       string    `json:"name"`
		CreatedAt  time.Time `json:"created_at"`
		UpdatedAt  time.Time `json:"updated_at"`
		Visibility string    `json:"visibility,omitempty"`
		Selected   string    `json:"selected_repositories_url,omitempty"`
	}{name, v.created, v.updated, v.access.Visibility, ""}
	if v.access.Visibility == selected {
		body.Selected = s.URL() + req.path + "/repositories"
	}
	return answerJSON(http.StatusOK, body)
}

// putSecret answers 201 for a new secret and 204 for one that was there.
func (s *Server) putSecret(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToUpper(req.values["name"])
	if err := checkName(name); err != nil {
		return invalid(err.Error())
	}
	st := s.store(req.place.key)
	put, err := s.readPut(req, st)
	if err != nil {
		return invalid(err.Error())
	}
	now := s.cfg.Now().UTC().Truncate(time.Second)
	old, known := st.secrets[name]
	v := stored{sealed: put.sealed, public: st.public, private: st.private, created: now, updated: now, access: put.access}
	if known {
		v.created = old.created
	}
	st.secrets[name] = v
	if known {
		return answer{status: http.StatusNoContent, header: http.Header{}}
	}
	return answerJSON(http.StatusCreated, struct{}{})
}

func checkName(name string) error {
	if !regexp.MustCompile(`\A[A-Z_][A-Z0-9_]*\z`).MatchString(name) || strings.HasPrefix(name, "GITHUB_") {
		return errors.New("secret names have only letters, digits and underscores, " +
			"and start neither with a digit nor with GITHUB_")
	}
	return nil
}
