# Linked by the conformance test of each transport: see tests/conformance/conformance.h.
check_LTLIBRARIES += tests/conformance/libconformance.la
tests_conformance_libconformance_la_SOURCES = \
    tests/conformance/cases_module.c tests/conformance/cases_posted.c tests/conformance/cases_stress.c \
    tests/conformance/cases_windows.c tests/conformance/conformance.c tests/conformance/conformance.h \
    tests/conformance/host.c tests/conformance/host.h tests/conformance/world.c tests/conformance/world.h
