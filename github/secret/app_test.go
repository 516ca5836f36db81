package secret_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pageflare/ci/github/secret"
)

// appKey is made once: that takes a while.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// pkcs1 is the form that GitHub gives.
func pkcs1(key *rsa.PrivateKey) string {
	return pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("PRIVATE KEY", der)
}

func newApp(t *testing.T, id, key string) *secret.App {
	t.Helper()
	app, err := secret.ParseApp(id, key)
	if err != nil {
		t.Fatalf("ParseApp(%s) = %v", id, err)
	}
	return app
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestKeysInEveryFormAreTheSame(t *testing.T) {
	t.Parallel()
	key := pkcs1(appKey())
	escaped := strings.ReplaceAll(key, "\n", `\n`)
	wrapped := encode(key)
	wrapped = wrapped[:76] + "\n" + wrapped[76:152] + "\r\n  " + wrapped[152:] + "\n"
	for about, text := range map[string]string{
		"PEM":                          key,
		"PEM without its last newline": strings.TrimSpace(key),
		"PEM with CRLF":                strings.ReplaceAll(key, "\n", "\r\n"),
		"PEM with literal \\n":         escaped,
		"PEM with literal \\r\\n":      strings.ReplaceAll(key, "\n", `\r\n`),
		"PEM with both of them":        strings.ReplaceAll(key, "\n", "\\r\n"),
		"PEM with spaces":              strings.ReplaceAll(key, "\n", " "),
		"PEM with nothing":             strings.ReplaceAll(key, "\n", ""),
		"PEM that is indented":         strings.ReplaceAll(key, "\n", "\n    "),
		"PEM in quotes":                `"` + key + `"`,
		"PEM as a string of JSON":      strconv.Quote(key) + "\n",
		"PEM in the quotes of a shell": "'" + escaped + "'",
		"PEM in PKCS 8 with spaces":    strings.ReplaceAll(pkcs8(t, appKey()), "\n", " "),
		"base64 in quotes":             `"` + encode(key) + `"`,
		"base64 of PEM with spaces":    encode(strings.ReplaceAll(key, "\n", " ")),
		"PEM in PKCS 8":                pkcs8(t, appKey()),
		"base64":                       encode(key),
		"base64 with line breaks":      wrapped,
		"base64 of literal \\n":        encode(escaped),
		"base64 of PKCS 8":             encode(pkcs8(t, appKey())),
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newAppWorld(t, nil)
			w.app = newApp(t, "12345", text)
			if got, err := w.appWriter(t).Write(t.Context(), target(t, "repository"), name, value); err != nil || got != secret.Created {
				t.Errorf("Write with %s = %v, %v, want created", about, got, err)
			}
		})
	}
}

func TestIDsOfApps(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"1", "12345", "Iv1.0123456789abcdef", "Iv23liABCDEF"} {
		if _, err := secret.ParseApp(id, pkcs1(appKey())); err != nil {
			t.Errorf("ParseApp(%q) = %v", id, err)
		}
	}
	for _, id := range []string{"", "my app", "1\n2", "../x", `"1"`, strings.Repeat("1", 101)} {
		if app, err := secret.ParseApp(id, pkcs1(appKey())); err == nil || app != nil || !strings.HasPrefix(err.Error(), "app-id: want") {
			t.Errorf("ParseApp(%q) = %v, %v, want an error", id, app, err)
		}
	}
}

func TestKeysThatAreNoneAreRefusedAndNeverQuoted(t *testing.T) {
	t.Parallel()
	key := pkcs1(appKey())
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := pemOf("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&appKey().PublicKey))
	for about, text := range map[string]string{
		"a word":                    "hunter2hunter2hunter2",
		"a key cut short":           key[:len(key)/2],
		"a key without its head":    key[40:],
		"a key with a letter lost":  key[:200] + key[201:],
		"base64 of something":       encode("hunter2hunter2hunter2"),
		"base64 of a key cut short": encode(key[:500]),
		"a quote that does not end": `"` + key,
		"a key in words":            "the key is " + key[:300],
		"base64 twice":              encode(encode(key)),
		"a public key":              public,
		"a key of another kind":     pkcs8(t, elliptic),
		"a head alone":              "-----BEGIN RSA PRIVATE KEY-----",
	} {
		app, err := secret.ParseApp("12345", text)
		if err == nil || app != nil || !strings.HasPrefix(err.Error(), "app-private-key: not a private key") {
			t.Errorf("ParseApp(%s) = %v, %v, want an error", about, app, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), text[len(text)/2:]) {
			t.Errorf("ParseApp(%s) quotes the key: %v", about, err)
		}
	}
	if _, err := secret.ParseApp("12345", " "); err == nil || !strings.HasPrefix(err.Error(), "app-private-key: empty") {
		t.Errorf("ParseApp(blank key) = %v, want it called empty", err)
	}
	_, err = secret.ParseApp("", "")
	if err == nil || !strings.Contains(err.Error(), "app-id") || !strings.Contains(err.Error(), "app-private-key") {
		t.Errorf("ParseApp(nothing) = %v, want both faults", err)
	}
}

func TestAnAppHidesItsKey(t *testing.T) {
	t.Parallel()
	app := newApp(t, "12345", pkcs1(appKey()))
	holder := struct{ App *secret.App }{app}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "app", app, "holder", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	w := newAppWorld(t, nil)
	writer := w.appWriter(t)
	cfg := writerConfig(w.config(t, ""))
	cfg.App = app
	seen := map[string]string{"slog": log.String(), "json": string(encoded)}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
		seen[verb] = fmt.Sprintf(verb+verb+verb+verb, app, holder, cfg, writer)
	}
	private := appKey().D.String()
	for by, text := range seen {
		if !strings.Contains(text, "GitHub App 12345") && !strings.HasPrefix(by, "%") || strings.Contains(text, private) ||
			strings.Contains(text, appKey().D.Text(16)) {
			t.Errorf("printed by %s = %.200q, want it hidden", by, text)
		}
	}
}
