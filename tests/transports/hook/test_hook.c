/* The hook layer: conformance of a wrapped transport without and with rules, and what each rule does. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "tests/c4test.h"
#include "tests/conformance/host.h"
#include "transports/builtin.h"
#include "transports/hook/hook.h"
#include "transports/hook/rules.h"
#include "transports/loop/loop.h"
#include "transports/stubs.h"

/* Two ranks as two modules in one thread. */
struct world {
    const c4_transport_ops *ops;
    c4_test_host hosts[2];
    c4_module *modules[2];
    c4_channel *out, *in; /* rank 0 -> rank 1 */
};

static void world_open(struct world *w, const char *overrides)
{
    const int reader = 1;
    const c4_channel_spec spec = {sizeof spec, 1, 1, 0, &reader, 1, 0};
    w->ops = c4_hook_wrap(&c4_loop_ops);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->ops);
    for (int rank = 0; rank < 2; rank++) {
        c4_test_host_init(&w->hosts[rank], &c4_hook_option_table, overrides, 1, rank, 2);
        C4TEST_OK_FATAL(w->ops->open(&w->hosts[rank].host, &w->modules[rank]));
    }
    C4TEST_OK_FATAL(w->ops->channel_open(w->modules[0], &spec, &w->out));
    C4TEST_OK_FATAL(w->ops->channel_open(w->modules[1], &spec, &w->in));
}

static void world_close(struct world *w)
{
    w->ops->channel_close(w->out);
    w->ops->close(w->modules[0]);
    w->ops->close(w->modules[1]);
}

static c4_status send_value(struct world *w, c4_xfer *xfer, uint64_t *value)
{
    *xfer = (c4_xfer){.pointer = value, .bytes = sizeof *value};
    return w->ops->send(w->out, xfer);
}

/* C4_IN_PROGRESS: nothing has come. */
static c4_status receive_value(struct world *w, uint64_t *value)
{
    c4_xfer xfer = {.pointer = value, .bytes = sizeof *value};
    c4_status status = w->ops->recv(w->in, &xfer);
    if (status == C4_IN_PROGRESS)
        w->ops->cancel(w->in, &xfer);
    return status;
}

static void test_no_rule_changes_nothing(void)
{
    struct world w;
    c4_xfer xfer;
    uint64_t value = 5, got = 0;
    world_open(&w, "");
    CU_ASSERT_PTR_EQUAL(c4_hook_wrap(&c4_loop_ops), w.ops);
    C4TEST_STRING(w.ops->name, "loop");
    C4TEST_OK(send_value(&w, &xfer, &value));
    C4TEST_OK(receive_value(&w, &got));
    C4TEST_INT(got, 5);
    world_close(&w);
}

static void test_slow(void)
{
    struct world w;
    c4_xfer xfers[3];
    uint64_t values[3] = {1, 2, 3}, got = 0;
    int peer, fd;
    world_open(&w, "C4_HOOK=slow=loop:20ms");
    uint64_t start = c4_now_ns();
    for (int i = 0; i < 3; i++)
        C4TEST_INT(send_value(&w, &xfers[i], &values[i]), C4_IN_PROGRESS);
    C4TEST_INT(w.ops->progress(w.modules[0], &peer), C4_IN_PROGRESS);
    C4TEST_INT(receive_value(&w, &got), C4_IN_PROGRESS);
    C4TEST_INT(w.ops->arm(w.modules[0], &fd), C4_OK); /* time passes: nobody would wake a sleeper */
    w.ops->disarm(w.modules[0]);
    while (xfers[2].state == C4_IN_PROGRESS)
        w.ops->progress(w.modules[0], &peer);
    CU_ASSERT(c4_now_ns() - start >= 20000000);
    for (uint64_t i = 1; i <= 3; i++) {
        C4TEST_OK(receive_value(&w, &got));
        C4TEST_INT(got, i);
    }
    world_close(&w);
}

static void test_delay_of_one_frame_keeps_order(void)
{
    struct world w;
    c4_xfer xfers[3];
    uint64_t values[3] = {1, 2, 3}, got = 0;
    int peer;
    world_open(&w, "C4_HOOK=delay=loop:10ms@frame:2");
    C4TEST_OK(send_value(&w, &xfers[0], &values[0]));
    C4TEST_INT(send_value(&w, &xfers[1], &values[1]), C4_IN_PROGRESS);
    C4TEST_INT(send_value(&w, &xfers[2], &values[2]), C4_IN_PROGRESS);
    while (xfers[2].state == C4_IN_PROGRESS)
        w.ops->progress(w.modules[0], &peer);
    for (uint64_t i = 1; i <= 3; i++) {
        C4TEST_OK(receive_value(&w, &got));
        C4TEST_INT(got, i);
    }
    world_close(&w);
}

static void test_cancel_of_held_frame(void)
{
    struct world w;
    c4_xfer xfers[2];
    uint64_t values[2] = {1, 2}, got = 0;
    int peer;
    world_open(&w, "C4_HOOK=slow=loop:1ms");
    for (int i = 0; i < 2; i++)
        C4TEST_INT(send_value(&w, &xfers[i], &values[i]), C4_IN_PROGRESS);
    w.ops->cancel(w.out, &xfers[0]);
    while (xfers[1].state == C4_IN_PROGRESS)
        w.ops->progress(w.modules[0], &peer);
    C4TEST_OK(receive_value(&w, &got));
    C4TEST_INT(got, 2);
    world_close(&w);
}

static void test_drop_and_fail(void)
{
    struct world w;
    c4_xfer xfer;
    uint64_t values[4] = {1, 2, 3, 4}, got = 0;
    world_open(&w,
               "C4_HOOK=drop=loop@frame:1#0,fail=loop@frame:3,drop=loop@frame:2#1,trace=shm,slow=tcp:1s,count=loop");
    C4TEST_OK(send_value(&w, &xfer, &values[0]));
    C4TEST_OK(send_value(&w, &xfer, &values[1]));
    C4TEST_INT(send_value(&w, &xfer, &values[2]), C4_ERR_LINK);
    C4TEST_INT(xfer.state, C4_ERR_LINK);
    C4TEST_OK(send_value(&w, &xfer, &values[3]));
    C4TEST_OK(receive_value(&w, &got));
    C4TEST_INT(got, 2);
    C4TEST_OK(receive_value(&w, &got));
    C4TEST_INT(got, 4);
    C4TEST_INT(receive_value(&w, &got), C4_IN_PROGRESS);
    world_close(&w);
}

static void test_windows(void)
{
    struct world w;
    c4_window window;
    c4_frame frame = {.bytes = 8, .sequence = 1};
    world_open(&w, "C4_HOOK=delay=loop:5ms@frame:1,drop=loop@frame:2");
    uint64_t start = c4_now_ns();
    while (w.ops->reserve(w.out, 8, &window) == C4_IN_PROGRESS)
        continue;
    CU_ASSERT(c4_now_ns() - start >= 5000000);
    w.ops->commit(w.out, &frame);
    C4TEST_OK(w.ops->peek(w.in, &window));
    w.ops->consume(w.in);
    C4TEST_OK(w.ops->reserve(w.out, 8, &window));
    w.ops->commit(w.out, &frame);
    C4TEST_INT(w.ops->peek(w.in, &window), C4_IN_PROGRESS);
    world_close(&w);
}

static void test_rules(void)
{
    c4_hook_rules rules;
    C4TEST_OK(c4_hook_rules_parse("slow=shm:200us,close=tcp@frame:17,delay=tcp:5ms@frame:3#1", "tcp", 1, &rules));
    C4TEST_INT_FATAL(rules.count, 2);
    C4TEST_INT(rules.rules[0].action, C4_HOOK_INJECT);
    C4TEST_STRING(rules.rules[0].fault, "close_socket");
    C4TEST_INT(rules.rules[0].frame, 17);
    C4TEST_INT(rules.rules[1].duration_ns, 5000000);
    C4TEST_INT(rules.rules[1].frame, 3);
    C4TEST_OK(c4_hook_rules_parse("delay=tcp:5ms#1", "tcp", 0, &rules));
    C4TEST_INT(rules.count, 0);
    C4TEST_OK(c4_hook_rules_parse("", "tcp", 0, &rules));
    C4TEST_OK(c4_hook_rules_parse(NULL, "tcp", 0, &rules));
    static const char *const bad[] = {"slow=tcp",
                                      "close=tcp:1ms",
                                      "frob=tcp",
                                      "slow",
                                      "slow=:1ms",
                                      "slow=tcp:1h",
                                      "close=tcp@frame:0",
                                      "close=tcp@frame:x",
                                      "close=tcp#",
                                      "drop=tcp@frame:3x",
                                      "slow=tcp:18446744073709551616ns",
                                      "slow=tcp:36028797018963968us"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        C4TEST_INT(c4_hook_rules_parse(bad[i], "tcp", 0, &rules), C4_ERR_OPTION);
        C4TEST_CONTAINS(c4_fail_text(), bad[i]);
    }
}

static void test_bad_rule_opens_nothing(void)
{
    const c4_transport_ops *ops = c4_hook_wrap(&c4_loop_ops);
    c4_test_host host;
    c4_module *module = NULL;
    c4_test_host_init(&host, &c4_hook_option_table, "C4_HOOK=frob=loop", 1, 0, 1);
    C4TEST_INT(ops->open(&host.host, &module), C4_ERR_OPTION);
    CU_ASSERT_PTR_NULL(module);
}

static void test_overlay(void)
{
    c4_transport_ops partial = c4_loop_ops, full;
    const char *slot = NULL;
    partial.peek = NULL;
    partial.inject = NULL;
    C4TEST_OK(c4_transport_overlay(&partial, &full, &slot));
    CU_ASSERT(full.peek == c4_stub_peek && full.inject == c4_stub_inject && full.send == c4_loop_ops.send);
    partial.struct_size = offsetof(c4_transport_ops, inject); /* built before inject existed */
    C4TEST_OK(c4_transport_overlay(&partial, &full, &slot));
    CU_ASSERT(full.inject == c4_stub_inject && full.struct_size == sizeof full);
    partial.send = NULL;
    C4TEST_INT(c4_transport_overlay(&partial, &full, &slot), C4_ERR_UNSUPPORTED);
    C4TEST_STRING(slot, "send");
    partial = c4_loop_ops;
    partial.abi++;
    C4TEST_INT(c4_transport_overlay(&partial, &full, &slot), C4_ERR_UNSUPPORTED);
    C4TEST_STRING(slot, "abi");
}

static void test_builtin(void)
{
    CU_ASSERT_PTR_EQUAL(c4_builtin_transport_find("loop"), &c4_loop_ops);
    CU_ASSERT_PTR_NULL(c4_builtin_transport_find("pigeon"));
    for (size_t i = 0; c4_transports[i].name != NULL; i++) {
        c4_transport_ops full;
        const c4_transport_ops *ops = c4_transports[i].ops;
        if (ops == NULL)
            continue; /* in a module */
        const char *slot = "";
        C4TEST_OK(c4_transport_overlay(ops, &full, &slot));
        /* Copied whole. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
        C4TEST_INT(memcmp(&full, ops, sizeof full), 0); /* no slot was NULL */
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(no_rule_changes_nothing),
                                        C4TEST(slow),
                                        C4TEST(delay_of_one_frame_keeps_order),
                                        C4TEST(cancel_of_held_frame),
                                        C4TEST(drop_and_fail),
                                        C4TEST(windows),
                                        C4TEST(rules),
                                        C4TEST(bad_rule_opens_nothing),
                                        C4TEST(overlay),
                                        C4TEST(builtin),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
