/* A flight record of arbitrary bytes: refused, or read without a stray access and in bounded time. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "diag/sources/record_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const c4_record_file *file)
{
    c4_record_comm comm;
    c4_record_program program;
    c4_record_edge edge;
    c4_record_operation operation;
    c4_record_move move;
    for (uint32_t i = 0; i < 64; i++) {
        c4_record_file_comm(file, i, &comm);
        c4_record_file_program(file, i, &program);
        c4_record_file_edge(file, i, &edge);
        c4_record_walk walk = c4_record_walk_operations(file, i);
        for (int n = 0; n < 1000 && c4_record_walk_next_operation(&walk, &operation); n++)
            ;
        walk = c4_record_walk_moves(file, i);
        for (int n = 0; n < 1000 && c4_record_walk_next_move(&walk, &move); n++)
            ;
    }
}

/* The input is what differs from a valid header: areas, then content. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t bytes = C4_RECORD_HEADER_BYTES + size;
    unsigned char *copy = aligned_alloc(64, (bytes + 63) / 64 * 64);
    c4_record_file *file = NULL;
    if (!copy)
        return 0;
    c4_log_configure(C4_LOG_NONE, "");
    c4_record_header header = {
        .magic = C4_RECORD_MAGIC, .version = C4_RECORD_VERSION, .header_bytes = C4_RECORD_HEADER_BYTES};
    memset(copy, 0, bytes);
    size_t areas = 6 * sizeof(c4_record_area), given = size < areas ? size : areas;
    memcpy(copy, &header, sizeof header);
    memcpy(copy + offsetof(c4_record_header, comms), data, given);
    memcpy(copy + C4_RECORD_HEADER_BYTES, data, size);
    if (c4_record_file_open_memory(copy, bytes, &file) == C4_OK) {
        read_all(file);
        c4_record_file_close(file);
    }
    free(copy);
    return 0;
}
