package githubtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/nacl/box"
)

// maxSecret is the largest value in bytes: 48 KB.
const maxSecret = 48 * 1024

// store keeps the secrets of one place, with the key pair that values for it are sealed with.
type store struct {
	keyID           string
	public, private *[32]byte
	keys            int               // made so far
	secrets         map[string]stored // by name in upper case: names match in any case
}

// stored is a secret as it lies there: sealed, with the key that opens it.
type stored struct {
	sealed           []byte
	public, private  *[32]byte
	created, updated time.Time
}

func (v stored) open() (string, bool) {
	value, ok := box.OpenAnonymous(nil, v.sealed, v.public, v.private)
	return string(value), ok
}

// Secret opens a secret of the Actions store of a repository ("acme/site"). ok is false when there is none.
func (s *Server) Secret(repository, name string) (value string, updated time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.actions(repository).secrets[strings.ToUpper(name)]
	if !ok {
		return "", time.Time{}, false
	}
	value, ok = v.open()
	return value, v.updated, ok
}

// RotateKey gives the Actions store of a repository a new key pair: values sealed for the old one are refused from now on.
func (s *Server) RotateKey(repository string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.actions(repository).rotate(s.cfg.Rand)
}

// publicKey answers
//
//	{"key_id":"…","key":"base64 of 32 bytes"}
func (s *Server) publicKey(repo Repository, _ *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.actions(repo.fullName())
	return answerJSON(http.StatusOK, struct {
		KeyID string `json:"key_id"`
		Key   string `json:"key"`
	}{st.keyID, base64.StdEncoding.EncodeToString(st.public[:])})
}

// getSecret answers everything but the value
//
//	{"name":"PAGEFLARE_TOKEN","created_at":"2026-08-01T10:00:00Z","updated_at":"2026-08-02T10:00:00Z"}
func (s *Server) getSecret(repo Repository, req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToUpper(req.values["name"])
	v, ok := s.actions(repo.fullName()).secrets[name]
	if !ok {
		return notFound()
	}
	return answerJSON(http.StatusOK, struct {
		Name      string    `json:"name"`
		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
	}{name, v.created, v.updated})
}

// putSecret answers 201 for a new secret and 204 for one that was there.
func (s *Server) putSecret(repo Repository, req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.ToUpper(req.values["name"])
	if err := checkName(name); err != nil {
		return invalid(err.Error())
	}
	st := s.actions(repo.fullName())
	sealed, err := st.accept(req.body)
	if err != nil {
		return invalid(err.Error())
	}
	now := s.cfg.Now().UTC().Truncate(time.Second)
	old, known := st.secrets[name]
	v := stored{sealed: sealed, public: st.public, private: st.private, created: now, updated: now}
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

// accept reads
//
//	{"key_id":"…","encrypted_value":"base64 of a sealed box"}
//
// and nothing else, and opens the box to see that it was sealed for this store.
func (st *store) accept(body []byte) ([]byte, error) {
	var put struct {
		KeyID          *string `json:"key_id"`
		EncryptedValue *string `json:"encrypted_value"`
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&put); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("body: more than one JSON value")
	}
	if put.KeyID == nil || put.EncryptedValue == nil {
		return nil, errors.New("body: key_id and encrypted_value are required")
	}
	if *put.KeyID != st.keyID {
		return nil, errors.New("key_id is not that of the current public key")
	}
	return st.check(*put.EncryptedValue)
}

func (st *store) check(encrypted string) ([]byte, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(encrypted)
	if err != nil {
		return nil, errors.New("encrypted_value is not base64")
	}
	value, ok := box.OpenAnonymous(nil, sealed, st.public, st.private)
	if !ok {
		return nil, errors.New("encrypted_value was not sealed for the public key")
	}
	if len(value) > maxSecret {
		return nil, errors.New("the value is larger than 48 KB")
	}
	return sealed, nil
}

// actions gives the Actions store of a repository, which is made when it is first asked for. s.mu must be held.
func (s *Server) actions(repository string) *store {
	owner := "repos/" + strings.ToLower(repository) + "/actions"
	st, ok := s.stores[owner]
	if !ok {
		st = &store{secrets: make(map[string]stored)}
		st.rotate(s.cfg.Rand)
		s.stores[owner] = st
	}
	return st
}

// rotate makes the next key pair. Key ids are long digit strings, as GitHub's are.
func (st *store) rotate(rand io.Reader) {
	public, private, err := box.GenerateKey(rand)
	if err != nil {
		panic(fmt.Sprintf("githubtest: no randomness for a key pair: %v", err))
	}
	st.keys++
	st.public, st.private = public, private
	st.keyID = strconv.Itoa(568250167242549743 + st.keys)
}
