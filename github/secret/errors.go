package secret

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/pageflare/ci/github"
)

// Fact is why a secret could not be written or read. Its Kind is zero where GitHub was not asked:
// then Message and Err say what is wrong.
type Fact = github.Error

// An Error says which secret could not be written or read where, and why. It never holds a value or
// a token. What to do about it is for the caller to say, who knows where the credential comes from.
type Error struct {
	Fact
	Act    string // "write" or "read"
	Name   string // of the secret
	Target Target
	Repo   github.Repo // of the writer
	ByName bool        // Repo was asked for by name, since its id is not known
	ByApp  bool        // the credential is a GitHub App
	// MaybeNoStore says of a NotFound that the server may have no secrets of this kind; one that is
	// known to have none is a NoStore.
	MaybeNoStore bool
}

// Place names the target, for messages: "repository acme/site".
func (e *Error) Place() string { return e.Target.place(e.Repo) }

// Error gives one line:
//
//	write secret PAGEFLARE_TOKEN to repository acme/site: GitHub refused (401): Bad credentials
func (e *Error) Error() string {
	preposition := "to"
	if e.Act == "read" {
		preposition = "of"
	}
	return fmt.Sprintf("%s secret %s %s %s: %s", e.Act, e.Name, preposition, e.Place(), e.Message)
}

// Unwrap gives the fact.
func (e *Error) Unwrap() error { return &e.Fact }

func (w *Writer) errorFor(act string, target Target, name string) *Error {
	return &Error{Act: act, Target: target, Repo: w.repo, Name: name, ByApp: w.byApp, ByName: w.repoID == 0}
}

// refuse says that the secret cannot be written at all, before any call.
func (w *Writer) refuse(act string, target Target, name string, err error) *Error {
	e := w.errorFor(act, target, github.Plain(name))
	// one line, also for two faults
	e.Fact = Fact{Message: strings.ReplaceAll(err.Error(), "\n", "; "), Err: err}
	return e
}

// explain turns what came back from a call under ctx into an Error.
func (w *Writer) explain(ctx context.Context, act string, target Target, name string, err error) *Error {
	e := w.errorFor(act, target, name)
	if errors.Is(err, errNewElsewhere) || errors.Is(err, errNewNowhere) {
		e.Fact = Fact{Message: err.Error(), Err: err}
		return e
	}
	e.Fact = *github.Explain(ctx, err)
	var answer *gh.ErrorResponse
	if e.Kind == github.NotFound && errors.As(err, &answer) && target.Store() != "" && !hasEveryStore(answer.Response) {
		e.MaybeNoStore = true
		if w.noStore(ctx, target) {
			e.Kind, e.MaybeNoStore = github.NoStore, false
			e.Message = fmt.Sprintf("this server has no %s secrets (%d)", target.Store(), e.Status)
		}
	}
	return e
}

// hasEveryStore tells github.com and ghe.com, which have secrets of every kind, from servers of
// one's own.
func hasEveryStore(resp *http.Response) bool {
	host := resp.Request.URL.Hostname()
	return resp.Header.Get("X-GitHub-Enterprise-Version") == "" && (host == "api.github.com" || strings.HasSuffix(host, ".ghe.com"))
}

// noStore tells whether a 404 of a server of one's own means that it has no secrets of this kind,
// as GitHub Enterprise Server has none for Dependabot where that is switched off. With a GitHub App
// it does: its token was made for that right and that place. A token proves it by the Actions
// secrets of the same place: where it sees those, the place is there.
func (w *Writer) noStore(ctx context.Context, t Target) bool {
	if w.byApp {
		return true
	}
	_, scope, _ := strings.Cut(t.kind, "/")
	ctx, cancel := context.WithTimeout(github.Once(ctx), lookTime)
	defer cancel()
	st, _, err := w.open(ctx, Target{scope, t.name}, "read")
	if err != nil {
		return false
	}
	_, err = w.publicKey(ctx, st)
	return err == nil
}

// Account names whose place it is, for messages: "repository acme/site", "organization acme".
func (e *Error) Account() string {
	if e.Target.InOrganization() {
		return "organization " + e.Target.Organization()
	}
	return "repository " + e.Repo.String()
}
