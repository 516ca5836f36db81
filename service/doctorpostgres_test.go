package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pageflare/ci/service/store"
)

func TestDoctorJudgesAServer(t *testing.T) {
	t.Parallel()
	good := store.Server{Version: 150018, VersionText: "15.18", MaxConnections: 97, Connections: 12}
	if got := serverFindings(good); len(got) != 3 || got[0] != well("server", "PostgreSQL 15.18") ||
		got[1] != well("durability", "fsync, full_page_writes and synchronous_commit are on: what is acknowledged survives a crash of the server") ||
		got[2] != well("connections", "85 of 97 are free, and each replica takes up to 11") {
		t.Errorf("serverFindings(a good one) = %+v", got)
	}
	begun := time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		change func(*store.Server)
		want   finding // its text may go on
	}{
		{"the oldest version", func(s *store.Server) { s.Version, s.VersionText = 140000, "14.0" },
			well("server", "PostgreSQL 14.0")},
		{"one that is older", func(s *store.Server) { s.Version, s.VersionText = 130023, "13.23" },
			wrong("server", "PostgreSQL 13.23 is older than 14, the oldest version that this service is tested with: upgrade the server")},
		{"the newest version", func(s *store.Server) { s.Version, s.VersionText = 180004, "18.4" },
			well("server", "PostgreSQL 18.4")},
		{"one that is newer", func(s *store.Server) { s.Version, s.VersionText = 190000, "19beta1" },
			warned("server", "PostgreSQL 19beta1 is newer than 18, the newest version that this service was tested with: most likely it works; look for a newer")},
		{"commits that do not wait", func(s *store.Server) { s.Off = []string{"fsync", "synchronous_commit"} },
			warned("durability", "off on the server: fsync, synchronous_commit. A crash there can undo changes that this service has acknowledged, revocations too: turn")},
		{"a standby", func(s *store.Server) { s.Standby, s.ReadOnly = true, true },
			wrong("primary", "the server is a standby, and takes no writes: name the primary in LICENSE_DATABASE_URL, or all hosts as in postgres://user@host1,host2/")},
		{"a server that only reads", func(s *store.Server) { s.ReadOnly = true },
			wrong("primary", "the server takes no writes (default_transaction_read_only is on): turn that off")},
		{"a pooler", func(s *store.Server) { s.Pooled = true },
			well("pooler", "a pooler such as PgBouncer is between this service and the server. Nothing is lost by that, and transaction mode is fine:")},
		{"enough connections", func(s *store.Server) { s.Connections = 86 },
			well("connections", "11 of 97 are free, and each replica takes up to 11")},
		{"too few connections", func(s *store.Server) { s.Connections = 87 },
			warned("connections", "10 of 97 are free, and each replica takes up to 11: raise max_connections of the server, or put PgBouncer in front")},
		{"more connections than users may have", func(s *store.Server) { s.Connections = 99 },
			warned("connections", "0 of 97 are free")},
		{"no TLS", func(s *store.Server) { s.Plain = true },
			warned("encryption", "the connection to the server leaves this machine without TLS, and anyone on the way can read the data: add sslmode=verify-full")},
		{"a clock that is ahead", func(s *store.Server) { s.Ahead = 5*time.Second + time.Millisecond },
			warned("server clock", "is 5s ahead of that of this machine: one of the two is wrong; set both by NTP")},
		{"a clock that is behind", func(s *store.Server) { s.Ahead = -90 * time.Second },
			warned("server clock", "is 1m30s behind that of this machine")},
		{"a long reader", func(s *store.Server) {
			s.Long = []store.Session{{PID: 4711, User: "report", Program: "psql", State: "idle in transaction", Begun: begun}}
		},
			warned("vacuum", `session 4711 (user "report", program "psql", idle in transaction) has been in a transaction since 2026-11-29T03:00:00Z: while it lasts, `+
				`dead rows are not removed and the database grows; end that program, or run SELECT pg_terminate_backend(4711)`)},
		{"a transaction that was prepared and forgotten", func(s *store.Server) {
			s.Prepared = []store.Prepared{{Name: "order-1", User: "shop", Begun: begun}}
		},
			warned("vacuum", `transaction "order-1" (user "shop") was prepared at 2026-11-29T03:00:00Z and never ended: `)},
		{"sessions that are not shown", func(s *store.Server) { s.Hidden = 2 },
			warned("vacuum", "2 sessions of other users of this database do not show since when they are in a transaction, ")},
		{"a slot that nobody reads", func(s *store.Server) { s.Slots = []string{"old_standby"} },
			warned("replication", `nobody reads replication slot "old_standby", and the server keeps its log and dead rows for it`)},
	} {
		s := good
		c.change(&s)
		found := false
		for _, f := range serverFindings(s) {
			found = found || f.OK == c.want.OK && f.Warning == c.want.Warning && f.What == c.want.What && strings.HasPrefix(f.Text, c.want.Text)
		}
		if !found {
			t.Errorf("serverFindings(%s) = %+v\nwant %+v among them", c.name, serverFindings(s), c.want)
		}
	}
	good.Ahead = 5 * time.Second
	if got := serverFindings(good); len(got) != 3 {
		t.Errorf("serverFindings(a clock 5 s ahead) = %+v, want nothing of it", got)
	}
}
