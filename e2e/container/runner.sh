# Sourced by run.sh: starts an action image as GitHub's runner starts a container action.
#
# The runner mounts workspace, home, event and command files below /github, sets the folder, HOME and the variables, and
# gives each input as INPUT_ and its name in upper case, in which a space becomes _ and a hyphen stays. It sets every
# input of action.yml, with its default, so an input that is not given arrives as an empty string.

# run_action IMAGE WORKSPACE FOLDER [INPUT=VALUE]...
# runs the action and returns its exit status. In FOLDER, which must not be there yet, it leaves log (both streams),
# home/, and the command files output, summary, env, path and state. NETWORK is none unless set.
run_action() {
  local image=$1 workspace=$2 folder=$3 name variables=()
  shift 3
  mkdir -p "$folder/home" "$folder/workflow" "$folder/commands"
  echo '{"repository":{"full_name":"acme/site"}}' >"$folder/workflow/event.json"
  for name in output summary env path state; do
    : >"$folder/commands/$name"
  done
  while IFS= read -r name; do
    variables+=(-e "$name")
  done < <(runner_variables; input_variables "$@")

  local container=pageflare-e2e-$$-${folder##*/}
  timeout --kill-after=10 "${LIMIT:-120}" docker run --rm --name "$container" --network "${NETWORK:-none}" \
    --workdir /github/workspace "${variables[@]}" \
    -v "$folder/home:/github/home" -v "$folder/workflow:/github/workflow" \
    -v "$folder/commands:/github/file_commands" -v "$workspace:/github/workspace" \
    "$image" >"$folder/log" 2>&1
  local status=$?
  # The client that ran out of time leaves its container behind.
  docker rm -f "$container" >/dev/null 2>&1
  return $status
}

# input_variables [INPUT=VALUE]... gives a variable for each input of action.yml: its default, or the value given here.
input_variables() {
  local name value given
  while IFS=$'\t' read -r name value; do
    for given in "$@"; do
      [ "${given%%=*}" = "$name" ] && value=${given#*=}
    done
    echo "INPUT_${name^^}=$value"
  done < <(action_inputs)
}

# action_inputs gives the name and the default of each input, with a tab between them.
action_inputs() {
  awk '
    /^[a-z]/ { if (name) print name "\t" value; name = ""; inside = ($0 == "inputs:") }
    inside && /^  [a-z-]+:/ { if (name) print name "\t" value; name = $1; sub(":", "", name); value = "" }
    inside && /^    default: / { value = substr($0, 14); gsub(/^"|"$/, "", value) }
  ' "$root/action.yml"
}

runner_variables() {
  cat <<'VARIABLES'
HOME=/github/home
CI=true
GITHUB_ACTIONS=true
GITHUB_WORKSPACE=/github/workspace
GITHUB_EVENT_PATH=/github/workflow/event.json
GITHUB_OUTPUT=/github/file_commands/output
GITHUB_STEP_SUMMARY=/github/file_commands/summary
GITHUB_ENV=/github/file_commands/env
GITHUB_PATH=/github/file_commands/path
GITHUB_STATE=/github/file_commands/state
GITHUB_REPOSITORY=acme/site
GITHUB_REPOSITORY_ID=1296269
GITHUB_REPOSITORY_OWNER=acme
GITHUB_REPOSITORY_OWNER_ID=583231
GITHUB_EVENT_NAME=push
GITHUB_REF=refs/heads/main
GITHUB_REF_NAME=main
GITHUB_REF_TYPE=branch
GITHUB_SHA=0123456789abcdef0123456789abcdef01234567
GITHUB_ACTOR=octocat
GITHUB_WORKFLOW=deploy
GITHUB_JOB=build
GITHUB_ACTION=optimize
GITHUB_RUN_ID=42
GITHUB_RUN_NUMBER=7
GITHUB_RUN_ATTEMPT=1
GITHUB_SERVER_URL=https://github.com
GITHUB_API_URL=http://127.0.0.1:9
GITHUB_GRAPHQL_URL=http://127.0.0.1:9/graphql
RUNNER_OS=Linux
RUNNER_ARCH=X64
RUNNER_NAME=e2e
RUNNER_ENVIRONMENT=github-hosted
RUNNER_TEMP=/home/runner/work/_temp
RUNNER_TOOL_CACHE=/opt/hostedtoolcache
VARIABLES
}

# output_of FOLDER NAME gives the value of an output, in either form of the command file: NAME=VALUE, or NAME<<END,
# lines, END. It fails where the action did not set it.
output_of() {
  awk -v want="$2" '
    end != "" { if ($0 == end) { end = ""; if (hit) found = 1; hit = 0 } else if (hit) value = value (lines++ ? "\n" : "") $0; next }
    match($0, /^[A-Za-z0-9_-]+<</) { end = substr($0, RLENGTH + 1); hit = (substr($0, 1, RLENGTH - 2) == want); if (hit) { value = ""; lines = 0 }; next }
    { at = index($0, "="); if (at && substr($0, 1, at - 1) == want) { value = substr($0, at + 1); found = 1 } }
    END { if (!found) exit 1; print value }
  ' "$1/commands/output"
}
