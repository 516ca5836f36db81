package remedy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pageflare/ci/service/client"
)

// Spelling is what settings are called where a person gives them.
type Spelling struct{ Address, Authorities string }

// The spellings of a workflow and of a command line.
var (
	AsInputs = Spelling{"input api-url", "input ca-certificates"}
	AsFlags  = Spelling{"--api-url or PAGEFLARE_API_URL", "--ca-certificates or SSL_CERT_FILE"}
)

// apiPath is where a License service has its API.
const apiPath = "/_api"

// LicenseAPI is an error with the text of the License API's client in it, where a better remedy is
// known than the client's, in words of those who gave the address. Other errors, and nil, are given
// as they are.
func LicenseAPI(err error, as Spelling) error {
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		return err
	}
	var text string
	switch {
	case e.Untrusted:
		text = fmt.Sprintf("%s: the certificate of the License API at %s is signed by an authority that is not trusted here: give that authority in %s",
			e.Op, e.Host, as.Authorities)
	case errors.Is(e, client.ErrAnswer) && e.Status != 0 && !strings.HasSuffix(e.BaseURL, apiPath):
		text = fmt.Sprintf("%s: there is no License API at %s (status %d): did you mean %s? then give that as %s",
			e.Op, e.BaseURL, e.Status, e.BaseURL+apiPath, as.Address)
	default:
		return err
	}
	return reworded{err, strings.Replace(err.Error(), e.Error(), text, 1)}
}

// Token says what to do about a license token that cannot be read, and never quotes it; nil when
// err is nil.
func Token(raw string, err error) error {
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(raw, "pf_at_"):
		return errors.New("this is an API token, not a license token: run `pageflare-action token issue` with it, and store what that prints")
	default:
		return fmt.Errorf("%w: give the license token that `pageflare-action token issue` prints, whole and without quotes", err)
	}
}
