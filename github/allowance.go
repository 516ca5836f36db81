package github

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// An Allowance is what an answer of GitHub says is left of the requests of an hour.
type Allowance struct {
	Limit, Remaining int
	Reset            time.Time // when all are there again, by our clock
	// App says that it is the allowance of the App itself, and not that of one of its
	// installations.
	App bool
}

// OnAllowance has f called with what each answer to a call under the context says of the allowance,
// before the call returns: for a program that shares it with others and stops long before it is
// used up. Several goroutines may call f at once.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit
func OnAllowance(ctx context.Context, f func(Allowance)) context.Context {
	return context.WithValue(ctx, allowanceKey{}, f)
}

type (
	allowanceKey struct{}
	asAppKey     struct{}
)

// asApp marks calls by which an App speaks for itself.
func asApp(ctx context.Context) context.Context { return context.WithValue(ctx, asAppKey{}, true) }

// tellAllowance tells whoever wants to know what an answer says, if GitHub has limits at all: a
// server of one's own may have none.
func tellAllowance(ctx context.Context, resp *http.Response, now time.Time) {
	f, wanted := ctx.Value(allowanceKey{}).(func(Allowance))
	if !wanted || resp == nil || !fromGitHub(resp) {
		return
	}
	limit, limitErr := strconv.Atoi(resp.Header.Get("X-RateLimit-Limit"))
	left, leftErr := strconv.Atoi(resp.Header.Get("X-RateLimit-Remaining"))
	reset, resetErr := strconv.ParseInt(resp.Header.Get("X-RateLimit-Reset"), 10, 64)
	if limitErr != nil || leftErr != nil || resetErr != nil || limit <= 0 {
		return
	}
	in := sensible(time.Unix(min(reset, lastTime), 0).Sub(serverTime(resp, now)))
	f(Allowance{Limit: limit, Remaining: left, Reset: now.Add(in), App: ctx.Value(asAppKey{}) != nil})
}
