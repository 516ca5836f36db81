package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pageflare/ci/service/store"
)

// What the doctor says of a PostgreSQL server. The facts are asked for by store.AskServer.

// The versions of PostgreSQL that are promised: make e2e runs the tests of the store on both ends.
const (
	oldestPostgres = 14
	newestPostgres = 18
)

// maxServerSkew is how far the clock of the server may be from ours. Nothing depends on that of the
// server; but one of the two is wrong.
const maxServerSkew = 5 * time.Second

// longTransaction is how long a transaction of somebody else may be open.
const longTransaction = time.Hour

// checkServer asks the server about itself. Nothing is said of one that cannot be reached: of that
// there is a finding on the database.
func (a *app) checkServer(ctx context.Context, in inside) []finding {
	s, err := store.AskServer(ctx, a.cfg.DatabaseURL, longTransaction)
	switch {
	case err != nil && in.err != nil:
		return nil
	case err != nil:
		return []finding{warned("server", oneLine(err.Error())+
			": the database was checked, and not the server that holds it")}
	}
	return serverFindings(s)
}

// serverFindings judges what a server said of itself.
func serverFindings(s store.Server) []finding {
	out := []finding{versionFinding(s), durabilityFinding(s)}
	if s.Standby || s.ReadOnly {
		out = append(out, readOnlyFinding(s))
	}
	if s.Pooled {
		out = append(out, well("pooler", "a pooler such as PgBouncer is between this service and the server. "+
			"Nothing is lost by that, and transaction mode is fine: the service keeps nothing in a session. "+
			"Let pg_dump and pg_restore go to the server itself"))
	} else {
		out = append(out, connectionsFinding(s))
	}
	if s.Plain {
		out = append(out, warned("encryption", "the connection to the server leaves this machine without TLS, "+
			"and anyone on the way can read the data: add sslmode=verify-full to LICENSE_DATABASE_URL"))
	}
	if s.Ahead.Abs() > maxServerSkew {
		where := "behind"
		if s.Ahead > 0 {
			where = "ahead of"
		}
		out = append(out, warned("server clock", fmt.Sprintf(
			"is %s %s that of this machine: one of the two is wrong; set both by NTP", s.Ahead.Abs().Round(time.Second), where)))
	}
	for _, long := range s.Long {
		out = append(out, warned("vacuum", fmt.Sprintf(
			"session %[1]d (user %[2]q, program %[3]q, %[4]s) has been in a transaction since %[5]s: while it lasts, "+
				"dead rows are not removed and the database grows; end that program, or run SELECT pg_terminate_backend(%[1]d)",
			long.PID, long.User, long.Program, long.State, second(long.Begun))))
	}
	for _, p := range s.Prepared {
		out = append(out, warned("vacuum", fmt.Sprintf(
			"transaction %q (user %q) was prepared at %s and never ended: while it lasts, dead rows are not removed and "+
				"the database grows; run COMMIT PREPARED or ROLLBACK PREPARED with that name", p.Name, p.User, second(p.Begun))))
	}
	if s.Hidden > 0 {
		out = append(out, warned("vacuum", fmt.Sprintf(
			"%d sessions of other users of this database do not show since when they are in a transaction, and one that is "+
				"left open keeps dead rows from being removed: run GRANT pg_read_all_stats TO the user of LICENSE_DATABASE_URL", s.Hidden)))
	}
	for _, slot := range s.Slots {
		out = append(out, warned("replication", fmt.Sprintf(
			"nobody reads replication slot %[1]q, and the server keeps its log and dead rows for it until the disk is full: "+
				"start that standby or subscriber again, or run SELECT pg_drop_replication_slot('%[1]s')", slot)))
	}
	return out
}

func versionFinding(s store.Server) finding {
	switch major := s.Version / 10_000; {
	case major < oldestPostgres:
		return wrong("server", fmt.Sprintf("PostgreSQL %s is older than %d, the oldest version that this service is tested with: "+
			"upgrade the server", s.VersionText, oldestPostgres))
	case major > newestPostgres:
		return warned("server", fmt.Sprintf("PostgreSQL %s is newer than %d, the newest version that this service was tested with: "+
			"most likely it works; look for a newer pageflare-license", s.VersionText, newestPostgres))
	}
	return well("server", "PostgreSQL "+s.VersionText)
}

func durabilityFinding(s store.Server) finding {
	if len(s.Off) > 0 {
		return warned("durability", "off on the server: "+strings.Join(s.Off, ", ")+". "+
			"A crash there can undo changes that this service has acknowledged, revocations too: turn them on")
	}
	return well("durability", "fsync, full_page_writes and synchronous_commit are on: "+
		"what is acknowledged survives a crash of the server")
}

func readOnlyFinding(s store.Server) finding {
	if s.Standby {
		return wrong("primary", "the server is a standby, and takes no writes: "+
			"name the primary in LICENSE_DATABASE_URL, or all hosts as in postgres://user@host1,host2/database")
	}
	return wrong("primary", "the server takes no writes (default_transaction_read_only is on): "+
		"turn that off for this user and this database")
}

func connectionsFinding(s store.Server) finding {
	free := max(s.MaxConnections-s.Connections, 0)
	text := fmt.Sprintf("%d of %d are free, and each replica takes up to %d", free, s.MaxConnections, store.PostgresConnections)
	if free < store.PostgresConnections {
		return warned("connections", text+
			": raise max_connections of the server, or put PgBouncer in front of it in transaction mode")
	}
	return well("connections", text)
}
