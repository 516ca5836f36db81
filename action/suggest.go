package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/pageflare/ci/action/summary"
	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
)

// A job that no trust policy allows says how the operator of the License service allows it: by the
// commands to run there, with what this job is. Names of branches and environments are chosen by
// anybody who may push, so each value is quoted for a POSIX shell, a value that cannot be shown as
// it is makes no command, and no line of the log can be a command to the runner.

// suggestion is what to run where the License service is.
type suggestion struct {
	add     string // adds a policy for jobs such as this one; empty when nothing should be suggested
	check   string // what to look at before; or why there is no command
	explain string // says why the job was refused; empty without the id of the request
}

// jobClaims are the claims of an identity token that a policy can ask for. They are this job's own,
// fresh from the runner, so nobody has to prove them to it.
type jobClaims struct {
	Issuer       string `json:"iss"`
	Repository   string `json:"repository"`
	RepositoryID string `json:"repository_id"`
	OwnerID      string `json:"repository_owner_id"`
	Event        string `json:"event_name"`
	Ref          string `json:"ref"`
	Environment  string `json:"environment"`
}

func readJobClaims(identity string) (c jobClaims, err error) {
	parts := strings.Split(identity, ".")
	if len(parts) != 3 {
		return c, errors.New("not a JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(payload, &c)
}

// suggest notes and logs what would allow this job, when that is what it was refused for. The owner
// of the repository of a guest is not here to read it.
func (r *run) suggest(identity string, err error) {
	e, ok := errors.AsType[*client.Error](err)
	if !ok || e.Code != api.CodePolicyDenied || r.cfg.Guest != "" {
		return
	}
	s := suggestion{explain: explainCommand(e.RequestID)}
	switch claims, err := readJobClaims(identity); {
	case r.cfg.Untrusted != "":
		s.check = "No policy is suggested for this job: " + r.cfg.Untrusted + "."
	case err != nil:
		s.check = "No policy is suggested for this job: its identity token cannot be read."
	default:
		s.add, s.check = suggestPolicy(claims, readTrigger(r.getenv).event.Repository.DefaultBranch)
	}
	r.suggested = &s
	for _, line := range []string{s.check, s.add, s.explain} {
		if line != "" {
			r.gha.Infof("%s", printable(line))
		}
	}
}

// usualEvents are those that a policy allows which names none. A test holds them equal to those of
// the service.
var usualEvents = []string{
	"deployment", "merge_group", "pull_request", "push", "release", "repository_dispatch", "schedule", "workflow_dispatch",
}

const gitHubIssuer = "https://token.actions.githubusercontent.com"

var (
	idForm         = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}/[A-Za-z0-9._-]{1,100}$`)
	requestForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)
)

// suggestPolicy is the narrowest policy that is of use to such jobs, as a command, and what to
// check before it is run. A branch is a condition only when it is the default one: others come and
// go. A condition that cannot be shown is never left out, which would allow others.
func suggestPolicy(c jobClaims, defaultBranch string) (command, check string) {
	if !idForm.MatchString(c.RepositoryID) || !idForm.MatchString(c.OwnerID) {
		return "", "No policy is suggested for this job: its identity token has no ids of a repository and its owner."
	}
	words := []string{"pageflare-license policy add --account ID --repository-id", c.RepositoryID, "--repository-owner-id", c.OwnerID}
	if repositoryForm.MatchString(c.Repository) {
		words = append(words, "--repository="+c.Repository)
	}
	check = "The operator of the License service can allow this job by the command below, where ID is the account whose license is used. " +
		"Before that, check that the repository is yours, and that anyone who may push to it may use this license."
	onDefault := defaultBranch != "" && c.Ref == "refs/heads/"+defaultBranch
	for _, f := range []struct {
		flag, value string
		wanted      bool
	}{
		{"--issuer", c.Issuer, c.Issuer != gitHubIssuer},
		{"--ref", c.Ref, onDefault},
		{"--environment", c.Environment, c.Environment != ""},
		{"--event", c.Event, !slices.Contains(usualEvents, c.Event)},
	} {
		if !f.wanted {
			continue
		}
		if !showable(f.value) {
			return "", "No policy is suggested for this job, since " + f.flag + " would have a value that cannot be shown here: policy explain shows what the job is."
		}
		words = append(words, f.flag+"="+shellQuote(f.value))
	}
	if !onDefault && c.Environment == "" {
		check += " It allows jobs of all branches: add --ref=refs/heads/NAME to allow one alone."
	}
	if !slices.Contains(usualEvents, c.Event) {
		check += " People without write access may be able to cause the event of this job: check what it does for them."
	}
	return strings.Join(words, " "), check
}

// explainCommand says why the request was refused. The answer comes from anybody, the id too.
func explainCommand(requestID string) string {
	if !requestForm.MatchString(requestID) {
		return ""
	}
	return "pageflare-license policy explain --request=" + requestID
}

// maxPolicyValue is the longest value that a policy can name, in bytes.
const maxPolicyValue = 500

// showable says whether a value reads as what it is, in a log, a page and a terminal.
func showable(s string) bool {
	return s != "" && len(s) <= maxPolicyValue && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsPrint(c) || c == unicode.ReplacementChar
	})
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]+$`)

// shellQuote makes one word of a POSIX shell. In single quotes nothing means anything, and two of
// them in a row part what the runner would take for a command of the old form ##[name].
func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	s = strings.ReplaceAll(s, "'", `'\''`)
	return "'" + strings.ReplaceAll(s, "##[", "#''#[") + "'"
}

// shown is the suggestion for the summary; nil when there is none.
func (s *suggestion) shown() *summary.Suggestion {
	if s == nil {
		return nil
	}
	out := &summary.Suggestion{Text: s.check}
	for _, command := range []string{s.add, s.explain} {
		if command != "" {
			out.Commands = append(out.Commands, command)
		}
	}
	return out
}
