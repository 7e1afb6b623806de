#!/usr/bin/env bash
# A member of etcd on this machine. The first machine begins with one, the others are added to it one at a time, so that
# it works from the first minute on, in whichever order they come.
set -euo pipefail
. "$(dirname "$0")/common.sh"

data=/var/lib/sheepfold-etcd
peer=http://$address:2380

of_first() { etcdctl --endpoints="http://$first_address:2379" --command-timeout=5s "$@"; }

# A second one is refused while the one before is not there yet.
be_listed() {
  local list
  list=$(of_first member list) || return
  [[ $list == *"$peer"* ]] || of_first member add "$name" --peer-urls="$peer"
}

# NAME=URL of all who are listed. Who has not started yet has no name there.
listed() {
  local urls
  urls=$(of_first member list | awk -F', ' '{ print $4 }')
  machines | while read -r other _ other_address _; do
    [[ $urls != *"http://$other_address:2380"* ]] || echo "$other=http://$other_address:2380"
  done | paste -sd,
}

begin=()
if [[ ! -d $data/member ]]; then
  if [[ $name == "$first" ]]; then
    begin=(--initial-cluster "$name=$peer" --initial-cluster-state new)
  else
    until_done "place in etcd" be_listed
    begin=(--initial-cluster "$(listed)" --initial-cluster-state existing)
  fi
fi

mkdir -p -m 700 "$data"
background sheepfold-etcd /usr/bin/etcd --name "$name" --data-dir "$data" "${begin[@]}" \
  --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
  --listen-client-urls "http://$address:2379" --advertise-client-urls "http://$address:2379" \
  --auto-compaction-retention=1h --logger=zap --log-level=warn
until_done "etcd" etcdctl --endpoints="http://$address:2379" endpoint health
