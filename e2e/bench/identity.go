package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/pageflare/ci/action/githubtest"
)

// identitiesPerRound is how many jobs exchange their identity in one round. Signing their tokens takes the issuer longer than it takes the
// service to verify them, so it is done before the clock runs, and a round ends when they are used up.
const identitiesPerRound = 4000

// jobs are what exchanges identities: an issuer that the service trusts, and a policy that lets its jobs in.
type jobs struct {
	issuer *githubtest.Issuer
}

func newJobs() (*jobs, error) {
	issuer, err := githubtest.NewIssuer(githubtest.IssuerConfig{})
	return &jobs{issuer}, err
}

// trust adds a policy for the jobs of the issuer.
func (j *jobs) trust(ctx context.Context, temp, service, account string) error {
	cmd := exec.CommandContext(ctx, service, "policy", "add", "--account", account, "--repository-id", "1296269", "--repository-owner-id", "1",
		"--issuer", j.issuer.URL())
	cmd.Env, cmd.Stderr = environment(temp), os.Stderr
	return cmd.Run()
}

// exchange is one round: each identity is exchanged once, as in life.
func (j *jobs) exchange(ctx context.Context, addr string, connections int, length time.Duration) (figures, error) {
	identities, err := j.sign("http://" + addr)
	if err != nil {
		return figures{}, err
	}
	f, _, err := load(ctx, addr, "POST", "/_api/license/issue", once(identities), connections, length)
	return f, err
}

// sign makes the tokens of one round, on all cores.
func (j *jobs) sign(audience string) ([]string, error) {
	out := make([]string, identitiesPerRound)
	workers := runtime.NumCPU()
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(out) && errs[w] == nil; i += workers {
				out[i], errs[w] = j.issuer.Sign(map[string]any{"aud": audience})
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("sign identity tokens: %w", err)
	}
	return out, nil
}
