package githubtest

import "net/http"

// repository answers with its description.
func (s *Server) repository(req *request) answer {
	return answerJSON(http.StatusOK, describe(req.place.repo))
}

// described is
//
//	{"id":1,"name":"site","full_name":"acme/site","private":true,"owner":{"login":"acme","id":1}}
type described struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	FullName string `json:"full_name"`
	Private  bool   `json:"private"`
	Owner    owner  `json:"owner"`
}

type owner struct {
	Login string `json:"login"`
	ID    int64  `json:"id,omitzero"`
}

func describe(repo Repository) described {
	return described{repo.ID, repo.Name, repo.fullName(), !repo.Public, owner{repo.Owner, repo.OwnerID}}
}

// listEnvironments answers
//
//	{"total_count":1,"environments":[{"name":"prod"}]}
func (s *Server) listEnvironments(req *request) answer {
	type environment struct {
		Name string `json:"name"`
	}
	all := make([]environment, 0, len(req.place.repo.Environments))
	for _, name := range req.place.repo.Environments {
		all = append(all, environment{name})
	}
	shown, header, err := s.page(req, len(all))
	if err != nil {
		return invalid(err.Error())
	}
	a := answerJSON(http.StatusOK, struct {
		TotalCount   int           `json:"total_count"`
		Environments []environment `json:"environments"`
	}{len(all), all[shown.from:shown.to]})
	return a.with(header)
}
