#!/bin/sh
# Makes sure that there is a Chromium for the browser tests: installs Debian's package when none is on the PATH and we may. Running it again does nothing.
set -eu
command -v chromium >/dev/null || command -v google-chrome >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "error: the browser tests need chromium on the PATH: install your system's package of that name" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium
