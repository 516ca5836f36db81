package oidc_test

import (
	"strings"
	"testing"

	"github.com/pageflare/ci/service/oidc"
)

var (
	site = oidc.Policy{Issuer: "https://token.actions.githubusercontent.com", RepositoryID: "7", OwnerID: "8"}
	push = oidc.Identity{Issuer: site.Issuer, RepositoryID: "7", OwnerID: "8", Event: "push", Ref: "refs/heads/main", Visibility: "private"}
)

const sharedRef = "acme/ci/.github/workflows/optimize.yml@refs/heads/main"

func whole(p *oidc.Policy) { p.RepositoryID = oidc.AnyRepository }

func shared(p *oidc.Policy) { whole(p); p.JobWorkflowRefs = []string{sharedRef} }

func TestMatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		policy func(*oidc.Policy)
		job    func(*oidc.Identity)
		want   bool
		failed string
	}{
		"the repository itself":              {want: true},
		"another repository":                 {job: func(i *oidc.Identity) { i.RepositoryID = "77" }, failed: "repository_id"},
		"the same name under another owner":  {job: func(i *oidc.Identity) { i.OwnerID = "9" }, failed: "repository_owner_id"},
		"the same ids of another GitHub":     {job: func(i *oidc.Identity) { i.Issuer = "https://ghes.example/_services/token" }, failed: "policy issuer"},
		"ids that are missing on both sides": {policy: func(p *oidc.Policy) { p.RepositoryID = "" }, job: func(i *oidc.Identity) { i.RepositoryID = "" }, failed: "repository_id"},
		"a listed ref":                       {policy: func(p *oidc.Policy) { p.Refs = []string{"refs/heads/x", "refs/heads/main"} }, want: true},
		"a ref that is not listed":           {policy: func(p *oidc.Policy) { p.Refs = []string{"refs/heads/mai"} }, failed: "ref"},
		"an empty ref in the list":           {policy: func(p *oidc.Policy) { p.Refs = []string{""} }, job: func(i *oidc.Identity) { i.Ref = "" }, failed: "ref"},
		"a job without the environment":      {policy: func(p *oidc.Policy) { p.Environments = []string{"production"} }, failed: "environment"},
		"a job in the environment":           {policy: func(p *oidc.Policy) { p.Environments = []string{"production"} }, job: func(i *oidc.Identity) { i.Environment = "production" }, want: true},
		"an environment in other letters":    {policy: func(p *oidc.Policy) { p.Environments = []string{"production"} }, job: func(i *oidc.Identity) { i.Environment = "Production" }, want: true},
		"a ref in other letters":             {policy: func(p *oidc.Policy) { p.Refs = []string{"refs/heads/Main"} }, failed: "ref"},
		"a dangerous event":                  {job: func(i *oidc.Identity) { i.Event = "pull_request_target" }, failed: "event"},
		"a dangerous event that is named":    {policy: func(p *oidc.Policy) { p.Events = []string{"pull_request_target"} }, job: func(i *oidc.Identity) { i.Event = "pull_request_target" }, want: true},
		"a usual event beside a named one":   {policy: func(p *oidc.Policy) { p.Events = []string{"schedule"} }, failed: "event"},
		"a workflow of another ref":          {policy: func(p *oidc.Policy) { p.JobWorkflowRefs = []string{"a/b/.github/workflows/c.yml@refs/heads/main"} }, job: func(i *oidc.Identity) { i.JobWorkflowRef = "a/b/.github/workflows/c.yml@refs/heads/x" }, failed: "job_workflow_ref"},
		"a repository that became public":    {policy: func(p *oidc.Policy) { p.Visibilities = []string{"private"} }, job: func(i *oidc.Identity) { i.Visibility = "public" }, failed: "visibility"},

		"any repository of an owner":             {policy: whole, job: func(i *oidc.Identity) { i.RepositoryID = "77" }, want: true},
		"a repository that left that owner":      {policy: whole, job: func(i *oidc.Identity) { i.OwnerID = "9" }, failed: "repository_owner_id"},
		"that owner's number at another GitHub":  {policy: whole, job: func(i *oidc.Identity) { i.Issuer = "https://ghes.example/_services/token" }, failed: "policy issuer"},
		"any repository of an owner left out":    {policy: func(p *oidc.Policy) { whole(p); p.OwnerID = "" }, job: func(i *oidc.Identity) { i.OwnerID = "" }, failed: "repository_owner_id"},
		"an owner, and a job without repository": {policy: whole, job: func(i *oidc.Identity) { i.RepositoryID = "" }, failed: "repository_id"},
		"an owner, and a repository called *":    {policy: whole, job: func(i *oidc.Identity) { i.RepositoryID = "*" }, failed: "repository_id"},
		"a dangerous event of an owner":          {policy: whole, job: func(i *oidc.Identity) { i.Event = "issue_comment" }, failed: "event"},
		"a workflow that an owner shares":        {policy: shared, job: func(i *oidc.Identity) { i.RepositoryID, i.JobWorkflowRef = "77", sharedRef }, want: true},
		"another workflow of that owner":         {policy: shared, job: func(i *oidc.Identity) { i.JobWorkflowRef = "acme/site/.github/workflows/x.yml@refs/heads/main" }, failed: "job_workflow_ref"},
		"that shared workflow, used elsewhere":   {policy: shared, job: func(i *oidc.Identity) { i.OwnerID, i.JobWorkflowRef = "9", sharedRef }, failed: "repository_owner_id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, id := site, push
			if test.policy != nil {
				test.policy(&p)
			}
			if test.job != nil {
				test.job(&id)
			}
			if got := p.Match(id); got != test.want {
				t.Errorf("Match = %t, want %t", got, test.want)
			}
			for _, c := range p.Explain(id) {
				if failed := c.Outcome != oidc.Passed; failed != (c.Name == test.failed) || failed != (c.Hint != "") {
					t.Errorf("clause %+v, want only %q to fail, with a hint", c, test.failed)
				}
			}
		})
	}
}

// Tags of monorepos hold an @, and files of workflows may hold blanks.
func TestCheckTakesEveryNameThatGitHubHas(t *testing.T) {
	t.Parallel()
	p := site
	p.JobWorkflowRefs = []string{
		"acme/ci/.github/workflows/ui.yml@refs/tags/ui@1.2.3", "acme/ci/.github/workflows/build and test.yaml@refs/heads/main",
		"acme/ci/.github/workflows/a@b.yml@3f1c0de7b0d5a1a2f7f4c2f1e0c9b8a7d6e5f4a3",
	}
	p.Environments = []string{"production 🚀", "👩\u200d💻", "a,b"}
	p.Refs = []string{"refs/heads/می\u200cخواهم"}
	if err := p.Check(); err != nil {
		t.Errorf("Check = %v", err)
	}
	for _, wrong := range []string{"acme/ci/.github/workflows/ui.yml", "acme/ci/ui.yml@refs/heads/main", "acme/ci/.github/workflows/a/b.yml@x",
		"acme/ci/.github/workflows/ui.yml@refs/heads/a b", "acme/ci/.github/workflows/\x1b.yml@x"} {
		p := site
		p.JobWorkflowRefs = []string{wrong}
		if err := p.Check(); err == nil {
			t.Errorf("Check takes job_workflow_ref %q", wrong)
		}
	}
}

func TestCheckNamesEveryFault(t *testing.T) {
	t.Parallel()
	p := oidc.Policy{
		Issuer: "http://x", RepositoryID: "acme", OwnerID: "0", Refs: []string{"main", "refs/heads/*"}, Events: []string{"Push"},
		JobWorkflowRefs: []string{"a.yml"}, Visibilities: []string{"secret"}, Environments: []string{"a", "a", "b", "B", strings.Repeat("e", 501)},
	}
	err := p.Check()
	if err == nil {
		t.Fatal("Check = nil")
	}
	for _, want := range []string{
		`issuer "http://x" is not https`, `repository id "acme"`, `owner id "0"`, `ref "main" is not a whole ref`, `ref "refs/heads/*" looks like a pattern`, `event "Push"`,
		`job_workflow_ref "a.yml"`, `visibility "secret"`, `environment "a" is there twice`, `environment "B" is there twice`, "is not the name of an environment",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Check = %v, without %s", err, want)
		}
	}
	if err := site.Check(); err != nil {
		t.Errorf("Check = %v", err)
	}
}

// A whole owner is trusted only by saying so, and an owner always has a number.
func TestCheckOfAWholeOwner(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		repository, owner string
		want              bool
	}{
		{oidc.AnyRepository, "8", true}, {"", "8", false}, {oidc.AnyRepository, "", false}, {oidc.AnyRepository, "*", false}, {"7", "*", false}, {"**", "8", false},
	} {
		p := site
		p.RepositoryID, p.OwnerID = test.repository, test.owner
		if err := p.Check(); (err == nil) != test.want {
			t.Errorf("Check(repository %q of owner %q) = %v, want it to pass: %t", test.repository, test.owner, err, test.want)
		}
	}
}
