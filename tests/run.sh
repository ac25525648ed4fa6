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
check "lints" cargo clippy --no-deps --workspace --all-targets --locked -- -D warnings
check "tests" cargo test --workspace --locked --no-fail-fast
# Once more, optimised: thousands of hours are lived through, and planted defects looked for.
check "simulation" cargo test --profile sim -p holdfast-sim --features planted --test '*' --locked --no-fail-fast

if [ ${#failed[@]} != 0 ]; then
  printf '== FAILED: %s\n' "${failed[@]}"
  exit 1
fi
echo "== all checks passed"
