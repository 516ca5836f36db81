package command

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pageflare/ci/service/license"
)

// columns of a file, which the first line names. Those of conditions may hold several values,
// separated by |.
var columns = []string{
	"repository", "repository_id", "repository_owner_id", "ref", "environment", "event", "job_workflow_ref", "visibility",
}

// readPolicies reads a file of repositories, a line each: OWNER/NAME, OWNER/* for every repository
// of an organization, or CSV (RFC 4180) whose first line names the columns. Empty lines and those
// that begin with # count for nothing. What a line leaves out is as in base. The numbers of their
// lines come with the policies. The error has a line for each fault.
func readPolicies(text string,
	base license.TrustPolicy) (out []license.TrustPolicy, lines []int, err error) {
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff"))) // which spreadsheets write
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace = '#', -1, true
	var head []string
	var faults []error
	for {
		record, err := r.Read()
		if record == nil {
			if err != nil && err.Error() != "EOF" {
				faults = append(faults, err)
			}
			break
		}
		line, _ := r.FieldPos(0)
		if head == nil {
			if head = []string{"repository"}; slices.Contains(record, "repository") || slices.Contains(record, "repository_id") {
				head = record
				faults = append(faults, checkHead(head)...)
				continue
			}
		}
		if len(out) == license.MaxPolicies {
			return nil, nil, fmt.Errorf("more than %d lines: give several files", license.MaxPolicies)
		}
		p, err := policyOf(head, record, base)
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", line, err))
		}
		out, lines = append(out, p), append(lines, line)
	}
	if len(out) == 0 && len(faults) == 0 {
		faults = append(faults, errors.New("no line names a repository"))
	}
	return out, lines, errors.Join(faults...)
}

func checkHead(head []string) (faults []error) {
	for i, name := range head {
		switch {
		case !slices.Contains(columns, name):
			faults = append(faults, fmt.Errorf("line 1: %q is not a column: give some of %s", name, strings.Join(columns, ",")))
		case slices.Contains(head[:i], name):
			faults = append(faults, fmt.Errorf("line 1: column %s is there twice", name))
		}
	}
	return faults
}

// policyOf is the policy that a line stands for.
func policyOf(head, record []string, base license.TrustPolicy) (license.TrustPolicy, error) {
	if len(record) > len(head) {
		return base, fmt.Errorf("it has %d values for the columns %s", len(record), strings.Join(head, ","))
	}
	p := base
	for i, value := range record {
		value = strings.TrimSpace(value)
		list := map[string]*[]string{
			"ref": &p.Refs, "environment": &p.Environments, "event": &p.Events, "job_workflow_ref": &p.JobWorkflowRefs, "visibility": &p.Visibilities,
		}[head[i]]
		switch {
		case value == "":
		case list != nil:
			*list = strings.Split(value, "|")
		case head[i] == "repository":
			p.Repository = value
		case head[i] == "repository_id":
			p.RepositoryID = value
		case head[i] == "repository_owner_id":
			p.OwnerID = value
		}
	}
	return p, whichRepository(p)
}

// whichRepository refuses a policy that names no repository, or names it by half.
func whichRepository(p license.TrustPolicy) error {
	switch byID := p.RepositoryID != "" || p.OwnerID != ""; {
	case p.Repository == "" && !byID:
		return errors.New("which repository? give its name OWNER/NAME, OWNER/* for every repository of an organization, or repository_id and repository_owner_id")
	case byID && (p.RepositoryID == "" || p.OwnerID == ""):
		return errors.New("repository_id and repository_owner_id go together: a repository that is given to another owner must not keep its rights")
	case p.Repository != "":
		return license.CheckRepository(p.Repository)
	}
	return nil
}
