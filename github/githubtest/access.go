package githubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Access is who may read a secret of an organization.
type Access struct {
	Visibility string  // "all", "private" or "selected"
	Selected   []int64 // ids of repositories; only for "selected"
}

const selected = "selected"

// AccessAt tells who may read a secret of an organization; place is "orgs/acme/actions".
func (s *Server) AccessAt(place, name string) Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.store(place).secrets[strings.ToUpper(name)].access
	return Access{a.Visibility, slices.Clone(a.Selected)}
}

// put is the body of a PUT, understood.
type put struct {
	sealed []byte
	access Access
}

// readPut reads
//
//	{"key_id":"…","encrypted_value":"base64 of a sealed box"}
//
// and nothing else. For an organization, visibility is required, and a list of ids goes with "selected" alone; without a list
// nobody has access any more.
func (s *Server) readPut(req *request, st *store) (put, error) {
	var body struct {
		KeyID          *string          `json:"key_id"`
		EncryptedValue *string          `json:"encrypted_value"`
		Visibility     *string          `json:"visibility"`
		Selected       *json.RawMessage `json:"selected_repository_ids"`
	}
	if err := decodeStrictly(req.body, &body); err != nil {
		return put{}, fmt.Errorf("body: %w", err)
	}
	if body.KeyID == nil || body.EncryptedValue == nil {
		return put{}, errors.New("body: key_id and encrypted_value are required")
	}
	if *body.KeyID != st.keyID {
		return put{}, errors.New("key_id is not that of the current public key")
	}
	sealed, err := st.check(*body.EncryptedValue)
	if err != nil {
		return put{}, err
	}
	if req.place.org == "" {
		if body.Visibility != nil || body.Selected != nil {
			return put{}, errors.New("body: visibility and selected_repository_ids are for organizations")
		}
		return put{sealed: sealed}, nil
	}
	access, err := s.readAccess(req.place, body.Visibility, body.Selected)
	return put{sealed, access}, err
}

func decodeStrictly(body []byte, to any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}

func (s *Server) readAccess(at place, visibility *string, list *json.RawMessage) (Access, error) {
	if visibility == nil || !slices.Contains([]string{"all", "private", selected}, *visibility) {
		return Access{}, errors.New("visibility must be all, private or selected")
	}
	if list == nil {
		return Access{Visibility: *visibility}, nil
	}
	if *visibility != selected {
		return Access{}, errors.New("selected_repository_ids goes with the visibility selected only")
	}
	ids, err := readIDs(at.store, *list)
	if err != nil {
		return Access{}, err
	}
	for _, id := range ids {
		repo, ok := s.findID(strconv.FormatInt(id, 10))
		if !ok || !strings.EqualFold(repo.Owner, at.org) {
			return Access{}, fmt.Errorf("repository %d is not of this organization", id)
		}
	}
	return Access{*visibility, ids}, nil
}

// readIDs reads strings for Dependabot and integers for the other stores.
func readIDs(store string, list json.RawMessage) ([]int64, error) {
	if store != "dependabot" {
		var ids []int64
		if json.Unmarshal(list, &ids) != nil {
			return nil, errors.New("selected_repository_ids must be integers")
		}
		return ids, nil
	}
	var words []string
	if json.Unmarshal(list, &words) != nil {
		return nil, errors.New("selected_repository_ids must be strings")
	}
	ids := make([]int64, len(words))
	for i, word := range words {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, errors.New("selected_repository_ids must be ids")
		}
		ids[i] = id
	}
	return ids, nil
}

// selectedRepositories answers
//
//	{"total_count":250,"repositories":[{"id":1,…}]}
//
// with 409 when the visibility is another one. A token that does not see a repository is not told of it, but it is counted.
func (s *Server) selectedRepositories(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.store(req.place.key).secrets[strings.ToUpper(req.values["name"])]
	if !ok || req.place.org == "" {
		return notFound()
	}
	if v.access.Visibility != selected {
		return refuse(http.StatusConflict, "Visibility is not set to selected")
	}
	seen := make([]described, 0, len(v.access.Selected))
	for _, id := range v.access.Selected {
		if repo, ok := s.findID(strconv.FormatInt(id, 10)); ok && req.token.sees(repo) {
			seen = append(seen, describe(repo))
		}
	}
	shown, header, err := s.page(req, len(seen))
	if err != nil {
		return invalid(err.Error())
	}
	a := answerJSON(http.StatusOK, struct {
		TotalCount   int         `json:"total_count"`
		Repositories []described `json:"repositories"`
	}{len(v.access.Selected), seen[shown.from:shown.to]})
	return a.with(header)
}
