package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/githubapp"
	"github.com/pageflare/ci/service/opaque"
)

// givenApp is the GitHub App of the settings, with its key read.
func (a *app) givenApp() (githubapp.Given, error) {
	g := githubapp.Given{ID: a.cfg.GitHubAppID, Secrets: a.cfg.WebhookSecrets}
	if g.ID == "" {
		return g, nil
	}
	text, err := os.ReadFile(a.cfg.GitHubAppKey)
	var fault *fs.PathError
	switch {
	case errors.As(err, &fault) && errors.Is(err, fs.ErrPermission) && failure.NotOurs(a.cfg.GitHubAppKey) != "":
		return g, fmt.Errorf("LICENSE_GITHUB_APP_KEY_FILE: %s cannot be read: %w: %s", a.cfg.GitHubAppKey, fault.Err, failure.NotOurs(a.cfg.GitHubAppKey))
	case errors.As(err, &fault):
		return g, fmt.Errorf("LICENSE_GITHUB_APP_KEY_FILE: %s cannot be read: %w: name the .pem file that GitHub made for the App", a.cfg.GitHubAppKey, fault.Err)
	}
	g.Key = opaque.Secret(text)
	return g, err
}

// appFault names the settings behind what is wrong with an App.
func appFault(fault *github.AppError, file string) error {
	var faults []error
	if fault.ID != nil {
		faults = append(faults, fmt.Errorf("LICENSE_GITHUB_APP_ID: %w", fault.ID))
	}
	if fault.Key != nil {
		faults = append(faults, fmt.Errorf("LICENSE_GITHUB_APP_KEY_FILE: %s: %w", file, fault.Key))
	}
	return errors.Join(faults...)
}
