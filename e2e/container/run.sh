#!/usr/bin/env bash
# Builds both images and tries them as their users run them: the Action on a copy of e2e/site under the conditions of a
# hosted runner, the License service as its image says.
#
#   e2e/container/run.sh        prints a line per check and `N passed, M failed`; exit 1 if one failed
#
# Images keep the tags pageflare-action:e2e and pageflare-license:e2e, so that the next build is quick; everything else
# that it makes it removes. Every step has a limit of time. How it gets an engine: engine.sh.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tmp=$(mktemp -d)
passed=0 failed=0
action=pageflare-action:e2e service=pageflare-license:e2e
server=pageflare-e2e-$$-server volume=pageflare-e2e-$$-data

# give_up REASON [LOG]: the checks cannot be made.
give_up() {
  [ $# -lt 2 ] || tail -n 30 "$2" >&2
  echo "error: $1" >&2
  exit 1
}

. "$root/e2e/container/engine.sh"
. "$root/e2e/container/runner.sh"

clean_up() {
  docker rm -f "$server" >/dev/null 2>&1
  docker volume rm -f "$volume" >/dev/null 2>&1
  end_engine
  rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# check NAME COMMAND...: the command succeeds and is quiet, or says on its output what is wrong.
check() {
  local name=$1 text
  shift
  if text=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok    $name"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s\n' "$name"
    [ -z "$text" ] || printf '%s\n' "$text" | sed -e 's/^/      /' -e '20{s/.*/      (more)/;q}'
  fi
}

# equal GOT WANT
equal() {
  [ "$1" = "$2" ] || { printf 'got:  %s\nwant: %s\n' "$1" "$2"; return 1; }
}

main() {
  need_engine
  need_base_images
  build action "$action"
  build service "$service"
  check_images
  check_action
  check_faulty_input
  check_check_mode
  check_service
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}

# --- the images -------------------------------------------------------------

# build TARGET TAG. What this machine knows about package registries goes in by arguments.
build() {
  local arguments=(--build-arg VERSION=e2e --build-arg "COMMIT=$(commit)")
  command -v go >/dev/null && arguments+=(--build-arg "GOPROXY=$(go env GOPROXY)" --build-arg "GOSUMDB=$(go env GOSUMDB)")
  command -v npm >/dev/null && arguments+=(--build-arg "NPM_CONFIG_REGISTRY=$(npm config get registry 2>/dev/null)")
  timeout --kill-after=10 900 docker build --network host --target "$1" -t "$2" "${arguments[@]}" "$root" >"$tmp/build-$1.log" 2>&1 ||
    give_up "image $1 did not build" "$tmp/build-$1.log"
}

commit() {
  git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown
}

check_images() {
  check "the action image is at most 75 MB" at_most_bytes "$action" 75000000
  check "the action image has no shell" no_shell "$action"
  check "the service image has no shell" no_shell "$service"
  check "the action image leaves the user to the runner" runs_as "$action" root
  check "the service image does not run as root" runs_as "$service" 65532
  check "pageflare-action knows its version" version_names "$action" /usr/local/bin/pageflare-action e2e "$(commit)" go1.
  check "pageflare-license knows its version" version_names "$service" /usr/local/bin/pageflare-license e2e "$(commit)" go1.
  check "the bundled optimizer is the pinned one" version_names "$action" /usr/local/bin/pageflare \
    "$(sed -n 's/.*"@pageflare\/cli-linux-x64": "\(.*\)".*/\1/p' "$root/action/optimize/cli/package.json")"
}

at_most_bytes() {
  local size
  size=$(docker image inspect -f '{{.Size}}' "$1") && [ "$size" -le "$2" ] || { echo "it has $size bytes"; return 1; }
}

no_shell() {
  local container shells
  container=$(docker create "$1") || return 1
  timeout 60 docker export "$container" | tar -t >"$tmp/files"
  docker rm -v "$container" >/dev/null
  [ -s "$tmp/files" ] || { echo "the image could not be listed"; return 1; }
  shells=$(grep -E '(^|/)bin/(ba|da|a|z|k)?sh$|(^|/)busybox$' "$tmp/files") && { echo "it has $shells"; return 1; }
  return 0
}

runs_as() {
  local user
  user=$(docker image inspect -f '{{.Config.User}}' "$1") || return 1
  case $user in '' | 0 | 0:0 | root) user=root ;; esac
  equal "${user%%:*}" "$2"
}

# version_names IMAGE PROGRAM WORD...
version_names() {
  local image=$1 program=$2 text word
  shift 2
  text=$(timeout 60 docker run --rm --network none --entrypoint "$program" "$image" --version 2>&1) || { echo "$text"; return 1; }
  for word in "$@"; do
    case $text in *"$word"*) ;; *) echo "$text: does not name $word"; return 1 ;; esac
  done
}

# --- the action -------------------------------------------------------------

# make_workspace NAME gives a workspace with the built site in dist. It belongs to the user of a hosted runner, or to us
# where we may not give it away.
make_workspace() {
  mkdir "$tmp/$1" && cp -a "$root/e2e/site" "$tmp/$1/dist" || return 1
  [ "$(id -u)" != 0 ] || chown -R 1001:1001 "$tmp/$1"
  echo "$tmp/$1"
}

# Without a token and without a network: the step of a pull request from a fork.
check_action() {
  local ws run=$tmp/unlicensed
  ws=$(make_workspace ws) || give_up "the workspace could not be made"
  run_action "$action" "$ws" "$run"
  check "an unlicensed run exits 0" exits $? 0 "$run"
  check "token-state is missing" output_is "$run" token-state missing
  check "refreshed is false" output_is "$run" refreshed false
  check "secret-updated is false" output_is "$run" secret-updated false
  check "bytes-before is the size of the site" output_is "$run" bytes-before "$(bytes_in "$root/e2e/site")"
  check "bytes-after is the size of the result" output_is "$run" bytes-after "$(bytes_in "$ws/dist")"
  check "files is the number of files" output_is "$run" files "$(find "$ws/dist" -type f | wc -l)"
  check "bytes were saved" positive_output "$run" bytes-saved
  check "saved-percent is set" positive_output "$run" saved-percent
  check "the report is where report-path says" report_exists "$run" "$ws"
  check "the pages are optimized" grep -q 'name="generator" content="Pageflare' "$ws/dist/index.html"
  check ".nojekyll is kept" test -f "$ws/dist/.nojekyll"
  check ".well-known is kept" cmp "$root/e2e/site/.well-known/security.txt" "$ws/dist/.well-known/security.txt"
  check "every file belongs to the owner of the workspace" all_owned_like "$ws"
  check "nothing is left beside the site" only_site_and_report "$run" "$ws"
  check "nothing is left in HOME" empty_folder "$run/home"
  check "a job summary is written" test -s "$run/commands/summary"
}

# A fault in the inputs stops the run before it touches anything.
check_faulty_input() {
  local ws run=$tmp/faulty before
  ws=$(make_workspace ws-faulty) || give_up "the workspace could not be made"
  before=$(fingerprint "$ws")
  run_action "$action" "$ws" "$run" refresh-before=soon mode=guess
  check "faulty inputs exit 2" exits $? 2 "$run"
  check "all faults are named at once" log_names "$run" refresh-before mode
  check "faulty inputs change nothing" equal "$(fingerprint "$ws")" "$before"
}

check_check_mode() {
  local ws run=$tmp/check
  ws=$(make_workspace ws-check) || give_up "the workspace could not be made"
  run_action "$action" "$ws" "$run" mode=check
  check "mode check exits 0 without a token" exits $? 0 "$run"
  check "mode check reports the token" output_is "$run" token-state missing
  check "mode check changes nothing" equal "$(fingerprint "$ws/dist")" "$(fingerprint "$root/e2e/site")"
}

# exits GOT WANT FOLDER
exits() {
  [ "$1" = "$2" ] || { echo "exit $1, want $2"; tail -n 20 "$3/log"; return 1; }
}

output_is() {
  local value
  value=$(output_of "$1" "$2") || { echo "no such output"; return 1; }
  equal "$value" "$3"
}

positive_output() {
  local value
  value=$(output_of "$1" "$2") || { echo "no such output"; return 1; }
  awk -v n="$value" 'BEGIN { exit !(n + 0 > 0) }' || { echo "it is $value"; return 1; }
}

bytes_in() {
  find "$1" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }'
}

# report_exists FOLDER WORKSPACE: report-path is relative to the workspace, since later steps run outside of the container
# and know the workspace by another path; and the report is not published with the site.
report_exists() {
  local path
  path=$(output_of "$1" report-path) || { echo "no such output"; return 1; }
  case $path in
    /*) echo "$path is a path in the container"; return 1 ;;
    dist/*) echo "$path is in the site"; return 1 ;;
  esac
  [ -s "$2/$path" ] || { echo "no file at $path"; return 1; }
}

all_owned_like() {
  local strangers
  strangers=$(find "$1" ! \( -uid "$(stat -c %u "$1")" -gid "$(stat -c %g "$1")" \) -printf '%P %u:%g\n') && [ -z "$strangers" ] ||
    { echo "$strangers"; return 1; }
}

# only_site_and_report FOLDER WORKSPACE: beside dist there is the report at most, with its folders; and dist holds no file
# of the optimizer's own.
only_site_and_report() {
  local report path extra
  report=$(output_of "$1" report-path)
  extra=$(
    find "$2" -mindepth 1 -path "$2/dist" -prune -o -printf '%P\n' | while IFS= read -r path; do
      case $report in "$path" | "$path"/*) ;; *) echo "$path" ;; esac
    done
    find "$2/dist" -name '.pageflare*' -printf 'dist/%P\n'
  )
  [ -z "$extra" ] || { echo "$extra"; return 1; }
}

empty_folder() {
  local files
  files=$(ls -A "$1") && [ -z "$files" ] || { echo "$files"; return 1; }
}

# fingerprint FOLDER gives one line for all names, modes and contents below it.
fingerprint() {
  (cd "$1" && find . -printf '%P %y %m\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum) | sha256sum
}

log_names() {
  local run=$1 word
  shift
  for word in "$@"; do
    grep -q -e "$word" "$run/log" || { echo "does not name $word"; cat "$run/log"; return 1; }
  done
}

# --- the service ------------------------------------------------------------

# As its image says, on a new volume and with a root file system that it cannot write to.
check_service() {
  timeout 60 docker run -d --name "$server" --read-only --cap-drop ALL --health-interval 1s -v "$volume:/data" "$service" >/dev/null ||
    give_up "the service did not start"
  check "the service becomes healthy" becomes_healthy
  check "the service is ready for its command line" service_command
  check "the service stops on request" stops_on_request
}

becomes_healthy() {
  local state
  for _ in $(seq 60); do
    state=$(docker inspect -f '{{.State.Health.Status}} {{.State.Status}}' "$server")
    case $state in
      healthy*) return 0 ;;
      *exited) break ;;
    esac
    sleep 0.5
  done
  echo "it is $state"
  docker logs --tail 20 "$server"
  return 1
}

service_command() {
  local text
  text=$(timeout 30 docker exec "$server" /usr/local/bin/pageflare-license account create \
    --email site@larkmoor.example --tier pro --valid-until 2099-12-31 --json 2>&1)
  case $text in *'"api_token"'*'pf_at_'*) ;; *) echo "$text"; return 1 ;; esac
}

# stops_on_request: an engine that has to kill it after 10 seconds reports 137.
stops_on_request() {
  equal "$(docker inspect -f '{{.State.Status}}' "$server")" running || return 1
  timeout 30 docker stop -t 10 "$server" >/dev/null
  equal "exit $(docker inspect -f '{{.State.ExitCode}}' "$server")" "exit 0" || { docker logs --tail 20 "$server"; return 1; }
}

main
