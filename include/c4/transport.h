/* The transport contract: how bytes get from one rank to another.
 *
 * A transport fills one c4_transport_ops. It knows no communicator and no algorithm: it sees *channels* and *frames*.
 *
 * - A channel is directed: one writer, one or more readers (caps.max_readers). Frames on a channel arrive once, whole,
 *   in the order in which they were sent, whatever happens to sockets or rails underneath: a transport that can lose a
 *   connection keeps sent spans until they are acknowledged, sends them again on the next connection and drops duplicates
 *   before anybody sees (or reduces) them.
 * - Two ways to move a frame. *Posted*: send/recv with a caller-owned c4_xfer; every transport has them. *Windows*: the
 *   caller reads and writes the transport's own memory (peek/consume, reserve/commit); only with C4_CAP_WINDOWS, and then
 *   on every channel. One channel end uses one of the two ways at a time; the two ends may differ.
 * - Nothing blocks but open and close. What cannot be done now returns C4_IN_PROGRESS and is tried again.
 * - A module is used by one thread at a time (the communicator's); channels belong to their module.
 *   `wake` is the exception: any thread.
 * - Every slot is filled; what a transport lacks is overlaid with stubs that return C4_ERR_UNSUPPORTED.
 */
#ifndef C4_TRANSPORT_H
#define C4_TRANSPORT_H

#include <c4/c4.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define C4_TRANSPORT_ABI       1u
#define C4_ADDRESS_MAX_BYTES   512u /* UCX's grow with the devices of a host */
#define C4_MEMORY_HANDLE_BYTES 48u

typedef enum c4_memory_kind { C4_MEMORY_HOST = 0, C4_MEMORY_DEVICE = 1 } c4_memory_kind;

/* Rides with every message. 32 bytes; equal on both ends by construction, so a reader checks it. */
typedef struct c4_frame {
    uint32_t comm;      /* communicator number, equal on all its ranks */
    uint16_t epoch;     /* membership epoch */
    uint16_t flags;     /* C4_FRAME_* */
    uint32_t sequence;  /* operation on this communicator */
    uint32_t signature; /* hash of kind, count, dtype, op, root: differs when ranks called different things */
    uint16_t lane;
    uint16_t step;
    uint32_t bytes;  /* payload */
    uint64_t offset; /* of the payload within its step, equal on both ends */
} c4_frame;

enum {
    C4_FRAME_VOTE = 1 /* payload: exposed buffers of the sender (see c4_memory_handle), consumed outside the schedule */
};

/* A reduction as transports see it: dst[i] = a[i] op b[i]; dst may equal a or b. */
typedef struct c4_reduction {
    void (*reduce)(void *dst, const void *a, const void *b, size_t count, unsigned flags);
    size_t element_bytes;
} c4_reduction;

/* One posted message. Owned by the caller; the transport may link and change it from the post until `state` says
 * that it is done. */
typedef struct c4_xfer {
    c4_frame frame; /* send: written by the caller; recv: filled in when the frame arrives */
    void *pointer;  /* send: source; recv: destination */
    c4_memory_kind kind;
    const c4_reduction *reduce; /* recv: NULL stores; else pointer[i] = operand[i] op incoming[i] */
    const void *operand;
    size_t bytes; /* payload; a frame of another size fails with C4_ERR_PROTOCOL */
    /* C4_IN_PROGRESS: pending. C4_OK: complete, the span may be reused. < 0: failed. */
    int state;
    /* send only: 1 once the bytes have been handed over, so that the next frame may be posted; the span must stay
     * unchanged until state is C4_OK. */
    int handed_over;
    struct c4_xfer *next;       /* transport's */
    uint64_t scratch[6];        /* transport's */
    struct c4_xfer *owner_next; /* the caller's */
    void *owner;                /* the caller's */
} c4_xfer;

/* A piece of transport memory. */
typedef struct c4_window {
    void *pointer;
    size_t bytes;
    unsigned stream; /* reserve: 1 when the writer should use non-temporal stores (commit fences them) */
    c4_frame frame;  /* peek: of the frame at the head */
} c4_window;

/* Lets a peer map memory from mem_alloc. Opaque bytes, valid on the same job. */
typedef struct c4_memory_handle {
    unsigned char bytes[C4_MEMORY_HANDLE_BYTES];
} c4_memory_handle;

enum {
    C4_CAP_WINDOWS = 1 << 0,      /* peek/consume/reserve/commit */
    C4_CAP_MAP = 1 << 1,          /* mem_export/mem_map: peers load and store user memory */
    C4_CAP_FUSED_REDUCE = 1 << 2, /* recv reduces while data is in cache */
    C4_CAP_DOORBELL = 1 << 3,     /* idle waiting on the doorbell; otherwise by poll_fd */
    C4_CAP_SAME_HOST = 1 << 4     /* reaches ranks of this host only */
};

typedef struct c4_transport_caps {
    size_t struct_size;
    unsigned flags;
    double latency_s;        /* one way, small frame, warm */
    double seconds_per_byte; /* one way, large frames */
    size_t inline_bytes;     /* frames up to this need no extra line, packet or system call */
    size_t max_frame_bytes;  /* larger frames are refused; schedules chunk to it */
    size_t zero_copy_bytes;  /* from here up no copy is made on the way; SIZE_MAX: never */
    unsigned max_readers;    /* 1: point to point only */
    size_t put_bytes;        /* with C4_CAP_WINDOWS: put takes frames up to this; 0: no put */
} c4_transport_caps;

typedef enum c4_transport_log_level {
    C4_TLOG_ERROR = 1,
    C4_TLOG_WARN,
    C4_TLOG_INFO,
    C4_TLOG_DEBUG
} c4_transport_log_level;

/* An address of this host, in numbers. */
typedef struct c4_transport_address {
    uint8_t family; /* 4 or 6 */
    uint16_t port;
    uint32_t scope;       /* of a link-local IPv6 address, else 0 */
    unsigned char ip[16]; /* network byte order; IPv4 uses the first 4, the rest is zero */
} c4_transport_address;

/* The port of this process, on which the library listens for all that its ranks connect to, so that one port per process
 * need be open in a firewall. A thread of the library accepts, reads nothing, looks at the first message of the handshake
 * (src/wire/handshake.h), and keeps the connection until the transport that it names takes it; strangers that name
 * nobody do not come that far. Any thread may call these; none blocks. */
typedef struct c4_transport_port {
    size_t struct_size;
    void *context;
    /* Address number `index` on which it listens already; 0: there are not so many. */
    int (*known)(void *context, unsigned index, c4_transport_address *address);
    /* Listens on address->ip too, if it does not yet; address->port is filled in. Errors are logged. */
    c4_status (*listen)(void *context, c4_transport_address *address);
    /* Connections that say they are data of this job (host->job_id) for `transport` wait for the caller, at most
     * `capacity` of them; more are closed. *fd, the library's, is readable when there are some, and names the inbox. */
    c4_status (*open)(void *context, const char *transport, unsigned capacity, int *fd);
    /* The next connection, non-blocking, whose first byte is the first of the handshake; the caller's. -1: none. */
    int (*take)(void *context, int fd);
    void (*close)(void *context, int fd);
} c4_transport_port;

/* Memory that the user has declared (c4_mem_alloc, c4_mem_register) and not taken back. */
typedef struct c4_transport_memory {
    const void *base;
    size_t bytes;
    uint64_t id; /* of this declaration, never used again */
} c4_transport_memory;

/* What the library lends to a transport. Outlives the module. */
typedef struct c4_transport_host {
    size_t struct_size;
    void *context;
    int64_t (*option_int)(void *context, const char *name); /* resolved C4_* option */
    const char *(*option_string)(void *context, const char *name);
    void (*log)(void *context, int level, const char *format, ...);
    const unsigned char *key; /* 32 bytes, the job key */
    uint64_t job_id;
    int rank, nranks; /* in the job (the communicator that opened the module) */
    uint16_t epoch;
    int local_rank, local_nranks;
    /* NULL: none, as in a test; a module that listens then opens sockets of its own. */
    const c4_transport_port *port;
    /* For a transport that is a module, with a log of its own that nobody has set up: what turns a fact into a status tells
     * it here, once. It is logged and becomes the text of the caller's error. Returns `status`. `context` may be NULL.
     * NULL: `log` has to do. */
    c4_status (*fail)(void *context, c4_status status, const char *text);
    /* The declaration that all of [pointer, +bytes) lies in; 0: none does. For all of a declaration that it has given it gives
     * that one, until it is taken back. Any thread; takes a lock. NULL: nothing ever is. */
    int (*memory_find)(void *context, const void *pointer, size_t bytes, c4_transport_memory *memory);
    /* How many declarations have been taken back so far: what a transport keeps of them is to be looked over when it has
     * changed. Any thread, no lock. */
    uint64_t (*memory_taken_back)(void *context);
} c4_transport_host;

/* Cumulative counters of one channel end, for the flight recorder. */
typedef struct c4_edge_counters {
    uint64_t bytes, messages, resends;
} c4_edge_counters;

typedef struct c4_channel_spec {
    size_t struct_size;
    uint32_t comm;      /* part of the channel's identity */
    uint32_t tag;       /* part of the channel's identity, < 2^24 */
    int writer;         /* job ranks, not communicator ranks */
    const int *readers; /* ascending; copied */
    int nreaders;
    size_t depth_bytes; /* how much need be in flight at most; 0: the transport's default, which is also its limit */
} c4_channel_spec;

/* A device that a transport could use, for people to read. */
typedef struct c4_transport_device {
    size_t struct_size;
    int used;
    char name[80];    /* "mlx5_0:1" */
    char reason[240]; /* why it is used, or why not */
    char address[64]; /* "10.0.0.5 (RoCE v2)"; "": none */
    unsigned mtu;     /* bytes */
    double rate_bps;  /* 0: not told */
    int node;         /* memory node; -1: not told */
    int distance;     /* from the cores of this process, in units of the firmware's table: 10 is near */
} c4_transport_device;

typedef struct c4_module c4_module;   /* each transport's own */
typedef struct c4_channel c4_channel; /* each transport's own */

typedef struct c4_transport_ops {
    size_t struct_size;
    uint32_t abi;     /* C4_TRANSPORT_ABI */
    const char *name; /* "shm" */

    /* Can this machine use the transport at all? Fills caps; on failure a reason with the mend. Blocks briefly;
     * no side effects. */
    c4_status (*probe)(const c4_transport_host *host, c4_transport_caps *caps, char *reason, size_t reason_bytes);
    /* Creates the module and starts listening, if it listens. Blocks briefly. On failure nothing is left behind. */
    c4_status (*open)(const c4_transport_host *host, c4_module **module);
    /* Closes all channels and frees everything; pending xfers are dropped. May block up to 1 s to flush. */
    void (*close)(c4_module *module);
    c4_status (*caps)(c4_module *module, c4_transport_caps *caps);
    /* This process's address for peers, at most C4_ADDRESS_MAX_BYTES. *bytes: in capacity, out length. */
    c4_status (*address)(c4_module *module, void *address, size_t *bytes);
    /* Keeps the peer's address; says whether the peer can be reached (same host, same namespace, same version).
     * Called in ascending order of ranks; a pair uses the transport when both ends say so. All ranks have added all their
     * peers before any of them opens a channel or asks for the doorbell.
     * No traffic. C4_ERR_UNREACHABLE with a reason; C4_ERR_SHM, with a reason too, when this rank finds no room for
     * what ranks of a host share, whereupon none of them uses the transport. The same status of probe and open says
     * so before. */
    c4_status (*add_peer)(c4_module *module, int peer, const void *address, size_t bytes, char *reason,
                          size_t reason_bytes);

    /* Creates this rank's end of a channel; no traffic yet, the connection is made on first use. Both ends open with
     * equal comm, tag, writer and readers. Closing drops undelivered frames. */
    c4_status (*channel_open)(c4_module *module, const c4_channel_spec *spec, c4_channel **channel);
    void (*channel_close)(c4_channel *channel);

    /* Posts a frame. C4_OK: complete on return. C4_IN_PROGRESS with xfer->handed_over or a later progress: the
     * transport holds the xfer until xfer->state changes. C4_ERR_COUNT: over max_frame_bytes.
     * Frames are sent in the order of posting; any number may be pending. */
    c4_status (*send)(c4_channel *channel, c4_xfer *xfer);
    /* Posts the receive of the next frame. Same returns. Any number may be pending; matched in order. */
    c4_status (*recv)(c4_channel *channel, c4_xfer *xfer);
    /* Forgets a pending xfer (abort, error). */
    void (*cancel)(c4_channel *channel, c4_xfer *xfer);
    /* Moves pending xfers of all channels. Returns C4_OK when something moved, C4_IN_PROGRESS when not, or a link or
     * peer error: *peer then names the job rank (-1: none). No system call when nothing is pending, but for a look at who
     * connects in some hundred calls. */
    c4_status (*progress)(c4_module *module, int *peer);

    /* Windows. peek: the frame at the head of a channel whose reader this is, whole, valid until consume.
     * C4_IN_PROGRESS when none has arrived. Peeking twice gives the same frame. */
    c4_status (*peek)(c4_channel *channel, c4_window *window);
    void (*consume)(c4_channel *channel);
    /* reserve: room for one frame of `bytes` (<= max_frame_bytes), contiguous and 64-byte aligned (bytes > inline).
     * C4_IN_PROGRESS without credit. commit publishes the reserved frame: frame->bytes of it. Reserving twice without a commit gives
     * the same room. */
    c4_status (*reserve)(c4_channel *channel, size_t bytes, c4_window *window);
    void (*commit)(c4_channel *channel, const c4_frame *frame);
    /* A small frame in one go: reserve, copy of frame->bytes (<= caps.put_bytes) from `payload`, commit. Same returns as reserve. */
    c4_status (*put)(c4_channel *channel, const c4_frame *frame, const void *payload);

    /* Memory that peers can map. export: C4_ERR_ARGUMENT when [pointer, +bytes) is not from mem_alloc. map: the
     * peer's memory in this process, cached by the transport until close. */
    c4_status (*mem_alloc)(size_t bytes, void **memory);
    c4_status (*mem_free)(void *memory);
    c4_status (*mem_export)(const void *pointer, size_t bytes, c4_memory_handle *handle);
    c4_status (*mem_map)(c4_module *module, int peer, const c4_memory_handle *handle, void **pointer);

    /* Idle waiting. arm: from now on a frame from a peer wakes the sleeper (doorbell transports: sets "asleep" and re-checks;
     * others: *fd becomes readable). Returns C4_OK when something is already there (do not sleep), C4_IN_PROGRESS when armed.
     * disarm after waking, or when it did not come to sleeping: then perhaps without arm. The next progress looks at everything. */
    c4_status (*arm)(c4_module *module, int *fd);
    void (*disarm)(c4_module *module);

    /* With C4_CAP_DOORBELL: the futex word (shared) that wakes this module's sleeper; lives as long as the module. To
     * ring from any thread: add 1, FUTEX_WAKE. */
    c4_status (*doorbell)(c4_module *module, uint32_t **word);

    c4_status (*counters)(c4_channel *channel, c4_edge_counters *counters);
    /* Fault injection for tests, by name ("close_socket", "slow_us=100"); C4_ERR_UNSUPPORTED when unknown. */
    c4_status (*inject)(c4_module *module, const char *fault);

    /* Number `index` of this machine's devices, whether or not the transport can be used; C4_ERR_COUNT: there are not so many.
     * Blocks briefly; no side effects. */
    c4_status (*device)(const c4_transport_host *host, size_t index, c4_transport_device *device);
} c4_transport_ops;

#ifdef __cplusplus
}
#endif
#endif
