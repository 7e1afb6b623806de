#!/usr/bin/env bash
# From a checkout to a volume that can be used: what `npm start` runs. Safe to run again: it changes nothing that is
# there already.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh run
npm run --silent build
dog() { node dist/src/cli/main.js "$@"; }

# Options go to `dog cluster up`, for instance: npm start -- --sheep 5
if ! state=$(dog cluster up --json "$@"); then
  echo "Options for 'npm start' come after two dashes: npm start -- -p 7100 --nbd-port 10900 --http-port 7180" >&2
  exit 1
fi
read -r port nbd_port copies started < <(node -e '
  const { sheep, copies, started } = JSON.parse(process.argv[1]);
  console.log(sheep[0].port, sheep[0].nbdPort, copies, started.length);' "$state")
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

already=
[[ $started != 0 ]] || already=' already'
missing=
command -v qemu-img >/dev/null || missing='   # needs: apt-get install qemu-utils'
uri=nbd://127.0.0.1:$nbd_port/first
cat <<END
The cluster runs$already, and the volume 'first' is $uri

  npx dog vdi list$port_option
  npx dog cluster info$port_option
  qemu-img info $uri$missing
  qemu-system-x86_64 -m 1G -drive file=$uri,format=raw,if=virtio,cache=none

Stop and remove it, with all its data:

  npx dog cluster destroy$dir_option
END
