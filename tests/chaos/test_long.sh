#!/bin/bash
# make check-long: the long form of make check-chaos, then fresh seeds for C4_SOAK_S seconds (an hour).
set -eu
make --no-print-directory -s -C "$C4_TEST_BUILD_ROOT" chaos-programs
bash "$C4_TEST_SOURCE_ROOT/tests/chaos/run.sh" long
cd "$C4_TEST_BUILD_ROOT"
tests/chaos/chaos --first "$(date +%s)" --seeds 1000000 --seconds "${C4_SOAK_S:-3600}"
