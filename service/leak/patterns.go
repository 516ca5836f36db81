package leak

import (
	"encoding/base64"
	"fmt"

	"github.com/pageflare/ci/service/opaque"
)

// Pattern is an expression by which a scanner finds tokens of one kind. It is in the part of the
// syntax that GitHub's scanner (Hyperscan) and Go's regexp share.
type Pattern struct {
	Kind   Kind
	Name   string // for people
	Secret string // what the token looks like
	Before string // what stands before it
	After  string // what stands after it
}

// The characters around a token: none that could belong to it, so that a part of another text is
// not taken for one.
const (
	beforeToken = `\A|[^0-9A-Za-z_-]`
	afterToken  = `\z|[^0-9A-Za-z_-]`
	afterJWT    = `\z|[^0-9A-Za-z_.-]`
)

// Patterns are the expressions of all kinds that live long enough to be found.
func Patterns() []Pattern {
	opaquely := func(k Kind, name string, p opaque.Prefix) Pattern {
		return Pattern{k, name, fmt.Sprintf(`%s[0-9A-Za-z]{36}`, p), beforeToken, afterToken}
	}
	return []Pattern{
		opaquely(APIToken, "Pageflare API token", opaque.APIToken),
		opaquely(AdminToken, "Pageflare admin token", opaque.AdminToken),
		opaquely(LoginToken, "Pageflare login token", opaque.LoginToken),
		{LicenseToken, "Pageflare license token", licensePattern(), beforeToken, afterJWT},
	}
}

// licensePattern goes by the header, whose members have a fixed order, and by the first claim.
//
// The first 36 bytes of the header are the same in all our tokens and in no JWT of another maker
// whose header is ordered otherwise, or whose key id begins otherwise. They are a whole number of
// groups of three bytes, and so their base64url stands at the begin of each token, letter by
// letter. Of the rest of the header, the 16 letters of the key id vary, and the last two letters do
// not.
func licensePattern() string {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"user`))
	return licenseBegin + `[0-9A-Za-z_-]{22}J9\.` + claims + `[0-9A-Za-z_-]{80,}\.[0-9A-Za-z_-]{43}`
}

// licenseBegin is the begin of every license token: {"alg":"HS256","typ":"JWT","kid":"k_ in
// base64url.
const licenseBegin = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Imtf"
