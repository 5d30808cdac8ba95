# Communicators: life cycle, public calls, groups, requests.
noinst_LTLIBRARIES += src/comm/libc4_comm.la
src_comm_libc4_comm_la_LIBADD =
src_comm_libc4_comm_la_SOURCES = \
    src/comm/agree.c src/comm/agree.h \
    src/comm/check.c \
    src/comm/choice.c src/comm/choice.h \
    src/comm/collectives.c \
    src/comm/comm.c \
    src/comm/create.c src/comm/create.h \
    src/comm/declared.c src/comm/declared.h \
    src/comm/fork.c \
    src/comm/group.c \
    src/comm/grow.c \
    src/comm/internal.h \
    src/comm/job.c \
    src/comm/join.c src/comm/join.h \
    src/comm/launch.c src/comm/launch.h \
    src/comm/lend.c src/comm/lend.h \
    src/comm/memory.c \
    src/comm/options.c src/comm/options.h \
    src/comm/options_load.c \
    src/comm/port.c src/comm/port.h \
    src/comm/premul.c \
    src/comm/progress.c \
    src/comm/request.c \
    src/comm/setup.c src/comm/setup.h \
    src/comm/setup_agree.c \
    src/comm/setup_choice.c src/comm/setup_cost.c \
    src/comm/setup_engine.c \
    src/comm/setup_rails.c \
    src/comm/shrink.c src/comm/shrink.h \
    src/comm/split.c \
    src/comm/submit.c
src_comm_libc4_comm_la_SOURCES += src/comm/info.c src/comm/info.h src/comm/info_choice.c src/comm/info_launcher.c src/comm/info_options.c \
    src/comm/info_transports.c
src_comm_libc4_comm_la_SOURCES += src/comm/mismatch.c src/comm/mismatch.h
src_comm_libc4_comm_la_SOURCES += src/comm/operator.c src/comm/operator.h src/comm/operator_plan.c \
    src/comm/operator_probe.c
