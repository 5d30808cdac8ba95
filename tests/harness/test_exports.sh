#!/bin/bash
# libc4.so exports what the public headers declare, no more and no less, and needs nothing but the C library.
exec 2>&1
library=$C4_TEST_BUILD_ROOT/src/.libs/libc4.so
failed=0

declared=$(cat "$C4_TEST_SOURCE_ROOT"/include/c4/c4.h | $C4_TEST_CC -I"$C4_TEST_SOURCE_ROOT/include" -E -P -x c - |
    tr '\n' ' ' | grep -oE '\bc4_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u)
exported=$(nm -D --defined-only "$library" | awk '$2 ~ /[TWDBRV]/ { sub(/@.*/, "", $3); print $3 }' | grep -v '^C4_0' | sort -u)
if ! difference=$(diff <(echo "$declared") <(echo "$exported")); then
    echo "declared in c4.h (<) and exported (>) differ:"
    echo "$difference"
    failed=1
fi

# A sanitizer's run-time library is part of a sanitized build, not of libc4.
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' |
    grep -vE '^(libc\.so\.6|libm\.so\.6|ld-linux-.*|lib(asan|ubsan|tsan)\.so\..*|libclang_rt.*|libgcc_s\.so\.1)$')
if [ -n "$needed" ]; then
    echo "libc4.so needs: $needed"
    failed=1
fi
exit $failed
