package keyring_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pageflare/ci/service/keyring"
)

func newKey(t *testing.T) keyring.MasterKey {
	t.Helper()
	k, err := keyring.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAMasterKeyIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	text := k.Text().Reveal()
	for name, form := range map[string]string{"as it is": text, "with a line end": text + "\n", "with blanks": " \t" + text + "\r\n"} {
		got, err := keyring.ParseMasterKey(form)
		if err != nil || got.Text() != k.Text() {
			t.Errorf("%s: ParseMasterKey = %v, want the key again", name, err)
		}
	}
}

func TestWhatIsNoMasterKeyIsRefusedAndNotQuoted(t *testing.T) {
	t.Parallel()
	good := newKey(t).Text().Reveal()
	encoded := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, n)) }
	for name, text := range map[string]string{
		"nothing": "", "a byte short": encoded(31), "a byte long": encoded(33), "without padding": strings.TrimRight(good, "="),
		"two": good + good, "a blank inside": good[:9] + " " + good[9:], "in hexadecimal": strings.Repeat("fb", 32),
		"in the alphabet of addresses": strings.ReplaceAll(strings.ReplaceAll(encoded(32), "+", "-"), "/", "_"),
		"with bits that count for nothing": func() string { // the last letter before = has four
			b := []byte(encoded(32))
			b[len(b)-2]++
			return string(b)
		}(),
	} {
		_, err := keyring.ParseMasterKey(text)
		if err == nil {
			t.Errorf("%s: ParseMasterKey = nil, want an error", name)
		} else if len(text) > 0 && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error quotes it", name)
		} else if !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%s: %v does not say how to make one", name, err)
		}
	}
}

func TestAMasterKeyHidesItself(t *testing.T) {
	t.Parallel()
	k := newKey(t)
	raw, err := base64.StdEncoding.DecodeString(k.Text().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k, "text", k.Text())
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", k, k, k, k, k, k)
	for name, form := range map[string]string{
		"base64": k.Text().Reveal(), "hexadecimal": fmt.Sprintf("%x", raw), "numbers": strings.Trim(fmt.Sprint(raw), "[]"),
	} {
		if strings.Contains(out.String(), form) {
			t.Errorf("it is printed in %s", name)
		}
	}
}

// One key for each purpose, and none of them is the master key.
func TestDerivedKeysAreApart(t *testing.T) {
	t.Parallel()
	k, other := newKey(t), newKey(t)
	seen := map[string]string{k.Text().Reveal(): "the master key"}
	for _, from := range []keyring.MasterKey{k, other} {
		for _, purpose := range []string{"", "audit", "audit ", "user codes"} {
			key, err := from.Derive(purpose)
			if err != nil || len(key) != 32 {
				t.Fatalf("Derive(%q) = %d bytes, %v, want 32", purpose, len(key), err)
			}
			text := base64.StdEncoding.EncodeToString(key)
			if was, there := seen[text]; there {
				t.Errorf("Derive(%q) is the key of %s", purpose, was)
			}
			seen[text] = fmt.Sprintf("purpose %q", purpose)
			if again, err := from.Derive(purpose); err != nil || !bytes.Equal(again, key) {
				t.Errorf("Derive(%q) again is another key, %v", purpose, err)
			}
		}
	}
}
