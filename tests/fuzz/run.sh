#!/bin/bash
# Runs fuzz targets one after the other: tests/fuzz/run.sh SECONDS [TARGET...]; all of them where none is named.
# What is interesting collects in the folder `found`, which is not kept; what fails lands in `artifacts`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:?how many seconds a target may take}
shift
# Nothing here is unsafe code, so that an address sanitizer would only make it slower.
fuzz=(cargo +nightly fuzz)
options=(--fuzz-dir . --sanitizer none)
# Listed by file: `cargo fuzz list` would do, but for the order.
targets=("$@")
[ ${#targets[@]} != 0 ] || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)

failed=()
for target in "${targets[@]}"; do
  mkdir -p "found/$target"
  "${fuzz[@]}" run "${options[@]}" "$target" "found/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 -verbosity=0 ||
    failed+=("$target")
done
if [ ${#failed[@]} != 0 ]; then
  printf '== FAILED: %s\n' "${failed[@]}"
  exit 1
fi
