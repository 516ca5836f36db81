package oidc_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"crypto/rsa"

	"github.com/pageflare/ci/service/oidc"
)

// shelf is a key store.
type shelf struct {
	jwks    []byte
	fetched time.Time
	err     error
}

func (s *shelf) StoreIssuerKeys(_ context.Context, _ string, jwks []byte, fetched time.Time) error {
	if s.err == nil {
		s.jwks, s.fetched = jwks, fetched
	}
	return s.err
}

func (s *shelf) IssuerKeys(context.Context, string) ([]byte, time.Time, error) {
	return s.jwks, s.fetched, s.err
}

func down(w http.ResponseWriter, _ *http.Request) bool {
	w.WriteHeader(http.StatusBadGateway)
	return true
}

func TestTheLastGoodKeysSurviveARestart(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	kept := &shelf{}
	i.want(t, i.keeping(t, kept, t.Output()), i.token(t, "one", nil), nil)
	i.respond, i.now = down, i.now.Add(time.Hour)
	var log bytes.Buffer
	v := i.keeping(t, kept, &log) // another process
	i.want(t, v, i.token(t, "one", nil), nil)
	i.want(t, v, i.token(t, "two", nil), oidc.ErrUnreachable) // it may be a new one
	if n := strings.Count(log.String(), `msg="issuer does not answer"`); n != 1 || !strings.Contains(log.String(), "keys=1 fetched=2026-03-01T12:00:00Z") {
		t.Errorf("log = %s, want one warning that says which keys are used", log.String())
	}
	// as soon as it answers, its word counts: the key was withdrawn
	i.respond, i.now = nil, i.now.Add(30*time.Second)
	raw := i.token(t, "one", nil)
	i.keys = map[string]*rsa.PrivateKey{"two": newKey(t)}
	i.want(t, v, i.token(t, "two", nil), nil)
	i.want(t, v, raw, oidc.ErrUnknownKey)
	i.respond, i.now = down, i.now.Add(time.Hour)
	i.want(t, i.keeping(t, kept, t.Output()), i.token(t, "two", nil), nil)
}

// One replica reached the issuer, the other has an older view: what is kept is newer, and counts.
func TestReplicasShareTheKeysOfAnIssuer(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	kept := &shelf{}
	behind := i.keeping(t, kept, t.Output())
	i.want(t, behind, i.token(t, "one", nil), nil)
	i.now = i.now.Add(time.Hour)
	i.keys["two"] = newKey(t)
	i.want(t, i.keeping(t, kept, t.Output()), i.token(t, "two", nil), nil)
	i.respond = down
	i.want(t, behind, i.token(t, "two", nil), nil)
	// the issuer withdraws the new key: who starts during the next outage does not know it any more
	i.respond, i.now = nil, i.now.Add(10*time.Minute)
	withdrawn := i.token(t, "two", nil)
	i.keys = map[string]*rsa.PrivateKey{"one": i.keys["one"]}
	i.want(t, behind, i.token(t, "one", nil), nil)
	i.respond = down
	i.want(t, i.keeping(t, kept, t.Output()), withdrawn, oidc.ErrUnreachable)
}

// A restored backup has old keys, and a clock that was ahead leaves some of the future: neither is
// believed.
func TestKeptKeysCountForAWhile(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]error{
		7 * 24 * time.Hour: nil, 7*24*time.Hour + time.Second: oidc.ErrUnreachable, -oidc.Leeway: nil, -oidc.Leeway - time.Second: oidc.ErrUnreachable,
	} {
		t.Run(age.String(), func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			kept := &shelf{}
			i.want(t, i.keeping(t, kept, t.Output()), i.token(t, "one", nil), nil)
			i.respond, kept.fetched = down, i.now.Add(-age)
			i.want(t, i.keeping(t, kept, t.Output()), i.token(t, "one", nil), want)
		})
	}
}

// What is kept is read as strictly as what an issuer sends, and a key store that fails costs
// nothing while the issuer answers.
func TestKeptKeysThatAreNone(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]*shelf{
		"nothing":        {},
		"no JSON":        {jwks: []byte("keys")},
		"an empty set":   {jwks: []byte(`{"keys":[]}`)},
		"a secret key":   {jwks: []byte(`{"keys":[{"kty":"oct","kid":"one","k":"c2VjcmV0"}]}`)},
		"a weak key":     {jwks: []byte(`{"keys":[{"kty":"RSA","kid":"one","n":"AQAB","e":"AQAB"}]}`)},
		"too much":       {jwks: []byte(`{"keys":[]}` + strings.Repeat(" ", 100<<10))},
		"a broken shelf": {err: errors.New("the disk is full")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			kept.fetched = i.now.Add(-time.Hour)
			i.respond = down
			v := i.keeping(t, kept, t.Output())
			i.want(t, v, i.token(t, "one", nil), oidc.ErrUnreachable)
			i.respond, i.now = nil, i.now.Add(3*time.Second)
			i.want(t, v, i.token(t, "one", nil), nil)
		})
	}
}
