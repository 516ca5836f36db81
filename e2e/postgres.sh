#!/bin/sh
# Makes sure that there is a PostgreSQL server for the tests: installs Debian's package, which is not started, when there is none and we may. Running it
# again does nothing.
set -eu
found() { ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; }
! found || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "error: the tests of the store need a PostgreSQL server in /usr/lib/postgresql: install your system's package postgresql" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# the tests make clusters of their own: the package must not make one, nor start it
apt-get install -y -qq --no-install-recommends postgresql-common
sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
apt-get install -y -qq --no-install-recommends postgresql
found
