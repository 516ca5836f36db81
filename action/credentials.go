package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// credentials is the wire form of the credentials file: {"token":"…"}.
type credentials struct {
	Token string `json:"token"`
}

// readCredentials returns the token in the file. os.ErrNotExist: there is no file. The error never quotes what is in it.
func readCredentials(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("credentials: %w", err)
	}
	var c credentials
	if json.Unmarshal(b, &c) != nil || c.Token == "" {
		return "", usageError{errors.New("credentials: " + file + " holds no token: log in again, or remove it")}
	}
	return c.Token, nil
}

// writeCredentials stores a token for its owner alone (mode 0600), whole or not at all.
func writeCredentials(file, token string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	b, err := json.Marshal(credentials{token})
	if err != nil {
		return err
	}
	if err := replaceFile(file, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	return nil
}
