package secret

import (
	"errors"
	"fmt"
	"strings"
)

// MaxValue is the largest value of a GitHub secret in bytes: 48 KB.
const MaxValue = 48 * 1024

// CheckName refuses a name that GitHub would not take for a secret. The error says the rule and the
// remedy.
// https://docs.github.com/actions/security-for-github-actions/security-guides/using-secrets-in-github-actions
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of the secret is empty: give one, such as PAGEFLARE_TOKEN")
	case strings.ContainsFunc(name, notInName):
		return fmt.Errorf("secret name %q has a character other than A-Z, a-z, 0-9 and _: "+
			"use only these, as in PAGEFLARE_TOKEN", name)
	case '0' <= name[0] && name[0] <= '9':
		return fmt.Errorf("secret name %q starts with a digit: start with a letter or _", name)
	case strings.HasPrefix(strings.ToUpper(name), "GITHUB_"):
		return fmt.Errorf("secret name %q starts with GITHUB_, which GitHub keeps for itself: "+
			"choose another name, such as PAGEFLARE_TOKEN", name)
	}
	return nil
}

func notInName(r rune) bool {
	letter := 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
	digit := '0' <= r && r <= '9'
	return !letter && !digit && r != '_'
}

// CheckValue refuses a value that a secret cannot hold or that no step could read back. The error
// never shows the value.
func CheckValue(value string) error {
	switch {
	case value == "":
		return errors.New("the value is empty: a secret must hold something")
	case len(value) > MaxValue:
		return fmt.Errorf("the value has %d bytes: a GitHub secret holds at most %d (48 KB)", len(value), MaxValue)
	case strings.ContainsRune(value, 0):
		return errors.New("the value has a NUL byte, which no environment variable can carry")
	}
	return nil
}
