package opaque_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/opaque"
)

func TestASecretHidesItselfFromEveryVerb(t *testing.T) {
	t.Parallel()
	token := opaque.Secret("plain-text-of-it")
	holder := struct{ Token opaque.Secret }{token}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "token", token, "holder", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{"LogValue": token.LogValue().String(), "slog": log.String(), "json": string(encoded)}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d"} {
		seen[verb] = fmt.Sprintf(verb, token)
		seen["holder "+verb] = fmt.Sprintf(verb, holder)
	}
	for by, text := range seen {
		if !strings.Contains(text, "[hidden]") || strings.Contains(text, "plain") || strings.Contains(text, "706c61696e") {
			t.Errorf("printed by %s = %q, want it hidden", by, text)
		}
	}
	if token.Reveal() != "plain-text-of-it" {
		t.Errorf("Reveal() = %q, want the text", token.Reveal())
	}
}

func TestASecretComesFromJSONAndDoesNotGoThere(t *testing.T) {
	t.Parallel()
	var holder struct{ Token opaque.Secret }
	if err := json.Unmarshal([]byte(`{"Token":"plain\u0020text"}`), &holder); err != nil || holder.Token.Reveal() != "plain text" {
		t.Errorf("from JSON = %q, %v, want the text", holder.Token.Reveal(), err)
	}
	written, err := json.Marshal(holder)
	if err != nil || string(written) != `{"Token":"[hidden]"}` {
		t.Errorf("to JSON = %s, %v, want it hidden", written, err)
	}
	// what was written so must not become the secret
	if err := json.Unmarshal(written, &holder); err == nil || holder.Token.Reveal() != "plain text" {
		t.Errorf("read back = %q, %v, want it refused", holder.Token.Reveal(), err)
	}
}

func TestHideUserInfo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://license.example":                     "https://license.example",
		"https://u:pass-word@h.example/x?k=pass-word": "https://[hidden]@h.example/x?[hidden]",
		"postgres://u:p@ss-word@h/db":                 "postgres://[hidden]@h/db",
		"host=h password=pass-word":                   "[hidden]",
		"u:pass-word@h":                               "[hidden]",
		"sqlite:a=b@c.db":                             "sqlite:a=b@c.db",
		"https://h/#pass-word":                        "https://h/?[hidden]",
		"license.db":                                  "license.db",
	} {
		if got := opaque.HideUserInfo(text); got != want {
			t.Errorf("HideUserInfo(%q) = %q, want %q", text, got, want)
		}
	}
}
