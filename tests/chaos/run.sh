#!/bin/bash
# make check-chaos: real faults against running jobs; the short form (CI) or the long one (make check-long).
#     run.sh short|long      C4_CHAOS_SEEDS, C4_CHAOS_FIRST, C4_CHAOS_SECONDS: which seeds, and for how long
set -u
cd "$C4_TEST_BUILD_ROOT" || exit 1
if [ "${1-short}" = long ]; then seeds=300 seconds=100000; else seeds=120 seconds=150; fi
status=0
tests/chaos/chaos --seeds "${C4_CHAOS_SEEDS:-$seeds}" --first "${C4_CHAOS_FIRST:-1}" \
    --seconds "${C4_CHAOS_SECONDS:-$seconds}" || status=1
exit $status
