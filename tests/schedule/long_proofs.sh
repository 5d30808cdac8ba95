#!/bin/bash
# Part of `make check-long`: all proofs for n = 1 .. 64 and n = 100, 128, 255, 256.
set -e
program=tests/schedule/test_prove
make -s -C "$C4_TEST_BUILD_ROOT" "$program"
"$C4_TEST_BUILD_ROOT/$program" --long
