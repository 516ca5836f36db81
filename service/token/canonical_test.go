package token

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is read sooner is what is read in full, and what Sign writes of ordinary claims is read
// sooner.
func TestCanonicalPayloadsAreReadAsAllOthers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	full := Claims{
		Subject: "user_1", Email: "dev@example.com", Tier: "pro", Features: []string{"spa_mode", "critical_css"}, ValidUntil: at.AddDate(1, 0, 0),
		IssuedAt: at, ExpiresAt: at.Add(time.Hour), ID: "j", Issuer: "https://license.example.com",
	}
	bare := full
	bare.Features, bare.ID, bare.Issuer = []string{}, "", ""
	for _, c := range []Claims{full, bare} {
		payload, err := encodeClaims(c)
		if err != nil {
			t.Fatal(err)
		}
		w, ok := canonical(payload)
		if !ok {
			t.Errorf("%s is not read as canonical", payload)
			continue
		}
		got, err := w.claims()
		want, fault := decodeAnyClaims(payload)
		if err != nil || fault != nil {
			t.Fatal(err, fault)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-read in full +canonical)\n%s", diff)
		}
	}
}

// What is written sooner is what is written in full, and whoever cannot be read sooner is not
// written so.
func FuzzAppendCanonical(f *testing.F) {
	f.Add("user_1", "dev@example.com", "pro", "spa_mode", int64(1772366400), "j", "https://license.example.com")
	f.Add(`us"er`, `d\\ev@example.com`, "<&>", "", int64(1), "", "")
	f.Add("üser", "dev@example.com", "pro", "\x00", int64(99), "\xff", "\u2028")
	f.Fuzz(func(t *testing.T, sub, email, tier, feature string, at int64, id, issuer string) {
		until := at + 1
		w := wire{
			Subject: sub, Email: email, Tier: tier, Features: []string{feature, tier}, ValidUntil: "2027-03-12T00:00:00.000Z",
			IssuedAt: &at, ExpiresAt: &until, ID: id, Issuer: issuer,
		}
		if feature == "" {
			w.Features = []string{}
		}
		got, ok := appendCanonical(nil, w)
		want, err := encodeJSON(w)
		if err != nil {
			t.Fatal(err)
		}
		if ok && string(got) != string(want) {
			t.Errorf("written sooner:  %s\nwritten in full: %s", got, want)
		}
		if _, canonical := canonical(want); canonical && !ok {
			t.Errorf("%s is not written sooner", want)
		}
	})
}

func FuzzCanonical(f *testing.F) {
	const good = `{"sub":"user_1","email":"a@b","tier":"pro","features":["x","y"],"valid_until":"2027-03-12T00:00:00.000Z","iat":1772366400,"exp":1772370000,"jti":"j","iss":"i"}`
	for _, p := range []string{
		good, strings.Replace(good, `["x","y"]`, `[]`, 1), strings.Replace(good, `"y"`, `"y",`, 1), strings.Replace(good, `["x"`, `[,"x"`, 1), strings.Replace(good, `"x","y"]`, `"x"`, 1),
		strings.Replace(good, "1772366400", "01772366400", 1), strings.Replace(good, "1772366400", "-1", 1), strings.Replace(good, "1772366400", "1e9", 1),
		strings.Replace(good, "1772366400", "99999999999999999999", 1), strings.Replace(good, "user_1", `user\u0031`, 1), strings.Replace(good, "user_1", "us\u200ber", 1),
		good + " ", good[:len(good)-1], good[:40], strings.Replace(good, `,"jti"`, `,"sub":"user_2","jti"`, 1), "{}", "",
	} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		w, ok := canonical([]byte(payload))
		if !ok {
			return
		}
		if !json.Valid([]byte(payload)) {
			t.Fatalf("canonical takes %q, which is no JSON", payload)
		}
		got, err := w.claims()
		want, fault := decodeAnyClaims([]byte(payload))
		if (err == nil) != (fault == nil) || err != nil && err.Error() != fault.Error() {
			t.Fatalf("canonical says %v, and reading in full says %v", err, fault)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-read in full +canonical)\n%s", diff)
		}
	})
}
