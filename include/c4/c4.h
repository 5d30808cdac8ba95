/* C4: collective communication for training.
 *
 * Conventions of this header
 * - Every function returns a c4_status unless it says otherwise: 0 is success, above 0 is not an error
 *   (in progress), below 0 is an error. Outputs come last and are written on success only.
 * - Counts are elements, never bytes. Zero is legal. Buffers are owned by the caller and must stay valid, and
 *   (for inputs) unchanged, until the call or its request has completed.
 * - Collectives are called by every rank of the communicator, in the same order on every rank. Operations on one
 *   communicator match in call order and may overlap in time.
 * - `request`: NULL means that the call blocks until the operation is complete on this rank (inside a group: until
 *   c4_group_end). With a request the call returns at once and publishes a handle that c4_test or c4_wait
 *   complete and free.
 * - A blocking call moves the operations of its own communicator (those of a group: of all of the group's). Ranks that
 *   order calls on several communicators differently need C4_PROGRESS=thread, or requests and c4_test.
 * - One thread at a time per communicator; different communicators may be used by different threads. A violation
 *   is detected and returns C4_ERR_CONCURRENT_USE.
 * - Structs that may grow start with `struct_size`: set it to sizeof of the struct, zero the rest.
 */
#ifndef C4_C4_H
#define C4_C4_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define C4_VERSION_MAJOR 0
#define C4_VERSION_MINOR 1
#define C4_VERSION_PATCH 0

/* name, value, text, advice. The hundreds tell what the caller must rebuild:
 * -1xx the argument, -2xx a local resource, -3xx the link, -4xx the peer, -5xx the communicator, -6xx nothing: a bug. */
#define C4_STATUS_MAP(X)                                                                                             \
    X(OK, 0, "success", "nothing to do")                                                                             \
    X(IN_PROGRESS, 1, "operation in progress", "call c4_test or c4_wait again")                                      \
    X(ERR_ARGUMENT, -100, "invalid argument", "correct the argument that c4_last_error names")                       \
    X(ERR_NULL, -101, "null pointer where one is needed", "pass a valid pointer")                                    \
    X(ERR_COUNT, -102, "count, offset or size out of range", "check counts, displacements and their overflow")       \
    X(ERR_DTYPE, -103, "unknown dtype", "use one of enum c4_dtype")                                                  \
    X(ERR_OP, -104, "unknown operation, or one that this dtype does not have", "bitwise operations need integers")   \
    X(ERR_ROOT, -105, "rank or root out of range", "ranks are 0 .. nranks-1")                                        \
    X(ERR_OVERLAP, -106, "buffers overlap without being in place",                                                   \
      "use disjoint buffers or the documented in-place form")                                                        \
    X(ERR_ALIGNMENT, -107, "buffer is not aligned to its element size", "align the buffer to the dtype's size")      \
    X(ERR_CONCURRENT_USE, -108, "two threads use one communicator at once", "give each thread its own communicator") \
    X(ERR_GROUP, -109, "call not allowed inside this group", "end the group first")                                  \
    X(ERR_OPTION, -110, "invalid option value", "see `c4info options` for the accepted values")                      \
    X(ERR_UNSUPPORTED, -111, "not supported by this build or machine",                                               \
      "see `c4info transports` and configure's summary")                                                             \
    X(ERR_MEMORY, -200, "out of memory", "free memory or lower the C4_*_BYTES options")                              \
    X(ERR_SHM, -201, "shared memory exhausted or not permitted",                                                     \
      "raise /dev/shm (docker: --shm-size) or set C4_TRANSPORTS=tcp")                                                \
    X(ERR_FILES, -202, "out of file descriptors", "raise `ulimit -n`")                                               \
    X(ERR_PORTS, -203, "no free port", "widen C4_PORT_RANGE or the system's ip_local_port_range")                    \
    X(ERR_SYSTEM, -204, "system call failed", "see the errno text in c4_last_error")                                 \
    X(ERR_INTERFACE, -205, "no usable network interface", "set C4_SOCKET_IFNAME to an interface, address or CIDR")   \
    X(ERR_LINK, -300, "connection failed", "check the network between the two hosts that c4_last_error names")       \
    X(ERR_UNREACHABLE, -301, "no transport reaches the peer",                                                        \
      "see `c4info transports`; check C4_TRANSPORTS on both hosts")                                                  \
    X(ERR_AUTH, -302, "peer has the wrong key or does not belong to this job",                                       \
      "give all ranks the same C4_KEY_FILE or unique id")                                                            \
    X(ERR_PROTOCOL, -303, "malformed or unexpected bytes from the peer",                                             \
      "check that all ranks run the same C4 version")                                                                \
    X(ERR_TIMEOUT, -304, "deadline passed",                                                                          \
      "raise the timeout that c4_last_error names, or find the late rank with c4diag")                               \
    X(ERR_PEER_DEAD, -400, "a peer process died", "see its log; rebuild the communicator with the survivors")        \
    X(ERR_PEER_SILENT, -401, "a peer is silent", "the process is stopped or its host unreachable")                   \
    X(ERR_PEER_ERROR, -402, "a peer reported an error", "see c4_last_error for the peer's own message")              \
    X(ERR_ABORTED, -500, "communicator was aborted", "destroy it and create a new one")                              \
    X(ERR_MISMATCH, -501, "ranks called different operations",                                                       \
      "make every rank call the same operations in one order")                                                       \
    X(ERR_DESTROYED, -502, "communicator is not usable any more", "do not use a handle after destroy or fork")       \
    X(ERR_EXCLUDED, -503, "the other ranks go on without this one",                                                  \
      "destroy the communicator; to come back, join by c4_comm_grow")                                                \
    X(ERR_INTERNAL, -600, "internal error", "a bug in C4: please report it with the log")

typedef enum c4_status {
#define C4_STATUS_ENUM(name, value, text, advice) C4_##name = value,
    C4_STATUS_MAP(C4_STATUS_ENUM)
#undef C4_STATUS_ENUM
} c4_status;

typedef enum c4_dtype {
    C4_INT8 = 0,
    C4_UINT8 = 1,
    C4_INT32 = 2,
    C4_UINT32 = 3,
    C4_INT64 = 4,
    C4_UINT64 = 5,
    C4_FLOAT16 = 6,
    C4_FLOAT32 = 7,
    C4_FLOAT64 = 8,
    C4_BFLOAT16 = 9,
    C4_FLOAT8_E4M3 = 10,
    C4_FLOAT8_E5M2 = 11,
    C4_NDTYPES = 12
} c4_dtype;

/* Built-in operations. Values from C4_OP_USER up are made by c4_op_create_premul. */
typedef enum c4_op {
    C4_SUM = 0,
    C4_PROD = 1,
    C4_MAX = 2,
    C4_MIN = 3,
    C4_AVG = 4,
    C4_BAND = 5,
    C4_BOR = 6,
    C4_BXOR = 7,
    C4_NOPS = 8,
    C4_OP_USER = 0x10000,
    C4_OP_LAST = 0x7fffffff
} c4_op;

typedef struct c4_comm c4_comm;
typedef struct c4_request c4_request;

#define C4_UNIQUE_ID_BYTES 128
/* Address of the creating process and 256 secret bits. Any private channel may carry it. */
typedef struct c4_unique_id {
    unsigned char bytes[C4_UNIQUE_ID_BYTES];
} c4_unique_id;

/* A program's own all-gather: `bytes` of every rank's `send` to recv[nranks * bytes], in rank order. Blocks. All ranks
 * call it equally often with equal bytes. 0: done. Called from the thread that sets the communicator up. */
typedef int (*c4_all_gather_fn)(void *context, const void *send, size_t bytes, void *recv);

typedef struct c4_comm_config {
    size_t struct_size;
    const char *name;    /* shown in errors and records; NULL: "world", or the parent's name with a suffix */
    const char *options; /* "C4_TRANSPORTS=tcp C4_ALGO=ring": overrides environment and file; NULL: none */
    int timeout_ms;      /* set-up deadline; 0: C4_SETUP_TIMEOUT_MS (60 s) */
    /* c4_comm_create only, on all ranks or none, with a NULL id: brings the id that rank 0 makes to all ranks. An abort
     * waits until it returns. NULL: none. */
    c4_all_gather_fn all_gather;
    void *all_gather_context;
} c4_comm_config;

/* ---- life cycle ---- */

/* Creates the id of a new job on the rank that will be rank 0 of it, which must be this process. Blocks briefly. */
c4_status c4_unique_id_create(c4_unique_id *id);

/* Collective over `nranks` processes (or threads) that hold the same id. Blocks up to the set-up deadline when
 * `request` is NULL; else `*comm` is published at once and usable only for c4_comm_abort until the request is done; it
 * must be destroyed also when the request ends with an error. When one rank fails, all do. */
c4_status c4_comm_create(const c4_unique_id *id, int nranks, int rank, const c4_comm_config *config,
                         c4_request **request, c4_comm **comm);

/* The same from the launcher's environment (c4run: C4_RANK, C4_NRANKS, C4_RENDEZVOUS, C4_KEY). */
c4_status c4_comm_create_from_env(const c4_comm_config *config, c4_request **request, c4_comm **comm);

/* Collective over `comm`. Ranks with the same color (>= 0) form a new communicator, ordered by key, then by rank.
 * A negative color takes part and receives NULL. The parent's call options hold for the child, where `config` has no others.
 * When one rank of a new communicator fails, all its ranks do (C4_ERR_PEER_ERROR names it) and `comm` goes on.
 * With a request the call returns at once and the set-up runs in a thread, which uses `comm`: until the request is done,
 * other calls on `comm` but c4_comm_abort return C4_ERR_CONCURRENT_USE, `*new_comm` is usable only for c4_comm_abort,
 * which fails the set-up on all its ranks once they meet, and then it must be destroyed also after an error. */
c4_status c4_comm_split(c4_comm *comm, int color, int key, const c4_comm_config *config, c4_request **request,
                        c4_comm **new_comm);

/* Makes a smaller communicator of the ranks of `comm` that live, in their order, and not of exclude[0 .. nexclude-1]
 * (ranks of `comm`; equal on all callers; NULL with 0). Collective over those ranks; `comm` may work or have failed,
 * with rank 0 dead, too, and other threads may still be inside calls on it that are ending. The ranks first agree on
 * who is dead, and set up the rest as c4_comm_create does, with a new key and the next membership epoch. When ranks
 * die meanwhile they do so again without them, until the set-up deadline. The parent's call options hold, where
 * `config` has no others. C4_ERR_EXCLUDED on a rank that is in `exclude`, or that the others took for dead. When it
 * fails on one rank it fails on all that wait for it: C4_ERR_TIMEOUT names ranks that did not call, C4_ERR_PEER_ERROR
 * a rank that could not or aborted. After it `comm` must still be destroyed; while it runs, destroy, shrink and agree
 * on it return C4_ERR_CONCURRENT_USE. `request`: as c4_comm_create. Aborting `*new_comm` meanwhile, or `comm` when
 * there is no request, ends the call. */
c4_status c4_comm_shrink(c4_comm *comm, const int *exclude, int nexclude, const c4_comm_config *config,
                         c4_request **request, c4_comm **new_comm);

/* On rank 0 of `comm`: the id with which new ranks join by c4_comm_grow. Blocks briefly. Good for one growth; any
 * private channel may carry it. C4_ERR_ROOT on other ranks. */
c4_status c4_comm_grow_id(c4_comm *comm, c4_unique_id *id);

/* Makes a larger communicator of the ranks of `comm`, which keep their numbers, and new ones behind them. Collective
 * over `nranks` ranks: those of `comm` pass it, and `id` on rank 0 only (`rank` is not looked at); the new ones pass
 * NULL, the id and their rank, from the size of `comm` to nranks - 1. Everything else is as c4_comm_create; a new rank
 * may call that instead. `comm` is used for one exchange (until it is over other calls on `comm` return
 * C4_ERR_CONCURRENT_USE) and stays usable, also when new ranks do not come (C4_ERR_TIMEOUT names them). Aborting
 * `comm` while its ranks grow ends the call. On rank 0 under c4run a NULL id takes in the ranks of `c4run --join` that
 * c4_comm_pending told of. */
c4_status c4_comm_grow(c4_comm *comm, const c4_unique_id *id, int nranks, int rank, const c4_comm_config *config,
                       c4_request **request, c4_comm **new_comm);

/* Collective over `comm`: how many ranks wait to join the job through `c4run --join` (0: none, or rank 0 was not
 * started by c4run). Costs a broadcast of 8 bytes: meant for the end of an epoch, not of a step. They wait until
 * c4_comm_grow takes them. */
c4_status c4_comm_pending(c4_comm *comm, int *nwaiting);

/* The ranks of `comm` that live agree: *all = the bits that are set in everybody's `mine`; live[0 .. *nlive-1]: the
 * ranks that take part, in order (space for the size of `comm`; both NULL: not wanted). Collective over the living
 * ranks, and also when `comm` has failed: it uses the control plane, not the transports. Equal on all ranks that
 * return C4_OK, whoever dies meanwhile; a rank that dies late may still be listed. Blocks up to timeout_ms > 0:
 * C4_ERR_TIMEOUT names who is missing; the next call then repeats the round. Any thread, beside other calls on `comm`,
 * but one of agree and shrink at a time. C4_ERR_EXCLUDED: the others took this rank for dead. */
c4_status c4_comm_agree(c4_comm *comm, uint64_t mine, int timeout_ms, uint64_t *all, int *live, int *nlive);

/* After a failure: *sequence = the last operation of `comm` that is complete on all living ranks, with all before it
 * (collectives count from 1 in call order; 0: none). Outputs of later ones are undefined. Collective, blocking,
 * errors: as c4_comm_agree. */
c4_status c4_comm_last_complete(c4_comm *comm, int timeout_ms, uint64_t *sequence);

/* Ends every operation of `comm` on this rank with C4_ERR_ABORTED, as well as a blocking split, shrink or grow of it,
 * and tells the peers. Returns within 1 s, as does the call that it ends; any thread, any time, as often as one likes.
 * The handle must still be destroyed. */
c4_status c4_comm_abort(c4_comm *comm);

/* Frees the communicator; blocks until this rank's operations have ended. Other ranks may still be reading what it sent
 * last; a rank that goes on to wait for this one ends with an error that names it, C4_ERR_MISMATCH or C4_ERR_LINK.
 * Requests that are outstanding stay valid for one c4_test or c4_wait. C4_ERR_GROUP inside a group, or while
 * another thread's open group has calls on it. NULL is allowed. */
c4_status c4_comm_destroy(c4_comm *comm);

c4_status c4_comm_rank(const c4_comm *comm, int *rank);
c4_status c4_comm_size(const c4_comm *comm, int *nranks);
c4_status c4_comm_name(const c4_comm *comm, const char **name);
/* C4_OK while the communicator works, else the error that ended it. Never blocks. */
c4_status c4_comm_status(const c4_comm *comm);

/* ---- errors ---- */

const char *c4_status_name(c4_status status);   /* "C4_ERR_LINK"; static */
const char *c4_status_text(c4_status status);   /* one line; static */
const char *c4_status_advice(c4_status status); /* what to do; static */
/* Text of the last error: operation, sequence number, peer, host, system error, advice. comm may be NULL: the last
 * error of the calling thread. Valid until the next call on `comm` (NULL: of this thread). Never NULL. */
const char *c4_last_error(const c4_comm *comm);

/* ---- collectives: n = number of ranks ---- */

/* recv[count] = op over ranks of send[count]. In place: send == recv. */
c4_status c4_all_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, c4_comm *comm,
                        c4_request **request);
/* recv[count] of rank r = op over ranks of send[r*count ..]; send has n*count. In place: recv == send + r*count. */
c4_status c4_reduce_scatter(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, c4_comm *comm,
                            c4_request **request);
/* recv[n*count]; rank r's send[count] lands at recv + r*count. In place: send == recv + rank*count. */
c4_status c4_all_gather(const void *send, void *recv, size_t count, c4_dtype dtype, c4_comm *comm,
                        c4_request **request);
/* recv[count] on every rank = root's send[count]. send is read on the root only. In place: send == recv. */
c4_status c4_broadcast(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                       c4_request **request);
/* recv[count] on the root only. In place: send == recv. */
c4_status c4_reduce(const void *send, void *recv, size_t count, c4_dtype dtype, c4_op op, int root, c4_comm *comm,
                    c4_request **request);
/* Root's recv[n*count]. In place on the root: send == recv + root*count. */
c4_status c4_gather(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                    c4_request **request);
/* Root's send[n*count]; recv[count]. In place on the root: recv == send + root*count. */
c4_status c4_scatter(const void *send, void *recv, size_t count, c4_dtype dtype, int root, c4_comm *comm,
                     c4_request **request);
/* Block p of send[n*count] goes to rank p; block p of recv[n*count] comes from rank p. In place: send == recv. */
c4_status c4_all_to_all(const void *send, void *recv, size_t count, c4_dtype dtype, c4_comm *comm,
                        c4_request **request);

/* v-variants: counts[n] and displs[n] in elements. displs may be NULL: blocks are packed in rank order. Arrays are
 * read before the call returns. What one rank sends to another must equal what the other expects from it. Blocks may lie in
 * any order; those of send may overlap, those of recv may not. all_to_all_v in place: send == recv, with equal counts and
 * displs for both. */
c4_status c4_all_gather_v(const void *send, size_t send_count, void *recv, const size_t *recv_counts,
                          const size_t *recv_displs, c4_dtype dtype, c4_comm *comm, c4_request **request);
c4_status c4_gather_v(const void *send, size_t send_count, void *recv, const size_t *recv_counts,
                      const size_t *recv_displs, c4_dtype dtype, int root, c4_comm *comm, c4_request **request);
c4_status c4_scatter_v(const void *send, const size_t *send_counts, const size_t *send_displs, void *recv,
                       size_t recv_count, c4_dtype dtype, int root, c4_comm *comm, c4_request **request);
c4_status c4_all_to_all_v(const void *send, const size_t *send_counts, const size_t *send_displs, void *recv,
                          const size_t *recv_counts, const size_t *recv_displs, c4_dtype dtype, c4_comm *comm,
                          c4_request **request);
/* send holds the blocks of all ranks packed in rank order; recv[recv_counts[rank]]. */
c4_status c4_reduce_scatter_v(const void *send, void *recv, const size_t *recv_counts, c4_dtype dtype, c4_op op,
                              c4_comm *comm, c4_request **request);

c4_status c4_barrier(c4_comm *comm, c4_request **request);

/* ---- point to point: matched per pair of ranks in call order ----
 * A blocking send to oneself needs its receive posted before (with a request), a blocking receive its send, whatever the
 * size; else C4_ERR_ARGUMENT. In a group the order does not matter. */
c4_status c4_send(const void *send, size_t count, c4_dtype dtype, int peer, c4_comm *comm, c4_request **request);
c4_status c4_recv(void *recv, size_t count, c4_dtype dtype, int peer, c4_comm *comm, c4_request **request);

/* Calls between start and end of this thread are started together at the outermost end, which blocks until those
 * without a request are complete. Groups nest. A communicator that another thread is in at that moment refuses its calls
 * of the group with C4_ERR_CONCURRENT_USE (requests of theirs end with it too): they were not made; the calls on the
 * others are completed, and the end returns the first error. */
c4_status c4_group_start(void);
c4_status c4_group_end(void);

/* ---- requests ---- */

/* C4_IN_PROGRESS, or the operation's status: then the request is freed and *request set to NULL. Never blocks. */
c4_status c4_test(c4_request **request);
/* Blocks until complete; frees the request and sets *request to NULL. */
c4_status c4_wait(c4_request **request);

/* ---- memory ---- */

/* Page-aligned zeroed memory that peers on this host can map and RDMA devices reach, so that collectives read and write it
 * directly. */
c4_status c4_mem_alloc(size_t bytes, void **memory);
/* When no call uses it any more. NULL: nothing. */
c4_status c4_mem_free(void *memory);
/* Declares a buffer that will be used often: RDMA devices then read and write it directly (it stays in memory, and counts
 * against `ulimit -l`, from its first use on). A hint, never needed for correctness; for all communicators of the process.
 * Take it back before the memory is freed or unmapped: a device would go on writing to the old pages. */
c4_status c4_mem_register(c4_comm *comm, void *memory, size_t bytes, void **handle);
/* When no call uses the buffer any more. C4_ERR_ARGUMENT: no handle of c4_mem_register, or taken back already. */
c4_status c4_mem_deregister(c4_comm *comm, void *handle);

/* ---- operations ---- */

/* op = sum over ranks of scalar * x. `scalar` points to one element of `dtype` and is copied; ranks may differ. */
c4_status c4_op_create_premul(const void *scalar, c4_dtype dtype, c4_comm *comm, c4_op *op);
c4_status c4_op_destroy(c4_op op, c4_comm *comm);

/* Element size in bytes; 0 for an unknown dtype. */
size_t c4_dtype_size(c4_dtype dtype);
const char *c4_dtype_name(c4_dtype dtype); /* "float32"; NULL when unknown */
const char *c4_op_name(c4_op op);          /* "sum"; NULL when unknown */

/* ---- introspection, read-only: what `c4info` prints ---- */

typedef struct c4_info_option {
    size_t struct_size;
    const char *name;         /* "C4_SHM_RING_BYTES" */
    const char *type;         /* "bytes", "ms", "int", "bool", "enum", "string", "list" */
    const char *value;        /* as it applies now */
    const char *value_source; /* "default", "file FILE", "environment", "call" */
    const char *default_value;
    const char *help;
} c4_info_option;

typedef struct c4_info_transport {
    size_t struct_size;
    const char *name;
    int available; /* 0: `reason` says why not and what to do */
    const char *reason;
    double latency_us; /* as assumed by the cost model */
    double bandwidth_gbs;
    const char *capabilities; /* "windows publish map zero-copy" */
} c4_info_transport;

/* A device that a transport could use; so far verbs tells of them. */
typedef struct c4_info_device {
    size_t struct_size;
    const char *name; /* "mlx5_0:1" */
    int used;
    const char *reason;  /* why it is used, or why not */
    const char *address; /* "10.0.0.5 (RoCE v2)"; "": none */
    unsigned mtu;        /* bytes */
    double rate_gbps;    /* Gbit/s; 0: not told */
    int node;            /* memory node; -1: not told */
    int distance;        /* from the cores of this process: 10 is near, the more the farther */
} c4_info_device;

typedef struct c4_info_choice {
    size_t struct_size;
    const char *collective; /* "all_reduce" */
    size_t min_bytes;       /* range of message sizes this row serves, inclusive */
    size_t max_bytes;       /* SIZE_MAX: no upper end */
    const char *algorithm;
    size_t chunk_bytes;
    int lanes;
    double predicted_us; /* at min_bytes */
    const char *reason;  /* "cost model", "tuning file FILE", "C4_ALGO" */
} c4_info_choice;

/* The launchers in the order in which they are looked for. */
typedef struct c4_info_launcher {
    size_t struct_size;
    const char *name;   /* "torchrun" */
    int used;           /* 1: c4_comm_create_from_env would go by it */
    const char *reason; /* "WORLD_SIZE is not set" */
} c4_info_launcher;

/* What c4_comm_create_from_env would find out here, one fact after the other. It is not done: nobody listens, no name is
 * looked up, no PMIx server is asked. */
typedef struct c4_info_launch {
    size_t struct_size;
    /* "launcher", "rank", "ranks", "ranks on this host", "job", "rendezvous", "key"; "problem" ends the list */
    const char *what;
    const char *value;  /* "3"; never the key itself */
    const char *source; /* "SLURM_PROCID" */
} c4_info_launch;

/* Item `index` of each list; C4_ERR_COUNT past the end. Strings live until the next call from this thread. */
c4_status c4_info_get_option(size_t index, c4_info_option *option);
c4_status c4_info_get_transport(size_t index, c4_info_transport *transport);
/* Of the transport with that index. */
c4_status c4_info_get_device(size_t transport, size_t index, c4_info_device *device);
c4_status c4_info_get_launcher(size_t index, c4_info_launcher *launcher);
c4_status c4_info_get_launch(size_t index, c4_info_launch *fact);
/* For `nranks` ranks with `ranks_per_host` on each host, without creating a communicator. */
c4_status c4_info_get_choice(int nranks, int ranks_per_host, size_t index, c4_info_choice *choice);
/* The algorithm that `comm` would use for this call; static string. */
c4_status c4_info_comm_algorithm(c4_comm *comm, const char *collective, size_t bytes, const char **algorithm);
const char *c4_version(void);

#ifdef __cplusplus
}
#endif
#endif
