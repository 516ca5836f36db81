package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/auth"
)

// Anyone who has what leaked can keep a request open whose body does not come. When it comes, the
// right to make it is over.
func TestARightThatEndsWhileTheBodyComesIsNoRight(t *testing.T) {
	t.Parallel()
	k := newKeyless(t)
	addr := serveShortened(t, k.Service, long, long)
	ctx := context.Background()
	policy := k.policy(nil)
	key, keyRecord, err := k.CreateAPIToken(ctx, k.account.ID, "leaked")
	if err != nil {
		t.Fatal(err)
	}
	issued, err := k.IssueFor(ctx, k.account.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	admin, adminRecord, err := k.CreateAdminToken(ctx, auth.NewAdminToken{Scopes: auth.Scopes}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path, bearer, media, body string
		end                       func() error
		want                      int
	}{
		"an API token is revoked": {
			"/_api/license/issue", key.Reveal(), "text/plain", "x",
			func() error { _, _, err := k.RevokeAPIToken(ctx, keyRecord.ID, false); return err }, http.StatusUnauthorized,
		},
		"a license token is revoked alone": {
			"/_api/license/issue", issued.Token.Reveal(), "text/plain", "x",
			func() error { _, err := k.RevokeToken(ctx, string(issued.ID), false); return err }, http.StatusForbidden,
		},
		"a policy is removed": {
			"/_api/license/issue", k.identity(nil), "text/plain", "x",
			func() error { _, err := k.RemovePolicy(ctx, policy.ID, false); return err }, http.StatusForbidden,
		},
		"an admin token is revoked": {
			"/_api/admin/admin-tokens", admin.Reveal(), "application/json", `{"scopes":["audit:read"]}`,
			func() error { _, err := k.RevokeAdminToken(ctx, adminRecord.ID); return err }, http.StatusUnauthorized,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held := holdBody(t, addr, c.path, c.bearer, c.media, c.body)
			if err := c.end(); err != nil {
				t.Fatal(err)
			}
			if got := held(); got != c.want {
				t.Errorf("the request whose body came afterwards = %d, want %d", got, c.want)
			}
		})
	}
}

// holdBody begins a request and returns when the server waits for its body; what it returns sends
// the body and tells the status of the answer.
func holdBody(t *testing.T, addr, path, bearer, media, body string) func() int {
	t.Helper()
	c := speak(t, addr, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
		"Expect: 100-continue\r\n\r\n", path, bearer, media, len(body)))
	in := bufio.NewReader(c)
	for line := "100"; line != "\r\n"; { // HTTP/1.1 100 Continue: somebody reads the body
		var err error
		if line, err = in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") && line != "\r\n" {
			t.Fatalf("before the body came %q, %v, want 100 Continue", line, err)
		}
	}
	return func() int {
		t.Helper()
		if _, err := io.WriteString(c, body); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
}
