package githubtest

import (
	"slices"
	"strings"
)

// Change changes what the fake GitHub holds while it runs: an installation is suspended, an
// environment is gone, the key of an App is another one. No request is answered meanwhile. What was
// in f's hands is not the server's any more when f returns; slices must be replaced, not written
// to.
func (s *Server) Change(f func(*Config)) {
	s.world.Lock()
	defer s.world.Unlock()
	f(&s.cfg)
}

// Move renames the repository of an id, or transfers it to another owner, with all its secrets. What
// is asked of the name of before is redirected from then on, until somebody else takes that name.
func (s *Server) Move(id int64, owner string, ownerID int64, name string) {
	s.Change(func(cfg *Config) {
		repositories := append([]Repository(nil), cfg.Repositories...)
		for i := range repositories {
			r := &repositories[i]
			if r.ID != id {
				continue
			}
			before := r.fullName()
			r.FormerNames = append(append([]string(nil), r.FormerNames...), before)
			r.Owner, r.OwnerID, r.Name = owner, ownerID, name
			s.moveStores(before, r.fullName())
		}
		cfg.Repositories = repositories
	})
}

func (s *Server) moveStores(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := strings.ToLower("repos/"+from+"/"), strings.ToLower("repos/"+to+"/")
	for key, st := range s.stores {
		if rest, ok := strings.CutPrefix(key, before); ok {
			delete(s.stores, key)
			s.stores[after+rest] = st
		}
	}
	for _, m := range s.minted { // a token is for repositories and not for names
		for i, name := range m.token.Repositories {
			if strings.EqualFold(name, from) {
				m.token.Repositories = append([]string(nil), m.token.Repositories...)
				m.token.Repositories[i] = to
			}
		}
	}
}

// Uninstall takes every App out of an account. The tokens of its installation end.
func (s *Server) Uninstall(account string) {
	s.Change(func(cfg *Config) {
		apps := append([]App(nil), cfg.Apps...)
		for i := range apps {
			apps[i].Installations = slices.DeleteFunc(slices.Clone(apps[i].Installations),
				func(i Installation) bool { return strings.EqualFold(i.Account, account) })
		}
		cfg.Apps = apps
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.minted {
		m.revoked = m.revoked || strings.EqualFold(m.token.account, account)
	}
}

// accountID is the id of the account of an installation: its own, or that of the owner of its
// repositories.
func (s *Server) accountID(i Installation) int64 {
	if i.AccountID != 0 {
		return i.AccountID
	}
	for _, repo := range s.cfg.Repositories {
		if strings.EqualFold(repo.Owner, i.Account) {
			return repo.OwnerID
		}
	}
	return 0
}

// Puts gives the paths of the secrets that were written so far, in their order. Those that were
// refused are not among them.
func (s *Server) Puts() (paths []string) {
	for _, r := range s.Requests() {
		if r.Method == "PUT" && r.Status/100 == 2 {
			paths = append(paths, r.Path)
		}
	}
	return paths
}
