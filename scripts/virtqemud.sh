#!/usr/bin/env bash
# Builds virtqemud, QEMU's daemon of modular libvirt, which Debian does not ship, from Debian 12's source package.
#   scripts/virtqemud.sh           builds unless it is there already; the last line on standard output is its folder
#   scripts/virtqemud.sh --where   says the folder, builds nothing; exit 1 when it is not there
# In the folder: sbin/virtqemud, sbin/virtstoraged. The first asks at the other's socket for pools.
# It lies outside the tree (SHEEPFOLD_CACHE, else ~/.cache/sheepfold) and takes some 5 minutes of CPU time.
set -euo pipefail
cd "$(dirname "$0")"
program=virtqemud
. ./debian.sh
. ./libvirt-source.sh

# Raise it when the build below or that of libvirt-source.sh changes: what was built before is another libvirt.
recipe=1
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=("${libvirt_packages[@]}" debian-archive-keyring)
# By default it would look for the one daemon of all drivers.
features=(-Ddriver_libvirtd=enabled -Ddriver_qemu=enabled -Dremote_default_mode=direct -Dstorage_dir=enabled)

cache=${SHEEPFOLD_CACHE:-${HOME:?}/.cache/sheepfold}/virtqemud
result=$cache/$suite-r$recipe

complete() { [[ -x $result/sbin/virtqemud ]]; }

make_virtqemud() {
  say "fetching the source of Debian's libvirt ($suite)"
  fetch_source "$suite" libvirt "[signed-by=$keyring]"
  build_libvirt "${features[@]}"
  [[ -e done/lib/libvirt/connection-driver/libvirt_driver_qemu.so ]] || fail "the build has no driver for QEMU"
}

if [[ ${1:-} == --where ]]; then
  complete || fail "not built"
elif [[ $# != 0 ]]; then
  echo "usage: scripts/virtqemud.sh [--where]" >&2
  exit 64
elif ! complete; then
  make_once make_virtqemud
fi
echo "$result"
