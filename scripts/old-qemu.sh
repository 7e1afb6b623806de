#!/usr/bin/env bash
# Builds the last QEMU that has a sheepdog driver, as the tests' real old client: Debian 11's source package, built with
# --enable-sheepdog on the Debian that runs here.
#   scripts/old-qemu.sh           builds unless it is there already; the last line on standard output is its folder
#   scripts/old-qemu.sh --where   says the folder, builds nothing; exit 1 when it is not there
# The result lies outside the tree (SHEEPFOLD_CACHE, else ~/.cache/sheepfold). Takes some 7 minutes of CPU time and,
# while it builds, 2 GB of disk. The suite is not added to the system: apt gets sources, state and cache of its own.
set -euo pipefail
program=old-qemu
. "$(dirname "$0")/debian.sh"

version=1:5.2+dfsg-11+deb11u3
# Raise it when the build below changes: what was built before is another QEMU.
recipe=2
suite=bullseye
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
programs=(qemu-img qemu-io qemu-nbd storage-daemon/qemu-storage-daemon qemu-system-x86_64)
packages=(dpkg-dev gcc libc6-dev make ninja-build meson pkg-config python3 libglib2.0-dev libpixman-1-dev libaio-dev
  zlib1g-dev libfdt-dev seabios debian-archive-keyring)

cache=${SHEEPFOLD_CACHE:-${HOME:?}/.cache/sheepfold}/old-qemu
result=$cache/${version#*:}-r$recipe

complete() { [[ -x $result/bin/qemu-system-x86_64 ]]; }

# Every feature that can be turned off is, and the few that are wanted are turned on. Without the pool of coroutines the
# sheepdog driver crashes when it reconnects: it enters one that has ended, which only a pool keeps alive.
features() {
  local name
  for name in $(./configure --help | sed -n 's/^  \([a-z0-9][a-z0-9-]*\)  .*/\1/p'); do
    case $name in
      system | sheepdog | linux-aio | kvm | tools | pie | stack-protector | tcg | coroutine-pool) ;;
      *) grep -q -- "--disable-$name)" configure && echo "--disable-$name" ;;
    esac
  done
}

build() {
  # The system's own python first: another one does not know Debian's meson.
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
  local off
  mapfile -t off < <(features)
  # Joined by hand: the caller's "||" turns the shell's own stop at an error off.
  ./configure --target-list=x86_64-softmmu --disable-werror --meson=/usr/bin/meson --ninja=/usr/bin/ninja \
    --with-git-submodules=ignore --firmwarepath=/usr/share/seabios:/usr/share/qemu "${off[@]}" \
    --enable-sheepdog --enable-linux-aio --enable-kvm --enable-tools --enable-tcg &&
    nice -n 10 ninja -C build "${programs[@]}"
}

make_qemu() {
  say "fetching the source of $version"
  fetch_source "$suite" "qemu=$version" "[signed-by=$keyring]"
  say "building (log: $cache/build.log)"
  (cd source && build) > "$cache/build.log" 2>&1 || { tail -40 "$cache/build.log" >&2; fail "the build failed"; }
  mkdir done/bin
  (cd source/build && install -s -t "$work/done/bin" "${programs[@]}")
  "done/bin/qemu-img" --help | grep -q 'Supported formats:.*sheepdog' || fail "the build has no sheepdog driver"
}

if [[ ${1:-} == --where ]]; then
  complete || fail "not built"
elif [[ $# != 0 ]]; then
  echo "usage: scripts/old-qemu.sh [--where]" >&2
  exit 64
elif ! complete; then
  [[ $(uname -m) == x86_64 ]] || fail "builds on x86_64 only"
  make_once make_qemu
fi
echo "$result"
