#!/bin/sh
# Makes sure that there is a PostgreSQL server for tests and benchmarks, which start servers of their own: installs Debian's package when
# there is none and we may, without the cluster that it makes and starts. Running it again does nothing.
set -eu
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && exit 0
if ! command -v apt-get >/dev/null; then
	echo "error: tests and benchmarks need PostgreSQL's programs in /usr/lib/postgresql/VERSION/bin, as the packages of Debian and Ubuntu install them: install postgresql" >&2
	exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; }
install postgresql-common
conf=/etc/postgresql-common/createcluster.conf
grep -q '^create_main_cluster = false' $conf || echo 'create_main_cluster = false' | $as_root tee -a $conf >/dev/null
# the version that is tested first, or the distribution's own
install postgresql-15 || install postgresql
