#include "tests/transports/verbs/rig.h"

#include <stdlib.h>
#include <string.h>

#include "tests/c4test.h"
#include "tests/conformance/world.h"

/* ---- declared memory ---- */

static struct {
    c4_transport_memory at[16];
    unsigned count;
    uint64_t ids, taken_back;
} declared;

void rig_declare(const void *base, size_t bytes)
{
    declared.at[declared.count++] = (c4_transport_memory){base, bytes, ++declared.ids};
}

void rig_take_back(const void *base)
{
    for (unsigned i = 0; i < declared.count; i++)
        if (declared.at[i].base == base)
            declared.at[i--] = declared.at[--declared.count];
    declared.taken_back++;
}

static int memory_find(void *context, const void *pointer, size_t bytes, c4_transport_memory *memory)
{
    (void)context;
    for (unsigned i = 0; i < declared.count; i++) {
        uintptr_t base = (uintptr_t)declared.at[i].base, at = (uintptr_t)pointer;
        if (at >= base && at + bytes <= base + declared.at[i].bytes) {
            *memory = declared.at[i];
            return 1;
        }
    }
    return 0;
}

static uint64_t memory_taken_back(void *context)
{
    (void)context;
    return declared.taken_back;
}

/* ---- modules ---- */

void rig_host(rig *r, int rank, const char *overrides)
{
    c4_test_host_init(&r->hosts[rank], &c4_verbs_option_table, overrides, 77, rank, 2);
    r->hosts[rank].host.memory_find = memory_find;
    r->hosts[rank].host.memory_taken_back = memory_taken_back;
}

void rig_introduce(rig *r)
{
    for (int rank = 0; rank < 2; rank++) {
        unsigned char address[C4_ADDRESS_MAX_BYTES];
        size_t bytes = sizeof address;
        char reason[256] = "";
        C4TEST_OK_FATAL(c4_verbs_ops.address(r->modules[1 - rank], address, &bytes));
        C4TEST_OK_FATAL(c4_verbs_ops.add_peer(r->modules[rank], 1 - rank, address, bytes, reason, sizeof reason));
    }
}

void rig_open(rig *r, const char *overrides)
{
    memset(r, 0, sizeof *r);
    for (int rank = 0; rank < 2; rank++) {
        rig_host(r, rank, overrides);
        C4TEST_OK_FATAL(c4_verbs_ops.open(&r->hosts[rank].host, &r->modules[rank]));
    }
    rig_introduce(r);
}

void rig_close(rig *r)
{
    for (int rank = 0; rank < 2; rank++)
        if (r->modules[rank] != NULL)
            c4_verbs_ops.close(r->modules[rank]);
    C4TEST_INT(standin_alive_in_all(), 0);
}

void rig_progress(rig *r)
{
    for (int rank = 0; rank < 2; rank++) {
        int peer = -1;
        c4_status status = r->modules[rank] != NULL ? c4_verbs_ops.progress(r->modules[rank], &peer) : C4_OK;
        if (status < 0) {
            r->errors[rank] = status;
            r->named[rank] = peer;
        }
    }
}

/* ---- channels and frames ---- */

c4_channel *rig_channel(rig *r, int rank, int writer, uint32_t tag)
{
    c4_channel **channel = &r->channels[rank][writer][tag];
    const int reader = 1 - writer;
    const c4_channel_spec spec = {sizeof spec, 0, tag, writer, &reader, 1, 0};
    if (*channel == NULL)
        C4TEST_OK_FATAL(c4_verbs_ops.channel_open(r->modules[rank], &spec, channel));
    return *channel;
}

c4_verbs_link *rig_link(const rig *r, int rank, unsigned index)
{
    c4_tlink *base = c4_tlink_next(&r->modules[rank]->hub, NULL);
    while (base != NULL && base->index != index)
        base = c4_tlink_next(&r->modules[rank]->hub, base);
    return base != NULL ? c4_verbs_link_of(base) : NULL;
}

c4_status rig_exchange(rig *r, int writer, uint32_t tag, size_t bytes)
{
    uint32_t sequence = ++r->sequence;
    unsigned char *from = conf_alloc(bytes), *to = conf_alloc(bytes);
    c4_xfer send = {.frame = conf_frame(sequence, bytes), .pointer = from, .bytes = bytes};
    c4_xfer receive = {.pointer = to, .bytes = bytes};
    const c4_frame frame = send.frame;
    conf_fill(from, bytes, sequence);
    c4_verbs_ops.recv(rig_channel(r, 1 - writer, writer, tag), &receive);
    c4_verbs_ops.send(rig_channel(r, writer, writer, tag), &send);
    RIG_UNTIL(r, send.state < 0 || receive.state < 0 || (send.state == C4_OK && receive.state == C4_OK));
    if (send.state == C4_IN_PROGRESS)
        c4_verbs_ops.cancel(rig_channel(r, writer, writer, tag), &send);
    if (receive.state == C4_IN_PROGRESS)
        c4_verbs_ops.cancel(rig_channel(r, 1 - writer, writer, tag), &receive);
    if (receive.state == C4_OK)
        CU_ASSERT(conf_verify(to, bytes, sequence) && conf_frame_equal(&receive.frame, &frame));
    free(from);
    free(to);
    return (c4_status)(send.state < 0 ? send.state : receive.state);
}
