#!/bin/bash
# Part of `make check-long`: 10,000 seeds of simulated jobs with faults.
set -eu
make --no-print-directory -s -C "$C4_TEST_BUILD_ROOT" tests/sim/test_sim
"$C4_TEST_BUILD_ROOT/tests/sim/test_sim" --long
