#!/bin/bash
# make check-chaos: strangers, failing allocations, many communicators, then real faults against running jobs, whose
# table comes last. The short form is CI's, the long one make check-long's.
#     run.sh short|long      C4_CHAOS_SEEDS, C4_CHAOS_FIRST, C4_CHAOS_SECONDS: which seeds, and for how long
set -u
cd "$C4_TEST_BUILD_ROOT" || exit 1
status=0
if [ "${1-short}" = long ]; then
    seeds=300 seconds=100000
    export C4_TEST_COMMUNICATORS=10000 C4_TEST_ALLOCATIONS=all
else
    seeds=150 seconds=120
    export C4_TEST_COMMUNICATORS=300 C4_TEST_STRANGERS=10000 C4_TEST_QUICK=1
fi
for test in strangers communicators allocation; do
    tests/chaos/test_$test || status=1
done
tests/chaos/chaos --seeds "${C4_CHAOS_SEEDS:-$seeds}" --first "${C4_CHAOS_FIRST:-1}" \
    --seconds "${C4_CHAOS_SECONDS:-$seconds}" || status=1
exit $status
