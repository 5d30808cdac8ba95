# tools/c4train: the archive is what its tests link too; the gradient check builds the model's sources in double.
c4_train_model = tools/c4train/attention.c tools/c4train/block.c tools/c4train/embedding.c tools/c4train/layers.h \
    tools/c4train/layout.c tools/c4train/layout.h tools/c4train/linear.c tools/c4train/loss.c tools/c4train/mlp.c \
    tools/c4train/model.c tools/c4train/model.h tools/c4train/real.h tools/c4train/rmsnorm.c

EXTRA_DIST += $(c4_train_model) tools/c4train/loss.svg

if C4_HAVE_OPENBLAS
if C4_HAVE_CJSON
noinst_LTLIBRARIES += tools/c4train/libc4_train.la
tools_c4train_libc4_train_la_SOURCES = $(c4_train_model) tools/c4train/adamw.c tools/c4train/adamw.h \
    tools/c4train/bible.c tools/c4train/bible.h tools/c4train/buckets.c tools/c4train/buckets.h \
    tools/c4train/chart.c tools/c4train/chart.h tools/c4train/checkpoint.c tools/c4train/checkpoint.h \
    tools/c4train/corpus.c tools/c4train/corpus.h tools/c4train/job.c tools/c4train/job.h \
    tools/c4train/message.c tools/c4train/message.h tools/c4train/options.c tools/c4train/options.h \
    tools/c4train/progress.c tools/c4train/progress.h tools/c4train/report.c tools/c4train/report.h \
    tools/c4train/sample.c tools/c4train/sample.h tools/c4train/synthetic.c tools/c4train/synthetic.h \
    tools/c4train/train.c tools/c4train/trainer.c tools/c4train/trainer.h

bin_PROGRAMS += tools/c4train/c4train
tools_c4train_c4train_SOURCES = tools/c4train/main.c
tools_c4train_c4train_LDADD = tools/c4train/libc4_train.la src/libc4.la $(C4_TOOL_LIBS) $(C4_OPENBLAS_LIBS) \
    $(C4_CJSON_LIBS) -lm
dist_man_MANS += tools/man/c4train.1

c4_train_text = tests/tools/test_c4train_text.c tests/tools/test_c4train_text.h
check_PROGRAMS += tests/tools/test_c4train_checkpoint tests/tools/test_c4train_grad tests/tools/test_c4train_parts \
    tests/tools/test_c4train_run
tests_tools_test_c4train_checkpoint_SOURCES = tests/tools/test_c4train_checkpoint.c $(c4_train_text)
tests_tools_test_c4train_checkpoint_LDADD = tools/c4train/libc4_train.la $(LDADD)
tests_tools_test_c4train_grad_SOURCES = tests/tools/test_c4train_grad.c $(c4_train_model)
tests_tools_test_c4train_grad_CPPFLAGS = $(AM_CPPFLAGS) -DC4_TRAIN_DOUBLE
tests_tools_test_c4train_grad_LDADD = tests/libc4test.la $(C4_OPENBLAS_LIBS) $(C4_CUNIT_LIBS) -lm
tests_tools_test_c4train_parts_SOURCES = tests/tools/test_c4train_parts.c $(c4_train_text)
tests_tools_test_c4train_parts_LDADD = tools/c4train/libc4_train.la $(LDADD) $(C4_OPENBLAS_LIBS) $(C4_CJSON_LIBS)
tests_tools_test_c4train_run_SOURCES = tests/tools/test_c4train_run.c $(c4_train_text)
tests_tools_test_c4train_run_LDADD = tests/libc4test.la $(C4_CJSON_LIBS) $(C4_CUNIT_LIBS) -lm
endif
endif
