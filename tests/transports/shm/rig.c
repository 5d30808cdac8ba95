#include "tests/transports/shm/rig.h"

#include <dirent.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int64_t option_int(void *context, const char *name)
{
    const rig_options *options = &((rig_rank *)context)->options;
    const struct {
        const char *name;
        int64_t value;
    } table[] = {{"C4_SHM_BACKEND", options->backend},
                 {"C4_SHM_RING_BYTES", options->ring_bytes},
                 {"C4_SHM_BUDGET_BYTES", options->budget_bytes},
                 {"C4_SHM_STORES", options->stores}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].value;
    return -1;
}

static const char *option_string(void *context, const char *name)
{
    (void)context;
    (void)name;
    return "";
}

static void log_line(void *context, int level, const char *format, ...)
{
    rig_rank *rig = context;
    if (level > C4_TLOG_WARN)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(rig->board->last_warning[rig->host.rank], RIG_LOG_BYTES, format, args);
    va_end(args);
}

rig_options rig_defaults(void)
{
    return (rig_options){.budget_bytes = 512 << 20};
}

void rig_barrier(rig_board *board, int nranks)
{
    int turn = __atomic_load_n(&board->turns, __ATOMIC_SEQ_CST);
    if (__atomic_add_fetch(&board->arrived, 1, __ATOMIC_SEQ_CST) == nranks) {
        __atomic_store_n(&board->arrived, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&board->turns, turn + 1, __ATOMIC_SEQ_CST);
        return;
    }
    for (int polls = 0; __atomic_load_n(&board->turns, __ATOMIC_SEQ_CST) == turn; polls++)
        if (polls > 2000)
            sched_yield();
}

c4_status rig_create(rig_rank *rig, rig_board *board, int rank, int nranks, const rig_options *options)
{
    memset(rig, 0, sizeof *rig);
    rig->options = options ? *options : rig_defaults();
    rig->board = board;
    rig->host = (c4_transport_host){.struct_size = sizeof rig->host,
                                    .context = rig,
                                    .option_int = option_int,
                                    .option_string = option_string,
                                    .log = log_line,
                                    .key = (const unsigned char *)"0123456789abcdef0123456789abcdef",
                                    .rank = rank,
                                    .nranks = nranks,
                                    .local_rank = rank,
                                    .local_nranks = nranks + rig->options.strangers};
    c4_status status = c4_shm_ops.open(&rig->host, &rig->module);
    if (status < 0)
        return status;
    board->address_bytes[rank] = C4_ADDRESS_MAX_BYTES;
    return c4_shm_ops.address(rig->module, board->address[rank], &board->address_bytes[rank]);
}

c4_status rig_connect(rig_rank *rig)
{
    c4_status status = C4_OK;
    for (int peer = 0; peer < rig->host.nranks && status >= 0; peer++) {
        char reason[256] = "";
        status = c4_shm_ops.add_peer(rig->module, peer, rig->board->address[peer], rig->board->address_bytes[peer],
                                     reason, sizeof reason);
        if (status < 0)
            fprintf(stderr, "rank %d cannot reach %d: %s\n", rig->host.rank, peer, reason);
    }
    return status;
}

c4_status rig_open(rig_rank *rig, rig_board *board, int rank, int nranks, const rig_options *options)
{
    c4_status status = rig_create(rig, board, rank, nranks, options);
    rig_barrier(board, nranks);
    if (status >= 0)
        status = rig_connect(rig);
    rig_barrier(board, nranks);
    return status;
}

void rig_close(rig_rank *rig)
{
    rig_barrier(rig->board, rig->host.nranks);
    c4_shm_ops.close(rig->module);
    rig->module = NULL;
}

c4_channel *rig_channel(rig_rank *rig, uint32_t tag, int writer, int reader, size_t depth_bytes)
{
    int readers[RIG_MAX_RANKS];
    int nreaders = 0;
    for (int rank = 0; rank < rig->host.nranks; rank++)
        if (reader < 0 ? rank != writer : rank == reader)
            readers[nreaders++] = rank;
    c4_channel_spec spec = {.struct_size = sizeof spec,
                            .comm = 1,
                            .tag = tag,
                            .writer = writer,
                            .readers = readers,
                            .nreaders = nreaders,
                            .depth_bytes = depth_bytes};
    c4_channel *channel = NULL;
    return c4_shm_ops.channel_open(rig->module, &spec, &channel) == C4_OK ? channel : NULL;
}

c4_status rig_send(c4_channel *channel, void *data, size_t bytes)
{
    c4_xfer xfer = {.pointer = data, .bytes = bytes};
    return c4_shm_ops.send(channel, &xfer);
}

int rig_named_segments(void)
{
    int count = 0;
    DIR *directory = opendir("/dev/shm");
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;)
        count += strncmp(entry->d_name, "c4-shm-", 7) == 0;
    if (directory)
        closedir(directory);
    return count;
}
