package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
)

// event is what we need of the event that triggered the workflow.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request
type event struct {
	Repository struct {
		DefaultBranch string `json:"default_branch"`
	} `json:"repository"`
	PullRequest *struct {
		User struct {
			Login string `json:"login"`
		} `json:"user"`
		Head struct {
			Repo struct { // null once the fork was deleted
				FullName string `json:"full_name"`
			} `json:"repo"`
		} `json:"head"`
	} `json:"pull_request"`
	Issue struct {
		PullRequest *struct{} `json:"pull_request"` // there when the issue is a pull request
	} `json:"issue"`
	WorkflowRun struct {
		HeadRepository struct {
			FullName string `json:"full_name"`
		} `json:"head_repository"`
	} `json:"workflow_run"`
}

// trigger is what started the workflow. The two questions about it fail closed: what cannot be read
// is taken for the worse.
type trigger struct {
	name  string // of the event
	repo  string // that the workflow runs in
	actor string
	event event
	known bool // the event could be read
}

func readTrigger(getenv func(string) string) trigger {
	e, err := readEvent(getenv("GITHUB_EVENT_PATH"))
	return trigger{getenv("GITHUB_EVENT_NAME"), getenv("GITHUB_REPOSITORY"), getenv("GITHUB_ACTOR"), e, err == nil}
}

func readEvent(path string) (e event, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would hold us
	if err != nil {
		return e, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return e, errors.New("not a file")
	}
	return e, json.NewDecoder(io.LimitReader(f, maxEvent)).Decode(&e)
}

// maxEvent is more than the largest event that GitHub sends (25 MB).
const maxEvent = 32 << 20

const dependabot = "dependabot[bot]"

// guest says why a job is given no secrets, when it runs for a guest: GitHub keeps them from forks
// and from Dependabot. Empty otherwise.
func (t trigger) guest() string {
	pr := t.event.PullRequest
	switch {
	case t.actor == dependabot, pr != nil && pr.User.Login == dependabot:
		return "this run was triggered by Dependabot, which gets no Actions secrets"
	case t.fork() != "":
		return "this pull request comes from " + t.fork() + ", and GitHub gives forks no secrets"
	}
	return ""
}

// untrusted says why a job that has secrets may be steered by somebody who must not have them.
// Empty for ordinary jobs.
// https://docs.github.com/en/actions/reference/security/securely-using-pull_request_target
func (t trigger) untrusted() string {
	switch {
	case t.name == "pull_request_target":
		return "this run was triggered by pull_request_target, where the code of a pull request may run beside secrets"
	case t.name == "workflow_run" && t.event.WorkflowRun.HeadRepository.FullName == "":
		return "this run was triggered by workflow_run, and its event does not say which repository that run was of"
	case t.name == "workflow_run" && !t.here(t.event.WorkflowRun.HeadRepository.FullName):
		return "this run was triggered by a workflow run of the fork " + t.event.WorkflowRun.HeadRepository.FullName
	case t.name == "issue_comment" && (!t.known || t.event.Issue.PullRequest != nil):
		// it runs the workflow of the default branch, which in most cases checks out the pull
		// request
		return "this run was triggered by a comment on a pull request, whose code may run beside secrets"
	case t.fork() != "":
		return "this pull request comes from " + t.fork()
	case strings.HasPrefix(t.name, "pull_request") && (!t.known || t.event.PullRequest == nil):
		return "this run was triggered by " + t.name + ", and its event does not say where the pull request comes from"
	}
	return ""
}

// fork names where a pull request comes from that is not of this repository. Empty otherwise.
func (t trigger) fork() string {
	if t.event.PullRequest == nil {
		return ""
	}
	switch head := t.event.PullRequest.Head.Repo.FullName; {
	case t.here(head):
		return ""
	case head == "":
		return "a fork that was deleted"
	default:
		return "the fork " + head
	}
}

// here tells whether a repository is the one that the workflow runs in. Names match in any case.
func (t trigger) here(repo string) bool { return repo != "" && strings.EqualFold(repo, t.repo) }
