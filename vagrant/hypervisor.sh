#!/usr/bin/env bash
# Guests on this machine: libvirt with the hook that looks after their volumes, and storage pools for virsh.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# setting FILE LINE: adds the line unless it is there; true when it was not.
setting() { ! grep -qxF "$2" "$1" 2>/dev/null && echo "$2" >> "$1"; }

# The other hypervisor may come in without a password: on this network of machines for trying things out.
configure_libvirt() {
  local changed=1
  setting /etc/libvirt/libvirtd.conf 'auth_tcp = "none"' && changed=0
  setting /etc/libvirt/libvirtd.conf 'listen_tls = 0' && changed=0
  setting /etc/libvirt/libvirtd.conf 'listen_tcp = 1' && changed=0
  setting /etc/libvirt/libvirtd.conf "listen_addr = \"$address\"" && changed=0
  # A guest's memory comes over the network between sheep.
  setting /etc/libvirt/qemu.conf "migration_address = \"$io_address\"" && changed=0
  setting /etc/libvirt/qemu.conf "migration_host = \"$io_address\"" && changed=0
  return $changed
}

# Under systemd its sockets are made by systemd, and listen_addr counts for nothing.
start_libvirt() {
  if with_systemd; then
    systemctl stop libvirtd.service
    systemctl enable --quiet --now libvirtd-tcp.socket
    systemctl start libvirtd.service
  else
    libvirtd --daemon --listen --pid-file /run/libvirt/libvirtd.pid --config /etc/libvirt/libvirtd.conf
  fi
}

dog vm hooks install
if configure_libvirt || ! virsh -q -c qemu:///system version > /dev/null 2>&1; then start_libvirt; fi
until_done "libvirt" virsh -q -c qemu:///system version

pools=storage+unix:///system?socket=/run/sheepfold/pools-sock
background sheepfold-pools "$(command -v sheepfold-pools)" serve --socket /run/sheepfold/pools-sock \
  --config-dir /var/lib/sheepfold-pools
until_done "storage daemon" virsh -q -c "$pools" pool-list
if ! virsh -q -c "$pools" pool-info farm > /dev/null 2>&1; then
  virsh -q -c "$pools" pool-define-as farm sheepdog --source-host "$address"
  virsh -q -c "$pools" pool-autostart farm
  virsh -q -c "$pools" pool-start farm
fi
