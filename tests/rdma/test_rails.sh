#!/bin/bash
# Rails that come and go under a job: tests/comm/test_rails in a guest of its own, because it takes the devices away.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
: >"$dir/results"
export C4_TEST_SLOWDOWN=$((15 * ${C4_TEST_SLOWDOWN:-1})) C4_TEST_SOURCE_ROOT C4_TEST_BUILD_ROOT
cd "$C4_TEST_BUILD_ROOT" || exit 1
"$C4_TEST_SOURCE_ROOT/tests/rigs/rdma-guest" --devices 2 --memory 1024 --timeout 230 --share "$dir" \
    "C4_TEST_RESULTS=$dir/results ./tests/comm/test_rails"
status=$?
[ -z "${C4_TEST_RESULTS-}" ] || cat "$dir/results" >>"$C4_TEST_RESULTS"
exit $status
