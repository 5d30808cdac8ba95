/* Module, addresses, capabilities, memory, idle waiting. */
#include <errno.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/conformance/world.h"

#define WAIT_S 10

static void case_caps(conf_rank *r)
{
    c4_transport_caps probed = {.struct_size = sizeof probed};
    char reason[256] = "";
    CONF_CHECK(r->ops->struct_size == sizeof(c4_transport_ops) && r->ops->abi == C4_TRANSPORT_ABI);
    CONF_CHECK(r->ops->probe(&r->host.host, &probed, reason, sizeof reason) == C4_OK);
    CONF_CHECK(probed.flags == r->caps.flags && probed.max_readers == r->caps.max_readers);
    CONF_CHECK(r->caps.latency_s > 0 && r->caps.latency_s < 1e-3);
    CONF_CHECK(r->caps.seconds_per_byte > 0 && r->caps.seconds_per_byte < 1e-6);
    CONF_CHECK(r->caps.max_frame_bytes >= 65536 && r->caps.max_frame_bytes <= UINT32_MAX);
    CONF_CHECK(r->caps.inline_bytes <= r->caps.max_frame_bytes);
    CONF_CHECK(r->caps.max_readers >= 1);
}

static void case_no_null_slot(conf_rank *r)
{
    const char *from = (const char *)&r->ops->name;
    const char *to = (const char *)r->ops + sizeof *r->ops;
    for (; from < to; from += sizeof(void *)) {
        void *slot;
        memcpy(&slot, from, sizeof slot);
        CONF_CHECK(slot != NULL);
    }
}

static void case_address(conf_rank *r)
{
    unsigned char again[C4_ADDRESS_MAX_BYTES];
    size_t bytes = sizeof again;
    CONF_CHECK(r->ops->address(r->module, again, &bytes) == C4_OK);
    CONF_CHECK(bytes > 0 && bytes == r->shared->address_bytes[r->rank]);
    CONF_CHECK(memcmp(again, r->shared->addresses[r->rank], bytes) == 0);
    bytes = 1;
    CONF_CHECK(r->ops->address(r->module, again, &bytes) < 0);
}

static void case_bad_peer(conf_rank *r)
{
    unsigned char garbage[C4_ADDRESS_MAX_BYTES];
    char reason[256] = "";
    int peer = 1 - r->rank;
    memset(garbage, 0xee, sizeof garbage);
    CONF_CHECK(r->ops->add_peer(r->module, peer, garbage, sizeof garbage, reason, sizeof reason) == C4_ERR_UNREACHABLE);
    CONF_CHECK(reason[0] != '\0');
    CONF_CHECK(r->ops->add_peer(r->module, peer, r->shared->addresses[peer], 3, reason, sizeof reason) ==
               C4_ERR_UNREACHABLE);
    CONF_CHECK(r->ops->add_peer(r->module, -1, r->shared->addresses[peer], r->shared->address_bytes[peer], reason,
                                sizeof reason) < 0);
    CONF_CHECK(r->ops->add_peer(r->module, r->nranks, r->shared->addresses[peer], r->shared->address_bytes[peer],
                                reason, sizeof reason) < 0);
}

/* So many calls of progress by a child to which only read, write and exit are allowed: any other system call kills it. */
static bool polls_quietly(conf_rank *r, int polls)
{
    pid_t child = fork();
    if (child == 0) {
        int peer;
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
        for (int i = 0; i < polls; i++)
            if (r->ops->progress(r->module, &peer) != C4_IN_PROGRESS || peer != -1)
                syscall(SYS_exit, 1);
        syscall(SYS_exit, 0);
    }
    int status = -1;
    CONF_CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* But for one look at who connects in some hundred calls: of three stretches one after the other at most two have such a look. */
static void case_idle_makes_no_system_call(conf_rank *r)
{
    enum { STRETCHES = 3, POLLS = 100 };
    int quiet = 0, peer;
    conf_pair(r, 1, 1, 0, 1);
    conf_pair(r, 1, 1, 1, 0);
    for (int stretch = 0; stretch < STRETCHES; stretch++) {
        quiet += polls_quietly(r, POLLS);
        for (int i = 0; i < POLLS; i++)
            CONF_CHECK(r->ops->progress(r->module, &peer) == C4_IN_PROGRESS);
    }
    CONF_CHECK(quiet >= 1);
}

static void case_unknown_fault(conf_rank *r)
{
    CONF_CHECK(r->ops->inject(r->module, "no such fault") == C4_ERR_UNSUPPORTED);
}

static void case_memory(conf_rank *r)
{
    void *memory = NULL, *mapped = NULL;
    int local = 0;
    c4_memory_handle handle;
    if ((r->caps.flags & C4_CAP_MAP) == 0) {
        CONF_CHECK(r->ops->mem_alloc(4096, &memory) == C4_ERR_UNSUPPORTED);
        CONF_CHECK(r->ops->mem_free(&local) == C4_ERR_UNSUPPORTED);
        CONF_CHECK(r->ops->mem_export(&local, sizeof local, &handle) == C4_ERR_UNSUPPORTED);
        CONF_CHECK(r->ops->mem_map(r->module, 0, &handle, &mapped) == C4_ERR_UNSUPPORTED);
        return;
    }
    const size_t bytes = 3 << 20;
    CONF_CHECK(r->ops->mem_alloc(bytes, &memory) == C4_OK);
    CONF_CHECK((uintptr_t)memory % 4096 == 0);
    CONF_CHECK(r->ops->mem_export(&local, sizeof local, &handle) == C4_ERR_ARGUMENT);
    CONF_CHECK(r->ops->mem_export(memory, bytes + 8192, &handle) == C4_ERR_ARGUMENT);
    unsigned char *part = (unsigned char *)memory + 4096;
    if (r->rank == 0) {
        CONF_CHECK(r->ops->mem_export(part, bytes - 4096, &r->shared->handle) == C4_OK);
        conf_fill(part, bytes - 4096, 1);
    }
    conf_barrier(r);
    if (r->rank == 1 && CONF_CHECK(r->ops->mem_map(r->module, 0, &r->shared->handle, &mapped) == C4_OK)) {
        CONF_CHECK(conf_verify(mapped, bytes - 4096, 1));
        conf_fill(mapped, bytes - 4096, 2);
        void *again = NULL;
        CONF_CHECK(r->ops->mem_map(r->module, 0, &r->shared->handle, &again) == C4_OK && again == mapped);
    }
    conf_barrier(r);
    if (r->rank == 0)
        CONF_CHECK(conf_verify(part, bytes - 4096, 2));
    conf_barrier(r);
    CONF_CHECK(r->ops->mem_free(memory) == C4_OK);
}

/* ---- idle waiting ---- */

/* Sleeps until the transport wakes it; false when it does not in time. */
static bool sleep_once(conf_rank *r)
{
    int fd = -1;
    uint32_t *word = NULL;
    uint32_t before = 0;
    bool doorbell = (r->caps.flags & C4_CAP_DOORBELL) != 0;
    if (doorbell) {
        CONF_CHECK(r->ops->doorbell(r->module, &word) == C4_OK);
        before = __atomic_load_n(word, __ATOMIC_SEQ_CST);
    }
    c4_status status = r->ops->arm(r->module, &fd);
    CONF_CHECK(status == C4_OK || status == C4_IN_PROGRESS);
    bool woken = true;
    if (status == C4_IN_PROGRESS && doorbell) {
        const struct timespec limit = {WAIT_S, 0};
        woken = syscall(SYS_futex, word, FUTEX_WAIT, before, &limit, NULL, 0) == 0 || errno != ETIMEDOUT;
    } else if (status == C4_IN_PROGRESS) {
        struct pollfd waiter = {.fd = fd, .events = POLLIN};
        woken = poll(&waiter, 1, WAIT_S * 1000) == 1;
    }
    r->ops->disarm(r->module);
    return woken;
}

static void recv_asleep(conf_rank *r, c4_channel *channel, uint32_t sequence)
{
    unsigned char buffer[64];
    c4_xfer xfer = {.pointer = buffer, .bytes = sizeof buffer};
    c4_status status = r->ops->recv(channel, &xfer);
    while (status == C4_IN_PROGRESS && xfer.state == C4_IN_PROGRESS) {
        conf_progress(r);
        if (xfer.state == C4_IN_PROGRESS && !CONF_CHECK(sleep_once(r)))
            return;
    }
    CONF_CHECK(xfer.state == C4_OK && conf_verify(buffer, sizeof buffer, sequence));
}

/* Each side sleeps until the other's frame; a lost wake-up costs WAIT_S and fails. */
static void case_sleep_and_wake(conf_rank *r)
{
    c4_channel *out = conf_pair(r, 1, 1, r->rank, 1 - r->rank);
    c4_channel *in = conf_pair(r, 1, 1, 1 - r->rank, r->rank);
    for (uint32_t i = 0; i < 300 && atomic_load(&r->shared->failures) == 0; i++) {
        if (r->rank == 0)
            conf_send(r, out, i, 64);
        recv_asleep(r, in, i);
        if (r->rank == 1)
            conf_send(r, out, i, 64);
    }
}

/* The frame is there before anybody goes to sleep. */
static void case_arm_after_arrival(conf_rank *r)
{
    if (r->fixture->loses_sockets)
        return;
    c4_channel *channel = conf_pair(r, 1, 1, 0, 1);
    if (r->rank == 0) /* connects: a first send may need the reader's help */
        conf_send(r, channel, 20, 64);
    else
        conf_recv(r, channel, 20, 64);
    for (uint32_t i = 0; i < 20; i++) {
        if (r->rank == 0)
            conf_send(r, channel, i, 64);
        conf_barrier(r);
        if (r->rank == 1)
            recv_asleep(r, channel, i);
        conf_barrier(r);
    }
}

static void case_close_gives_back_files(conf_rank *r)
{
    if (r->fixture->threads && r->rank != 0)
        return; /* ranks share one table of files: one of them counts */
    int before = c4test_count_entries("/proc/self/fd");
    for (int i = 0; i < 3; i++) {
        c4_module *module;
        if (!CONF_CHECK(r->ops->open(&r->host.host, &module) == C4_OK))
            return;
        r->ops->close(module);
    }
    CONF_CHECK(c4test_count_entries("/proc/self/fd") == before);
}

const conf_case conf_cases_module[] = {
    {"caps", case_caps, 2, 10},
    {"no_null_slot", case_no_null_slot, 1, 10},
    {"address", case_address, 2, 10},
    {"bad_peer", case_bad_peer, 2, 10},
    {"idle_makes_no_system_call", case_idle_makes_no_system_call, 2, 10},
    {"unknown_fault", case_unknown_fault, 1, 10},
    {"memory", case_memory, 2, 10},
    {"sleep_and_wake", case_sleep_and_wake, 2, 30},
    {"arm_after_arrival", case_arm_after_arrival, 2, 20},
    {"close_gives_back_files", case_close_gives_back_files, 2, 20},
    {NULL, NULL, 0, 0},
};
