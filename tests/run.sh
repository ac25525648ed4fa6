#!/bin/bash
# Runs every check of the project: formatting, lints, all tests (the rules about the code and the generated files are
# tests too). Installs first what they need. Fails if any of them fails, after all have run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=()
check() { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name"
  "$@" || failed+=("$name")
}

tests/install.sh || failed+=("installing what the tests need")
check "formatting" cargo fmt --all --check
# The simulation is still being built: about thirty lints of style are to be mended there before it joins the others.
check "lints" cargo clippy --no-deps --workspace --exclude holdfast-sim --all-targets --locked -- -D warnings
check "tests" cargo test --workspace --exclude holdfast-sim --locked --no-fail-fast
# The simulation has commands of its own until it is fast and whole enough for every change:
#   cargo test --profile sim -p holdfast-sim
#   cargo test --profile sim -p holdfast-sim --features planted --test planted

if [ ${#failed[@]} != 0 ]; then
  printf '== FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "== all checks passed"
