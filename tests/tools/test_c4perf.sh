#!/bin/bash
# c4perf as a user meets it: every collective verified at 1 to 4 ranks, wrong results noticed, JSON, tuning file, usage.
# Breaking a result needs a shim that is compiled here; without a compiler that part is skipped.
set -u
perf=$C4_TEST_BUILD_ROOT/tools/c4perf/c4perf
run=$C4_TEST_BUILD_ROOT/tools/c4run/c4run
page=$C4_TEST_SOURCE_ROOT/tools/man/c4perf.1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

fail()
{
    echo "FAIL $1"
    [ ! -s "$dir/out" ] || tail -n 20 "$dir/out"
    failures=$((failures + 1))
}

# expect STATUS NAME COMMAND...: output in $dir/out
expect()
{
    local wanted=$1 name=$2 status
    shift 2
    timeout "$((60 * ${C4_TEST_SLOWDOWN:-1}))" "$@" > "$dir/out" 2>&1 < /dev/null
    status=$?
    if [ "$status" != "$wanted" ]; then
        fail "$name: exit status $status, not $wanted"
        return 1
    fi
    echo "ok   $name"
}

# contains NAME TEXT: in the last output
contains()
{
    grep -q -e "$2" "$dir/out" || fail "$1: no '$2' in the output"
}

export DIR=$dir
unset C4_RANK C4_NRANKS C4_RENDEZVOUS

# ---- every collective, out of place and in place ----
expect 0 "one rank without c4run" "$perf" all -b 0 -e 4K -f 64 -n 3 -w 1
contains "one rank" "wrong elements: 0 OK"
for transports in shm tcp; do
    for nranks in 2 3 4; do
        expect 0 "$nranks ranks, $transports" env C4_TRANSPORTS=$transports \
            "$run" -n $nranks -- "$perf" all -b 8 -e 256K -f 32 -n 3 -w 1 -r $((nranks - 1))
        contains "$nranks ranks" "wrong elements: 0 OK"
    done
done
expect 0 "every dtype and op, 3 ranks" "$run" -n 3 -- "$perf" all_reduce reduce_scatter -d all -o all -b 12 -e 3000 \
    -i 1494 -n 2 -w 0
contains "every dtype and op" "wrong elements: 0 OK"
[ "$(grep -c ' float32 .* sum ' "$dir/out")" -ge 4 ] || fail "every dtype and op: rows are missing"
expect 0 "mapped buffers" "$run" -n 2 -- "$perf" all -b 64 -e 64K -f 32 -n 3 -w 1 --mapped
contains "mapped buffers" "mapped buffers"
expect 0 "untouched" "$run" -n 2 -- "$perf" all -b 4K -e 4K -n 3 -w 1 --untouched
contains "untouched" "wrong elements: 0 OK"

# ---- a wrong result is counted, and ends in status 1 ----
cat > "$dir/shim.c" <<'END'
#define _GNU_SOURCE
#include <c4/c4.h>
#include <dlfcn.h>

/* Adds one to the last element of every float32 result of rank 1. */
__attribute__((visibility("default"))) c4_status c4_all_reduce(const void *send, void *recv, size_t count,
                                                                c4_dtype dtype, c4_op op, c4_comm *comm,
                                                                c4_request **request)
{
    c4_status (*next)(const void *, void *, size_t, c4_dtype, c4_op, c4_comm *, c4_request **) =
        dlsym(RTLD_NEXT, "c4_all_reduce");
    int rank = 0;
    c4_status status = next(send, recv, count, dtype, op, comm, request);
    c4_comm_rank(comm, &rank);
    if (status == C4_OK && rank == 1 && dtype == C4_FLOAT32 && count > 0) {
        ((float *)recv)[count - 1] += 1.0f;
    }
    return status;
}
END
if [ "${C4_TEST_SLOWDOWN:-1}" != 1 ]; then
    echo "skip wrong results: a preloaded shim and a sanitizer do not go together"
elif ${C4_TEST_CC:-cc} -shared -fPIC -I"$C4_TEST_SOURCE_ROOT/include" -o "$dir/shim.so" "$dir/shim.c" -ldl; then
    expect 1 "wrong results are noticed" env C4_LOG=none LD_PRELOAD="$dir/shim.so" \
        "$run" -n 2 -- "$perf" all_reduce -b 4K -e 4K -n 4 -w 1 --out-of-place
    contains "wrong results" "wrong elements: 5 FAILED"
else
    echo "skip wrong results: no compiler"
fi

# ---- JSON ----
# What is logged goes to the other one.
expect 0 "JSON on standard output" bash -c '"$0" "$@" 2> "$DIR/err"' "$run" -n 2 -- "$perf" all_reduce barrier -b 1K -e 2K -n 3 --json
cp "$dir/out" "$dir/stdout.json"
expect 0 "JSON in a file" "$run" -n 2 -- "$perf" --json "$dir/file.json" all_gather -b 1K -e 1K -n 3
contains "JSON in a file" "wrong elements: 0 OK"
if command -v python3 > /dev/null; then
    python3 -c '
import json, sys
columns = ["collective", "bytes", "count", "dtype", "op", "in_place", "algorithm", "time_us_median", "time_us_p99",
           "algbw_gbs", "busbw_gbs", "wrong"]
one, two = (json.load(open(name)) for name in sys.argv[1:])
for result in (one, two):
    assert (result["schema_version"], result["nranks"]) == (1, 2), result
    assert isinstance(result["transport"], str) and all(list(row) == columns for row in result["rows"]), result
found = [(row["collective"], row["bytes"], row["count"], row["op"], row["in_place"]) for row in one["rows"]]
assert found == [("all_reduce", 1024, 256, "sum", False), ("all_reduce", 1024, 256, "sum", True),
                 ("all_reduce", 2048, 512, "sum", False), ("all_reduce", 2048, 512, "sum", True),
                 ("barrier", 0, 0, "none", False)], found
gather = two["rows"][0]
assert (gather["bytes"], gather["count"]) == (1024, 128) and gather["time_us_p99"] >= gather["time_us_median"] > 0
assert abs(gather["algbw_gbs"] - 1.024 / gather["time_us_median"]) < 0.01 * gather["algbw_gbs"], gather
assert abs(gather["busbw_gbs"] - gather["algbw_gbs"] / 2) < 0.01 * gather["algbw_gbs"], gather
' "$dir/stdout.json" "$dir/file.json" > "$dir/out" 2>&1 || fail "JSON: contents"
else
    echo "skip contents of the JSON: no python3"
fi

# ---- tuning: the file covers all sizes without gaps, and the library obeys it ----
if expect 0 "tune" "$run" -n 2 -- "$perf" all_reduce broadcast --tune "$dir/tuning" -b 8 -e 8K -f 8 -n 5; then
    grep -v '^#' "$dir/tuning" > "$dir/out"
    awk '$2 != 2 || $3 != 2 || NF != 8 || done[$1] || $4 != next_begin[$1] + 0 { exit 1 }
         { seen[$1] = 1; if ($5 == "*") done[$1] = 1; else next_begin[$1] = $5 + 1 }
         END { exit !(done["all_reduce"] && done["broadcast"]) }' "$dir/out" || fail "tune: gaps or odd lines"
    expect 0 "the tuning file is read" env C4_TUNING_FILE="$dir/tuning" "$run" -n 2 -- "$perf" all_reduce -b 8 -e 8K -n 2
fi

# ---- usage ----
expect 2 "no collective" "$perf"
expect 2 "unknown collective" "$perf" all_reduc
contains "unknown collective" "all_reduc"
expect 2 "a size that is none" "$perf" all_reduce -b 12Q
contains "a size that is none" "12Q"
expect 2 "bitwise op on floats" "$perf" all_reduce -d float32 -o bxor
expect 2 "-b above -e" "$perf" all_reduce -b 2K -e 1K
expect 2 "root beyond the ranks" "$perf" broadcast -r 5
contains "root beyond the ranks" "there are 1 ranks"
expect 0 "--help" "$perf" --help
for word in $(grep -o -e '--[a-z_-]*[a-z]' "$dir/out" | sort -u); do
    sed 's/\\-/-/g' "$page" | grep -q -e "$word" || fail "the man page does not know $word"
done

[ "$failures" = 0 ] || echo "$failures failed"
[ "$failures" = 0 ]
