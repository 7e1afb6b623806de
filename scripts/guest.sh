#!/usr/bin/env bash
# Makes the tests' real guest out of Debian's packages: its cloud kernel, an initramfs of busybox and fio, and the image
# of a root file system from which the same kernel starts when it is written to a volume.
#   scripts/guest.sh           makes it unless it is there already; the last line on standard output is its folder
#   scripts/guest.sh --where   says the folder, makes nothing; exit 1 when it is not there
# In the folder: vmlinuz, initrd.gz, root.ext4 (sparse). What the guest does is in scripts/guest/init.
# It lies outside the tree (SHEEPFOLD_CACHE, else ~/.cache/sheepfold) and takes a minute: Debian's fio needs a hundred
# megabytes of libraries, so that it is built from its source, static. Nothing but build tools is installed.
set -euo pipefail
cd "$(dirname "$0")"
program=guest
. ./debian.sh

# Raise it when anything here changes but init.
recipe=1
init=$PWD/guest/init
modules=(virtio_pci virtio_blk)
root_mib=64
packages=(dpkg-dev gcc libc6-dev make libaio-dev zlib1g-dev e2fsprogs)

cache=${SHEEPFOLD_CACHE:-${HOME:?}/.cache/sheepfold}/guest
result=$cache/r$recipe-$(sha256sum < "$init" | head -c 12)

complete() { [[ -e $result/root.ext4 ]]; }

# The package that the present cloud kernel is in; nothing when apt has no lists.
kernel_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1 || true
}

build_fio() {
  mkdir -p fio
  (cd fio && fetch_source "$(codename)" fio)
  # Joined by hand: the caller's "||" turns the shell's own stop at an error off.
  (cd fio/source && ./configure --build-static --disable-native --disable-numa --disable-rdma --disable-rados \
    --disable-rbd --disable-gfapi --disable-http --disable-pmem && nice -n 10 make -j2 fio) > fio.log 2>&1 ||
    { tail -40 fio.log >&2; fail "fio cannot be built"; }
}

# The modules wanted and those they need, as busybox's modprobe reads them.
copy_modules() {
  local version=$1 name path
  local from=kernel/lib/modules/$version to=initrd/lib/modules/$version
  ./busybox/bin/busybox depmod -b "$PWD/kernel" "$version"
  mkdir -p "$to"
  for name in "${modules[@]}"; do
    # A line of modules.dep: the module, a colon, all that it needs.
    for path in $(sed -n "s|^\(.*/$name\.ko\):|\1|p" "$from/modules.dep"); do
      install -D -m 644 "$from/$path" "$to/$path"
    done
  done
  ./busybox/bin/busybox depmod -b "$PWD/initrd" "$version"
}

make_initrd() {
  local version=$1
  mkdir -p initrd/bin
  install busybox/bin/busybox initrd/bin/
  install -s fio/source/fio initrd/bin/
  install "$init" initrd/init
  copy_modules "$version"
  (cd initrd && find . | ../busybox/bin/busybox cpio -o -H newc -R 0:0 2>/dev/null | gzip -6) > done/initrd.gz
}

# The same programs, and a file that says where they are; tests add marks of their own.
make_root() {
  mkdir -p root/sbin root/etc root/dev root/proc root/sys root/tmp
  cp -a initrd/bin root/bin
  install "$init" root/sbin/init
  echo 'the root file system of a volume' > root/etc/sheepfold-root
  truncate -s "${root_mib}M" done/root.ext4
  /sbin/mkfs.ext4 -q -L sheepfold -E root_owner=0:0 -d root done/root.ext4
}

make_guest() {
  say "fetching a kernel and busybox"
  local image
  image=$(kernel_package)
  [[ -n $image ]] || { as_root apt-get update >/dev/null; image=$(kernel_package); }
  [[ -n $image ]] || fail "apt knows no linux-image-cloud-amd64"
  fetch_package "$image" kernel
  fetch_package busybox-static busybox
  say "building fio"
  build_fio
  cp kernel/boot/vmlinuz-* done/vmlinuz
  make_initrd "$(ls kernel/lib/modules)"
  make_root
}

if [[ ${1:-} == --where ]]; then
  complete || fail "not made"
elif [[ $# != 0 ]]; then
  echo "usage: scripts/guest.sh [--where]" >&2
  exit 64
elif ! complete; then
  [[ $(uname -m) == x86_64 ]] || fail "makes an x86_64 guest only"
  make_once make_guest
fi
echo "$result"
