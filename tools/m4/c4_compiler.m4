# C4_COMPILER: house flags, kept out of CFLAGS so that the user's CFLAGS (default -O2 -g) stay the user's.
AC_DEFUN([C4_COMPILER], [
C4_CFLAGS="-std=gnu11 -fvisibility=hidden -pthread"
C4_CFLAGS="$C4_CFLAGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wconversion -Wno-sign-conversion"
C4_CPPFLAGS="-D_GNU_SOURCE"
C4_LDFLAGS="-pthread"
C4_CXXFLAGS="-std=c++17 -Wall -Wextra -pthread"
AC_MSG_CHECKING([whether $CC accepts the house flags])
c4_saved_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS $C4_CFLAGS -Werror"
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no]); AC_MSG_ERROR([$CC does not accept $C4_CFLAGS; use gcc 10 or clang 12, or newer])])
CFLAGS=$c4_saved_CFLAGS
AC_SUBST([C4_CFLAGS])
AC_SUBST([C4_CPPFLAGS])
AC_SUBST([C4_CXXFLAGS])
AC_SUBST([C4_LDFLAGS])
])

# C4_OPTIONS: --enable-werror, --enable-sanitizer=LIST, --enable-fuzzers.
AC_DEFUN([C4_OPTIONS], [
AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [treat warnings as errors @<:@no@:>@])], [],
    [enable_werror=no])
AS_IF([test "$enable_werror" = yes], [C4_CFLAGS="$C4_CFLAGS -Werror"])

C4_TEST_SLOWDOWN=1
C4_NO_UNDEFINED="-Wl,-z,defs"
AC_ARG_ENABLE([sanitizer], [AS_HELP_STRING([--enable-sanitizer=LIST],
    [build with sanitizers: address,undefined or thread @<:@no@:>@])], [], [enable_sanitizer=no])
AS_CASE([$enable_sanitizer],
    [no], [],
    [yes], [AC_MSG_ERROR([say which: --enable-sanitizer=address,undefined or --enable-sanitizer=thread])],
    [c4_sanitizer="-fsanitize=$enable_sanitizer -fno-omit-frame-pointer"
     AS_CASE([$enable_sanitizer], [*undefined*], [c4_sanitizer="$c4_sanitizer -fno-sanitize-recover=undefined"])
     c4_saved_CFLAGS=$CFLAGS
     CFLAGS="$CFLAGS $c4_sanitizer"
     AC_MSG_CHECKING([whether $CC links with $c4_sanitizer])
     AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no]); AC_MSG_ERROR([$CC has no -fsanitize=$enable_sanitizer: apt-get install clang, or use gcc])])
     # gcc's ThreadSanitizer warns that it does not see fences. What C4 orders with them is atomic by itself.
     CFLAGS="$CFLAGS -Werror -Wno-tsan"
     AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [c4_sanitizer="$c4_sanitizer -Wno-tsan"])
     CFLAGS=$c4_saved_CFLAGS
     C4_CFLAGS="$C4_CFLAGS $c4_sanitizer"
     C4_CXXFLAGS="$C4_CXXFLAGS $c4_sanitizer"
     C4_LDFLAGS="$C4_LDFLAGS $c4_sanitizer"
     C4_NO_UNDEFINED= # clang leaves a sanitizer's symbols undefined in shared libraries
     AS_CASE([$enable_sanitizer], [*thread*], [C4_TEST_SLOWDOWN=10], [C4_TEST_SLOWDOWN=4])
     AC_DEFINE([C4_SANITIZED], [1], [Define to 1 when built with --enable-sanitizer.])])

AC_SUBST([C4_TEST_SLOWDOWN])
AC_SUBST([C4_NO_UNDEFINED])

AC_ARG_ENABLE([fuzzers], [AS_HELP_STRING([--enable-fuzzers],
    [build tests/fuzz with libFuzzer, which needs CC=clang @<:@no@:>@])], [], [enable_fuzzers=no])
AS_IF([test "$enable_fuzzers" = yes], [
    c4_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -fsanitize=fuzzer"
    AC_MSG_CHECKING([whether $CC has libFuzzer])
    AC_LINK_IFELSE([AC_LANG_SOURCE([[
        #include <stddef.h>
        int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) { return size && data[0] ? 0 : 0; }]])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no]); AC_MSG_ERROR([--enable-fuzzers needs CC=clang: apt-get install clang])])
    CFLAGS=$c4_saved_CFLAGS
    # Coverage everywhere, libFuzzer's main only where a fuzz target is linked.
    C4_CFLAGS="$C4_CFLAGS -fsanitize=fuzzer-no-link"
    C4_FUZZ_LDFLAGS="-fsanitize=fuzzer"])
AC_SUBST([C4_FUZZ_LDFLAGS])
AM_CONDITIONAL([C4_FUZZERS], [test "$enable_fuzzers" = yes])
])
