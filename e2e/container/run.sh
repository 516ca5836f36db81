#!/usr/bin/env bash
# Builds both images and tries them as their users run them; the tests themselves are the *_test.go files beside this.
#
#   e2e/container/run.sh [FLAG OF go test]...        as in: e2e/container/run.sh -run Cancelled
#
# Images keep the tags pageflare-action:e2e and pageflare-license:e2e, and act and docker compose stay in build/tools, so that the next run is
# quick; everything else that is made is removed. Every step has a limit of time. How it gets an engine: engine.sh.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tmp=$(mktemp -d)
act_version=v0.2.89
compose_package=pool/main/d/docker-compose/docker-compose_2.26.1-4_amd64.deb
compose_sum=47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea

# give_up REASON [LOG]: the tests cannot be made.
give_up() {
  [ $# -lt 2 ] || tail -n 30 "$2" >&2
  echo "error: $1" >&2
  exit 1
}

. "$root/e2e/container/engine.sh"

clean_up() {
  end_engine
  rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

main() {
  need_engine
  need_base_images
  build action pageflare-action:e2e
  build service pageflare-license:e2e
  need_act
  need_compose
  need_stand_ins
  run_tests "$@"
}

# build TARGET TAG. What this machine knows about package registries goes in by arguments.
build() {
  local arguments=(--build-arg VERSION=e2e --build-arg "COMMIT=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)")
  arguments+=(--build-arg "GOPROXY=$(go env GOPROXY)" --build-arg "GOSUMDB=$(go env GOSUMDB)")
  command -v npm >/dev/null && arguments+=(--build-arg "NPM_CONFIG_REGISTRY=$(npm config get registry 2>/dev/null)")
  timeout --kill-after=10 900 docker build --network host --target "$1" -t "$2" "${arguments[@]}" "$root" >"$tmp/build-$1.log" 2>&1 ||
    give_up "image $1 did not build" "$tmp/build-$1.log"
}

# act is a tool of its own module, with hundreds of dependencies that go.mod should not know.
need_act() {
  "$root/build/tools/act" --version 2>/dev/null | grep -qF "${act_version#v}" && return
  GOBIN="$root/build/tools" timeout 300 go install "github.com/nektos/act@$act_version" >"$tmp/act.log" 2>&1 ||
    give_up "act $act_version could not be installed" "$tmp/act.log"
}

# docker compose: that of the engine, or a package of a newer Debian, which needs nothing but the C library.
need_compose() {
  local tool=$root/build/tools/docker-compose mirror
  "$tool" version >/dev/null 2>&1 && return
  mkdir -p "$root/build/tools"
  if docker compose version >/dev/null 2>&1; then
    printf '#!/bin/sh\nexec docker compose "$@"\n' >"$tool" && chmod +x "$tool"
    return
  fi
  for mirror in $(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | sort -u); do
    timeout 120 /usr/lib/apt/apt-helper download-file "${mirror%/}/$compose_package" "$tmp/compose.deb" "SHA256:$compose_sum" \
      >"$tmp/compose.log" 2>&1 || continue
    dpkg-deb --extract "$tmp/compose.deb" "$tmp/compose" &&
      install -m 0755 "$tmp/compose/usr/libexec/docker/cli-plugins/docker-compose" "$tool" && return
  done
  give_up "docker compose could not be installed; install it as a plugin of docker" "$tmp/compose.log"
}

# The images of others that the compose file names: here already, pulled, or made here.
need_stand_ins() {
  local image name
  for image in $(sed -n 's/^ *image: \([a-z]*:.*\)$/\1/p' "$root/deploy/compose.postgres.yaml"); do
    name=${image%%:*}
    docker image inspect "$image" >/dev/null 2>&1 || timeout 300 docker pull -q "$image" >/dev/null 2>&1 && continue
    timeout 300 docker build --network host -t "$image" "$root/e2e/container/standin/$name" >"$tmp/$name.log" 2>&1 ||
      give_up "no image $image, and its stand-in did not build" "$tmp/$name.log"
  done
}

# run_tests [FLAG]... prints a line per test and the counts. A test that cannot be made here says why.
run_tests() {
  local status
  cd "$root" || return
  timeout --kill-after=10 600 go test -tags e2e -count=1 -timeout 9m -v "$@" ./e2e/container 2>&1 | grep -v '^=== ' | tee "$tmp/tests.log"
  status=${PIPESTATUS[0]}
  echo "$(grep -c -- '--- PASS' "$tmp/tests.log") passed, $(grep -c -- '--- FAIL' "$tmp/tests.log") failed, $(grep -c -- '--- SKIP' "$tmp/tests.log") skipped"
  return "$status"
}

main "$@"
