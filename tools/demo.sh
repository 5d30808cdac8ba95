#!/bin/bash
# make demo: four processes train a small language model on the King James Bible through C4's all-reduce, then
# all_reduce and all_gather between two processes are timed.
#     tools/demo.sh BUILD-DIRECTORY
# C4_DEMO_STEPS (60) and C4_DEMO_RANKS (4) change its size.
set -euo pipefail
build=$(cd "${1:?usage: tools/demo.sh BUILD-DIRECTORY}" && pwd)
steps=${C4_DEMO_STEPS:-60}
ranks=${C4_DEMO_RANKS:-4}
out=$build/demo
mkdir -p "$out"

c4run=$build/tools/c4run/c4run
c4train=$build/tools/c4train/c4train
c4perf=$build/tools/c4perf/c4perf
for program in "$c4run" "$c4train" "$c4perf"; do
    if [ ! -x "$program" ]; then
        echo "demo: $program was not built; see configure's summary for the part that is missing" >&2
        exit 1
    fi
done

title() { printf '\n== %s\n   %s\n\n' "$1" "$2"; }

# Rank processes share the cores: one BLAS thread each.
export OPENBLAS_NUM_THREADS=1

train=(-n "$ranks" "$c4train" --steps "$steps" --json "$out/train.json" --svg "$out/loss.svg")
title "$ranks processes train a byte-level transformer on the King James Bible" "c4run ${train[*]/#$build\//}"
"$c4run" "${train[@]}"

perf=(-n 2 "$c4perf" all_reduce -b 8 -e 64M -f 4)
title "all_reduce between 2 processes" "c4run ${perf[*]/#$build\//}"
"$c4run" "${perf[@]}"

perf=(-n 2 "$c4perf" all_gather -b 8 -e 64M -f 16)
title "all_gather between 2 processes" "c4run ${perf[*]/#$build\//}"
"$c4run" "${perf[@]}"

printf '\nLoss curve: %s\nSummary:    %s\n' "$out/loss.svg" "$out/train.json"
