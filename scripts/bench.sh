#!/usr/bin/env bash
# Builds, and measures Sheepfold against its yardsticks: `npm run bench -- --quick`, `npm run bench -- --help`; and with
# `--peers` or `--work` against other systems, which are installed for that.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh test >&2
for word in "$@"; do
  # What cannot be installed is left out by the bench, with its reason.
  [[ $word != --peers && $word != --work ]] || scripts/peers.sh >&2 || true
done
npm run --silent build >&2
exec node --enable-source-maps dist/test/bench/main.js "$@"
