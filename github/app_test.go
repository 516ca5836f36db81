package github_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/pageflare/ci/github"
	"github.com/pageflare/ci/github/githubtest"
	"github.com/pageflare/ci/service/opaque"
)

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf("PRIVATE KEY", der)
}

func encode(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func TestKeysInEveryFormAreTheSame(t *testing.T) {
	t.Parallel()
	key := githubtest.PEM(githubtest.AppKey())
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
		"PEM in PKCS 8 with spaces":    strings.ReplaceAll(pkcs8(t, githubtest.AppKey()), "\n", " "),
		"base64 in quotes":             `"` + encode(key) + `"`,
		"base64 of PEM with spaces":    encode(strings.ReplaceAll(key, "\n", " ")),
		"PEM in PKCS 8":                pkcs8(t, githubtest.AppKey()),
		"base64":                       encode(key),
		"base64 with line breaks":      wrapped,
		"base64 of literal \\n":        encode(escaped),
		"base64 of PKCS 8":             encode(pkcs8(t, githubtest.AppKey())),
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			if _, err := w.installations(t, newApp(t, text)).Find(t.Context(), ofSite()); err != nil {
				t.Errorf("Find with %s = %v, want GitHub to know the key", about, err)
			}
		})
	}
}

func TestIDsOfApps(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"1", "12345", "Iv1.0123456789abcdef", "Iv23liABCDEF"} {
		if _, err := github.ParseApp(id, opaque.Secret(githubtest.PEM(githubtest.AppKey()))); err != nil {
			t.Errorf("ParseApp(%q) = %v", id, err)
		}
	}
	for _, id := range []string{"", "my app", "1\n2", "../x", `"1"`, strings.Repeat("1", 101)} {
		if app, err := github.ParseApp(id, opaque.Secret(githubtest.PEM(githubtest.AppKey()))); err == nil || app != nil || !strings.HasPrefix(err.Error(), "app id: want") {
			t.Errorf("ParseApp(%q) = %v, %v, want an error", id, app, err)
		}
	}
}

func TestKeysThatAreNoneAreRefusedAndNeverQuoted(t *testing.T) {
	t.Parallel()
	key := githubtest.PEM(githubtest.AppKey())
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := pemOf("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&githubtest.AppKey().PublicKey))
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
		app, err := github.ParseApp("12345", opaque.Secret(text))
		if err == nil || app != nil || !strings.HasPrefix(err.Error(), "private key: not a private key") {
			t.Errorf("ParseApp(%s) = %v, %v, want an error", about, app, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), text[len(text)/2:]) {
			t.Errorf("ParseApp(%s) quotes the key: %v", about, err)
		}
	}
	if _, err := github.ParseApp("12345", opaque.Secret(" ")); err == nil || !strings.HasPrefix(err.Error(), "private key: empty") {
		t.Errorf("ParseApp(blank key) = %v, want it called empty", err)
	}
	_, err = github.ParseApp("", "")
	if err == nil || !strings.Contains(err.Error(), "app id: ") || !strings.Contains(err.Error(), "private key: ") {
		t.Errorf("ParseApp(nothing) = %v, want both faults", err)
	}
}

func TestAnAppHidesItsKey(t *testing.T) {
	t.Parallel()
	app := newApp(t, githubtest.PEM(githubtest.AppKey()))
	holder := struct{ App *github.App }{app}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "app", app, "holder", holder)
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	installations := newWorld(t, nil).installations(t, app)
	seen := map[string]string{"slog": log.String(), "json": string(encoded)}
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
		seen[verb] = fmt.Sprintf(verb+verb+verb+verb, app, holder, installations, installations)
	}
	private := githubtest.AppKey().D.String()
	for by, text := range seen {
		if !strings.Contains(text, "GitHub App 12345") && !strings.HasPrefix(by, "%") || strings.Contains(text, private) ||
			strings.Contains(text, githubtest.AppKey().D.Text(16)) {
			t.Errorf("printed by %s = %.200q, want it hidden", by, text)
		}
	}
}
