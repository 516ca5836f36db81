#!/bin/sh
# Makes sure that there is a promtool for the tests of the alert rules: installs Debian's package of Prometheus when none is on the PATH and we may, and
# does not start it. Running it again does nothing.
set -eu
command -v promtool >/dev/null && exit 0
if ! command -v apt-get >/dev/null; then
	echo "error: the tests of the alert rules need promtool on the PATH: install your system's package of Prometheus" >&2
	exit 1
fi
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus
