/* Not a test: the program whose instructions tests/transports/verbs/test_verbs_cost.sh counts. verbs_cost ROUNDS: two ranks send
 * one another 8 bytes in turn, over the stand-in; waiting loops and the stand-in itself do not count. */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/c4test.h"
#include "tests/transports/verbs/rig.h"

/* What callgrind counts (--toggle-collect): a post to receive, a post to send, and a progress that finds the message. */
__attribute__((noinline)) int counted_messages(rig *r, int rounds);
__attribute__((noinline)) int counted_messages(rig *r, int rounds)
{
    double from = 1, to;
    int lost = 0, peer;
    c4_xfer send = {.pointer = &from, .bytes = sizeof from}, receive = {.pointer = &to, .bytes = sizeof to};
    for (int i = 0; i < 2 * rounds; i++) {
        int writer = i & 1;
        c4_verbs_ops.recv(r->channels[1 - writer][writer][0], &receive);
        c4_verbs_ops.send(r->channels[writer][writer][0], &send);
        c4_verbs_ops.progress(r->modules[1 - writer], &peer);
        lost += send.state != C4_OK || receive.state != C4_OK;
    }
    return lost;
}

static int rounds;

static void test_cost(void)
{
    static const standin_setup setup = {.ndevices = 1, .max_inline = 256};
    rig r;
    standin_start(&setup);
    rig_open(&r, NULL);
    for (int i = 0; i < 200; i++) /* connects, and settles buffers and caches */
        C4TEST_OK(rig_exchange(&r, i & 1, 0, 8));
    C4TEST_INT(counted_messages(&r, rounds), 0);
    rig_close(&r);
}

/* By CUnit alone: valgrind knows no pidfd_open, which the harness needs. */
int main(int argc, char **argv)
{
#ifndef __OPTIMIZE__
    puts("built without optimization");
    return 77;
#endif
    rounds = argc == 2 ? atoi(argv[1]) : 0;
    if (rounds <= 0 || CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite = CU_add_suite("verbs", NULL, NULL);
    if (suite == NULL || CU_add_test(suite, "cost", test_cost) == NULL)
        return 2;
    CU_basic_set_mode(CU_BRM_SILENT);
    CU_basic_run_tests();
    int failed = CU_get_number_of_failures() > 0;
    CU_cleanup_registry();
    return failed;
}
