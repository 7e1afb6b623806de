#!/usr/bin/env bash
# Builds a libvirt that has a storage backend for sheepdog, as the tests' real old manager: Debian 11's source package,
# with the backend that Debian leaves out, on the Debian that runs here.
#   scripts/old-libvirt.sh           builds unless it is there already; the last line on standard output is its folder
#   scripts/old-libvirt.sh --where   says the folder, builds nothing; exit 1 when it is not there
# In the folder: sbin/libvirtd, bin/virsh. The backend runs a program whose path is compiled in: bin/dog there, which
# runs what the variable SHEEPFOLD_DOG names.
# It lies outside the tree (SHEEPFOLD_CACHE, else ~/.cache/sheepfold) and takes some 5 minutes of CPU time.
set -euo pipefail
cd "$(dirname "$0")"
program=old-libvirt
. ./debian.sh
. ./libvirt-source.sh

version=7.0.0-3+deb11u3
# Raise it when the build below or that of libvirt-source.sh changes: what was built before is another libvirt.
recipe=1
suite=bullseye
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=("${libvirt_packages[@]}" debian-archive-keyring)
features=(-Ddriver_libvirtd=enabled -Ddriver_qemu=enabled -Dstorage_dir=enabled -Dstorage_sheepdog=enabled)

cache=${SHEEPFOLD_CACHE:-${HOME:?}/.cache/sheepfold}/old-libvirt
result=$cache/$version-r$recipe

complete() { [[ -x $result/sbin/libvirtd ]]; }

# The build wants it where it will be.
make_launcher() {
  mkdir -p "$result/bin" done/bin
  printf '#!/bin/sh\nexec "${SHEEPFOLD_DOG:-dog}" "$@"\n' > done/bin/dog
  chmod 755 done/bin/dog
  cp done/bin/dog "$result/bin/dog"
  printf "[binaries]\ncollie = '%s'\n" "$result/bin/dog" > programs.ini
}

make_libvirt() {
  say "fetching the source of $version"
  fetch_source "$suite" "libvirt=$version" "[signed-by=$keyring]"
  # Debian's way to look for XDR in the C library, which has it no more.
  patch -d source -p1 -R --silent < source/debian/patches/debian/Revert-m4-virt-xdr-rewrite-XDR-check.patch
  make_launcher
  build_libvirt --native-file="$work/programs.ini" "${features[@]}"
  [[ -e done/lib/libvirt/storage-backend/libvirt_storage_backend_sheepdog.so ]] || fail "the build has no such backend"
}

if [[ ${1:-} == --where ]]; then
  complete || fail "not built"
elif [[ $# != 0 ]]; then
  echo "usage: scripts/old-libvirt.sh [--where]" >&2
  exit 64
elif ! complete; then
  make_once make_libvirt
fi
echo "$result"
