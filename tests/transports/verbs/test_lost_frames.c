/* Frames that arrive and cannot be taken: those behind them, which lie in the same completion queue, are not taken in their place. */
#include "tests/c4test.h"

#include <stdlib.h>
#include <string.h>

#include "tests/conformance/world.h"
#include "tests/transports/verbs/rig.h"

#define FRAMES 5u
#define LARGE  100000u

static const standin_setup two = {.ndevices = 2, .max_inline = 256};

/* Memory for a frame that nobody has asked for is had from here: it fails so many times. */
static unsigned shortages;

void *aligned_alloc(size_t alignment, size_t bytes)
{
    void *memory = NULL;
    if (shortages > 0) {
        shortages--;
        return NULL;
    }
    return posix_memalign(&memory, alignment, bytes) == 0 ? memory : NULL;
}

/* Nobody has asked for them, and there is no memory for the first, or for one between: all come once, in order. */
static void test_no_memory_for_one(void)
{
    for (unsigned before = 0; before < FRAMES; before++) {
        unsigned char from[FRAMES], to;
        c4_xfer sends[FRAMES];
        rig r;
        standin_start(&two);
        rig_open(&r, NULL);
        C4TEST_OK(rig_exchange(&r, 0, 0, 8));
        uint64_t generation = rig_link(&r, 1, 0)->base.generation;
        for (unsigned i = 0; i < FRAMES; i++) {
            from[i] = (unsigned char)(i + 1);
            sends[i] = (c4_xfer){.frame = {.sequence = i}, .pointer = &from[i], .bytes = 1};
            if (i == before) { /* those that were sent up to here have been taken */
                for (unsigned n = 0; n < 10; n++)
                    rig_progress(&r);
                shortages = 1;
            }
            CU_ASSERT(c4_verbs_ops.send(rig_channel(&r, 0, 0, 0), &sends[i]) >= 0);
        }
        RIG_UNTIL(&r, shortages == 0);
        for (unsigned i = 0; i < FRAMES; i++) {
            c4_xfer receive = {.pointer = &to, .bytes = 1};
            CU_ASSERT(c4_verbs_ops.recv(rig_channel(&r, 1, 0, 0), &receive) >= 0);
            RIG_UNTIL(&r, receive.state != C4_IN_PROGRESS);
            CU_ASSERT(receive.state == C4_OK && receive.frame.sequence == i && to == i + 1);
        }
        CU_ASSERT(rig_link(&r, 1, 0)->base.generation > generation);
        rig_close(&r);
    }
}

/* The first receive has a ticket out, and a frame of another size comes, with others behind it: that receive alone fails. */
static void test_wrong_size_before_others(void)
{
    static unsigned char from[LARGE], to[LARGE];
    unsigned char small[3] = {1, 2, 3}, got = 0;
    c4_xfer wrong = {.frame = {.sequence = 1}, .pointer = small, .bytes = 3};
    c4_xfer large = {.frame = {.sequence = 2}, .pointer = from, .bytes = LARGE};
    c4_xfer last = {.frame = {.sequence = 3}, .pointer = small, .bytes = 1};
    c4_xfer receives[] = {
        {.pointer = to, .bytes = LARGE}, {.pointer = to, .bytes = LARGE}, {.pointer = &got, .bytes = 1}};
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    c4_channel *out = rig_channel(&r, 0, 0, 0), *in = rig_channel(&r, 1, 0, 0);
    conf_fill(from, LARGE, 5);
    for (size_t i = 0; i < 3; i++)
        C4TEST_INT(c4_verbs_ops.recv(in, &receives[i]), C4_IN_PROGRESS);
    RIG_UNTIL(&r, out->ntickets == 2);
    CU_ASSERT(c4_verbs_ops.send(out, &wrong) >= 0);
    CU_ASSERT(c4_verbs_ops.send(out, &large) >= 0);
    CU_ASSERT(c4_verbs_ops.send(out, &last) >= 0);
    RIG_UNTIL(&r, receives[2].state != C4_IN_PROGRESS);
    C4TEST_INT(receives[0].state, C4_ERR_PROTOCOL);
    C4TEST_INT(receives[0].frame.sequence, 1);
    C4TEST_INT(receives[1].state, C4_OK);
    C4TEST_INT(receives[1].frame.sequence, 2);
    CU_ASSERT(conf_verify(to, LARGE, 5));
    C4TEST_INT(receives[2].state, C4_OK);
    C4TEST_INT(got, 1);
    rig_close(&r);
}

/* The same where nothing comes behind what is kept meanwhile: it is given to the next receive when the first has failed. */
static void test_wrong_size_before_the_last(void)
{
    static unsigned char to[LARGE];
    unsigned char small[3] = {1, 2, 3}, got = 0;
    c4_xfer wrong = {.frame = {.sequence = 1}, .pointer = small, .bytes = 3};
    c4_xfer last = {.frame = {.sequence = 2}, .pointer = small + 1, .bytes = 1};
    c4_xfer receives[] = {{.pointer = to, .bytes = LARGE}, {.pointer = &got, .bytes = 1}};
    rig r;
    standin_start(&two);
    rig_open(&r, NULL);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    c4_channel *out = rig_channel(&r, 0, 0, 0), *in = rig_channel(&r, 1, 0, 0);
    for (size_t i = 0; i < 2; i++)
        C4TEST_INT(c4_verbs_ops.recv(in, &receives[i]), C4_IN_PROGRESS);
    RIG_UNTIL(&r, out->ntickets == 1);
    CU_ASSERT(c4_verbs_ops.send(out, &wrong) >= 0);
    CU_ASSERT(c4_verbs_ops.send(out, &last) >= 0);
    RIG_UNTIL(&r, receives[1].state != C4_IN_PROGRESS);
    C4TEST_INT(receives[0].state, C4_ERR_PROTOCOL);
    C4TEST_INT(receives[1].state, C4_OK);
    C4TEST_INT(got, 2);
    C4TEST_OK(rig_exchange(&r, 0, 0, 8));
    rig_close(&r);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(no_memory_for_one), C4TEST(wrong_size_before_others),
                                        C4TEST(wrong_size_before_the_last), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
