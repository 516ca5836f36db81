package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pageflare/ci/service/api"
	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/auth"
	"github.com/pageflare/ci/service/leak"
	"github.com/pageflare/ci/service/parts"
)

// Leak is the commands of leaked tokens.
type Leak struct {
	Test     leakTest     `cmd:"" help:"Send the running service a signed alert about a token that is made for it, and see that the token is refused. What is left are lines in the audit log, an event that says it was a test, and the record of the token, which has ended."`
	Patterns leakPatterns `cmd:"" help:"Print the expressions by which scanners find tokens of this service, ready for custom patterns of GitHub."`
}

type leakTest struct {
	Output
	URL string `help:"Where the service is asked. Default: LICENSE_PUBLIC_URL, else http://LISTEN." placeholder:"URL"`
}

// testedLeak is what the test prints.
type testedLeak struct {
	URL       string     `json:"url"`
	Token     string     `json:"token"` // its id
	Steps     []testStep `json:"steps"`
	RefusedMS float64    `json:"refused_after_ms"` // from the alert to the first refusal
}

type testStep struct {
	Step string  `json:"step"`
	MS   float64 `json:"ms"`
}

// The time limits of a test: of all, and from the alert to the refusal.
const (
	leakTestTime   = time.Minute
	leakRefuseTime = 10 * time.Second
)

// Run tests the whole path of an alert. The token is an admin token, which needs no account: it can
// list the ids of signing keys and nothing else, and ends after five minutes in any case.
func (c leakTest) Run(ctx context.Context, a *App) error {
	return a.with(ctx, func(ctx context.Context, l *parts.Parts) error {
		ctx, cancel := context.WithTimeout(ctx, leakTestTime)
		defer cancel()
		url := strings.TrimRight(c.URL, "/")
		if url == "" {
			url = l.PublicURL
		}
		t := &leakTester{app: a, parts: l, tested: testedLeak{URL: url, Steps: []testStep{}}}
		if err := t.run(ctx); err != nil {
			return fmt.Errorf("leak test at %s: %w", url, err)
		}
		return c.Print(a.Stdout, t.tested, func(w io.Writer) {
			for _, s := range t.tested.Steps {
				Row(w, s.Step, fmt.Sprintf("%.1f ms", s.MS))
			}
			Row(w, "from the alert to the refusal", fmt.Sprintf("%.1f ms", t.tested.RefusedMS))
		})
	})
}

// leakTester is one run of the test.
type leakTester struct {
	app    *App
	parts  *parts.Parts
	tested testedLeak
}

// step notes how long something took.
func (t *leakTester) step(what string, do func() error) error {
	begun := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	t.tested.Steps = append(t.tested.Steps, testStep{what, ms(time.Since(begun))})
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (t *leakTester) run(ctx context.Context) error {
	text, record, err := t.parts.Admins.CreateAdminToken(ctx, auth.NewAdminToken{
		Name: "leak test", Scopes: []auth.Scope{auth.ScopeKeysRead}, Lifetime: 5 * time.Minute,
	}, nil)
	if err != nil {
		return err
	}
	t.tested.Token = record.ID
	defer func() { // when the test has failed half-way
		_, _ = t.parts.Admins.RevokeAdminToken(context.WithoutCancel(ctx), record.ID)
	}()
	err = t.step("a token that is made for the test is accepted", func() error {
		switch status, err := t.status(ctx, text.Reveal()); {
		case err != nil:
			return err
		case status == http.StatusUnauthorized:
			return errors.New("the service refuses it: it works on another database than this command; run this where the server runs, with its settings")
		case status != http.StatusOK:
			return fmt.Errorf("the service answered %d", status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var alert leak.SignedAlert
	err = t.step("an alert about it is signed", func() (err error) {
		alert, err = t.parts.Leaks.SignTest(ctx, text.Reveal())
		return err
	})
	if err != nil {
		return err
	}
	defer t.parts.Leaks.EndTest(context.WithoutCancel(ctx), alert)
	sent := time.Now()
	err = t.step("the alert is taken for a true positive", func() error { return t.send(ctx, alert, leak.HashOf(text.Reveal())) })
	if err != nil {
		return err
	}
	err = t.step("the token is refused", func() error { return t.wantRefused(ctx, text.Reveal()) })
	t.tested.RefusedMS = ms(time.Since(sent))
	if err != nil {
		return err
	}
	return t.step("the audit log has it", func() error {
		lines, err := t.parts.Log.Lines(ctx, audit.Query{Action: audit.TokenLeaked, Limit: 20})
		for _, line := range lines {
			if line.Object == record.ID {
				return nil
			}
		}
		return errors.Join(err, errors.New("no line token.leak names "+record.ID))
	})
}

// send sends the alert as GitHub does.
func (t *leakTester) send(ctx context.Context, alert leak.SignedAlert, hash string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.tested.URL+"/_api/webhooks/github/secret-scanning", bytes.NewReader(alert.Body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Github-Public-Key-Identifier", alert.KeyID)
	req.Header.Set("Github-Public-Key-Signature", alert.Signature)
	status, body, err := t.do(req)
	if err != nil {
		return err
	}
	var labels []api.LeakLabel
	if status != http.StatusOK || json.Unmarshal(body, &labels) != nil {
		return fmt.Errorf("the service answered %d: if a proxy is in front, it has to pass the path, the body and the headers Github-Public-Key-… on as they are", status)
	}
	if len(labels) != 1 || labels[0].TokenHash != hash || labels[0].Label != "true_positive" {
		return errors.New("the answer does not call the token a true positive")
	}
	return nil
}

// wantRefused asks until the token is refused.
func (t *leakTester) wantRefused(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, leakRefuseTime)
	defer cancel()
	for {
		status, err := t.status(ctx, token)
		switch {
		case err != nil:
			return err
		case status == http.StatusUnauthorized:
			return nil
		case status != http.StatusOK:
			return fmt.Errorf("the service answered %d", status)
		}
	}
}

// status is what the service answers to the token.
func (t *leakTester) status(ctx context.Context, token string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.tested.URL+"/_api/admin/keys", nil)
	if err != nil {
		return 0, Usagef("--url: that is not an address such as https://license.example.com")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	status, _, err := t.do(req)
	return status, err
}

func (t *leakTester) do(req *http.Request) (int, []byte, error) {
	res, err := t.app.HTTP.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("no answer (%w): start the service, or give its address with --url", errors.Unwrap(err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, body, err
}

type leakPatterns struct{ Output }

// shownPatterns is the body that GitHub's API takes.
type shownPatterns struct {
	Patterns []shownPattern `json:"patterns"`
}

type shownPattern struct {
	Name   string `json:"name"`
	Secret string `json:"pattern"`
	Before string `json:"start_delimiter"`
	After  string `json:"end_delimiter"`
}

// Run prints the patterns. It needs no database.
func (c leakPatterns) Run(a *App) error {
	j := shownPatterns{Patterns: []shownPattern{}}
	for _, p := range leak.Patterns() {
		j.Patterns = append(j.Patterns, shownPattern{p.Name, p.Secret, p.Before, p.After})
	}
	return c.Print(a.Stdout, j, func(w io.Writer) {
		for i, p := range j.Patterns {
			if i > 0 {
				fmt.Fprintln(w)
			}
			Row(w, "name", p.Name)
			Row(w, "secret format", p.Secret)
			Row(w, "before secret", p.Before)
			Row(w, "after secret", p.After)
		}
	})
}
