/* Every call of libibverbs that can fail does so once, one after the other, and for good: what was made is given back, the
 * message says what failed, and nothing hangs. */
#include "tests/c4test.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/transports/verbs/rig.h"

static const standin_setup one = {.ndevices = 1, .max_inline = 256};

/* ---- opening ---- */

/* What is said when a call fails that is made when a module opens, or asks whether it could. */
typedef struct expectation {
    const char *call, *message;
} expectation;

static void check_message(const char *call, const char *message, const expectation *expected, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(expected[i].call, call) == 0 && strstr(message, expected[i].message) != NULL)
            return;
    fprintf(stderr, "when %s fails: %s\n", call, message);
    CU_FAIL("not the message that was expected");
}

static const expectation openings[] = {
    {"get_device_list", "the RDMA devices cannot be used: No space left on device"},
    {"get_device_list", "verbs: opening of standin0:1: No space left on device"},
    {"open_device", "the RDMA devices cannot be used: No space left on device"},
    {"open_device", "verbs: opening of standin0:1: No space left on device"},
    {"query_device", "the RDMA devices cannot be used: No space left on device"},
    {"query_device", "verbs: attributes of standin0:1: No space left on device"},
    {"query_port", "the RDMA devices cannot be used: No space left on device"},
    {"query_gids", "verbs: standin0: the GIDs of port 1 cannot be read: No space left on device"},
    {"alloc_pd", "verbs: protection domain of standin0:1: No space left on device"},
    {"create_comp_channel", "verbs: completion channel of standin0:1: No space left on device"},
    {"create_srq", "verbs: shared receive queue of standin0:1: No space left on device"},
    {"create_cq", "verbs: completion queue of standin0:1: No space left on device"},
    {"create_qp", "verbs: no queue pair on standin0:1: No space left on device"},
    {"modify_qp", "verbs: no queue pair on standin0:1: No space left on device"},
    {"reg_mr", "verbs: 256 KiB of buffers cannot be registered: No space left on device"},
};
#define OPENINGS (sizeof openings / sizeof openings[0])

static void test_open(void)
{
    rig r;
    unsigned nth = 1;
    standin_start(&one);
    rig_host(&r, 0, NULL);
    int files = c4test_count_entries("/proc/self/fd");
    for (;; nth++) {
        c4_module *module = NULL;
        standin_fail(nth, 1, ENOSPC);
        c4_status status = c4_verbs_ops.open(&r.hosts[0].host, &module);
        if (standin_failed() == NULL) {
            C4TEST_OK(status);
            c4_verbs_ops.close(module);
            break;
        }
        CU_ASSERT(status < 0);
        check_message(standin_failed(), c4_fail_text(), openings, OPENINGS);
        C4TEST_INT(standin_alive_in_all(), 0);
        C4TEST_INT(c4test_count_entries("/proc/self/fd"), files);
    }
    CU_ASSERT(nth > 10);
    C4TEST_INT(standin_alive_in_all(), 0);
}

static void test_probe(void)
{
    rig r;
    unsigned nth = 1;
    bool registered = false;
    standin_start(&one);
    rig_host(&r, 0, NULL);
    for (;; nth++) {
        c4_transport_caps caps = {.struct_size = sizeof caps};
        char reason[256] = "";
        standin_fail(nth, 1, ENOSPC);
        c4_status status = c4_verbs_ops.probe(&r.hosts[0].host, &caps, reason, sizeof reason);
        C4TEST_INT(standin_alive_in_all(), 0);
        if (standin_failed() == NULL) {
            C4TEST_OK(status);
            break;
        }
        CU_ASSERT(status < 0);
        check_message(standin_failed(), reason, openings, OPENINGS);
        registered |= strcmp(standin_failed(), "reg_mr") == 0;
    }
    CU_ASSERT(registered);
}

/* The limit that most often is in the way: told with its mend. */
static void test_locked_memory(void)
{
    const struct rlimit limit = {64 << 10, 64 << 10};
    rig r;
    char reason[512] = "";
    c4_transport_caps caps = {.struct_size = sizeof caps};
    standin_start(&one);
    rig_host(&r, 0, NULL);
    C4TEST_OK_FATAL(setrlimit(RLIMIT_MEMLOCK, &limit));
    for (unsigned nth = 1; standin_failed() == NULL || strcmp(standin_failed(), "reg_mr") != 0; nth++) {
        standin_fail(nth, 1, ENOMEM);
        (void)c4_verbs_ops.probe(&r.hosts[0].host, &caps, reason, sizeof reason);
    }
    C4TEST_CONTAINS(reason, "256 KiB of buffers cannot be registered: Cannot allocate memory; this process may lock 64 "
                            "KiB (ulimit -l): raise memlock in /etc/security/limits.conf, LimitMEMLOCK of the service, "
                            "or --ulimit memlock=-1 of the container");
}

/* A device that has less room than was asked for, or takes less inline, does with less. */
static void test_less_room(void)
{
    static const standin_setup little = {.ndevices = 1, .max_inline = 64};
    rig r;
    standin_start(&little);
    rig_open(&r, NULL);
    for (size_t bytes = 0; bytes < 300; bytes += 20)
        C4TEST_OK(rig_exchange(&r, 0, 1, bytes));
    C4TEST_INT(rig_link(&r, 0, 1)->inline_bytes, 64);
    rig_close(&r);
    c4_status status;
    unsigned nth = 1;
    do { /* a queue of an eighth of the size will do */
        c4_module *module = NULL;
        standin_fail(nth++, 3, ENOMEM);
        rig_host(&r, 0, NULL);
        status = c4_verbs_ops.open(&r.hosts[0].host, &module);
        if (status == C4_OK)
            c4_verbs_ops.close(module);
    } while (standin_failed() == NULL || strcmp(standin_failed(), "create_srq") != 0);
    C4TEST_OK(status);
    C4TEST_INT(standin_alive_in_all(), 0);
}

/* ---- connecting and sending ---- */

typedef struct outcome {
    bool failed;
    char call[32];
    c4_status worst; /* of all frames */
} outcome;

/* Small and large frames both ways over both links while the nth call fails. */
static outcome disturbed(unsigned nth, unsigned times, int error)
{
    static const size_t sizes[] = {8, 5000, 100000};
    outcome out = {.worst = C4_OK};
    rig r;
    rig_open(&r, "C4_VERBS_RETRY_MS=100ms C4_VERBS_CREDITS=8");
    standin_fail(nth, times, error);
    for (unsigned i = 0; i < 3; i++)
        for (int writer = 0; writer < 2; writer++)
            for (uint32_t tag = 0; tag < 2; tag++) {
                c4_status status = rig_exchange(&r, writer, tag, sizes[i]);
                out.worst = status < out.worst ? status : out.worst;
            }
    out.failed = standin_failed() != NULL;
    if (out.failed)
        snprintf(out.call, sizeof out.call, "%s", standin_failed());
    if (out.worst < 0) { /* of a link that fails progress tells, and of whom; without a buffer a frame fails alone */
        CU_ASSERT(strcmp(out.call, "reg_mr") == 0 || r.errors[0] < 0 || r.errors[1] < 0);
        for (int rank = 0; rank < 2; rank++)
            CU_ASSERT(r.errors[rank] == C4_OK || r.named[rank] == 1 - rank);
    }
    standin_fail(0, 0, 0);
    rig_close(&r);
    return out;
}

/* What a device or the system has no more of is told at once; it is not there for the asking. */
static bool is_resource(const char *call)
{
    return strcmp(call, "create_cq") == 0 || strcmp(call, "reg_mr") == 0 || strcmp(call, "post_srq_recv") == 0;
}

/* One failure of anything else costs a queue pair and no frame. */
static void test_once(void)
{
    unsigned nth = 1;
    standin_start(&one);
    for (;; nth++) {
        outcome out = disturbed(nth, 1, ENOSPC);
        if (!out.failed)
            break;
        if (out.worst < 0 && !is_resource(out.call))
            fprintf(stderr, "call %u, %s: %s\n", nth, out.call, c4_status_name(out.worst));
        CU_ASSERT(out.worst == C4_OK || is_resource(out.call));
    }
    CU_ASSERT(nth > 30);
}

/* From some call on all of them fail: an error, soon. */
static void test_for_good(void)
{
    standin_start(&one);
    for (unsigned nth = 1;; nth += 1 + nth / 8) {
        outcome out = disturbed(nth, UINT32_MAX, ENOSPC);
        if (!out.failed)
            break;
        CU_ASSERT(out.worst < 0);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(open),
                                        C4TEST(probe),
                                        C4TEST(locked_memory),
                                        C4TEST(less_room),
                                        C4TEST_DEADLINE(once, 120),
                                        C4TEST_DEADLINE(for_good, 120),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
