package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/pageflare/ci/service/failure"
	"github.com/pageflare/ci/service/license"
	"github.com/pageflare/ci/service/opaque"
)

var leaseRecords = suite{
	"the newest lease of a token is kept": leases,
}

func newLease(account string, of opaque.TokenID, n int) license.LeaseRecord {
	return license.LeaseRecord{
		ID: fmt.Sprintf("ls_%d",
			n), TokenID: of, AccountID: account, KeyID: "k_1", IssuedAt: at.Add(time.Duration(n) * time.Minute), ExpiresAt: at.Add(time.Duration(n) * time.Hour),
	}
}

func leases(t *testing.T, s Store) {
	a := create(t, s, 1)
	token := tokenID(1, 1, 1)
	for _, n := range []int{1, 3, 3, 2} { // the second 3 is the same lease; 2 ends before 3
		must(t, s.RecordLease(t.Context(), newLease(a.ID, token, n), did(at)))
	}
	must(t, s.RecordLease(t.Context(), newLease(a.ID, tokenID(2, 1, 2), 1), did(at)))
	wantErr(t, "RecordLease(no account)",
		s.RecordLease(t.Context(), newLease("user_none", tokenID(3, 1, 3), 1),
			did(at)), failure.ErrNotFound)
	for when, want := range map[time.Duration]int64{
		59 * time.Minute: 2, time.Hour: 1, 3*time.Hour - time.Millisecond: 1, 3 * time.Hour: 0,
	} {
		n, err := s.LiveTokens(t.Context(), "k_1", at.Add(when))
		must(t, err)
		same(t, want, n)
	}
	lines, err := s.AuditAfter(t.Context(), 0, 100)
	must(t, err)
	same(t, 4, len(lines))
}
