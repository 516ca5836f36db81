package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/pageflare/ci/service/account"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
)

var jobRecords = suite{
	"the use of a repository is noted once an hour": repositoryUse,
	"repositories are listed in pages":              repositoryPages,
	"a deleted account has no repositories":         repositoriesOfNobody,
	"a refused job is found by its request":         refusedJob,
}

// usedBy is the use of a repository at the usual time.
func usedBy(account string) license.Repository {
	return license.Repository{
		RepositoryKey: license.RepositoryKey{AccountID: account, RepositoryID: "7", Issuer: "https://issuer.example"},
		OwnerID:       "8", Name: "acme/site", LastUsedAt: at,
	}
}

// exchange records an exchange of a new identity by a repository; n tells identities apart.
func exchange(t *testing.T, s Store, n int, by license.Repository) {
	t.Helper()
	id := tokenID(n, 7, n)
	_, err := s.RecordExchange(t.Context(), newUse(fmt.Sprint("h", n), id), newToken(by.AccountID, id), &by, did(at))
	must(t, err)
}

func repositories(t *testing.T, s Store, q license.RepositoryQuery) []license.Repository {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 100
	}
	list, err := s.Repositories(t.Context(), q)
	must(t, err)
	return list
}

func repositoryUse(t *testing.T, s Store) {
	use := usedBy(create(t, s, 1).ID)
	for i, step := range []struct {
		after             time.Duration
		name, owner       string // of the job
		noted             time.Duration
		wantName, wantOwn string
	}{
		{0, "acme/site", "8", 0, "acme/site", "8"},
		{59 * time.Minute, "acme/site", "8", 0, "acme/site", "8"}, // not worth a write
		{time.Hour, "acme/site", "8", time.Hour, "acme/site", "8"},
		{-time.Hour, "acme/site", "8", time.Hour, "acme/site", "8"}, // by a clock that is behind
		{61 * time.Minute, "acme/web", "8", 61 * time.Minute, "acme/web", "8"},
		{62 * time.Minute, "", "8", 61 * time.Minute, "acme/web", "8"},
		{63 * time.Minute, "acme/web", "9", 63 * time.Minute, "acme/web", "9"},
		{3 * time.Hour, "", "9", 3 * time.Hour, "acme/web", "9"}, // says no name: the old one stays
	} {
		job := use
		job.Name, job.OwnerID, job.LastUsedAt = step.name, step.owner, at.Add(step.after)
		exchange(t, s, i, job)
		want := use
		want.Name, want.OwnerID, want.LastUsedAt = step.wantName, step.wantOwn, at.Add(step.noted)
		same(t, []license.Repository{want}, repositories(t, s, license.RepositoryQuery{}))
	}
	again := use // the same identity once more is no use
	again.LastUsedAt = at.Add(9 * time.Hour)
	exchange(t, s, 0, again)
	same(t, at.Add(3*time.Hour), repositories(t, s, license.RepositoryQuery{})[0].LastUsedAt)
}

func repositoryPages(t *testing.T, s Store) {
	var all []license.Repository
	for _, n := range []int{1, 2} {
		for i, id := range []string{"7", "9"} {
			use := usedBy(create(t, s, 10*n+i).ID)
			use.RepositoryID, use.LastUsedAt = id, at.Add(time.Duration(n)*24*time.Hour)
			exchange(t, s, 10*n+i, use)
			other := use
			other.Issuer = "https://other.example"
			exchange(t, s, 100*n+i, other)
			all = append(all, use, other)
		}
	}
	same(t, all, repositories(t, s, license.RepositoryQuery{}))
	var after license.RepositoryKey
	for i := range all {
		page := repositories(t, s, license.RepositoryQuery{After: after, Limit: 1})
		same(t, all[i:i+1], page)
		after = page[0].RepositoryKey
	}
	same(t, []license.Repository(nil), repositories(t, s, license.RepositoryQuery{After: after}))
	same(t, all[2:4], repositories(t, s, license.RepositoryQuery{Account: all[2].AccountID}))
	same(t, all[:4], repositories(t, s, license.RepositoryQuery{UnusedSince: at.Add(48 * time.Hour)}))
	same(t, all[1:2], repositories(t, s, license.RepositoryQuery{
		UnusedSince: at.Add(48 * time.Hour), Account: all[0].AccountID, After: all[0].RepositoryKey,
	}))
}

func repositoriesOfNobody(t *testing.T, s Store) {
	gone, stays := usedBy(create(t, s, 1).ID), usedBy(create(t, s, 2).ID)
	exchange(t, s, 1, gone)
	exchange(t, s, 2, stays)
	_, err := s.ChangeAccount(t.Context(), gone.AccountID,
		func(a *account.Account) error { a.Status, a.Email = account.Deleted, ""; return nil }, did(at))
	must(t, err)
	same(t, []license.Repository{stays}, repositories(t, s, license.RepositoryQuery{}))
}

func refusedJob(t *testing.T, s Store) {
	refusal := did(at)
	refusal.Action, refusal.Actor.RequestID = audit.ExchangeRefused, "r1"
	refusal.Details = `{"repository_id":"7","repository":"acme/site"}`
	must(t, s.AddRefusal(t.Context(), refusal))
	other := did(at) // of another action by the same request
	other.Actor.RequestID = "r2"
	must(t, s.AddRefusal(t.Context(), other))
	got, err := s.Refusal(t.Context(), "r1")
	must(t, err)
	same(t, refusal.Details, got.Details)
	same(t, int64(1), got.Seq)
	lines, err := s.AuditLines(t.Context(), audit.Query{Repository: "acme/site", Limit: 9})
	must(t, err)
	same(t, 1, len(lines))
	for _, request := range []string{"r2", "r3", ""} {
		_, err = s.Refusal(t.Context(), request)
		wantErr(t, "Refusal("+request+")", err, failure.ErrNotFound)
	}
}
