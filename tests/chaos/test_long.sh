#!/bin/bash
# make check-long: the long form of make check-chaos.
set -eu
make --no-print-directory -s -C "$C4_TEST_BUILD_ROOT" chaos-programs
bash "$C4_TEST_SOURCE_ROOT/tests/chaos/run.sh" long
