#!/bin/bash
# Builds the sites of this folder again: e2e/sites/build.sh [NAME…], all of them without a name.
#
# Each NAME/source has a build.sh of its own. It runs in a copy of that folder outside of the repository, so that modules and caches of a
# generator never come near it, and leaves the site in $OUT, which becomes NAME/dist. $CONTENT is the folder content/, shared by all.
# Generators come from Debian (debian.txt) and from npm (package-lock.json of each source).
set -euo pipefail
cd "$(dirname "$0")"

export ASTRO_TELEMETRY_DISABLED=1 NEXT_TELEMETRY_DISABLED=1 NUXT_TELEMETRY_DISABLED=1 NG_CLI_ANALYTICS=false DO_NOT_TRACK=1
export CI=true TZ=UTC LC_ALL=C.UTF-8 NODE_ENV=production
export SOURCE_DATE_EPOCH=1772582400 # 4 March 2026: the date of whatever a generator dates
export CONTENT="$PWD/content"

names=("$@")
if [ $# = 0 ]; then
	for source in */source; do names+=("${source%/source}"); done
fi

while IFS== read -r package version; do
	found=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null || echo none)
	[ "$found" = "$version" ] || echo "warning: $package is $found here, $version when dist was built: apt-get install $package=$version" >&2
done <debian.txt

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in "${names[@]}"; do
	echo "$name"
	cp -R "$name/source" "$work/$name"
	export OUT="$work/$name.dist"
	(cd "$work/$name" && { [ ! -f package-lock.json ] || npm ci --include=dev --no-audit --no-fund --loglevel=error; } &&
		bash -euo pipefail build.sh) >"$work/log" 2>&1 || { cat "$work/log"; echo "error: $name was not built, its dist is as it was" >&2; exit 1; }
	rm -rf "$name/dist"
	cp -R "$OUT" "$name/dist"
done
