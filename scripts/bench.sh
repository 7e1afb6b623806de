#!/usr/bin/env bash
# Builds, and measures Sheepfold against its yardsticks: `npm run bench -- --quick`, `npm run bench -- --help`.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh test >&2
npm run --silent build >&2
exec node --enable-source-maps dist/test/bench/main.js "$@"
