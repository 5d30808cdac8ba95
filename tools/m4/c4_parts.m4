# C4_PART(NAME, WHAT, HOW-TO-GET-IT, CHECK): one optional part, --with-NAME=yes|no|auto|DIR.
#
# CHECK is shell and m4 code that sets c4_found=yes when the part is usable; $c4_dir is the DIR of --with-NAME=DIR, or
# empty. It sets C4_<NAME>_CFLAGS and C4_<NAME>_LIBS. Asking for a part that is missing is an error.
# Afterwards: C4_HAVE_<NAME> in config.h and as an automake conditional, $c4_with_<name> for the summary.
AC_DEFUN([C4_PART], [
m4_pushdef([c4_upper], [m4_toupper([$1])])
AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1=yes|no|auto|DIR], [$2 @<:@auto@:>@])], [], [with_$1=auto])
c4_found=no
c4_dir=
AS_CASE([$with_$1], [yes|no|auto], [], [c4_dir=$with_$1])
AS_IF([test -n "$c4_dir" && test ! -d "$c4_dir"], [AC_MSG_ERROR([--with-$1: $c4_dir is not a directory])])
AS_IF([test "$with_$1" != no], [$4])
AS_CASE([$c4_found:$with_$1],
    [yes:*], [c4_with_$1=yes
        AC_DEFINE([C4_HAVE_]c4_upper, [1], [Define to 1 to use: $2.])],
    [no:no], [c4_with_$1="no (--without-$1)"],
    [no:auto], [c4_with_$1="no (missing: $3)"],
    [no:*], [AC_MSG_ERROR([--with-$1=$with_$1: not found. To get it: $3. Or give --with-$1=DIR, or leave it out with --with-$1=no])])
AS_IF([test "$c4_found" != yes], [C4_[]c4_upper[]_CFLAGS= C4_[]c4_upper[]_LIBS=])
AC_SUBST([C4_]c4_upper[_CFLAGS])
AC_SUBST([C4_]c4_upper[_LIBS])
AM_CONDITIONAL([C4_HAVE_]c4_upper, [test "$c4_found" = yes])
m4_popdef([c4_upper])
])

# C4_CHECK_PKG(NAME, PKG-CONFIG-MODULE): the usual CHECK, through pkg-config; under DIR, its own .pc files first.
AC_DEFUN([C4_CHECK_PKG], [
c4_saved_path=$PKG_CONFIG_PATH
AS_IF([test -n "$c4_dir"], [
    PKG_CONFIG_PATH="$c4_dir/lib/pkgconfig:$c4_dir/lib64/pkgconfig:$c4_dir/lib/`$CC -print-multiarch 2>/dev/null`/pkgconfig"
    AS_IF([ls "$c4_dir"/lib*/pkgconfig/$2.pc "$c4_dir"/lib/*/pkgconfig/$2.pc >/dev/null 2>&1], [c4_try=yes], [c4_try=no])],
    [c4_try=yes])
export PKG_CONFIG_PATH
AS_IF([test "$c4_try" = yes], [PKG_CHECK_MODULES(m4_toupper([C4_$1]), [$2], [c4_found=yes], [c4_found=no])])
PKG_CONFIG_PATH=$c4_saved_path
])

# C4_CHECK_DIR(NAME, HEADER, LIBRARY, FUNCTION, LANGUAGE, OTHER-LIBS): for parts without a .pc file.
AC_DEFUN([C4_CHECK_DIR], [
AC_LANG_PUSH([$5])
c4_saved_CPPFLAGS=$CPPFLAGS c4_saved_LIBS=$LIBS
c4_cflags= c4_libs="-l$3 $6"
AS_IF([test -n "$c4_dir"], [c4_cflags="-I$c4_dir/include" c4_libs="-L$c4_dir/lib -Wl,-rpath,$c4_dir/lib -l$3 $6"])
CPPFLAGS="$CPPFLAGS $c4_cflags" LIBS="$c4_libs $LIBS"
AC_MSG_CHECKING([for $1 ($2, lib$3)])
AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <$2>]], [[$4]])], [c4_found=yes], [c4_found=no])
AC_MSG_RESULT([$c4_found])
CPPFLAGS=$c4_saved_CPPFLAGS LIBS=$c4_saved_LIBS
AC_LANG_POP([$5])
m4_toupper([C4_$1])_CFLAGS=$c4_cflags
m4_toupper([C4_$1])_LIBS=$c4_libs
])

# C4_CHECK_MPI(NAME, WRAPPER, LAUNCHER): an MPI is its compiler wrapper and its launcher; DIR holds them in bin/.
AC_DEFUN([C4_CHECK_MPI], [
AS_UNSET([ac_cv_path_c4_$1_cc])
AS_UNSET([ac_cv_path_c4_$1_run])
c4_search=$PATH
AS_IF([test -n "$c4_dir"], [c4_search=$c4_dir/bin])
AC_PATH_PROGS([c4_$1_cc], [$2], [], [$c4_search])
AC_PATH_PROGS([c4_$1_run], [$3], [], [$c4_search])
AS_IF([test -n "$c4_$1_cc" && test -n "$c4_$1_run"], [c4_found=yes])
m4_toupper([C4_$1])_CFLAGS=
m4_toupper([C4_$1])_LIBS=
])

AC_DEFUN([C4_PARTS], [
# libc4 opens hwloc, libcrypto and libpmix when it needs them: only their headers are used here.
C4_PART([hwloc], [topology: binding, NUMA, distances (opened at run time)], [apt-get install libhwloc-dev],
    [C4_CHECK_PKG([hwloc], [hwloc])])
C4_PART([openssl], [HMAC and TLS by libcrypto (opened at run time)], [apt-get install libssl-dev],
    [C4_CHECK_PKG([openssl], [libcrypto])])
C4_PART([pmix], [rendezvous by the launcher's PMIx server (opened at run time)], [apt-get install libpmix-dev],
    [C4_CHECK_PKG([pmix], [pmix])])
C4_PART([openblas], [matrix products of c4train], [apt-get install libopenblas-dev],
    [C4_CHECK_PKG([openblas], [openblas])])
C4_PART([cjson], [JSON of the tools], [apt-get install libcjson-dev],
    [C4_CHECK_PKG([cjson], [libcjson])])
C4_PART([ucx], [the transport ucx (a module of its own)], [apt-get install libucx-dev],
    [C4_CHECK_PKG([ucx], [ucx])])
# Its sources are a folder of their own: without it there is nothing to find.
C4_PART([verbs], [the transport verbs (a module of its own)], [apt-get install libibverbs-dev],
    [AS_IF([test -d "$srcdir/transports/verbs"], [C4_CHECK_PKG([verbs], [libibverbs])])])
C4_PART([cunit], [the tests], [apt-get install libcunit1-dev],
    [C4_CHECK_PKG([cunit], [cunit])])
C4_PART([mpi], [Open MPI, to compare with in make bench], [apt-get install libopenmpi-dev openmpi-bin],
    [C4_CHECK_MPI([mpi], [mpicc.openmpi mpicc], [mpirun.openmpi mpirun])])
C4_PART([mpich], [MPICH, to compare with in make bench], [apt-get install libmpich-dev mpich],
    [C4_CHECK_MPI([mpich], [mpicc.mpich mpicc], [mpirun.mpich mpiexec.hydra mpirun])])
C4_PART([gloo], [gloo, to compare with in make bench], [apt-get install libgloo-dev],
    [C4_CHECK_DIR([gloo], [gloo/algorithm.h], [gloo], [gloo::ReductionType type = gloo::SUM; (void)type;], [C++], [])])
C4_PART([ucc], [UCC, to compare with in make bench], [build https://github.com/openucx/ucc],
    [C4_CHECK_DIR([ucc], [ucc/api/ucc.h], [ucc], [ucc_lib_config_h config; (void)ucc_lib_config_read("C4", 0, &config);], [C], [-lucp -lucs])])
AC_SUBST([c4_mpi_cc])
AC_SUBST([c4_mpi_run])
AC_SUBST([c4_mpich_cc])
AC_SUBST([c4_mpich_run])
])

AC_DEFUN([C4_SUMMARY], [
AS_ECHO(["
C4 $PACKAGE_VERSION
  compiler      $CC  $CFLAGS
  install in    $prefix
  werror        $enable_werror
  sanitizer     $enable_sanitizer
  fuzzers       $enable_fuzzers
 parts
  hwloc         $c4_with_hwloc
  openssl       $c4_with_openssl
  pmix          $c4_with_pmix
  cjson         $c4_with_cjson
  openblas      $c4_with_openblas
  ucx           $c4_with_ucx
  verbs         $c4_with_verbs
  tests (cunit) $c4_with_cunit
 peers of make bench
  Open MPI      $c4_with_mpi
  MPICH         $c4_with_mpich
  gloo          $c4_with_gloo
  UCC           $c4_with_ucc
"])
])
