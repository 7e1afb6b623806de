#!/usr/bin/env bash
# A sheep on this machine: the first begins the cluster and moves what it agrees on to etcd, the others join it.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The token says no more than the address of this etcd, which has no password: who can read it here has that already.
token_key=vagrant/token
of_first() { etcdctl --endpoints="http://$first_address:2379" --command-timeout=5s "$@"; }

found() {
  # One copy for now: there is one sheep.
  dog cluster up --sheep 1 --host "$address" --io-host "$io_address"
  [[ $(dog cluster coordinator) == etcd* ]] || dog cluster move-coordinator --force "$coordinator"
  dog cluster token | of_first put "$token_key" > /dev/null
}

has_token() { [[ -n $(of_first get --print-value-only "$token_key") ]]; }

join() {
  local options=(--host "$address" --io-host "$io_address")
  [[ $role == sheep ]] || options+=(--gateway --nbd-socket /run/sheepfold/nbd.sock)
  until_done "token of $first" has_token
  dog cluster join "$(of_first get --print-value-only "$token_key")" "${options[@]}"
}

if [[ $role == gateway ]]; then
  # Guests run as another user, whose group may use the sockets made in here.
  install -d -m 2750 -g libvirt-qemu /run/sheepfold
  umask 0007
fi
if [[ $name == "$first" ]]; then
  found
elif [[ -e /var/lib/sheepfold/cluster.json ]]; then
  dog cluster up
else
  join
fi
# Volumes get as many copies as there are sheep to hold them, once all of these are there.
have_copies() {
  dog cluster info --json | grep -q "\"copies\": *$copies\b" || dog cluster alter-copy --copies "$copies" --force
}
[[ $name != "$last_sheep" ]] || until_done "room for $copies copies" have_copies
