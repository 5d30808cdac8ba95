#include "diag/sources/record_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define TRIES 100 /* a record is written in some 100 ns */

struct c4_record_file {
    const unsigned char *base;
    size_t bytes;
    c4_record_header header; /* the checked copy: the mapping may change */
    bool mapped;
};

/* ---- opening ---- */

typedef struct area_rule {
    const char *name;
    size_t offset; /* of the area in the header */
    uint32_t stride;
} area_rule;

static const area_rule area_rules[] = {
    {"comms", offsetof(c4_record_header, comms), sizeof(c4_record_comm)},
    {"programs", offsetof(c4_record_header, programs), sizeof(c4_record_program)},
    {"edges", offsetof(c4_record_header, edges), sizeof(c4_record_edge)},
    {"rings", offsetof(c4_record_header, rings), sizeof(c4_record_ring)},
    {"operations", offsetof(c4_record_header, operations), sizeof(c4_record_operation)},
    {"moves", offsetof(c4_record_header, moves), sizeof(c4_record_move)},
};

static c4_status check_area(const c4_record_header *header, const area_rule *rule, size_t bytes)
{
    c4_record_area area;
    memcpy(&area, (const char *)header + rule->offset, sizeof area);
    if (area.stride != rule->stride)
        return c4_fail(C4_ERR_PROTOCOL, "flight record: entries of area %s have %u bytes, expected %u", rule->name,
                       area.stride, rule->stride);
    bool inside = area.offset >= C4_RECORD_HEADER_BYTES && area.offset % 8 == 0 && area.offset <= bytes &&
                  (uint64_t)area.count * area.stride <= bytes - area.offset;
    return inside ? C4_OK : c4_fail(C4_ERR_PROTOCOL, "flight record: area %s lies outside the file", rule->name);
}

static c4_status check_header(const c4_record_header *header, size_t bytes)
{
    if (header->magic != C4_RECORD_MAGIC)
        return c4_fail(C4_ERR_PROTOCOL, "not a flight record, or one whose process ended while it was made");
    if (header->version != C4_RECORD_VERSION || header->header_bytes != C4_RECORD_HEADER_BYTES)
        return c4_fail(C4_ERR_PROTOCOL, "flight record of version %u, this program reads version %u", header->version,
                       C4_RECORD_VERSION);
    if (header->file_bytes > bytes)
        return c4_fail(C4_ERR_PROTOCOL, "flight record is cut: %zu of %llu bytes", bytes,
                       (unsigned long long)header->file_bytes);
    for (size_t i = 0; i < sizeof area_rules / sizeof area_rules[0]; i++)
        C4_TRY(check_area(header, &area_rules[i], bytes));
    uint32_t rings = header->rings.count;
    if (rings == 0 || header->operations.count < rings || header->moves.count < rings)
        return c4_fail(C4_ERR_PROTOCOL, "flight record: %u operations and %u moves in %u rings",
                       header->operations.count, header->moves.count, rings);
    return C4_OK;
}

c4_status c4_record_file_open_memory(const void *bytes, size_t size, c4_record_file **file)
{
    c4_record_header header;
    if (size < C4_RECORD_HEADER_BYTES)
        return c4_fail(C4_ERR_PROTOCOL, "flight record is cut: %zu bytes", size);
    memcpy(&header, bytes, sizeof header);
    C4_TRY(check_header(&header, size));
    header.host[sizeof header.host - 1] = '\0';
    header.library[sizeof header.library - 1] = '\0';
    c4_record_file *made = malloc(sizeof *made);
    if (!made)
        return c4_fail(C4_ERR_MEMORY, "flight record");
    *made = (c4_record_file){bytes, size, header, false};
    *file = made;
    return C4_OK;
}

c4_status c4_record_file_open(const char *path, c4_record_file **file)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return c4_fail_errno(C4_ERR_SYSTEM, errno, "flight record %s", path);
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_size < (off_t)C4_RECORD_HEADER_BYTES) {
        close(fd);
        return c4_fail(C4_ERR_PROTOCOL, "%s is no flight record: no file of at least %u bytes", path,
                       C4_RECORD_HEADER_BYTES);
    }
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    if (map == MAP_FAILED)
        return c4_fail_errno(C4_ERR_SYSTEM, error, "mapping flight record %s", path);
    c4_status status = c4_record_file_open_memory(map, (size_t)info.st_size, file);
    if (status < 0)
        munmap(map, (size_t)info.st_size);
    else
        (*file)->mapped = true;
    return status;
}

void c4_record_file_close(c4_record_file *file)
{
    if (file && file->mapped)
        munmap((void *)file->base, file->bytes);
    free(file);
}

const c4_record_header *c4_record_file_header(const c4_record_file *file)
{
    return &file->header;
}

bool c4_record_file_closed(const c4_record_file *file)
{
    const c4_record_header *header = (const c4_record_header *)file->base;
    return __atomic_load_n(&header->closed, __ATOMIC_ACQUIRE) != 0;
}

/* ---- copies ---- */

/* Copies entry `slot`, which starts with its generation. `expected` 0: any even one. */
static bool copy_entry(const c4_record_file *file, const c4_record_area *area, uint64_t slot, uint32_t expected,
                       void *out)
{
    if (slot >= area->count)
        return false;
    const unsigned char *entry = file->base + area->offset + slot * area->stride;
    const uint32_t *generation = (const uint32_t *)entry;
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = __atomic_load_n(generation, __ATOMIC_ACQUIRE);
        if (before == 0 || (expected && before > expected))
            return false;
        if (before % 2 || (expected && before != expected))
            continue;
        memcpy(out, entry, area->stride);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(generation, __ATOMIC_RELAXED) == before)
            return true;
    }
    return false;
}

bool c4_record_file_comm(const c4_record_file *file, uint32_t index, c4_record_comm *comm)
{
    if (!copy_entry(file, &file->header.comms, index, 0, comm))
        return false;
    comm->name[sizeof comm->name - 1] = '\0';
    return true;
}

bool c4_record_file_program(const c4_record_file *file, uint32_t index, c4_record_program *program)
{
    if (!copy_entry(file, &file->header.programs, index, 0, program))
        return false;
    program->algorithm_name[sizeof program->algorithm_name - 1] = '\0';
    return true;
}

bool c4_record_file_edge(const c4_record_file *file, uint32_t index, c4_record_edge *edge)
{
    return copy_entry(file, &file->header.edges, index, 0, edge);
}

/* ---- rings ---- */

static c4_record_walk walk_begin(const c4_record_file *file, uint32_t ring, const c4_record_area *area, size_t cursor)
{
    c4_record_walk walk = {.file = file};
    const c4_record_area *rings = &file->header.rings;
    if (ring >= rings->count)
        return walk;
    const unsigned char *entry = file->base + rings->offset + (uint64_t)ring * rings->stride;
    walk.slots = area->count / rings->count;
    walk.first_slot = (uint64_t)ring * walk.slots;
    walk.next = __atomic_load_n((const uint64_t *)(entry + cursor), __ATOMIC_ACQUIRE);
    walk.last = walk.next > walk.slots ? walk.next - walk.slots : 0;
    return walk;
}

c4_record_walk c4_record_walk_operations(const c4_record_file *file, uint32_t ring)
{
    return walk_begin(file, ring, &file->header.operations, offsetof(c4_record_ring, operations));
}

c4_record_walk c4_record_walk_moves(const c4_record_file *file, uint32_t ring)
{
    return walk_begin(file, ring, &file->header.moves, offsetof(c4_record_ring, moves));
}

static bool walk_next(c4_record_walk *walk, const c4_record_area *area, void *out)
{
    while (walk->next > walk->last) {
        uint64_t number = --walk->next;
        uint32_t generation = (uint32_t)(2 * (number / walk->slots + 1));
        if (copy_entry(walk->file, area, walk->first_slot + number % walk->slots, generation, out))
            return true;
    }
    return false;
}

bool c4_record_walk_next_operation(c4_record_walk *walk, c4_record_operation *operation)
{
    return walk_next(walk, &walk->file->header.operations, operation);
}

bool c4_record_walk_next_move(c4_record_walk *walk, c4_record_move *move)
{
    return walk_next(walk, &walk->file->header.moves, move);
}
