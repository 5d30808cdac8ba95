#!/bin/bash
# c4perf over verbs: every collective, its results verified, from memory that the device knows and from other memory.
. "$C4_TEST_SOURCE_ROOT/tests/rdma/cases.sh"
perf=$C4_TEST_BUILD_ROOT/tools/c4perf/c4perf
run=$C4_TEST_BUILD_ROOT/tools/c4run/c4run
export C4_TRANSPORTS=verbs C4_REQUIRE_TRANSPORT=verbs
export C4_MODULE_PATH=$C4_TEST_BUILD_ROOT/transports/verbs/.libs

verified() { # RANKS ARGUMENTS...
    local nranks=$1 out
    shift
    out=$(timeout $((60 * ${C4_TEST_SLOWDOWN:-1})) "$run" -n "$nranks" -- "$perf" "$@" 2>&1) || { echo "$out"; return 1; }
    grep -E 'ranks,|wrong' <<<"$out"
    grep -q 'wrong elements: 0 OK' <<<"$out" && grep -q "$nranks ranks, verbs" <<<"$out"
}

run_case "3 ranks" verified 3 all -b 1K -e 128K -f 128 -n 1 -w 0 -r 2
run_case "2 ranks, declared memory" verified 2 all_reduce broadcast all_to_all -b 16K -e 1M -f 8 -n 2 -w 0 --mapped
[ -n "${C4_TEST_QUICK-}" ] || run_case "4 ranks, more sizes" verified 4 all -b 8 -e 4M -f 16 -n 3 -r 1
[ -n "${C4_TEST_QUICK-}" ] || run_case "3 ranks, all dtypes and ops" verified 3 all_reduce -d all -o all -b 12 -e 3000 -i 2988 -n 1
end_cases
