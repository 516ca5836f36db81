package main

import (
	"encoding/json"
	"os"
)

// event is what we need of the event that triggered the workflow.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#pull_request
type event struct {
	PullRequest struct {
		User struct {
			Login string `json:"login"`
		} `json:"user"`
		Head struct {
			Repo struct {
				FullName string `json:"full_name"`
			} `json:"repo"`
		} `json:"head"`
	} `json:"pull_request"`
	WorkflowRun struct {
		HeadRepository struct {
			FullName string `json:"full_name"`
		} `json:"head_repository"`
	} `json:"workflow_run"`
}

func readEvent(getenv func(string) string) event {
	var e event
	if b, err := os.ReadFile(getenv("GITHUB_EVENT_PATH")); err == nil {
		_ = json.Unmarshal(b, &e) // an event we cannot read is none we have to explain
	}
	return e
}

const dependabot = "dependabot[bot]"

// guest says why a job is given no secrets, when it runs for a guest: GitHub keeps them from forks and from Dependabot. Empty otherwise.
func guest(getenv func(string) string) string {
	e := readEvent(getenv)
	head := e.PullRequest.Head.Repo.FullName
	switch {
	case getenv("GITHUB_ACTOR") == dependabot, e.PullRequest.User.Login == dependabot:
		return "this run was triggered by Dependabot, which gets no Actions secrets"
	case head != "" && head != getenv("GITHUB_REPOSITORY"):
		return "this pull request comes from the fork " + head + ", and GitHub gives forks no secrets"
	}
	return ""
}

// untrusted says why a job that has secrets may be steered by somebody who must not have them. Empty for ordinary jobs.
// https://docs.github.com/en/actions/reference/security/securely-using-pull_request_target
func untrusted(getenv func(string) string) string {
	e := readEvent(getenv)
	repo := getenv("GITHUB_REPOSITORY")
	switch head := e.WorkflowRun.HeadRepository.FullName; {
	case getenv("GITHUB_EVENT_NAME") == "pull_request_target":
		return "this run was triggered by pull_request_target, where the code of a pull request may run beside secrets"
	case getenv("GITHUB_EVENT_NAME") == "workflow_run" && head != repo:
		return "this run was triggered by a workflow run of the fork " + orElse(head, "(unknown)")
	}
	if head := e.PullRequest.Head.Repo.FullName; head != "" && head != repo {
		return "this pull request comes from the fork " + head
	}
	return ""
}
