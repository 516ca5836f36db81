package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// Run logs in by the device flow (RFC 8628): a person approves this machine in a browser, here or
// elsewhere. The license token goes to the credentials file and nowhere else. The token that was in
// it before is ended.
func (loginCmd) Run(ctx context.Context, p program, c *commands) error {
	file, old, err := p.beforeLogin()
	if err != nil {
		return err
	}
	api, err := p.loginClient(c, credential{old, file})
	if err != nil {
		return err
	}
	codes, err := api.BeginLogin(ctx, clientID)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.Stderr, "Open %s in a browser and enter the code %s", codes.VerificationURI, codes.UserCode)
	if codes.VerificationURIComplete != "" {
		fmt.Fprintf(p.Stderr, ",\nor open %s", codes.VerificationURIComplete)
	}
	fmt.Fprintf(p.Stderr, "\nWaiting until somebody approves it, at most %s. Approve it only if this is the code that you see there.\n", time.Duration(codes.ExpiresIn)*time.Second)
	access, err := p.awaitLogin(ctx, api, codes)
	if err != nil {
		return err
	}
	host := hostName()
	issued, err := api.Activate(ctx, access, machineID(host), host)
	if err != nil {
		return err
	}
	fresh := credentials{Token: issued.Token, MachineID: machineID(host), APIURL: api.BaseURL()}
	if err := fresh.write(file); err != nil {
		return p.unstored(ctx, api, fresh, err)
	}
	fmt.Fprintf(p.Stdout, "logged in: the license token is in %s\n", file)
	p.endReplaced(ctx, old, fresh)
	if p.Getenv("PAGEFLARE_TOKEN") != "" {
		fmt.Fprintln(p.Stderr, "warning: PAGEFLARE_TOKEN is set and wins over that file")
	}
	return nil
}

// beforeLogin returns the credentials file and what is in it. It fails when nothing could be stored
// there, before anybody is asked to approve.
func (p program) beforeLogin() (string, credentials, error) {
	file, err := p.credentialsFile()
	if err != nil {
		return "", credentials{}, err
	}
	old, err := readCredentials(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errNoToken) {
		return "", credentials{}, err
	}
	return file, old, tryFolder(filepath.Dir(file))
}

// loginClient is a client of the License API that is named, else of the one where this machine is
// logged in. Another one than that is no contradiction here: the stored token is not sent to it.
func (p program) loginClient(c *commands, old credential) (*client.Client, error) {
	if c.APIURL != nil && *c.APIURL != "" {
		old.APIURL = ""
	}
	return p.client(c, old)
}

// unstored ends a token that could not be stored: it would be good for a year, and nobody has it.
func (p program) unstored(ctx context.Context, api *client.Client, fresh credentials, why error) error {
	if err := p.end(ctx, api, fresh); err != nil {
		return fmt.Errorf("%w\nthe token of this machine is stored nowhere and could not be ended: %w\nit %s: have it revoked by the operator of its License API", why, err, stillGood(fresh.Token))
	}
	return fmt.Errorf("%w\nnot logged in: the token that could not be stored was ended", why)
}

// awaitLogin polls until the login is approved, denied or over.
func (p program) awaitLogin(ctx context.Context, api *client.Client, codes api.DeviceCode) (string, error) {
	interval := time.Duration(max(codes.Interval, 1)) * time.Second
	end := p.Now().Add(time.Duration(codes.ExpiresIn) * time.Second)
	for {
		if err := p.Wait(ctx, interval); err != nil {
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
		if !p.Now().Before(end) {
			return "", errors.New("log in: nobody approved the code in time: log in again")
		}
	}
}

// endReplaced ends the token that a login has replaced: nobody could find it any more. That it
// cannot is a warning, for the new one is stored.
func (p program) endReplaced(ctx context.Context, old, fresh credentials) {
	if old.Token == "" || old.Token == fresh.Token || hasExpired(old.Token, p.Now()) {
		return
	}
	err := errors.New("it is not written which License API it is of")
	if old.APIURL != "" {
		var api *client.Client
		if api, err = p.clientAt(old.APIURL); err == nil {
			err = p.end(ctx, api, old)
		}
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "warning: the token that was stored before could not be ended: %v\nwarning: it %s: have it revoked by the operator of its License API\n", err, stillGood(old.Token))
	}
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

// machineID names this machine as the pageflare CLI does it: 64 hexadecimal digits, the same as
// long as the host has its name. It is no secret.
func machineID(host string) string {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		id = nil // then the name of the host must do
	}
	sum := sha256.Sum256([]byte("pageflare-action\x00" + strings.TrimSpace(string(id)) + "\x00" + host))
	return hex.EncodeToString(sum[:])
}
