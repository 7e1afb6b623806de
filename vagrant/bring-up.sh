#!/usr/bin/env bash
# Makes this machine what the table says that it is. Run again, it starts what does not run and changes nothing else.
# Machines may be brought up one after the other, beginning with the first, or all at once: who comes early waits.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# Names, so that commands can be typed as they are in the README. A list of its own would be the name server's.
machines | while read -r other _ other_address _; do
  grep -Eq "^$other_address[[:space:]]" /etc/hosts || echo "$other_address $other" >> /etc/hosts
done

[[ $role == sheep ]] && "$here/etcd.sh"
"$here/sheep.sh"
[[ $role == gateway ]] && "$here/hypervisor.sh"
say "is up"
