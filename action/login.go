package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/client"
)

// clientID is what the License API knows this program by.
const clientID = "cl_pageflare_action"

// slowerBy is how much further apart polls are after each slow_down (RFC 8628, 3.5).
const slowerBy = 5 * time.Second

type loginCmd struct{}

// Run logs in by the device flow (RFC 8628): a person approves this machine in a browser, here or elsewhere. The license token goes to the
// credentials file and nowhere else.
func (loginCmd) Run(ctx context.Context, w world, c *commands) error {
	api, err := w.client(c)
	if err != nil {
		return err
	}
	codes, err := api.BeginLogin(ctx, clientID)
	if err != nil {
		return err
	}
	fmt.Fprintf(w.stderr, "Open %s in a browser and enter the code %s", codes.VerificationURI, codes.UserCode)
	if codes.VerificationURIComplete != "" {
		fmt.Fprintf(w.stderr, ",\nor open %s", codes.VerificationURIComplete)
	}
	fmt.Fprintf(w.stderr, "\nWaiting until somebody approves it, at most %s. Approve it only if this is the code that you see there.\n", time.Duration(codes.ExpiresIn)*time.Second)
	access, err := w.awaitLogin(ctx, api, codes)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	issued, err := api.Activate(ctx, access, machineID(host), host)
	if err != nil {
		return err
	}
	file := credentialsFile(w.getenv)
	if err := writeCredentials(file, issued.Token); err != nil {
		return err
	}
	fmt.Fprintf(w.stdout, "logged in: the license token is in %s\n", file)
	if w.getenv("PAGEFLARE_TOKEN") != "" {
		fmt.Fprintln(w.stderr, "warning: PAGEFLARE_TOKEN is set and wins over that file")
	}
	return nil
}

// awaitLogin polls until the login is approved, denied or over.
func (w world) awaitLogin(ctx context.Context, api *client.Client, codes api.DeviceCode) (string, error) {
	interval := time.Duration(max(codes.Interval, 1)) * time.Second
	end := w.now().Add(time.Duration(codes.ExpiresIn) * time.Second)
	for {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return "", errors.New("cancelled: nothing was stored; the code lapses by itself")
		}
		access, err := api.PollLogin(ctx, clientID, codes.DeviceCode)
		switch {
		case err == nil:
			return access, nil
		case errors.Is(err, client.ErrSlowDown):
			interval += slowerBy
		case errors.Is(err, client.ErrUnavailable):
			interval *= 2 // RFC 8628, 3.5: back off when the connection fails
		case !errors.Is(err, client.ErrPending):
			return "", err
		}
		if !w.now().Before(end) {
			return "", errors.New("log in: nobody approved the code in time: log in again")
		}
	}
}

type logoutCmd struct{}

// Run ends the license token of this machine, and removes the credentials file in any case.
func (logoutCmd) Run(ctx context.Context, w world, c *commands) error {
	file := credentialsFile(w.getenv)
	stored, err := readCredentials(file)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(w.stdout, "already logged out")
		return nil
	}
	if err == nil {
		err = w.deactivate(ctx, c, stored)
	}
	if gone := os.Remove(file); gone != nil {
		return fmt.Errorf("credentials: %w", gone)
	}
	if err != nil {
		fmt.Fprintf(w.stderr, "warning: %v\n", err)
		fmt.Fprintln(w.stdout, "logged out here; the token itself could not be ended: if others may have it, have it revoked")
		return nil
	}
	fmt.Fprintln(w.stdout, "logged out: the token of this machine has ended")
	return nil
}

func (w world) deactivate(ctx context.Context, c *commands, token string) error {
	api, err := w.client(c)
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return api.Deactivate(ctx, token, machineID(host))
}

// client is a client of the License API.
func (w world) client(c *commands) (*client.Client, error) {
	api, err := client.New(client.Config{BaseURL: c.APIURL, HTTP: w.http, UserAgent: userAgent(), Now: w.now})
	if err != nil {
		return nil, usageError{err}
	}
	return api, nil
}

// machineID names this machine as the pageflare CLI does it: 64 hexadecimal digits, the same each time. It is no secret.
func machineID(host string) string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		id = nil // then the name of the host must do
	}
	sum := sha256.Sum256([]byte("pageflare-action\x00" + strings.TrimSpace(string(id)) + "\x00" + host))
	return hex.EncodeToString(sum[:])
}
