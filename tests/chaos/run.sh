#!/bin/bash
# make check-chaos: strangers, intruders, failing allocations, many communicators, one long-lived job, then real faults against running
# jobs, whose table comes last but for the line of totals. The short form is CI's, the long one make check-long's.
#     run.sh short|long
#     C4_CHAOS_SEEDS, C4_CHAOS_FIRST, C4_CHAOS_SECONDS: which seeds, and for how long at most
#     C4_CHAOS_JSON=FILE: the table for programs      C4_SOAK_S=N: seconds of the long-lived job
set -u
cd "$C4_TEST_BUILD_ROOT" || exit 1
results=$(mktemp -d) || exit 1
trap 'rm -rf "$results"' EXIT
if [ "${1-short}" = long ]; then
    seeds=300 seconds=100000
    soak=${C4_SOAK_S:-3600}
    export C4_TEST_COMMUNICATORS=10000 C4_TEST_ALLOCATIONS=all C4_TEST_STRANGERS=10000
else
    seeds=84 seconds=200
    soak=${C4_SOAK_S:-20}
    export C4_TEST_COMMUNICATORS=200 C4_TEST_STRANGERS=600 C4_TEST_QUICK=1
fi
seeds=${C4_CHAOS_SEEDS:-$seeds} first=${C4_CHAOS_FIRST:-1} seconds=${C4_CHAOS_SECONDS:-$seconds}
json=()
[ -z "${C4_CHAOS_JSON-}" ] || json=(--json "$C4_CHAOS_JSON")
# The library warns of C4_* variables that it does not know.
unset C4_SOAK_S C4_CHAOS_SEEDS C4_CHAOS_FIRST C4_CHAOS_SECONDS C4_CHAOS_JSON
status=0

# As the driver of `make check`: one result for each case; a program that reports none has failed.
run() { # NAME PROGRAM ARGUMENTS...
    local name=$1 ended start=$SECONDS
    shift
    echo "== $name"
    C4_TEST_RESULTS=$results/$name "$@"
    ended=$?
    [ $ended -eq 0 ] || status=1
    if [ $ended -ne 0 ] && ! grep -qs '^FAIL' "$results/$name"; then
        echo "FAIL : ended with status $ended" >>"$results/$name"
    fi
    grep -E '^(FAIL|SKIP)' "$results/$name" 2>/dev/null | sed 's/^/    /'
    echo "== $name: $((SECONDS - start)) s"
}

run strangers tests/chaos/test_strangers
run intruders tests/chaos/test_intruders
run communicators tests/chaos/test_communicators
run allocation tests/chaos/test_allocation
run soak env C4_SOAK_S="$soak" tests/chaos/test_soak
run faults tests/chaos/chaos --seeds "$seeds" --first "$first" --seconds "$seconds" ${json[@]+"${json[@]}"}

count() { cat "$results"/* | grep -c "^$1"; }
echo "$(count PASS) passed, $(count FAIL) failed, $(count SKIP) skipped"
exit $status
