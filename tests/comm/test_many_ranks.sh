#!/bin/bash
# 256 ranks on this host: one all-reduce, right on all of them, and what the communicator costs each: memory of its own, and
# mappings and open files, of which a peer that it does not talk to must not cost any. Times are printed, not judged.
set -eu
ranks=256 limit_kib=2048
rounds=8                         # log2 of the ranks
limit_maps=32                    # libraries, threads with their heaps, the record, the segment: 15, also with 512 ranks
limit_files=$((2 * rounds + 24)) # control connections to 2 log2 n neighbours; bells, timers, the record: 15
program=$C4_TEST_BUILD_ROOT/tests/comm/many_ranks
c4run=$C4_TEST_BUILD_ROOT/tools/c4run/c4run
for built in "$program" "$c4run"; do
    [ -x "$built" ] || { echo "FAIL: $built is not built"; exit 1; }
done
[ -r /proc/self/smaps_rollup ] || { echo "SKIP: no /proc/self/smaps_rollup (Linux 4.14)"; exit 77; }
available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
[ "${available:-0}" -ge $((2 << 20)) ] || { echo "SKIP: less than 2 GiB of memory available"; exit 77; }
nm "$program" 2> /dev/null | grep -q -e __asan_init -e __tsan_init && { echo "SKIP: built with a sanitizer"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

C4_RECORD_DIR=$dir/records "$c4run" -n $ranks --timeout $((120 * ${C4_TEST_SLOWDOWN:-1})) "$program" \
    > "$dir/out" 2> "$dir/err" || { echo "FAIL: c4run: exit status $?"; tail -n 20 "$dir/err"; exit 1; }
awk -v ranks=$ranks -v limit=$limit_kib -v limit_maps=$limit_maps -v limit_files=$limit_files '
    $1 != "many_ranks" { next }
    seen[$2]++ { print "FAIL: rank " $2 " reported twice"; bad = 1 }
    { n++; if ($5 > create) create = $5; if ($6 > call) call = $6; if ($4 > most) most = $4 }
    $2 == 0 { first = $8 }
    { if ($7 > maps) maps = $7; if ($2 > 0 && $8 > files) files = $8 }
    $7 > limit_maps { print "FAIL: rank " $2 ": " $7 " mappings were added, the limit is " limit_maps; bad = 1 }
    # rank 0 also watches every process of the host
    $8 > limit_files + ($2 == 0 ? ranks : 0) { print "FAIL: rank " $2 ": " $8 " open files were added, the limit is " limit_files; bad = 1 }
    $3 != 1 { print "FAIL: rank " $2 ": wrong result"; bad = 1 }
    $4 < 0 || $4 >= limit { print "FAIL: rank " $2 ": private memory grew by " $4 " KiB, the limit is " limit; bad = 1 }
    END {
        if (n != ranks) { print "FAIL: " n + 0 " of " ranks " ranks reported"; bad = 1 }
        printf "%d ranks: create %.0f ms, first all_reduce %.0f ms (the slowest); private memory +%d KiB, mappings +%d, " \
               "open files +%d (the most; of rank 0 +%d)\n", n, create, call, most, maps, files, first
        exit bad
    }' "$dir/out"
