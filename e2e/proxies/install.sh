#!/bin/sh
# Makes sure that nginx, HAProxy and Caddy are there for the tests beside this: installs Debian's packages of what is missing, if we may, and starts
# none of them. Running it again does nothing.
set -eu
PATH=$PATH:/usr/sbin
missing=
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v haproxy >/dev/null || missing="$missing haproxy"
command -v caddy >/dev/null || missing="$missing caddy"
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
	echo "error: the tests of proxies need$missing: install your system's packages of these names" >&2
	exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing
