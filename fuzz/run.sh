#!/usr/bin/env bash
# Fuzzes every target for MINUTES each: fuzz/run.sh MINUTES [target...]
# cargo-fuzz asks the compiler for sanitizers, which stable compilers grant under RUSTC_BOOTSTRAP.
set -euo pipefail
cd "$(dirname "$0")"
minutes=${1:?minutes a target}; shift
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
if [ $# -eq 0 ]; then set -- $(for t in fuzz_targets/*.rs; do basename "$t" .rs; done); fi
for target in "$@"; do
    mkdir -p "corpus/$target"
    echo "== $target, $minutes minutes"
    RUSTC_BOOTSTRAP=1 cargo fuzz run --fuzz-dir . --features libfuzzer "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time=$((minutes * 60)) -print_final_stats=1
done
