/* A process's own shared memory: one file, mapped whole by its owner and by every peer that talks to it.
 *
 * The file is as long as the process's budget from the start (address space only); memory is allocated, page by page,
 * when a range is handed out, so that a full /dev/shm or a memory limit is an error at that moment and never a SIGBUS
 * later. memfd files are sealed against shrinking, so a peer cannot cause one either. */
#ifndef C4_TRANSPORTS_SHM_ARENA_H
#define C4_TRANSPORTS_SHM_ARENA_H

#include <c4/transport.h>
#include <stdbool.h>

enum { C4_SHM_BACKEND_AUTO, C4_SHM_BACKEND_MEMFD, C4_SHM_BACKEND_FILE };

#define C4_SHM_MAGIC      0x314d48535f344300u /* "\0C4_SHM1" */
#define C4_SHM_LINE       64u
#define C4_SHM_PAGE       4096u
#define C4_SHM_NAME_BYTES 48
#define C4_SHM_TABLES     10

/* Where peers find the arena. Meaningful on one host only: boot_id says which. */
typedef struct c4_shm_address {
    uint64_t magic;
    uint32_t struct_bytes;
    uint32_t backend;
    unsigned char boot_id[16];
    uint64_t pid_namespace;
    int32_t pid;
    int32_t fd;
    uint64_t nonce[2]; /* also at the head of the memory */
    uint64_t bytes;
    uint32_t uid;
    int32_t rank;
    char name[C4_SHM_NAME_BYTES]; /* file backend: path under /dev/shm */
} c4_shm_address;

/* The first page of an arena. Written by its owner, except `asleep` and `doorbell`, which peers change to wake it,
 * and `opened`. */
typedef struct c4_shm_head {
    uint64_t magic;
    uint64_t nonce[2];
    uint64_t bytes;
    uint32_t expedited; /* owner is registered for, and sleeps behind, global expedited membarriers */
    uint32_t opened;    /* peers that have opened a named arena */

    uint32_t doorbell __attribute__((aligned(C4_SHM_LINE))); /* futex */
    uint32_t asleep;

    uint32_t directory_version __attribute__((aligned(C4_SHM_LINE))); /* changes with every entry */
    uint32_t ntables;
    uint64_t table_offset[C4_SHM_TABLES];
} c4_shm_head;

typedef struct c4_shm_span {
    size_t offset, bytes;
} c4_shm_span;

typedef struct c4_shm_arena {
    int fd;
    unsigned char *base;
    size_t bytes;
    size_t top;         /* ranges beyond have never been handed out */
    c4_shm_span *spans; /* free ranges below top, ascending, coalesced */
    int nspans, spans_capacity;
    c4_shm_address address;
} c4_shm_arena;

/* A read-write mapping of somebody's file. */
typedef struct c4_shm_mapping {
    unsigned char *base;
    size_t bytes;
} c4_shm_mapping;

static inline c4_shm_head *c4_shm_arena_head(const c4_shm_arena *arena)
{
    return (c4_shm_head *)arena->base;
}

/* Creates and maps an arena. C4_ERR_SHM with a text that names the mend. */
c4_status c4_shm_arena_init(c4_shm_arena *arena, int backend, size_t bytes, int rank);
void c4_shm_arena_fini(c4_shm_arena *arena);
/* Allocates the first `bytes`, as far as the arena goes, now and not when they are handed out. C4_ERR_SHM with a text that
 * names the mend. */
c4_status c4_shm_arena_reserve(c4_shm_arena *arena, size_t bytes);
/* Hands out zeroed or formerly used, allocated, page-aligned memory. C4_ERR_SHM when the budget or the system's memory
 * is used up: silent, the caller may try less and reports. */
c4_status c4_shm_arena_alloc(c4_shm_arena *arena, size_t bytes, size_t *offset);
void c4_shm_arena_free(c4_shm_arena *arena, size_t offset, size_t bytes);
/* Removes the name of a named arena; idempotent. */
void c4_shm_arena_unlink(c4_shm_arena *arena);

/* Whether `address` can be opened from here; `reason` says why not. With `head` non-NULL the first bytes are read. */
c4_status c4_shm_address_check(const c4_shm_address *address, const c4_shm_address *own, char *reason,
                               size_t reason_bytes);
/* Opens and maps a peer's arena and checks its nonce. C4_ERR_PEER_DEAD when it is gone. */
c4_status c4_shm_mapping_open(const c4_shm_address *address, c4_shm_mapping *mapping);
void c4_shm_mapping_close(c4_shm_mapping *mapping);

/* A sealed memfd or unnamed file of `bytes`, all of it allocated. errno-style result, -1 on failure. */
int c4_shm_file_create(int backend, const char *label, char *name);
/* posix_fallocate that refuses before the kernel would raise SIGXFSZ. 0 or an errno. */
int c4_shm_file_allocate(int fd, size_t offset, size_t bytes);
/* 0 or EFBIG where the process's file-size limit forbids the length (setting it would raise SIGXFSZ). */
int c4_shm_file_resize(int fd, size_t bytes);

#endif
