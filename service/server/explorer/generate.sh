#!/bin/sh
# Makes bundle.gen.js.gz from the pinned package: the same bytes every time.
set -eu
cd "$(dirname "$0")"
npm ci --silent --no-audit --no-fund
gzip -9 -n -c node_modules/@scalar/api-reference/dist/browser/standalone.js >bundle.gen.js.gz
