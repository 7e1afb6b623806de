#!/usr/bin/env bash
# Installs the systems that `npm run bench -- --peers` compares with: Debian's Ceph and GlusterFS, and QEMU's drivers.
#   scripts/peers.sh          installs what is missing, and says what; removes nothing
#   scripts/peers.sh --where  says what is installed, installs nothing; exit 1 when something is missing
# Nothing of it runs afterwards, or after the next boot: the bench starts daemons of its own.
set -euo pipefail
program=peers
. "$(dirname "$0")/debian.sh"

packages=(ceph-mon ceph-mgr ceph-osd ceph-common glusterfs-server glusterfs-cli qemu-block-extra)
policy=/usr/sbin/policy-rc.d

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == *ii* ]]; }
installed() { dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' | awk '$1 == "ii" { print $2 }' | sort; }

# Debian's packages start their services unless this file says no. One that is there already is left alone.
forbid_services() {
  [[ -e $policy ]] && return
  trap 'as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
}

# What came in by this run is not to start at the next boot either; services that were there before stay as they were.
disable_services() {
  command -v systemctl >/dev/null || return 0
  local units
  local unit='[^/@]*\.\(service\|socket\|target\|timer\)'
  mapfile -t units < <(dpkg -L "$@" | sed -n "s,.*/lib/systemd/system/\\($unit\\)\$,\\1,p")
  [[ ${#units[@]} == 0 ]] || as_root systemctl --root=/ --quiet disable "${units[@]}" >/dev/null 2>&1 ||
    say "could not disable all of: ${units[*]}"
}

install_peers() {
  local options=(-y --no-install-recommends --no-remove) before after
  local command=(env DEBIAN_FRONTEND=noninteractive apt-get install "${options[@]}" "$@")
  before=$(installed)
  say "installing $* and what they need"
  forbid_services
  as_root "${command[@]}" >/dev/null 2>&1 || { as_root apt-get update >/dev/null && as_root "${command[@]}" >&2; } ||
    fail "cannot install them; as root: apt-get install ${options[*]} $*"
  mapfile -t after < <(comm -13 <(echo "$before") <(installed))
  [[ ${#after[@]} == 0 ]] || disable_services "${after[@]}"
}

command -v dpkg-query >/dev/null || fail "knows Debian's packages only"
missing=()
for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
if [[ ${1:-} == --where ]]; then
  [[ ${#missing[@]} == 0 ]] || fail "not installed: ${missing[*]}"
  dpkg-query -W -f '${Package} ${Version}\n' "${packages[@]}"
elif [[ $# != 0 ]]; then
  echo "usage: scripts/peers.sh [--where]" >&2
  exit 64
elif [[ ${#missing[@]} != 0 ]]; then
  install_peers "${missing[@]}"
fi
