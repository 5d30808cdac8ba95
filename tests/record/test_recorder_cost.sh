#!/bin/bash
# The flight recorder's budget: at most 80 instructions per 8-byte operation, counted by callgrind. Without a file the same is
# written to memory: peers ask for it.
set -eu
command -v valgrind > /dev/null || { echo "SKIP: valgrind is not installed (apt-get install valgrind)"; exit 77; }
program=$C4_TEST_BUILD_ROOT/tests/record/recorder_cost
[ -x "$program" ] || { echo "FAIL: $program is not built"; exit 1; }
nm "$program" 2> /dev/null | grep -q -e __asan_init -e __tsan_init && { echo "SKIP: built with a sanitizer"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
calls=2000

instructions() { # options, functions...
    options=$1
    shift
    "$C4_TEST_BUILD_ROOT/libtool" --mode=execute valgrind --tool=callgrind --callgrind-out-file="$dir/out" \
        "${@/#/--toggle-collect=}" "$program" $calls \
        "C4_TRANSPORTS=shm C4_CPU=scalar C4_RECORD_DIR=$dir/records $options" \
        > "$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
    sed -n 's/^\(summary\|totals\): *\([0-9]*\).*/\2/p' "$dir/out" | head -n 1
}

for record in 1 0; do
    all=$(instructions C4_RECORD=$record counted_calls)
    recorder=$(instructions C4_RECORD=$record c4_trace_begin c4_trace_end)
    cost=$(((recorder + calls - 1) / calls))
    echo "8-byte all_reduce with C4_RECORD=$record: $((all / calls)) instructions, $cost of them for the record"
    [ "$all" -gt $((calls * 20)) ] || { echo "FAIL: nothing was counted"; exit 1; }
    [ "$cost" -gt 20 ] || { echo "FAIL: nothing was recorded"; exit 1; }
    [ "$cost" -le 80 ] || { echo "FAIL: the budget is 80"; exit 1; }
done
