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

func TestATokenHidesItself(t *testing.T) {
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
