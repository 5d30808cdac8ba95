/* Communicators over the transport ucx, by way of its module: that they leave nothing behind, and whose the signals are. */
#include "tests/c4test.h"

#include <c4/c4.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/usage.h"
#include "tests/collectives/world.h"

#define OPTIONS "C4_TRANSPORTS=ucx C4_REQUIRE_TRANSPORT=ucx"
#define WARM_UP 20
#define COUNT   200
/* A context of UCX 1.13 that is made and given back costs 126 of them, and pools grow a little at first. */
#define BYTES_EACH 256

static void need_ucx(void)
{
    if (!world_has_transport("ucx"))
        C4TEST_SKIP("no UCX here: `c4info transports` says why");
}

/* Messages in both directions, of both of UCX's protocols. */
static void use(c4_comm *comm)
{
    static float buffer[100000];
    WORLD_OK(c4_all_reduce(buffer, buffer, 2, C4_FLOAT32, C4_SUM, comm, NULL));
    WORLD_OK(c4_all_reduce(buffer, buffer, 100000, C4_FLOAT32, C4_SUM, comm, NULL));
}

static void many_rank(c4_comm **comm, int rank, void *arg)
{
    const int count = c4test_samples(COUNT);
    chaos_usage before = {0};
    (void)arg;
    for (int i = 0; i < WARM_UP + count && world_failures() == 0; i++) {
        c4_comm *child = NULL;
        if (i == WARM_UP)
            before = chaos_usage_measure();
        WORLD_OK(c4_comm_split(*comm, 0, rank, NULL, NULL, &child));
        if (child)
            use(child);
        WORLD_OK(c4_comm_destroy(child));
    }
    chaos_usage after = chaos_usage_measure();
    /* AddressSanitizer cuts up the mapping of its shadow where large blocks come and go. */
    bool more_maps = !C4TEST_SANITIZED && after.maps > before.maps + 4;
    if (after.files > before.files || after.threads > before.threads || more_maps ||
        after.heap_bytes > before.heap_bytes + (size_t)COUNT * BYTES_EACH)
        world_fail("rank %d: %d files, %d threads, %d maps, %zu bytes after %d communicators, %d, %d, %d, %zu before",
                   rank, after.files, after.threads, after.maps, after.heap_bytes, count, before.files, before.threads,
                   before.maps, before.heap_bytes);
}

static void test_many_communicators(void)
{
    need_ucx();
    world_run(&(world_spec){.nranks = 2, .options = OPTIONS, .deadline_s = 100}, many_rank, NULL);
}

/* ---- the program's signals ---- */

static void handler(int number)
{
    (void)number;
}

/* Some have a handler from the start: a sanitizer's. */
static void signal_rank(const c4_unique_id *id, int rank, void *arg)
{
    enum { NUMBERS = 5 };
    static const int numbers[NUMBERS] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGHUP};
    struct sigaction before[NUMBERS], after = {.sa_handler = handler};
    (void)arg;
    sigaction(SIGBUS, &after, NULL);
    for (int i = 0; i < NUMBERS; i++)
        sigaction(numbers[i], NULL, &before[i]);
    c4_comm *comm = world_comm(id, &(world_spec){.nranks = 2, .options = OPTIONS}, rank);
    for (int i = 0; i < NUMBERS; i++) {
        sigaction(numbers[i], NULL, &after);
        if (after.sa_handler != before[i].sa_handler || (numbers[i] == SIGBUS && after.sa_handler != handler))
            world_fail("rank %d: signal %d has another handler", rank, numbers[i]);
    }
    if (comm)
        use(comm);
    WORLD_OK(c4_comm_destroy(comm));
}

/* UCX takes the signals of crashes when it is loaded: the program's are put back. */
static void test_signals(void)
{
    /* In a process of its own: here UCX would be loaded, once and for all. */
    world_run_raw(&(world_spec){.nranks = 2}, signal_rank, NULL);
}

/* ---- no network ---- */

static void test_no_network(void)
{
    c4_info_transport transport = {.struct_size = sizeof transport};
    setenv("UCX_TLS", "sm,self", 1);
    setenv("C4_TRANSPORTS", "ucx", 1);
    for (size_t i = 0; c4_info_get_transport(i, &transport) == C4_OK; i++)
        if (strcmp(transport.name, "ucx") == 0) {
            CU_ASSERT(!transport.available);
            C4TEST_CONTAINS(transport.reason, "UCX_TLS and UCX_NET_DEVICES must leave it a network");
        }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(many_communicators, 120), C4TEST(signals), C4TEST(no_network),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
