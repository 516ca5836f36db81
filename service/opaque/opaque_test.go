package opaque_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/opaque"
)

func TestASecretHidesItself(t *testing.T) {
	t.Parallel()
	const text = "pf_at_not-for-you"
	secret := opaque.Secret(text)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", secret, "group", []any{secret})
	doc, err := json.Marshal(map[string]any{"s": struct{ S *opaque.Secret }{&secret}})
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{
		"%v": fmt.Sprintf("%v", secret), "%q": fmt.Sprintf("%q", secret),
		"%#v": fmt.Sprintf("%#v", secret), "log": log.String(), "JSON": string(doc),
		"in a struct": fmt.Sprintf("%+v", struct{ S opaque.Secret }{secret}),
	} {
		if strings.Contains(got, "not-for-you") || !strings.Contains(got, "[hidden]") {
			t.Errorf("%s = %s, want [hidden] in place of the text", name, got)
		}
	}
	if secret.Reveal() != text {
		t.Errorf("Reveal() = %q, want %q", secret.Reveal(), text)
	}
}

func TestATokenFitsItsPrefixAlone(t *testing.T) {
	t.Parallel()
	prefixes := []opaque.Prefix{
		opaque.APIToken, opaque.AdminToken, opaque.LoginToken, opaque.DeviceCode, opaque.SignInLink, opaque.Session, opaque.SetupLink,
	}
	for _, made := range prefixes {
		token, err := made.New(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range prefixes {
			if got := p.Fits(token.Reveal()); got != (p == made) {
				t.Errorf("%s.Fits(a token %s…) = %t", p, made, got)
			}
		}
		if got := opaque.HideSecrets("no " + token.Reveal() + " here"); got != "no [hidden] here" {
			t.Errorf("HideSecrets leaves %q", got)
		}
	}
}

func TestTheSecretOfAWebhookIsHidden(t *testing.T) {
	t.Parallel()
	got := opaque.HideSecrets(`{"secret":"whsec_AAECAwQFBgcICQoLDA0O+/8Q="}`)
	if got != `{"secret":"[hidden]"}` {
		t.Errorf("HideSecrets leaves %q", got)
	}
}

func TestATokenIDSaysWhenItWasIssued(t *testing.T) {
	t.Parallel()
	issued := time.Date(2026, 3, 1, 12, 0, 7, 0, time.UTC)
	id, err := opaque.NewTokenID(issued, "", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := id.IssuedAt(); !ok || !got.Equal(issued) {
		t.Errorf("IssuedAt() = %v, %t, want %v", got, ok, issued)
	}
	for _, text := range []opaque.TokenID{"", "x", id[:39], id + "0", "!" + id[1:]} {
		if got, ok := text.IssuedAt(); ok {
			t.Errorf("IssuedAt of %q = %v, want none", text, got)
		}
	}
}
