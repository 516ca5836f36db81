#!/bin/sh
# Makes sure that there is a PostgreSQL server for the tests: installs Debian's package, which is not started, when there is none and we may. With "all"
# as its argument it also sees to PgBouncer, from Debian, and to the oldest and the newest version that are promised, from npm at the pinned versions of
# e2e/postgres. Running it again does nothing.
set -eu
PATH=$PATH:/usr/sbin
missing=
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing=postgresql
[ "${1-}" != all ] || command -v pgbouncer >/dev/null || missing="$missing pgbouncer"
if [ -n "$missing" ]; then
	as_root=
	[ "$(id -u)" = 0 ] || as_root=sudo
	if ! command -v apt-get >/dev/null || { [ -n "$as_root" ] && ! command -v sudo >/dev/null; }; then
		echo "error: the tests of databases need $missing (the server in /usr/lib/postgresql): install your system's packages of these names" >&2
		exit 1
	fi
	install() { $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$@"; }
	$as_root apt-get update -qq
	# the tests make clusters of their own: the package must not make one, nor start it
	install postgresql-common
	$as_root sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
	# shellcheck disable=SC2086
	install $missing
fi
[ "${1-}" = all ] || exit 0
cd "$(dirname "$0")/postgres"
if ! cmp -s package-lock.json node_modules/installed.json; then
	npm ci
	for server in node_modules/postgres-*; do # npm keeps no symbolic links: this is what makes them, the packages' own
		(cd "$server" && node scripts/hydrate-symlinks.js)
	done
	cp package-lock.json node_modules/installed.json
fi
