#!/bin/bash
# The layer check holds on this tree, and can fail.
exec 2>&1
status=0
bash "$C4_TEST_SOURCE_ROOT/tests/check-layers.sh" --self-test || status=1
bash "$C4_TEST_SOURCE_ROOT/tests/check-layers.sh" "$C4_TEST_SOURCE_ROOT" || status=1
exit $status
