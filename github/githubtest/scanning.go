package githubtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// An Alert is one of secret scanning in a repository.
type Alert struct {
	Number     int64
	Secret     string
	State      string // open, resolved
	Resolution string // of a resolved one
	Comment    string
}

// alertKey is a key that GitHub signs its alerts to providers with.
type alertKey struct {
	id      string
	pem     string
	current bool
	key     *ecdsa.PrivateKey
}

// AddAlertKey publishes a new key on a curve for alerts to providers, which is current from then on,
// and gives its id.
func (s *Server) AddAlertKey(curve elliptic.Curve) (id string) {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err) // the system's randomness never fails
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err) // all curves of the standard library have a form
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	id = fmt.Sprintf("%x", sha256.Sum256(text)) // as GitHub makes its ids
	s.publishAlertKey(alertKey{id, string(text), true, key})
	return id
}

// PublishAlertKey publishes a public key in PEM as AddAlertKey does. Nothing can be signed by it.
func (s *Server) PublishAlertKey(id, text string) {
	s.publishAlertKey(alertKey{id: id, pem: text, current: true})
}

func (s *Server) publishAlertKey(k alertKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.alertKeys {
		s.alertKeys[i].current = false
	}
	s.alertKeys = append(s.alertKeys, k)
}

// SignAlert signs the body of an alert to providers with a key that was published: base64 of DER.
func (s *Server) SignAlert(id string, body []byte) (signature string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.alertKeys {
		if k.id != id || k.key == nil {
			continue
		}
		sum := sha256.Sum256(body)
		der, err := ecdsa.SignASN1(rand.Reader, k.key, sum[:])
		if err != nil {
			panic(err) // the key is our own
		}
		return base64.StdEncoding.EncodeToString(der)
	}
	return ""
}

// alertKeysList answers, or says that nothing has changed:
//
//	{"public_keys":[{"key_identifier":"bcb5…","key":"-----BEGIN PUBLIC KEY-----…","is_current":true}]}
func (s *Server) alertKeysList(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	type published struct {
		ID      string `json:"key_identifier"`
		Key     string `json:"key"`
		Current bool   `json:"is_current"`
	}
	all := []published{}
	for _, k := range s.alertKeys {
		all = append(all, published{k.id, k.pem, k.current})
	}
	a := answerJSON(http.StatusOK, struct {
		Keys []published `json:"public_keys"`
	}{all})
	etag := fmt.Sprintf(`W/"%x"`, sha256.Sum256(a.body))
	if req.Header.Get("If-None-Match") == etag {
		a = answer{status: http.StatusNotModified, header: http.Header{}}
	}
	a.header.Set("ETag", etag)
	return a
}

// AddAlert opens an alert in a repository, "acme/site".
func (s *Server) AddAlert(repo string, a Alert) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alerts == nil {
		s.alerts = map[string][]Alert{}
	}
	if a.State == "" {
		a.State = "open"
	}
	key := strings.ToLower(repo)
	s.alerts[key] = append(s.alerts[key], a)
}

// Alert gives an alert as it is now.
func (s *Server) Alert(repo string, number int64) Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.alerts[strings.ToLower(repo)] {
		if a.Number == number {
			return a
		}
	}
	return Alert{}
}

// findAlert finds the alert of a path. s.mu must be held.
func (s *Server) findAlert(req *request) *Alert {
	list := s.alerts[strings.ToLower(req.place.repo.fullName())]
	n := slices.IndexFunc(list, func(a Alert) bool { return strconv.FormatInt(a.Number, 10) == req.values["number"] })
	if n < 0 {
		return nil
	}
	return &list[n]
}

func (a Alert) body(repo Repository) map[string]any {
	body := map[string]any{
		"number": a.Number, "state": a.State, "secret": a.Secret, "secret_type": "pageflare_token", "resolution": nil, "resolution_comment": nil,
		"html_url": fmt.Sprintf("https://github.example/%s/security/secret-scanning/%d", repo.fullName(), a.Number),
	}
	if a.Resolution != "" {
		body["resolution"], body["resolution_comment"] = a.Resolution, a.Comment
	}
	return body
}

// getAlert answers with an alert, its secret included.
func (s *Server) getAlert(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.findAlert(req)
	if a == nil {
		return notFound()
	}
	return answerJSON(http.StatusOK, a.body(req.place.repo))
}

// resolutions are those that GitHub knows.
var resolutions = []string{"false_positive", "wont_fix", "revoked", "used_in_tests"}

// updateAlert reads
//
//	{"state":"resolved","resolution":"revoked","resolution_comment":"…"}
func (s *Server) updateAlert(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ask struct {
		State      string `json:"state"`
		Resolution string `json:"resolution"`
		Comment    string `json:"resolution_comment"`
	}
	a := s.findAlert(req)
	switch err := decodeStrictly(req.body, &ask); {
	case a == nil:
		return notFound()
	case err != nil:
		return invalid("body: " + err.Error())
	case ask.State != "open" && ask.State != "resolved":
		return invalid("state must be open or resolved")
	case ask.State == "resolved" && !slices.Contains(resolutions, ask.Resolution):
		return invalid("resolution is required when the state is resolved")
	case a.State == ask.State:
		return invalid("Alert is already " + ask.State)
	}
	a.State, a.Resolution, a.Comment = ask.State, ask.Resolution, ask.Comment
	return answerJSON(http.StatusOK, a.body(req.place.repo))
}
