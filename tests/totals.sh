#!/bin/sh
# Prints `N passed, N failed, N skipped` over the test cases of the .trs files given. A test without one did not run
# to its end: a failure.
passed=0 failed=0 skipped=0
for trs; do
    if [ ! -f "$trs" ]; then
        echo "no result: ${trs%.trs}"
        failed=$((failed + 1))
        continue
    fi
    passed=$((passed + $(grep -c '^:test-result: PASS' "$trs")))
    failed=$((failed + $(grep -c '^:test-result: FAIL' "$trs")))
    skipped=$((skipped + $(grep -c '^:test-result: SKIP' "$trs")))
done
echo "$passed passed, $failed failed, $skipped skipped"
