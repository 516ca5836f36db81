package token_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
)

const (
	leaseHeader  = `{"alg":"EdDSA","typ":"lease+jwt","kid":"k_new"}`
	leasePayload = `{"iss":"https://license.example.com","sub":"user_abc123","jti":"ls_1","license_jti":"01J","tier":"pro","features":["spa_mode"],` +
		`"valid_until":"2027-03-12T00:00:00.000Z","grace_until":"2026-03-03T12:00:00.000Z","iat":1772362800,"exp":1772539200}`
)

// lease makes a lease by hand, with the secret of k_new: what a holder of the key could make, right
// or wrong.
func lease(header, payload string) string {
	text := encode(header) + "." + encode(payload)
	return text + "." + encode(string(ed25519.Sign(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), []byte(text))))
}

// confused signs by HS256 with what everybody knows of k_new.
func confused(header string, secret []byte) string {
	text := encode(header) + "." + encode(leasePayload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// says replaces parts of the good payload, old and new in turn.
func says(changes ...string) string {
	changed := leasePayload
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(changed, changes[i]) {
			panic("the good payload has no " + changes[i])
		}
		changed = strings.Replace(changed, changes[i], changes[i+1], 1)
	}
	return changed
}

// malleable adds the order of the group to the half of the signature that is a number, which naive
// verifiers take for the same (RFC 8032, 5.1.7).
func malleable(raw string) string {
	i := strings.LastIndex(raw, ".") + 1
	sig, err := base64.RawURLEncoding.DecodeString(raw[i:])
	if err != nil {
		panic(err)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s) // little-endian
	sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	return raw[:i] + encode(string(sig[:32])+string(sum))
}

// makeLeaseVectors lists each way in which a lease can be right or wrong.
func makeLeaseVectors(t testing.TB) []leaseVector {
	t.Helper()
	good := lease(leaseHeader, leasePayload)
	parts := strings.Split(good, ".")
	public := leaseKey(t, "k_new", 1).Public().Key
	x := base64.RawURLEncoding.EncodeToString(public)
	const (
		ok        = "ok"
		malformed = "not a lease"
		tooLarge  = "token too large"
		algorithm = "algorithm not allowed"
		unknown   = "unknown signing key"
		signature = "wrong signature"
		claims    = "wrong claims"
		expired   = "token expired"
		early     = "token issued in the future"
	)
	return []leaseVector{
		{"a good lease", good, ok},
		{"claims we do not know are let through", lease(leaseHeader, says(`"iat"`, `"seats":5,"iat"`)), ok},
		{"a lease that ends with the license", lease(leaseHeader, says(`2027-03-12T00:00:00.000Z`, `2026-03-03T12:00:00.000Z`)), ok},
		{"a grace_until in another zone", lease(leaseHeader, says(`2026-03-03T12:00:00.000Z`, `2026-03-03T13:00:00+01:00`)), ok},

		{"empty", "", malformed},
		{"a word", "secret", malformed},
		{"two parts", parts[0] + "." + parts[1], malformed},
		{"four parts", good + ".x", malformed},
		{"only dots", "..", malformed},
		{"a leading space", " " + good, malformed},
		{"a trailing newline", good + "\n", malformed},
		{"a newline within the signature", good[:len(good)-4] + "\n" + good[len(good)-4:], malformed},
		{"padding after the signature", good + "==", malformed},
		{"unused bits in the signature", good[:len(good)-1] + nextLetter(good[len(good)-1]), malformed},
		{"standard base64 letters", parts[0] + "." + parts[1] + ".ab+/", malformed},
		{"a header of text", lease("not json", leasePayload), malformed},
		{"a header that is a list", lease("[]", leasePayload), malformed},
		{"trailing data after the header", lease(leaseHeader+" {}", leasePayload), malformed},
		{"trailing data after the claims", lease(leaseHeader, leasePayload+" {}"), claims},
		{"claims of text", lease(leaseHeader, "not json"), claims},
		{"claims that are a list", lease(leaseHeader, `["sub"]`), claims},
		{"claims that are null", lease(leaseHeader, `null`), claims},
		{"longer than any lease", lease(leaseHeader, says("spa_mode", strings.Repeat("f", 5000))), tooLarge},

		{"a license token", sign(goodHeader, goodPayload), algorithm},
		{"the claims of a license token", lease(leaseHeader, goodPayload), claims},
		{"alg none, unsigned", encode(`{"alg":"none","typ":"lease+jwt","kid":"k_new"}`) + "." + parts[1] + ".", algorithm},
		{"alg none, with the signature", lease(`{"alg":"none","typ":"lease+jwt","kid":"k_new"}`, leasePayload), algorithm},
		{"alg missing", lease(`{"typ":"lease+jwt","kid":"k_new"}`, leasePayload), algorithm},
		{"alg HS256 over the public key", confused(`{"alg":"HS256","typ":"lease+jwt","kid":"k_new"}`, public), algorithm},
		{"alg HS256 over the public key as it is published", confused(`{"alg":"HS256","typ":"lease+jwt","kid":"k_new"}`, []byte(x)), algorithm},
		{"alg HS256 over the published document", confused(`{"alg":"HS256","typ":"lease+jwt","kid":"k_new"}`, jwksOf(leaseKey(t, "k_new", 1).Public())), algorithm},
		{"alg EdDSA, but HMAC over the public key", confused(leaseHeader, public), signature},
		{"alg Ed25519", lease(`{"alg":"Ed25519","typ":"lease+jwt","kid":"k_new"}`, leasePayload), algorithm},
		{"alg ES256", lease(`{"alg":"ES256","typ":"lease+jwt","kid":"k_new"}`, leasePayload), algorithm},
		{"alg in other letters", lease(`{"alg":"EDDSA","typ":"lease+jwt","kid":"k_new"}`, leasePayload), algorithm},
		{"alg that is a number", lease(`{"alg":1,"typ":"lease+jwt","kid":"k_new"}`, leasePayload), malformed},
		{"typ JWT", lease(`{"alg":"EdDSA","typ":"JWT","kid":"k_new"}`, leasePayload), malformed},
		{"typ of another kind", lease(`{"alg":"EdDSA","typ":"at+jwt","kid":"k_new"}`, leasePayload), malformed},
		{"typ missing", lease(`{"alg":"EdDSA","kid":"k_new"}`, leasePayload), malformed},
		{"kid missing", lease(`{"alg":"EdDSA","typ":"lease+jwt"}`, leasePayload), unknown},
		{"kid that no key has", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_none"}`, leasePayload), unknown},
		{"kid that is a path", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"../../dev/null"}`, leasePayload), unknown},
		{"kid of another key", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_old"}`, leasePayload), signature},
		{"crit", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_new","crit":["exp"]}`, leasePayload), malformed},
		{"a key in the header", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_new","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}}`, leasePayload), malformed},
		{"a key in the header, under an id of its own", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"mine","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+x+`"}}`, leasePayload), unknown},
		{"the address of a key in the header", lease(`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_new","jku":"https://example.com"}`, leasePayload), malformed},
		{"alg twice", lease(`{"alg":"none","alg":"EdDSA","typ":"lease+jwt","kid":"k_new"}`, leasePayload), malformed},
		{"header members in another order", lease(`{"typ":"lease+jwt","alg":"EdDSA","kid":"k_new"}`, leasePayload), malformed},
		{"a space in the header", lease(`{"alg":"EdDSA", "typ":"lease+jwt","kid":"k_new"}`, leasePayload), malformed},

		{"no signature", parts[0] + "." + parts[1] + ".", signature},
		{"a changed claim", parts[0] + "." + encode(says("pro", "team")) + "." + parts[2], signature},
		{"the header of another key", encode(`{"alg":"EdDSA","typ":"lease+jwt","kid":"k_old"}`) + "." + parts[1] + "." + parts[2], signature},
		{"a signature of zeros", parts[0] + "." + parts[1] + "." + encode(strings.Repeat("\x00", 64)), signature},
		{"a signature of the neutral point", parts[0] + "." + parts[1] + "." + encode("\x01"+strings.Repeat("\x00", 63)), signature},
		{"a signature cut short", parts[0] + "." + parts[1] + "." + parts[2][:84], signature},
		{"a signature with a tail", parts[0] + "." + parts[1] + "." + encode(strings.Repeat("x", 65)), signature},
		{"a signature in its other form", malleable(good), signature},

		{"another issuer", lease(leaseHeader, says("license.example.com", "license.example.org")), claims},
		{"the issuer with a slash", lease(leaseHeader, says("license.example.com", "license.example.com/")), claims},
		{"no iss", lease(leaseHeader, says(`"iss":"https://license.example.com",`, "")), claims},
		{"no sub", lease(leaseHeader, says(`"sub":"user_abc123",`, "")), claims},
		{"no jti", lease(leaseHeader, says(`"jti":"ls_1",`, "")), claims},
		{"no license_jti", lease(leaseHeader, says(`"license_jti":"01J",`, "")), claims},
		{"no tier", lease(leaseHeader, says(`"tier":"pro",`, "")), claims},
		{"no valid_until", lease(leaseHeader, says(`"valid_until":"2027-03-12T00:00:00.000Z",`, "")), claims},
		{"no grace_until", lease(leaseHeader, says(`"grace_until":"2026-03-03T12:00:00.000Z",`, "")), claims},
		{"no iat", lease(leaseHeader, says(`"iat":1772362800,`, "")), claims},
		{"no exp", lease(leaseHeader, says(`,"exp":1772539200`, "")), claims},
		{"neither grace_until nor exp", lease(leaseHeader, says(`"grace_until":"2026-03-03T12:00:00.000Z",`, "", `,"exp":1772539200`, "")), claims},
		{"exp after grace_until", lease(leaseHeader, says(`1772539200`, `1772539201`)), claims},
		{"exp before grace_until", lease(leaseHeader, says(`1772539200`, `1772539199`)), claims},
		{"a grace_until within a second", lease(leaseHeader, says(`12:00:00.000Z`, `12:00:00.500Z`)), claims},
		{"grace beyond the license", lease(leaseHeader, says(`2027-03-12T00:00:00.000Z`, `2026-03-03T11:59:59.999Z`)), claims},
		{"a license that is over, and grace ahead", lease(leaseHeader, says(`2027-03-12T00:00:00.000Z`, `2026-02-01T00:00:00.000Z`)), claims},
		{"issued after its end", lease(leaseHeader, says(`1772362800`, `1772539200`)), claims},
		{"exp that is text", lease(leaseHeader, says(`1772539200`, `"1772539200"`)), claims},
		{"exp with a fraction", lease(leaseHeader, says(`1772539200`, `1772539200.5`)), claims},
		{"exp beyond all calendars", lease(leaseHeader, says(`1772539200`, `99999999999999`)), claims},
		{"a negative exp", lease(leaseHeader, says(`1772539200`, `-1`)), claims},
		{"exp twice", lease(leaseHeader, says(`"exp":1772539200`, `"exp":1,"exp":1772539200`)), claims},
		{"grace_until twice, in two cases", lease(leaseHeader, says(`"grace_until"`, `"Grace_Until":"2099-03-03T12:00:00.000Z","grace_until"`)), claims},
		{"sub twice, once in letters that fold", lease(leaseHeader, says(`"sub":"user_abc123"`, `"sub":"user_abc123","ſub":"user_other"`)), claims},
		{"valid_until that is no time", lease(leaseHeader, says(`2027-03-12T00:00:00.000Z`, `soon`)), claims},
		{"grace_until that is no time", lease(leaseHeader, says(`2026-03-03T12:00:00.000Z`, `2026-03-03`)), claims},
		{"features that is text", lease(leaseHeader, says(`["spa_mode"]`, `"spa_mode"`)), claims},
		{"features that is null", lease(leaseHeader, says(`["spa_mode"]`, `null`)), ok},
		{"a line break in tier", lease(leaseHeader, says(`"pro"`, `"pro\nx=1"`)), claims},
		{"an escape sequence in license_jti", lease(leaseHeader, says(`01J`, `\u001b[2J`)), claims},

		{"ended a second ago", lease(leaseHeader, says(`1772539200`, `1772366399`, `2026-03-03T12:00:00.000Z`, `2026-03-01T11:59:59.000Z`)), expired},
		{"ends this very second", lease(leaseHeader, says(`1772539200`, `1772366400`, `2026-03-03T12:00:00.000Z`, `2026-03-01T12:00:00.000Z`)), expired},
		{"ends in a second", lease(leaseHeader, says(`1772539200`, `1772366401`, `2026-03-03T12:00:00.000Z`, `2026-03-01T12:00:01.000Z`)), ok},
		{"made a minute ahead", lease(leaseHeader, says(`1772362800`, `1772366460`)), ok},
		{"made more than a minute ahead", lease(leaseHeader, says(`1772362800`, `1772366461`)), early},
	}
}
