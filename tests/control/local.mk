c4_control_rig = tests/control/control_rig.c tests/control/control_rig.h

check_PROGRAMS += tests/control/test_control
tests_control_test_control_SOURCES = tests/control/test_control.c $(c4_control_rig)

check_PROGRAMS += tests/control/test_control_talk
tests_control_test_control_talk_SOURCES = tests/control/test_control_talk.c $(c4_control_rig)

check_PROGRAMS += tests/control/test_core
tests_control_test_core_SOURCES = tests/control/test_core.c tests/control/simnet.c tests/control/simnet.h

c4_admin_client = tests/control/admin_client.c tests/control/admin_client.h

check_PROGRAMS += tests/control/test_admin
tests_control_test_admin_SOURCES = tests/control/test_admin.c $(c4_admin_client) $(c4_control_rig)

check_PROGRAMS += tests/control/test_repair
tests_control_test_repair_SOURCES = tests/control/test_repair.c $(c4_control_rig)
