package githubtest

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Installation is an App installed in an account.
type Installation struct {
	ID           int64
	Account      string
	AccountID    int64    // optional; that of the owner of its repositories
	Repositories []string // "acme/site"; the ones it reaches. nil: all of the account
	Permissions  map[string]string
	Suspended    bool
}

// refusal is an error in GitHub's words.
type refusal string

func (r refusal) Error() string { return string(r) }

// For tokens that would have more than their installation.
const (
	notGranted refusal = "The permissions requested are not granted to this installation."
	notReached refusal = "There is at least one repository that does not exist or is not accessible to the parent installation."
)

// minted is an installation token.
type minted struct {
	token   Token
	expires time.Time
	revoked bool
}

// repositoryInstallation finds the installation that reaches a repository.
func (s *Server) repositoryInstallation(req *request) answer {
	repo := req.place.repo
	return s.describe(req.app, func(i Installation) bool {
		return strings.EqualFold(i.Account, repo.Owner) && (i.Repositories == nil || slices.ContainsFunc(i.Repositories, repo.is))
	})
}

// organizationInstallation finds the installation in an organization.
func (s *Server) organizationInstallation(req *request) answer {
	return s.describe(req.app, func(i Installation) bool { return strings.EqualFold(i.Account, req.place.org) })
}

// describe answers
//
//	{"id":1,"account":{"login":"acme","id":1},"permissions":{"secrets":"write"},"suspended_at":null}
func (s *Server) describe(app *App, fits func(Installation) bool) answer {
	n := slices.IndexFunc(app.Installations, fits)
	if n < 0 {
		return notFound()
	}
	return answer{
		status: http.StatusOK, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		body: s.describeInstallation(app.Installations[n]),
	}
}

func (s *Server) describeInstallation(i Installation) []byte {
	body := struct {
		ID          int64             `json:"id"`
		Account     owner             `json:"account"`
		Permissions map[string]string `json:"permissions"`
		SuspendedAt *time.Time        `json:"suspended_at"`
	}{i.ID, owner{i.Account, s.accountID(i)}, i.Permissions, nil}
	if i.Suspended {
		body.SuspendedAt = new(s.cfg.Now())
	}
	return answerJSON(http.StatusOK, body).body
}

// mintToken makes a token for an installation, which may have less than the installation has and never more. It is as long
// as GitHub's are since April 2026: ghs_, the id of the App, and a JWT.
func (s *Server) mintToken(req *request) answer {
	i, ok := req.app.installation(req.values["installation"])
	if !ok {
		return notFound()
	}
	if i.Suspended {
		return refuse(http.StatusForbidden, isSuspended)
	}
	token, err := s.narrow(i, req.body)
	if err != nil {
		return invalid(err.Error())
	}
	token.Value = fmt.Sprintf("ghs_%d_e30.%s.%s", req.app.ID, strings.Repeat("eyJ", 150), rand.Text())
	expires := s.cfg.Now().Add(time.Hour).UTC().Truncate(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.minted = append(s.minted, &minted{token: token, expires: expires})
	return answerJSON(http.StatusCreated, struct {
		Token       string            `json:"token"`
		ExpiresAt   time.Time         `json:"expires_at"`
		Permissions map[string]string `json:"permissions"`
	}{token.Value, expires, token.Permissions})
}

const isSuspended = "This installation has been suspended"

// suspended tells whether the installation in an account is: its tokens are then good for nothing.
func (s *Server) suspended(account string) bool {
	if account == "" {
		return false
	}
	return slices.ContainsFunc(s.cfg.Apps, func(app App) bool {
		return slices.ContainsFunc(app.Installations, func(i Installation) bool { return i.Suspended && strings.EqualFold(i.Account, account) })
	})
}

func (app *App) installation(id string) (Installation, bool) {
	for _, i := range app.Installations {
		if strconv.FormatInt(i.ID, 10) == id {
			return i, true
		}
	}
	return Installation{}, false
}

// narrow reads
//
//	{"repositories":["site"],"permissions":{"secrets":"write"}}
//	{"repository_ids":[7],"permissions":{"secrets":"write"}}
//
// where repositories are names within the account: those of today, for no redirect helps here. What
// is left out is as wide as the installation.
func (s *Server) narrow(i Installation, body []byte) (Token, error) {
	token := Token{account: i.Account, Repositories: i.Repositories, Permissions: i.Permissions, GitHubToken: true}
	if len(body) == 0 {
		return token, nil
	}
	var ask struct {
		Repositories  []string          `json:"repositories"`
		RepositoryIDs []int64           `json:"repository_ids"`
		Permissions   map[string]string `json:"permissions"`
	}
	if err := decodeStrictly(body, &ask); err != nil {
		return Token{}, fmt.Errorf("body: %w", err)
	}
	for name, level := range ask.Permissions {
		if !reachesLevel(i.Permissions[name], level) {
			return Token{}, notGranted
		}
	}
	if ask.Permissions != nil {
		token.Permissions = maps.Clone(ask.Permissions)
	}
	if ask.Repositories == nil && ask.RepositoryIDs == nil {
		return token, nil
	}
	token.Repositories = []string{}
	reach := func(repo Repository, ok bool) bool {
		token.Repositories = append(token.Repositories, repo.fullName())
		return ok && strings.EqualFold(repo.Owner, i.Account) && (i.Repositories == nil || slices.ContainsFunc(i.Repositories, repo.is))
	}
	for _, name := range ask.Repositories {
		if !reach(s.find(i.Account + "/" + name)) {
			return Token{}, notReached
		}
	}
	for _, id := range ask.RepositoryIDs {
		if !reach(s.findID(strconv.FormatInt(id, 10))) {
			return Token{}, notReached
		}
	}
	return token, nil
}

// mintedToken finds an installation token that is still good.
func (s *Server) mintedToken(value string) (Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.minted {
		if m.token.Value == value && !m.revoked && s.cfg.Now().Before(m.expires) {
			return m.token, true
		}
	}
	return Token{}, false
}

// revokeToken ends the token that asks for it: from then on it is answered with 401.
func (s *Server) revokeToken(req *request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.minted {
		if m.token.Value == req.token.Value {
			m.revoked = true
		}
	}
	return answer{status: http.StatusNoContent, header: http.Header{}}
}

// A Mint is what an installation token was made for.
type Mint struct {
	Token        string // to look for it where it must not be
	Account      string
	Repositories []string // nil: all that the installation reaches
	Permissions  map[string]string
	Revoked      bool
}

// Mints gives the installation tokens that were made so far.
func (s *Server) Mints() []Mint {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Mint
	for _, m := range s.minted {
		out = append(out, Mint{m.token.Value, m.token.account, m.token.Repositories, m.token.Permissions, m.revoked})
	}
	return out
}

// WantRevoked fails the test unless n installation tokens were made and all of them were revoked.
func (s *Server) WantRevoked(tb TB, n int) {
	tb.Helper()
	mints := s.Mints()
	if len(mints) != n {
		tb.Errorf("fake github: %d installation tokens were made, want %d", len(mints), n)
	}
	for _, m := range mints {
		if !m.Revoked {
			tb.Errorf("fake github: the installation token for %s (%v) was not revoked", m.Account, m.Permissions)
		}
	}
}
