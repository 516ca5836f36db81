package show_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/show"
)

// What is written sooner is what is written of the type.
func TestAnIssuedTokenIsWrittenAsItsType(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 12, 9, 0, 0, 999, time.FixedZone("", 3600))
	for _, capped := range []bool{false, true} {
		i := license.Issued{Token: "a.b-c_d.e", ExpiresAt: at.AddDate(1, 0, 0), RefreshAfter: at, Capped: capped}
		want, err := json.Marshal(show.Issued(i))
		if err != nil {
			t.Fatal(err)
		}
		if got := show.IssuedJSON(i); string(got) != string(want) {
			t.Errorf("IssuedJSON = %s\nwant         %s", got, want)
		}
	}
}
