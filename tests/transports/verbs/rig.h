/* Two modules of verbs in one process, over the stand-in: who may look inside and make things go wrong. */
#ifndef C4_TESTS_TRANSPORTS_VERBS_RIG_H
#define C4_TESTS_TRANSPORTS_VERBS_RIG_H

#include "tests/conformance/host.h"
#include "tests/transports/verbs/standin.h"
#include "transports/verbs/channel.h"
#include "transports/verbs/internal.h"

#define RIG_TAGS 32u

typedef struct rig {
    c4_test_host hosts[2];
    c4_module *modules[2]; /* NULL: closed */
    c4_status errors[2];   /* last one of progress, and whom it named */
    int named[2];
    c4_channel *channels[2][2][RIG_TAGS]; /* of rank, writer, tag */
    uint32_t sequence;
} rig;

/* Both ranks open and know one another. `overrides`: "C4_VERBS_CREDITS=8 ..", NULL: none. */
void rig_open(rig *r, const char *overrides);
/* Closes what is open; nothing of the devices may be left. */
void rig_close(rig *r);
/* The same step by step, for what may fail. */
void rig_host(rig *r, int rank, const char *overrides);
void rig_introduce(rig *r);

/* Both ranks once. Errors are kept in errors, named. */
void rig_progress(rig *r);
#define RIG_UNTIL(r, condition) \
    while (!(condition))        \
    rig_progress(r)

/* This rank's end of a channel of communicator 0, opened when it is first asked for: link tag % nlinks. */
c4_channel *rig_channel(rig *r, int rank, int writer, uint32_t tag);
/* NULL: it was never used. */
c4_verbs_link *rig_link(const rig *r, int rank, unsigned index);

/* One frame from `writer`. C4_OK: it arrived as it was sent; else what its send or its receive has ended with, whereupon the
 * other is cancelled. */
c4_status rig_exchange(rig *r, int writer, uint32_t tag, size_t bytes);

/* Memory as c4_mem_register declares it: to all ranks of this process. */
void rig_declare(const void *base, size_t bytes);
void rig_take_back(const void *base);

#endif
