package token_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
)

const (
	goodHeader  = `{"alg":"HS256","typ":"JWT","kid":"k_new"}`
	goodPayload = `{"sub":"user_abc123","email":"user@example.com","tier":"pro","features":["spa_mode"],` +
		`"valid_until":"2027-03-12T00:00:00.000Z","iat":1772362800,"exp":1772539200,"jti":"01J","iss":"http://127.0.0.1:8080"}`
)

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// sign makes a token by hand, with the secret of k_new: what a holder of the key could make, right
// or wrong.
func sign(header, payload string) string { return signEncoded(encode(header), encode(payload)) }

func signEncoded(header, payload string) string {
	mac := hmac.New(sha256.New, testKey("k_new", 1).Secret)
	mac.Write([]byte(header + "." + payload))
	return header + "." + payload + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// with replaces a part of the good payload.
func with(old, new string) string {
	changed := strings.Replace(goodPayload, old, new, 1)
	if changed == goodPayload {
		panic("the good payload has no " + old)
	}
	return changed
}

// makeVectors lists each way in which a token can be right or wrong.
func makeVectors(t testing.TB) []vector {
	t.Helper()
	good := sign(goodHeader, goodPayload)
	parts := strings.Split(good, ".")
	forged := parts[0] + "." + encode(with("pro", "team")) + "." + parts[2]
	otherKey := parts[0] + "." + parts[1] + "." + encode(strings.Repeat("x", 32))
	const (
		ok        = "ok"
		malformed = "not a license token"
		tooLarge  = "token too large"
		algorithm = "algorithm not allowed"
		unknown   = "unknown signing key"
		signature = "wrong signature"
		claims    = "wrong claims"
		expired   = "token expired"
		early     = "token issued in the future"
	)
	return []vector{
		{"a good token", good, ok, ok},
		{"claims we do not know are let through", sign(goodHeader, with(`"iss"`, `"seats":5,"iss"`)), ok, ok},
		{"a token of the vendor has no kid", sign(`{"alg":"HS256","typ":"JWT"}`, with(`,"jti":"01J","iss":"http://127.0.0.1:8080"`, "")), unknown, ok},

		{"empty", "", malformed, malformed},
		{"a word", "secret", malformed, malformed},
		{"two parts", parts[0] + "." + parts[1], malformed, malformed},
		{"four parts", good + ".x", malformed, malformed},
		{"only dots", "..", malformed, malformed},
		{"no signature", parts[0] + "." + parts[1] + ".", signature, malformed},
		{"a leading space", " " + good, malformed, malformed},
		{"a trailing newline", good + "\n", malformed, malformed},
		{"a newline within the signature", good[:len(good)-4] + "\n" + good[len(good)-4:], malformed, malformed},
		{"a newline within the header", good[:4] + "\n" + good[4:], malformed, malformed},
		{"padding after the signature", good + "=", malformed, malformed},
		{"unused bits in the signature", good[:len(good)-1] + nextLetter(good[len(good)-1]), malformed, malformed},
		{"standard base64 letters", parts[0] + "." + parts[1] + ".ab+/", malformed, malformed},
		{"a header of text", sign("not json", goodPayload), malformed, malformed},
		{"a header that is a list", sign("[]", goodPayload), malformed, malformed},
		{"trailing data after the header", sign(goodHeader+" {}", goodPayload), malformed, malformed},
		{"trailing data after the claims", sign(goodHeader, goodPayload+" {}"), claims, claims},
		{"claims of text", sign(goodHeader, "not json"), claims, claims},
		{"claims that are a list", sign(goodHeader, `["sub"]`), claims, claims},
		{"claims that are null", sign(goodHeader, `null`), claims, claims},
		{"longer than any secret", good + strings.Repeat("A", 48<<10), tooLarge, tooLarge},
		{"longer than any token of ours", sign(goodHeader, with("spa_mode", strings.Repeat("f", 5000))), tooLarge, ok},

		{"alg none, unsigned", encode(`{"alg":"none","typ":"JWT","kid":"k_new"}`) + "." + parts[1] + ".", algorithm, algorithm},
		{"alg none, with the signature", sign(`{"alg":"none","typ":"JWT","kid":"k_new"}`, goodPayload), algorithm, algorithm},
		{"alg None", sign(`{"alg":"None","typ":"JWT","kid":"k_new"}`, goodPayload), algorithm, algorithm},
		{"alg missing", sign(`{"typ":"JWT","kid":"k_new"}`, goodPayload), algorithm, algorithm},
		{"alg HS512 for an HS256 key", sign(`{"alg":"HS512","typ":"JWT","kid":"k_new"}`, goodPayload), algorithm, ok},
		{"alg RS256 for an HS256 key", sign(`{"alg":"RS256","typ":"JWT","kid":"k_new"}`, goodPayload), algorithm, ok},
		{"alg that is a number", sign(`{"alg":256,"typ":"JWT","kid":"k_new"}`, goodPayload), malformed, malformed},
		{"kid that no key has", sign(`{"alg":"HS256","typ":"JWT","kid":"k_none"}`, goodPayload), unknown, ok},
		{"kid that is a path", sign(`{"alg":"HS256","typ":"JWT","kid":"../../dev/null"}`, goodPayload), unknown, ok},
		{"kid of another key", sign(`{"alg":"HS256","typ":"JWT","kid":"k_old"}`, goodPayload), signature, ok},
		{"crit", sign(`{"alg":"HS256","typ":"JWT","kid":"k_new","crit":["exp"]}`, goodPayload), malformed, malformed},
		{"an unknown header member", sign(`{"alg":"HS256","typ":"JWT","kid":"k_new","jku":"https://example.com"}`, goodPayload), malformed, ok},
		{"alg twice", sign(`{"alg":"none","alg":"HS256","typ":"JWT","kid":"k_new"}`, goodPayload), malformed, malformed},
		{"alg twice in two cases", sign(`{"alg":"HS256","ALG":"none","typ":"JWT","kid":"k_new"}`, goodPayload), malformed, malformed},
		{"a lease", testLease(t), algorithm, ok},
		{"header members in another order", sign(`{"typ":"JWT","alg":"HS256","kid":"k_new"}`, goodPayload), malformed, ok},
		{"another typ", sign(`{"alg":"HS256","typ":"at+jwt","kid":"k_new"}`, goodPayload), malformed, ok},

		{"a changed claim", forged, signature, ok},
		{"a signature of zeros", otherKey, signature, ok},
		{"a signature cut short", good[:len(good)-3], signature, ok},

		{"no sub", sign(goodHeader, with(`"sub":"user_abc123",`, "")), claims, claims},
		{"an empty sub", sign(goodHeader, with(`user_abc123`, "")), claims, claims},
		{"no exp", sign(goodHeader, with(`"exp":1772539200,`, "")), claims, claims},
		{"exp that is text", sign(goodHeader, with(`1772539200`, `"1772539200"`)), claims, claims},
		{"exp with a fraction", sign(goodHeader, with(`1772539200`, `1772539200.5`)), claims, claims},
		{"exp beyond all calendars", sign(goodHeader, with(`1772539200`, `99999999999999`)), claims, claims},
		{"a negative exp", sign(goodHeader, with(`1772539200`, `-1`)), claims, claims},
		{"exp twice", sign(goodHeader, with(`"exp":1772539200`, `"exp":1,"exp":1772539200`)), claims, claims},
		{"no iat", sign(goodHeader, with(`"iat":1772362800,`, "")), claims, ok},
		{"no jti", sign(goodHeader, with(`"jti":"01J",`, "")), claims, ok},
		{"sub twice, once in letters that fold", sign(goodHeader, with(`"sub":"user_abc123"`, `"sub":"user_abc123","\u017fub":"user_other"`)), claims, claims},
		{"features that is text", sign(goodHeader, with(`["spa_mode"]`, `"spa_mode"`)), claims, claims},
		{"features that is null", sign(goodHeader, with(`["spa_mode"]`, `null`)), ok, ok},
		{"a line break in tier", sign(goodHeader, with(`"pro"`, `"pro\nx=1"`)), claims, claims},
		{"an escape sequence in email", sign(goodHeader, with(`user@example.com`, `\u001b[2J`)), claims, claims},
		{"a text direction mark in a feature", sign(goodHeader, with(`spa_mode`, `\u202e`)), claims, claims},
		{"valid_until beyond all calendars", sign(goodHeader, with(`2027-03-12T00:00:00.000Z`, `9999-12-31T23:59:59-12:00`)), claims, claims},
		{"valid_until that is no time", sign(goodHeader, with(`2027-03-12T00:00:00.000Z`, `soon`)), claims, claims},

		{"expired a second ago", sign(goodHeader, with(`1772539200`, `1772366399`)), expired, ok},
		{"expires this very second", sign(goodHeader, with(`1772539200`, `1772366400`)), expired, ok},
		{"expires in a second", sign(goodHeader, with(`1772539200`, `1772366401`)), ok, ok},
		{"issued a minute ahead", sign(goodHeader, with(`1772362800`, `1772366460`)), ok, ok},
		{"issued more than a minute ahead", sign(goodHeader, with(`1772362800`, `1772366461`)), early, ok},
	}
}

// nextLetter returns the base64url letter after b, which differs from it in the lowest bits only.
func nextLetter(b byte) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(letters[(strings.IndexByte(letters, b)+1)%64])
}
