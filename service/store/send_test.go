package store_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/audit"
	"github.com/pageflare/ci/service/store"
	"github.com/pageflare/ci/service/store/postgrestest"
	"github.com/pageflare/ci/service/store/sqlitetest"
	"github.com/pageflare/ci/service/webhook/deliver"
	"github.com/pageflare/ci/service/webhook/out"
)

// sent is endpoints for which there are deliveries.
type sent struct {
	*store.Store
	t   *testing.T
	now time.Time
}

func newSent(t *testing.T, url string) sent {
	t.Helper()
	return sent{open(t, url), t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (s sent) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// endpoint makes an endpoint that n events are to be sent to.
func (s sent) endpoint(id string, n int) out.Sealed {
	s.t.Helper()
	e, err := s.AddEndpoint(s.t.Context(), out.Sealed{
		Endpoint: out.Endpoint{ID: id, URL: "https://example.com", Status: out.Active, CreatedAt: s.now}, SealedSecret: []byte{1},
	}, audit.Act{At: s.now, Action: audit.EndpointAdded, Object: id, Details: "{}"})
	s.must(err)
	for range n {
		_, err := s.TellEndpoint(s.t.Context(), id, audit.Act{At: s.now, Action: audit.EndpointTested, Object: id, Details: `{"type":"ping"}`})
		s.must(err)
	}
	return e
}

// claim claims all that is due, and returns it with the notes that it was accepted.
func (s sent) claim(of ...out.Sealed) (sends []deliver.Send, notes []deliver.Note) {
	s.t.Helper()
	c := deliver.Claim{Owner: "a", Now: s.now, Until: s.now.Add(time.Minute)}
	for _, e := range of {
		c.Of = append(c.Of, deliver.ClaimOf{Receiver: deliver.Receiver{Sealed: e}, Limit: 99, Changed: true})
	}
	got, err := s.ClaimSends(s.t.Context(), c)
	s.must(err)
	for _, of := range got {
		for _, send := range of.Sends {
			sends = append(sends, send)
			notes = append(notes, deliver.Note{Endpoint: of.Receiver.ID, Owner: "a", Send: send, Answer: deliver.Answer{Status: 200}})
		}
	}
	return sends, notes
}

// A claim that was slow to add what it had read adds nothing that another one has sent since.
func TestASlowClaimPreparesNothingTwice(t *testing.T) {
	t.Parallel()
	for engine, database := range map[string]func(testing.TB) string{
		"sqlite": sqlitetest.New, "postgres": postgrestest.New,
	} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := newSent(t, database(t))
			e := s.endpoint("wh_1", 3)
			sendAll := func() (n int) {
				sends, notes := s.claim(e)
				_, err := s.NoteSends(t.Context(), notes, s.now)
				s.must(err)
				return len(sends)
			}
			for _, which := range []string{"what happened", "a replay"} {
				add, err := s.SlowFill(t.Context(), e.Endpoint, s.now)
				s.must(err)
				if n := sendAll(); n != 3 {
					t.Fatalf("%s: %d were sent, want 3", which, n)
				}
				s.must(add())
				if n := sendAll(); n != 0 {
					t.Errorf("%s: %d were sent twice", which, n)
				}
				s.must(s.AddReplay(t.Context(), deliver.Replay{
					ID: "rpl_" + which, EndpointID: e.ID, Extent: deliver.Extent{To: 3, Total: 3}, CreatedAt: s.now,
				}, audit.Act{At: s.now, Action: audit.EndpointTested, Object: e.ID, Details: "{}"}))
			}
		})
	}
}

// A row that cannot be read fails alone; the others of its batch are sent.
func TestAnEventThatCannotBeReadStopsNoOther(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "license.db")
	s := newSent(t, "sqlite:"+file)
	e := s.endpoint("wh_1", 5)
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	s.must(err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `UPDATE events SET at = 'no time' WHERE seq IN (2, 4)`)
	s.must(err)
	sends, notes := s.claim(e)
	for _, send := range sends {
		broken := send.Event.Seq == 2 || send.Event.Seq == 4
		if strings.Contains(send.Fault, "cannot be read") != broken || !broken && send.Event.ID == "" {
			t.Errorf("event %d: %+v", send.Event.Seq, send)
		}
	}
	noted, err := s.NoteSends(t.Context(), notes, s.now)
	s.must(err)
	want := []deliver.Outcome{deliver.Delivered, deliver.Failed, deliver.Delivered, deliver.Failed, deliver.Delivered}
	if !slices.Equal(noted.Outcomes, want) {
		t.Errorf("outcomes = %v, want %v", noted.Outcomes, want)
	}
}

// The transaction that notes what came of attempts is tried again when its connection is lost: all is
// noted, once.
func TestPostgresNotesAttemptsAgainWhenTheConnectionIsLost(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t)
	s := newSent(t, url)
	one, two := s.endpoint("wh_1", 3), s.endpoint("wh_2", 2)
	_, notes := s.claim(one, two)
	db, err := sql.Open("pgx", url)
	s.must(err)
	defer db.Close()
	held, err := db.BeginTx(t.Context(), nil)
	s.must(err)
	_, err = held.ExecContext(t.Context(), `SELECT 1 FROM webhook_queues WHERE endpoint_id = 'wh_2' FOR UPDATE`)
	s.must(err)
	type result struct {
		deliver.Noted
		err error
	}
	done := make(chan result, 1)
	go func() {
		noted, err := s.NoteSends(context.WithoutCancel(t.Context()), notes, s.now)
		done <- result{noted, err}
	}()
	for ended := false; !ended; { // it has noted the first endpoint, and waits for the second
		err := db.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%webhook_queues%'`).Scan(&ended)
		s.must(err)
	}
	s.must(held.Rollback())
	got := <-done
	s.must(got.err)
	if want := slices.Repeat([]deliver.Outcome{deliver.Delivered}, 5); !slices.Equal(got.Outcomes, want) {
		t.Errorf("outcomes = %v, want %v", got.Outcomes, want)
	}
	for id, want := range map[string]int{"wh_1": 3, "wh_2": 2} {
		list, err := s.Sends(t.Context(), deliver.Query{Endpoint: id, Limit: 9})
		s.must(err)
		for _, d := range list {
			if d.State != deliver.IsDelivered {
				t.Errorf("%s: event %d is %s", id, d.Event.Seq, d.State)
			}
		}
		if len(list) != want {
			t.Errorf("%s: %d deliveries, want %d", id, len(list), want)
		}
	}
}
