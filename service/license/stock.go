package license

import "time"

// LateAfter is how long after its time a delivery of GitHub's is late.
const LateAfter = 5 * time.Minute

// Stock is how much there is in a database, for the metrics.
type Stock struct {
	Policies    int                  // that hold
	EndingWeek  int                  // licenses of active accounts that end within 7 days
	EndingMonth int                  // and within 30
	IssuerKeys  map[string]time.Time // when the keys of each issuer were fetched last
	Bytes       int64                // of the database on the disk, with what is not merged yet
	Waiting     int                  // deliveries of GitHub's that are to be processed
	Failed      int                  // and those that failed
	Late        int                  // that should have been processed LateAfter ago
	Unmatched   int                  // purchases that nobody gets
	BackedUp    time.Time            // when the newest backup was made; zero when nobody can tell
}
