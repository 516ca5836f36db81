package githubtest

import (
	"net/http"
	"strings"
)

// repository answers
//
//	{"id":1,"name":"site","full_name":"acme/site","private":true,"owner":{"login":"acme"}}
func (s *Server) repository(repo Repository, _ *request) answer {
	type owner struct {
		Login string `json:"login"`
	}
	return answerJSON(http.StatusOK, struct {
		ID       int64  `json:"id"`
		Name     string `json:"name"`
		FullName string `json:"full_name"`
		Private  bool   `json:"private"`
		Owner    owner  `json:"owner"`
	}{repo.ID, repo.Name, repo.fullName(), !repo.Public, owner{repo.Owner}})
}

// visible finds a repository; one that the token may not see is as good as none.
func (s *Server) visible(token Token, owner, name string) (Repository, bool) {
	repo, ok := s.find(owner + "/" + name)
	return repo, ok && token.sees(repo)
}

func (s *Server) find(fullName string) (Repository, bool) {
	for _, repo := range s.cfg.Repositories {
		if repo.is(fullName) {
			return repo, true
		}
	}
	return Repository{}, false
}

func (r Repository) fullName() string { return r.Owner + "/" + r.Name }

func (r Repository) is(fullName string) bool { return strings.EqualFold(r.fullName(), fullName) }
