/* Devices without shared receive queues: each queue pair has receive buffers of its own, as many as its peer may fill, and gives
 * them back when it ends. */
#include "tests/c4test.h"

#include <errno.h>
#include <string.h>

#include "tests/transports/verbs/rig.h"

static const standin_setup none = {.ndevices = 2, .max_inline = 256, .no_srq = true};
static const standin_setup lagging = {.ndevices = 1, .max_inline = 256, .no_srq = true, .lags = true, .seed = 11};
static const standin_setup some = {.ndevices = 1, .max_inline = 256};

static unsigned held(const c4_verbs_link *link)
{
    unsigned count = 0;
    for (const c4_verbs_slot *slot = link->receives.first; slot != NULL; slot = slot->next)
        count++;
    C4TEST_INT(count, link->receives.posted);
    return count + link->receives.nspare;
}

/* Both links, both ways, small and large. */
static void exchange_all(rig *r)
{
    for (uint32_t tag = 0; tag < 2; tag++)
        for (int writer = 0; writer < 2; writer++) {
            C4TEST_OK(rig_exchange(r, writer, tag, 8));
            C4TEST_OK(rig_exchange(r, writer, tag, 5000));
            C4TEST_OK(rig_exchange(r, writer, tag, 70000));
        }
}

static void test_exchange(void)
{
    rig r;
    standin_start(&none);
    rig_open(&r, "C4_VERBS_CREDITS=16");
    for (unsigned i = 0; i < 50; i++)
        exchange_all(&r);
    C4TEST_INT(standin_alive(STANDIN_SRQ), 0);
    for (int rank = 0; rank < 2; rank++)
        for (unsigned index = 0; index < 2; index++) {
            C4TEST_INT(held(rig_link(&r, rank, index)), 16 + C4_VERBS_REFILL_AT);
            CU_ASSERT(rig_link(&r, rank, index)->receives.nspare < C4_VERBS_REFILL_AT);
        }
    rig_close(&r);
}

/* A device that has them by its attributes and refuses to make one. */
static void test_refused(void)
{
    static const int errors[] = {EOPNOTSUPP, ENOSYS};
    for (size_t i = 0; i < 2; i++) {
        rig r;
        standin_start(&some);
        standin_fail(1, UINT32_MAX, errors[i]);
        standin_fail_only("create_srq");
        rig_open(&r, NULL);
        exchange_all(&r);
        C4TEST_STRING(standin_failed(), "create_srq");
        C4TEST_INT(standin_alive(STANDIN_SRQ), 0);
        standin_fail(0, 0, 0);
        rig_close(&r);
    }
}

/* Queue pairs come and go, in the middle of frames: their buffers serve the next ones. */
static void test_given_back(void)
{
    rig r;
    standin_start(&lagging);
    rig_open(&r, "C4_VERBS_CREDITS=8");
    exchange_all(&r);
    unsigned regions = 0;
    for (unsigned i = 0; i < 60; i++) {
        C4TEST_OK(c4_verbs_ops.inject(r.modules[i % 2], "truncate"));
        exchange_all(&r);
        for (int rank = 0; rank < 2; rank++)
            for (unsigned index = 0; index < 2; index++)
                if (rig_link(&r, rank, index)->qp != NULL)
                    C4TEST_INT(held(rig_link(&r, rank, index)), 8 + C4_VERBS_REFILL_AT);
        if (i == 9)
            regions = standin_alive(STANDIN_MR);
    }
    C4TEST_INT(standin_alive(STANDIN_MR), regions);
    C4TEST_INT(r.modules[0]->rails[0].promised, 2 * 8);
    rig_close(&r);
}

/* More than a receive queue of the device holds. */
static void test_too_many(void)
{
    rig r;
    standin_start(&none);
    rig_open(&r, "C4_VERBS_CREDITS=1024");
    C4TEST_INT(rig_exchange(&r, 0, 0, 8), C4_ERR_MEMORY);
    C4TEST_CONTAINS(c4_fail_text(), "holds 1024 receive buffers for each queue pair and can hold no more: lower "
                                    "C4_VERBS_CREDITS");
    rig_close(&r);
}

/* One that cannot be posted costs a queue pair at most, and no frame. */
static void test_posting_fails(void)
{
    standin_start(&none);
    for (unsigned nth = 1; nth < 200; nth++) {
        rig r;
        rig_open(&r, "C4_VERBS_CREDITS=8");
        standin_fail(nth, 1, ENOMEM);
        standin_fail_only("post_recv");
        for (unsigned i = 0; i < 3; i++)
            exchange_all(&r);
        bool failed = standin_failed() != NULL;
        standin_fail(0, 0, 0);
        rig_close(&r);
        if (!failed) {
            CU_ASSERT(nth > 8);
            return;
        }
    }
    CU_FAIL("it is posted too often");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(exchange), C4TEST(refused),       C4TEST(given_back),
                                        C4TEST(too_many), C4TEST(posting_fails), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
