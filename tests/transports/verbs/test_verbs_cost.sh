#!/bin/bash
# What verbs itself does for an 8-byte message, from the post to the frame's being there, in instructions counted by callgrind,
# over a stand-in for the device: the two posts, and the progress that finds the message. The device's driver is not in it.
set -eu
command -v valgrind > /dev/null || { echo "SKIP: valgrind is not installed (apt-get install valgrind)"; exit 77; }
program=$C4_TEST_BUILD_ROOT/tests/transports/verbs/verbs_cost
[ -x "$program" ] || { echo "SKIP: verbs_cost is not built (apt-get install libibverbs-dev)"; exit 77; }
nm "$program" 2> /dev/null | grep -q -e __asan_init -e __tsan_init && { echo "SKIP: built with a sanitizer"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
rounds=2000
most=990 # 902 were counted with gcc 12 -O2

# Toggling within turns counting off: for what the stand-in does.
"$C4_TEST_BUILD_ROOT/libtool" --mode=execute valgrind --tool=callgrind \
    --callgrind-out-file="$dir/out" --toggle-collect=counted_messages --toggle-collect=standin_post_send \
    --toggle-collect=standin_poll_cq --toggle-collect=standin_post_srq_recv --toggle-collect=get_async_event \
    "$program" $rounds > "$dir/log" 2>&1 || status=$?
[ "${status:-0}" -ne 77 ] || { echo "SKIP: built without optimization"; exit 77; }
[ "${status:-0}" -eq 0 ] || { cat "$dir/log"; exit 1; }
all=$(sed -n 's/^\(summary\|totals\): *\([0-9]*\).*/\2/p' "$dir/out" | head -n 1)
cost=$((all / (2 * rounds)))
echo "8-byte message over verbs: $cost instructions, at most $most"
[ "$cost" -gt 100 ] || { echo "FAIL: nothing was counted"; exit 1; }
[ "$cost" -le "$most" ] || { echo "FAIL: more than $most"; exit 1; }
