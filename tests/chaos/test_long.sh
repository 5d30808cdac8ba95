#!/bin/bash
# make check-long: the long form of make check-chaos; C4_SOAK_S says how long its long-lived job lives (an hour).
set -eu
make --no-print-directory -s -C "$C4_TEST_BUILD_ROOT" chaos-programs
bash "$C4_TEST_SOURCE_ROOT/tests/chaos/run.sh" long
