/* What the system grants to this process: shared memory, locked memory, descriptors. */
#ifndef C4_HOST_LIMITS_H
#define C4_HOST_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#define C4_UNLIMITED UINT64_MAX

typedef struct c4_limit {
    uint64_t soft, hard; /* C4_UNLIMITED: none */
} c4_limit;

typedef struct c4_limits {
    bool has_shm;
    uint64_t shm_bytes, shm_free_bytes;            /* of /dev/shm */
    c4_limit memlock;                              /* bytes that may be locked, for RDMA */
    c4_limit nofile;                               /* descriptors: sockets and segments */
    c4_limit nproc;                                /* processes and threads of this user */
    uint64_t memory_bytes, memory_available_bytes; /* 0: not told */
    int ptrace_scope; /* Yama: above 0, peers may not read one another's memory unasked (process_vm_readv); -1: no Yama */
    char kernel[72]; /* "6.1.0-18-amd64" */
} c4_limits;

/* Cannot fail: what the system does not tell stays at its "not told" value. Does not allocate. */
void c4_limits_read(c4_limits *limits);

#endif
