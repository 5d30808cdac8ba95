check_PROGRAMS += tests/base/test_options
C4_SMOKE += tests/base/test_options

check_PROGRAMS += tests/base/test_json
