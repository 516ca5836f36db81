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
}

const dependabot = "dependabot[bot]"

// guest says why a job is given no secrets, when it runs for a guest: GitHub keeps them from forks and from Dependabot. Empty otherwise.
func guest(getenv func(string) string) string {
	var e event
	if b, err := os.ReadFile(getenv("GITHUB_EVENT_PATH")); err == nil {
		_ = json.Unmarshal(b, &e) // an event we cannot read is none we have to explain
	}
	head := e.PullRequest.Head.Repo.FullName
	switch {
	case getenv("GITHUB_ACTOR") == dependabot, e.PullRequest.User.Login == dependabot:
		return "this run was triggered by Dependabot, which gets no Actions secrets"
	case head != "" && head != getenv("GITHUB_REPOSITORY"):
		return "this pull request comes from the fork " + head + ", and GitHub gives forks no secrets"
	}
	return ""
}
