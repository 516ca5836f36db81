package secret

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-github/v60/github"
)

// An Error says which secret could not be written where, why, and what to do. It never holds a value or a token.
type Error struct {
	Act    string // "write" or "read"
	Target string // "repository acme/site"
	Name   string // of the secret
	Status int    // GitHub's answer; 0 when there was none
	Needed string // what GitHub says the call needs: "secrets=write"; from X-Accepted-GitHub-Permissions, may be empty

	Cause      Cause  // why, where that is known exactly
	URL        string // where a person can do something about Cause; may be empty
	Permission string // what the target needs: `repository permission "Secrets: read and write"`

	Message string    // what happened, in GitHub's words where it gave any
	Remedy  string    // what to do about it; may be empty
	RetryAt time.Time // when a rate limit ends; zero for all else
	Err     error     // the cause when it was no answer of GitHub's: context.Canceled and the like
}

// Error gives one line:
//
//	write secret PAGEFLARE_TOKEN to repository acme/site: GitHub refused (401): Bad credentials; github-token is …
func (e *Error) Error() string {
	preposition := "to"
	if e.Act == "read" {
		preposition = "of"
	}
	text := fmt.Sprintf("%s secret %s %s %s: %s", e.Act, e.Name, preposition, e.Target, e.Message)
	if e.Remedy != "" {
		text += "; " + e.Remedy
	}
	return text
}

// Unwrap gives the cause when it was no answer of GitHub's.
func (e *Error) Unwrap() error { return e.Err }

// refuse says that the secret cannot be written at all, before any call.
func (w *Writer) refuse(act string, target Target, name string, err error) *Error {
	message := strings.ReplaceAll(err.Error(), "\n", "; ") // one line, also for two faults
	return &Error{Act: act, Target: target.place(w.repo), Name: plain(name), Message: message, Err: err}
}

// explain turns what came back from a call under ctx into an Error.
func (w *Writer) explain(ctx context.Context, act string, target Target, name string, err error) *Error {
	e := &Error{Act: act, Target: target.place(w.repo), Name: name, Permission: target.of().title()}
	var limit *limitError
	var answer *github.ErrorResponse
	var app *appError
	switch {
	case errors.As(err, &app):
		e.Status, e.Needed, e.Message, e.Remedy = app.status, app.needed, app.message, app.remedy
	case errors.As(err, &limit):
		e.limited(limit)
	case errors.As(err, &answer):
		e.answered(ctx, answer, target, w)
	case errors.Is(err, errNewElsewhere):
		e.Message, e.Err = err.Error(), err
	default:
		e.unanswered(ctx, err)
	}
	return e
}

func (e *Error) limited(limit *limitError) {
	e.Status, e.RetryAt, e.Cause = limit.status, limit.until, Unanswered
	e.Message = fmt.Sprintf("GitHub's rate limit is used up (%d)", limit.status)
	if limit.foreign {
		e.Message = fmt.Sprintf("a proxy between here and GitHub asks to wait (%d)", limit.status)
	}
	if limit.message != "" {
		e.Message += ": " + plain(limit.message)
	}
	e.Remedy = fmt.Sprintf("try again after %s, which is too late for this run", limit.until.UTC().Format(time.RFC3339))
}

func (e *Error) answered(ctx context.Context, answer *github.ErrorResponse, target Target, w *Writer) {
	e.Status = answer.Response.StatusCode
	e.Message = fmt.Sprintf("GitHub refused (%d): %s", e.Status, words(answer))
	cause, at := refusedBy(answer)
	switch {
	case e.Status < http.StatusInternalServerError && !fromGitHub(answer.Response):
		e.Cause = NotGitHub
		e.Message = fmt.Sprintf("a proxy between here and GitHub refused (%d): %s", e.Status, words(answer))
	case cause != 0 && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		e.Cause, e.URL = cause, at
	case e.Status == http.StatusUnauthorized && w.byApp:
		e.Remedy = "the token that was made for the GitHub App is no longer good: run the job again"
	case e.Status == http.StatusUnauthorized:
		e.Remedy = "github-token is invalid or expired: make a new one and store it again"
	case e.Status == http.StatusForbidden:
		e.Needed = plain(answer.Response.Header.Get("X-Accepted-GitHub-Permissions"))
		e.Remedy = e.forbidden(answer.Message, target, w)
	case e.Status == http.StatusNotFound:
		e.unseen(ctx, answer, target, w)
	case e.Status == http.StatusUnprocessableEntity:
		e.Remedy = "see that secret-name is right, and that there is room for it: a repository and an environment hold 100 secrets, an organization " +
			"1,000; a rule of the organization may forbid it too"
	case e.Status >= http.StatusInternalServerError:
		e.Cause, e.Message = Unanswered, fmt.Sprintf("GitHub has trouble (%d): %s", e.Status, words(answer))
		e.Remedy = "try again later; https://www.githubstatus.com tells more"
	}
}

// unseen is for a place that GitHub knows nothing of.
func (e *Error) unseen(ctx context.Context, answer *github.ErrorResponse, target Target, w *Writer) {
	store := target.extraStore()
	if store == "" || hasEveryStore(answer.Response) {
		e.Remedy = target.unseen(w.repo, w.byApp)
		return
	}
	if w.noStore(ctx, target) {
		e.Cause, e.Message = NoStore, fmt.Sprintf("this server has no %s secrets (%d)", store, e.Status)
		return
	}
	e.Remedy = target.unseen(w.repo, w.byApp) + "; or this server has no " + store + " secrets"
}

// forbidden tells the job's own GITHUB_TOKEN, for which no setting helps, from a token that lacks a right. GitHub speaks of an
// integration for the tokens of Apps alike, and nothing else tells the two apart.
func (e *Error) forbidden(message string, target Target, w *Writer) string {
	k := target.of()
	integration := strings.HasPrefix(message, "Resource not accessible by integration")
	switch {
	case integration && w.byApp:
		return fmt.Sprintf("the GitHub App needs %s: give it the %s, and accept the change in its installation", e.needed(k.permission), k.title())
	case integration:
		return fmt.Sprintf("the job's own GITHUB_TOKEN can never write secrets, and the token of a GitHub App needs %s: give github-token a "+
			"fine-grained token with the %s, or set app-id and app-private-key of a GitHub App that has it", e.needed(k.permission), k.title())
	case strings.HasPrefix(message, "Resource not accessible"):
		return fmt.Sprintf("the token needs %s: give the fine-grained token the %s", e.needed(k.permission), k.title())
	}
	if remedy := byAddress(message); remedy != "" {
		return remedy
	}
	needs := ""
	if e.Needed != "" {
		needs = fmt.Sprintf("the token needs %s: ", e.needed(k.permission))
	}
	return needs + fmt.Sprintf("see that the token's owner may administer the %s, that a classic token has the scope %q, and that the organization "+
		"allows the token", k.scope, k.classic())
}

// byAddress is the remedy when GitHub lets only some addresses in; empty when it is not that.
func byAddress(message string) string {
	if !strings.Contains(strings.ToLower(message), "ip allow list") {
		return ""
	}
	return "let an owner of the organization add the address of this runner to its IP allow list, or run the job on a runner whose address is there"
}

// needed prefers GitHub's own words, but not those for reading the public key: the write that follows needs more.
func (e *Error) needed(needs permission) string {
	if e.Needed == "" || strings.HasPrefix(e.Needed, needs.key+"=") {
		return needs.key + "=write"
	}
	return e.Needed
}

// unanswered is for no answer, and for one that made no sense.
func (e *Error) unanswered(ctx context.Context, err error) {
	e.Cause = silentBy(ctx, err)
	var transport *url.Error
	if errors.As(err, &transport) {
		err = transport.Err // without the method and the address, which Target tells better
	}
	switch e.Err = err; {
	case errors.Is(ctx.Err(), context.Canceled):
		e.Err, e.Message = ctx.Err(), "stopped before GitHub had answered: the run was cancelled"
	case ctx.Err() != nil:
		e.Err, e.Message = ctx.Err(), "stopped before GitHub had answered: the time for it is over"
		e.Remedy = "see https://www.githubstatus.com, and check the network and the proxy"
	default:
		e.Message = "no usable answer from GitHub: " + plain(err.Error())
		if e.Cause != UntrustedCertificate {
			e.Remedy = "check the network, the proxy and the address of the GitHub API"
		}
	}
}

// statusOf gives the status of GitHub's refusal, 0 for any other error and for none.
func statusOf(err error) int {
	var answer *github.ErrorResponse
	if errors.As(err, &answer) {
		return answer.Response.StatusCode
	}
	return 0
}

// words gives GitHub's message with its details, and the name of the status when the answer had none (an HTML page, say).
func words(answer *github.ErrorResponse) string {
	text := answer.Message
	for _, detail := range answer.Errors {
		text = strings.TrimSpace(text + " " + inWords(detail))
	}
	if text == "" {
		text = http.StatusText(answer.Response.StatusCode)
	}
	return plain(text)
}

// inWords gives what a detail says, or, of {"resource":"Secret","field":"name","code":"invalid"}, "(Secret.name: invalid)".
func inWords(detail github.Error) string {
	if detail.Message != "" {
		return detail.Message
	}
	where := strings.Trim(detail.Resource+"."+detail.Field, ".")
	if said := strings.Trim(where+": "+detail.Code, ": "); said != "" {
		return "(" + said + ")"
	}
	return ""
}

// plain makes foreign text fit for one line of a log: no control characters, at most 300 characters.
func plain(text string) string {
	runes := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
	if len(runes) > 300 {
		return string(runes[:300]) + "…"
	}
	return string(runes)
}
