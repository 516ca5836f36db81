package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/pageflare/ci/service/client"
	"github.com/pageflare/ci/service/token"
)

type logoutCmd struct{}

// Run ends the license token of this machine, then removes the credentials file. A token that may
// be good yet keeps its file: without it, nobody could end it.
func (logoutCmd) Run(ctx context.Context, p program, c *commands) error {
	file, err := p.credentialsFile()
	if err != nil {
		return err
	}
	stored, err := readCredentials(file)
	done := "logged out: the token of this machine has ended"
	switch {
	case errors.Is(err, os.ErrNotExist):
		_, err := fmt.Fprintln(p.Stdout, "already logged out")
		return err
	case errors.Is(err, errNoToken):
		done = "logged out: " + file + " held no token"
	case err != nil:
		return err
	default:
		api, err := p.client(c, credential{stored, file})
		if err != nil {
			return err
		}
		if err := p.end(ctx, api, stored); err != nil {
			return fmt.Errorf("%w\nstill logged in: the token in %s %s: try again, or have it revoked by the operator of its License API", err, file, stillGood(stored.Token))
		}
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	_, err = fmt.Fprintln(p.Stdout, done)
	return err
}

// end ends a stored token at its License API. nil: the token is no longer good, whichever way it
// ended.
func (p program) end(ctx context.Context, api *client.Client, stored credentials) error {
	id := cmp.Or(stored.MachineID, machineID(hostName()))
	err := api.Deactivate(ctx, stored.Token, id)
	if err == nil || hasEnded(err, stored, p.Now()) {
		return nil
	}
	return err
}

// hasEnded reports whether a refusal to end a token says that it has ended already. That the API
// does not accept the token (401), or knows no machine for it (404), says so only when the token is
// known to be of that API, and the id to be that of its machine.
func hasEnded(err error, stored credentials, now time.Time) bool {
	if errors.Is(err, client.ErrRefused) {
		return true
	}
	if errors.Is(err, client.ErrUnauthorized) {
		return stored.APIURL != "" || hasExpired(stored.Token, now)
	}
	said, ok := errors.AsType[*client.Error](err)
	return ok && said.Kind == client.ErrRejected && said.Status == http.StatusNotFound && stored.MachineID != ""
}

func hasExpired(raw string, now time.Time) bool {
	claims, err := token.Decode(raw)
	return err == nil && !now.Before(claims.ExpiresAt)
}

// stillGood says how long a token that could not be ended is good, and what it is called by those
// who can revoke it.
func stillGood(raw string) string {
	claims, err := token.Decode(raw)
	switch {
	case err != nil:
		return "may still be good"
	case claims.ID == "":
		return "is good until " + day(claims.ExpiresAt)
	}
	return fmt.Sprintf("is good until %s, its id is %q", day(claims.ExpiresAt), claims.ID)
}
