# Makes the database of POSTGRES_DB for POSTGRES_USER with POSTGRES_PASSWORD on an empty volume, and starts the server.
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl --wait start --options="-c listen_addresses= -k /tmp" >/dev/null # by its socket alone: nobody takes it for ready
  createdb --host=/tmp --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
  pg_ctl --wait stop >/dev/null
fi
exec postgres -c listen_addresses='*' -k /tmp
