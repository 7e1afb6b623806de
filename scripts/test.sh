#!/usr/bin/env bash
# Builds and runs the tests: `scripts/test.sh quick` (a few minutes) or `scripts/test.sh all`.
# One file alone: node --enable-source-maps dist/test/unit/cli/vdi.test.js
set -euo pipefail
cd "$(dirname "$0")/.."

selection=${1:-quick}
case $selection in
  quick) programs=test ;;
  all) programs=all ;;
  *) echo "usage: scripts/test.sh [quick|all]" >&2; exit 64 ;;
esac
scripts/setup.sh "$programs"
npm run --silent build
exec node scripts/run-tests.mjs "$selection"
