#!/bin/sh
# Makes sure that there is a Chromium for the browser tests: installs Debian's package when none is on the PATH and we may. Running it again does nothing.
# With "headless" as its argument it prefers the shell without windows, which opens a page in half the time; where it cannot install that, any
# Chromium will do.
set -eu
has() { command -v "$1" >/dev/null; }
package=chromium
if [ "${1-}" = headless ]; then
	! has chromium-headless-shell || exit 0
	package=chromium-headless-shell
fi
may_install() { [ "$(id -u)" = 0 ] && has apt-get; }
if has chromium || has google-chrome; then
	[ "$package" != chromium ] && may_install || exit 0
elif ! may_install; then
	echo "error: the browser tests need chromium on the PATH: install your system's package of that name" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$package"
