#!/usr/bin/env bash
# Makes a tree of Debian 13 with its virsh, which tests run in a chroot against our daemons.
#   scripts/debian13-virsh.sh           makes it unless it is there; the last line on standard output is its folder
#   scripts/debian13-virsh.sh --where   says the folder, makes nothing; exit 1 when it is not there
# The folder is the root of the tree. It lies outside the project (SHEEPFOLD_CACHE, else ~/.cache/sheepfold), takes a
# minute and 160 MB, and is root's, who alone can make it and change into it.
set -euo pipefail
program=debian13-virsh
. "$(dirname "$0")/debian.sh"

suite=trixie
# Raise it when what is in the tree changes.
recipe=1
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=(debootstrap debian-archive-keyring)

cache=${SHEEPFOLD_CACHE:-${HOME:?}/.cache/sheepfold}/debian13-virsh
result=$cache/r$recipe

complete() { [[ -x $result/usr/bin/virsh ]]; }

make_tree() {
  local uri
  uri=$(mirror)
  [[ -n $uri ]] || fail "apt knows no mirror of Debian on this system"
  say "installing Debian's $suite (log: $cache/build.log)"
  nice -n 15 debootstrap --variant=minbase --include=libvirt-clients --keyring="$keyring" "$suite" done "$uri" \
    > "$cache/build.log" 2>&1 || { tail -20 "$cache/build.log" >&2; fail "debootstrap failed"; }
  rm -rf done/var/cache/apt/archives/*.deb done/var/lib/apt/lists/*
  chroot done virsh --version >&2 || fail "its virsh does not run"
}

if [[ ${1:-} == --where ]]; then
  complete || fail "not made"
elif [[ $# != 0 ]]; then
  echo "usage: scripts/debian13-virsh.sh [--where]" >&2
  exit 64
elif ! complete; then
  [[ $(id -u) == 0 ]] || fail "needs root"
  make_once make_tree
fi
echo "$result"
