# What the scripts of this folder share; sourced. `name`, `role`, `address` and `io_address` are those of this machine.
# shellcheck shell=bash
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
wait_s=180

say() { printf '%s: %s\n' "$name" "$*"; }
fail() { say "$*" >&2; exit 1; }

# The rows of the table, without remarks.
machines() { grep -Ev '^ *(#|$)' "$here/machines"; }

name=$(hostname -s)
read -r _ role address io_address < <(machines | grep "^$name ") || fail "is none of the machines"
first=$(machines | awk 'NR == 1 { print $1 }')
first_address=$(machines | awk 'NR == 1 { print $3 }')
last_sheep=$(machines | awk '$2 == "sheep" { name = $1 } END { print name }')
copies=$(machines | awk '$2 == "sheep" { count++ } END { print count < 3 ? count : 3 }')
coordinator=etcd://$(machines | awk '$2 == "sheep" { print $3 ":2379" }' | paste -sd,)/farm

# `dog` talks to this machine's own sheep.
export SHEEPDOG_DOG_ADDR=$address
export ETCDCTL_API=3

with_systemd() { [[ -d /run/systemd/system ]]; }

# until_done WHAT COMMAND...: runs it again and again until it succeeds; says why not when the time is over.
until_done() {
  local what=$1 said end=$((SECONDS + wait_s))
  shift
  until said=$("$@" 2>&1); do
    ((SECONDS < end)) || fail "no $what within $wait_s s: $said"
    sleep 0.5
  done
}

# background NAME PROGRAM WORDS...: runs a daemon, with systemd as a unit that starts with the machine, else as a
# process that ends with it. A daemon that runs is left alone.
background() {
  local unit=$1
  shift
  if with_systemd; then
    printf '%s\n' '[Unit]' "Description=$unit" 'Wants=network-online.target' 'After=network-online.target' '' \
      '[Service]' "ExecStart=$*" 'Restart=always' 'RestartSec=2' 'LimitNOFILE=65536' '' \
      '[Install]' 'WantedBy=multi-user.target' > "/etc/systemd/system/$unit.service"
    systemctl daemon-reload
    systemctl enable --quiet --now "$unit"
  elif ! kill -0 "$(cat "/run/$unit.pid" 2>/dev/null)" 2>/dev/null; then
    setsid "$@" >> "/var/log/$unit.log" 2>&1 < /dev/null &
    echo $! > "/run/$unit.pid"
  fi
}
