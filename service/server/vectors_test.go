package server_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

type vector struct {
	Token string `json:"token"`
}

// vectors are the tokens of service/token. None of them is signed by a key of a service that a test
// starts.
func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "token", "testdata", "vectors", "tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v []vector
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v) == 0 {
		t.Fatal("no vectors")
	}
	return v
}
