check_LTLIBRARIES += tests/libc4test.la
tests_libc4test_la_SOURCES = tests/c4test.c tests/c4test.h

EXTRA_DIST += tests/totals.sh

check_PROGRAMS += tests/harness/test_harness
EXTRA_PROGRAMS += tests/harness/sample_cases
check_DATA += tests/harness/sample_cases$(EXEEXT)
C4_SMOKE += tests/harness/test_harness
dist_check_SCRIPTS += tests/harness/test_check_layers.sh
EXTRA_DIST += tests/check-layers.sh
C4_SMOKE += tests/harness/test_check_layers.sh
dist_check_SCRIPTS += tests/harness/test_install_packages.sh tests/harness/test_exports.sh
C4_SMOKE += tests/harness/test_install_packages.sh
