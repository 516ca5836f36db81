package github

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pageflare/ci/service/opaque"
)

// An App is a GitHub App; ParseApp makes it. It hides its key. How it comes by a token:
// installation.go.
type App struct {
	id  string // app id or client id
	key *rsa.PrivateKey
}

// An AppError is what is wrong with the id and the key of an App, each nil when it is not. Neither
// quotes the key, and neither says what the settings of the program are called.
type AppError struct {
	ID  error
	Key error // ErrNoKey, or another
}

// Error has a line for each fault.
func (e *AppError) Error() string {
	return errors.Join(named("app id", e.ID), named("private key", e.Key)).Error()
}

func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// ErrNoKey says that the text of a key is empty.
var ErrNoKey = errors.New("empty: give the private key of the GitHub App")

var errKey = errors.New("not a private key of a GitHub App: give the whole .pem file that GitHub made, " +
	"from -----BEGIN to the last -----, as it is, with \\n or spaces for line breaks, or in base64")

// ParseApp reads the id of an App, or its client id, and its private key: PEM as GitHub gives it,
// PEM with \n, \r\n or spaces for line breaks, or base64 of any of these; also in quotes. The error
// is an *AppError.
func ParseApp(id string, key opaque.Secret) (*App, error) {
	var faults AppError
	if !regexp.MustCompile(`\A[A-Za-z0-9._-]{1,100}\z`).MatchString(id) {
		faults.ID = errors.New("want the app id, such as 12345, or the client id, such as Iv1.0123456789abcdef: " +
			"both are on the page of the GitHub App's settings")
	}
	parsed, err := parseKey(key.Reveal())
	faults.Key = err
	if faults != (AppError{}) {
		return nil, &faults
	}
	return &App{id, parsed}, nil
}

func parseKey(text string) (*rsa.PrivateKey, error) {
	if strings.TrimSpace(text) == "" {
		return nil, ErrNoKey
	}
	text = unquoted(text)
	if !strings.Contains(text, "-----BEGIN") {
		decoded, err := base64.StdEncoding.DecodeString(unspaced(text))
		if err != nil {
			return nil, errKey
		}
		text = unquoted(string(decoded))
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(rewrapped(text)))
	if err != nil {
		return nil, errKey // the cause could quote the key
	}
	return key, nil
}

// unquoted takes off what shells, .env files and JSON put around a text of several lines and into
// it.
func unquoted(text string) string {
	text = strings.TrimSpace(text)
	for _, quote := range []string{`"`, `'`} {
		if inner, ok := strings.CutPrefix(text, quote); ok && strings.HasSuffix(inner, quote) {
			text = strings.TrimSuffix(inner, quote)
			break
		}
	}
	return strings.TrimSpace(strings.NewReplacer(`\r`, "", `\n`, "\n").Replace(text))
}

// rewrapped gives PEM its line breaks back, whatever white space took their place. Other text is
// given as it is.
func rewrapped(text string) string {
	m := regexp.MustCompile(
		`\A(-----BEGIN [A-Z ]+-----)([A-Za-z0-9+/=\s]+)(-----END [A-Z ]+-----)\z`).FindStringSubmatch(text)
	if m == nil {
		return text
	}
	return m[1] + "\n" + unspaced(m[2]) + "\n" + m[3] + "\n"
}

func unspaced(text string) string { return strings.Join(strings.Fields(text), "") }

// sign makes the token that an App shows to speak for itself:
//
//	RS256 {"iss":"12345","iat":now - 60 s,"exp":now + 9 min}
//
// GitHub takes ten minutes at most, and no time in the future by its own clock.
// https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
func (a *App) sign(now time.Time) (opaque.Secret, error) {
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": a.id,
		"iat": now.Add(-time.Minute).Unix(),
		"exp": now.Add(9 * time.Minute).Unix(),
	}).SignedString(a.key)
	if err != nil {
		return "", fmt.Errorf("sign as the %s: %w", a, err)
	}
	return opaque.Secret(signed), nil
}

// String gives "GitHub App 12345".
func (a *App) String() string { return "GitHub App " + a.id }

// Format writes the same for every verb.
func (a *App) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(a.String())) }

// LogValue gives the same to slog.
func (a *App) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalText gives the same to JSON and other encoders.
func (a *App) MarshalText() ([]byte, error) { return []byte(a.String()), nil }
