#!/bin/bash
# make check-long: the whole matrix of collectives, and counts beyond 2^31 elements.
set -eu
cd "$C4_TEST_BUILD_ROOT"
make --no-print-directory -s tests/collectives/test_matrix tests/collectives/test_huge
tests/collectives/test_matrix --long
tests/collectives/test_huge
