#!/usr/bin/env bash
# From a checkout to a volume that can be used: what `npm start` runs. Safe to run again: it changes nothing that is
# there already.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh run
npm run --silent build
dog() { node dist/src/cli/main.js "$@"; }

# Options go to `dog cluster up`, for instance: npm start -- --sheep 5
state=$(dog cluster up --json "$@")
read -r port nbd_port copies < <(node -e '
  const { sheep, copies } = JSON.parse(process.argv[1]);
  console.log(sheep[0].port, sheep[0].nbdPort, copies);' "$state")
# Empty where the default will do.
dir_option=$(node -e '
  const { directory, isDefaultDirectory } = JSON.parse(process.argv[1]);
  if (!isDefaultDirectory) console.log(` --dir ${directory}`);' "$state")
port_option=
[[ $port == 7000 ]] || port_option=" -p $port"

if [[ -z $(dog vdi list first -r -p "$port") ]]; then
  dog vdi create first 4G -c "$copies" -p "$port"
  echo "Created the volume 'first': 4 GiB, $copies copies."
fi

uri=nbd://127.0.0.1:$nbd_port/first
cat <<END
The cluster runs, and the volume 'first' is $uri

  qemu-img info $uri
  nbdcopy --progress disk.img $uri
  qemu-system-x86_64 -m 1G -drive file=$uri,format=raw,if=virtio,cache=none
  npx dog vdi list$port_option

Stop and remove it, with all its data:

  npx dog cluster destroy$dir_option
END
