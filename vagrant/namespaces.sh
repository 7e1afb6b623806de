#!/usr/bin/env bash
# The machines of the table as network namespaces of this one: no box, no hypervisor, the same scripts. Needs root,
# iproute2, etcd, libvirt's daemon and QEMU (`scripts/setup.sh test`), and a build (`npm run build`).
#   vagrant/namespaces.sh up                      makes them and brings them up; a minute
#   vagrant/namespaces.sh shell NAME [COMMAND]    a shell on one of them, or one command
#   vagrant/namespaces.sh down                    ends and removes all, with all data
# A process in the background keeps them: when it ends, however that happens, so do they.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
keeper=$checkout/dist/test/vagrant/main.js
cleanup=$checkout/dist/test/hosts/cleanup.js
# NAME PID ADDRESS of each, while all are up; beside it the keeper's process id and output.
state=${SHEEPFOLD_NAMESPACES:-/run/sheepfold-namespaces}
wait_s=300

fail() { echo "namespaces: $*" >&2; exit 1; }
usage() { sed -n '4,6s/^#   //p' "$0" >&2; exit 64; }

# Process id of the keeper, if it lives; a pid may be somebody else's by now.
keeper_pid() {
  local pid
  pid=$(cat "$state/pid" 2>/dev/null) || return
  { tr '\0' ' ' < "/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$keeper" && echo "$pid"
}

up() {
  [[ $(id -u) == 0 ]] || fail "needs root"
  [[ -e $keeper ]] || fail "is not built: npm run build"
  keeper_pid > /dev/null && fail "they are up already"
  rm -rf "$state"
  mkdir -m 700 "$state"
  setsid node --enable-source-maps "$keeper" "$state/machines" > "$state/log" 2>&1 < /dev/null &
  local keeper_child=$!
  echo "$keeper_child" > "$state/pid"
  local end=$((SECONDS + wait_s))
  until [[ -e $state/machines ]]; do
    # By its number alone: in its first moments it is not the keeper's program yet.
    kill -0 "$keeper_child" 2>/dev/null || { cat "$state/log" >&2; fail "they did not come up"; }
    ((SECONDS < end)) || { down; fail "they are not up after $wait_s s"; }
    sleep 0.5
  done
  awk '{ printf "%-7s %s\n", $1, $3 }' "$state/machines"
  echo "Next: $0 shell hyper1"
}

down() {
  local pid
  if pid=$(keeper_pid); then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  fi
  # Of keepers that were killed: processes died with them, names of networks and folders did not.
  [[ ! -e $cleanup ]] || node "$cleanup"
  rm -rf "$state"
}

shell() {
  local name=$1 pid address
  shift
  [[ -e $state/machines ]] && keeper_pid > /dev/null || fail "they are not up"
  read -r pid address < <(awk -v name="$name" '$1 == name { print $2, $3 }' "$state/machines") ||
    fail "no machine is called $name"
  [[ $# != 0 ]] || set -- bash --norc -i
  exec nsenter -t "$pid" -m -u -n -p --wd="$checkout" env PATH="/run/bin:$PATH" PS1="$name# " \
    SHEEPDOG_DOG_ADDR="$address" "$@"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  shell) [[ $# -ge 2 ]] || usage; shell "${@:2}" ;;
  *) usage ;;
esac
