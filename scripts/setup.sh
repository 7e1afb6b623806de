#!/usr/bin/env bash
# Installs what is missing, and says what it did.
#   scripts/setup.sh run       what the daemon and dog need: node modules
#   scripts/setup.sh test      that, and the foreign programs that tests drive (tests skip by name without them)
#   scripts/setup.sh packages  that, and those that only `npm run test:all` drives: an iSCSI target, Vagrant
#   scripts/setup.sh all       that, and what scripts beside this one make: clients of other years, a guest (minutes)
# On a terminal it asks first; without one, or with CI=true, it goes ahead. Only Debian's packages are known by name.
set -euo pipefail
cd "$(dirname "$0")/.."

group=${1:-run}
test_packages=(qemu-utils libnbd-bin fio nbdkit gnutls-bin qemu-system-x86 grub-rescue-pc ipxe procps)
# Hosts as network namespaces, disks as small file systems.
test_packages+=(iproute2 e2fsprogs mount)
# Extended attributes of files on a mount of sheepfs.
test_packages+=(attr)
# The stock virsh, and libvirtds of the tests' own: behind the storage daemon, on a mount of sheepfs, as hypervisors.
test_packages+=(libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu util-linux)
# The coordinator of clusters of several hosts. Debian starts one; tests start their own.
test_packages+=(etcd-server etcd-client)
# The iSCSI target with a sheepdog backing store, and its clients.
all_packages=("${test_packages[@]}" tgt libiscsi-bin qemu-block-extra)
# A tree of another Debian.
all_packages+=(debootstrap)
# Hypervisors of the tests' own.
all_packages+=(libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients util-linux)
# What says whether the Vagrantfile is valid, for the provider it is made for.
all_packages+=(vagrant vagrant-libvirt)
# The stock virt-install, and what virt-xml-validate reads libvirt's schemas with.
all_packages+=(virtinst libxml2-utils)

say() { printf 'setup: %s\n' "$*"; }

# True when the user agrees, or cannot be asked.
agreed() {
  [[ ${CI:-} == true || ! -t 0 ]] && return 0
  local answer
  read -r -p "setup: $1 [y/N] " answer
  [[ $answer == [yY]* ]]
}

check_node() {
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    say "node and npm are missing. Debian: apt-get install nodejs npm"
    exit 1
  fi
  if ! node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 15) ? 0 : 1)'; then
    say "node $(node --version) is too old: 20.15 or newer is needed"
    exit 1
  fi
}

# Compares what is installed with package-lock.json, package by package: dates say nothing after a checkout.
modules_complete() {
  node -e '
    const { readFileSync } = require("node:fs");
    const read = (path) => JSON.parse(readFileSync(path, "utf8")).packages;
    const wanted = read("package-lock.json");
    const installed = read("node_modules/.package-lock.json");
    const missing = Object.entries(wanted).filter(
      ([path, entry]) => path !== "" && !entry.optional && installed[path]?.version !== entry.version);
    process.exit(missing.length === 0 ? 0 : 1);' 2>/dev/null
}

install_modules() {
  if modules_complete; then
    say "node modules are complete"
    return
  fi
  agreed "install the node modules of package-lock.json (npm ci)?" || { say "node modules are missing"; exit 1; }
  say "installing the node modules"
  # No package of ours needs its install script: koffi, the only binary one, ships its binary.
  npm ci --ignore-scripts --no-audit --no-fund
  say "installed the node modules"
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  elif [[ -t 0 ]]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

install_packages() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null; then
    say "not Debian: install these by your own means for all tests to run: $*"
    return
  fi
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) == ii* ]] || missing+=("$package")
  done
  if [[ ${#missing[@]} == 0 ]]; then
    say "packages are complete"
    return
  fi
  local command="apt-get install -y --no-install-recommends ${missing[*]}"
  if [[ $(id -u) != 0 ]] && ! { command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; }; then
    say "missing packages; as root: $command"
    say "tests that need them are skipped"
    return
  fi
  agreed "install ${missing[*]}?" || { say "left out; tests that need them are skipped"; return; }
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  if as_root $command >/dev/null 2>&1 || { as_root apt-get update >/dev/null 2>&1 && as_root $command; }; then
    say "installed ${missing[*]}"
  else
    say "could not install ${missing[*]}; tests that need them are skipped"
  fi
}

# prepare SCRIPT WHAT COST: made for tests alone, which do without it.
prepare() {
  local script=scripts/$1 what=$2 cost=$3
  if "$script" --where >/dev/null 2>&1; then
    say "$what is there"
    return
  fi
  agreed "make $what ($cost)?" || { say "left out; tests that need it are skipped"; return; }
  "$script" >/dev/null || say "without $what tests that need it are skipped"
}

prepare_all() {
  prepare old-qemu.sh "the old QEMU" "some 7 minutes of CPU time"
  prepare guest.sh "the guest" "Debian's kernel, busybox and fio; a minute of CPU time"
  prepare old-libvirt.sh "the old libvirt" "some 5 minutes of CPU time"
  prepare virtqemud.sh "virtqemud" "some 5 minutes of CPU time"
  prepare debian13-virsh.sh "Debian 13's virsh" "a tree of 160 MB, a minute"
}

case $group in
  run) check_node; install_modules ;;
  test) check_node; install_modules; install_packages "${test_packages[@]}" ;;
  packages) check_node; install_modules; install_packages "${all_packages[@]}" ;;
  all) check_node; install_modules; install_packages "${all_packages[@]}"; prepare_all ;;
  *) echo "usage: scripts/setup.sh [run|test|packages|all]" >&2; exit 64 ;;
esac
