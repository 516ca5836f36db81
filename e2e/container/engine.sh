# Sourced by run.sh: a container engine that answers, and the base images of the Dockerfile.
#
# Where an engine answers and a registry can be reached, nothing here does anything. Elsewhere (a plain virtual machine
# of Debian, no registry) it installs and starts a daemon and makes stand-ins for the base images, with the scripts in
# the folder that RIG names.

: "${RIG:=$root/../shared/rig}"
started_engine=

# Gives up, with the reason, when no engine can be had.
need_engine() {
  timeout 20 docker version >/dev/null 2>&1 && return 0
  [ -x "$RIG/dockerd.sh" ] || give_up "no container engine answers; start Docker, or set RIG to a folder with dockerd.sh and base-images.sh"
  [ "$(id -u)" = 0 ] || give_up "no container engine answers, and only root can start one; start Docker"
  install_missing docker.io dockerd
  # The installation may have started one.
  timeout 20 docker version >/dev/null 2>&1 && return 0
  timeout 60 "$RIG/dockerd.sh" start >"$tmp/dockerd.log" 2>&1 || give_up "the container engine did not start" "$tmp/dockerd.log"
  started_engine=yes
}

# Ends the engine if need_engine started it.
end_engine() {
  [ -z "$started_engine" ] || timeout 60 "$RIG/dockerd.sh" stop || echo "the container engine did not end" >&2
}

# install_missing PACKAGE PROGRAM
install_missing() {
  command -v "$2" >/dev/null 2>&1 && return 0
  timeout 120 apt-get update -q >"$tmp/apt.log" 2>&1 &&
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -q -y "$1" >>"$tmp/apt.log" 2>&1 ||
    give_up "package $1 could not be installed" "$tmp/apt.log"
}

# The images that the Dockerfile builds on: here already, pulled, or made here.
need_base_images() {
  local image missing=
  for image in $(sed -n 's/^ARG [A-Z]*_IMAGE=//p' "$root/Dockerfile" | sort -u); do
    docker image inspect "$image" >/dev/null 2>&1 || missing="$missing $image"
  done
  for image in $missing; do
    timeout 300 docker pull -q "$image" >"$tmp/pull.log" 2>&1 || { make_base_images; return; }
  done
}

make_base_images() {
  [ -x "$RIG/base-images.sh" ] || give_up "a base image could not be pulled; set RIG to a folder with base-images.sh" "$tmp/pull.log"
  install_missing debootstrap debootstrap
  timeout 600 "$RIG/base-images.sh" slim golang node distroless >"$tmp/base.log" 2>&1 || give_up "the base images could not be made" "$tmp/base.log"
}
