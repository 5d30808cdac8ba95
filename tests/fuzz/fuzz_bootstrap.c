/* The bootstrap's messages from sockets: all-gathers at the root and elsewhere, and a rank that joins. Byte 0: bits 0-1
 * who reads, bit 2 a third rank, bits 3-4 bytes of a part; byte 1: where the second connection's bytes begin. Everything
 * ends at once (the connections do), and what fails leaves a fault with a text. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "rendezvous/admission_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_RANKS = 3, PART_MAX_BYTES = 256 };

typedef struct rig {
    c4_bootstrap bootstrap;
    c4_link links[MAX_RANKS];
    c4_process processes[MAX_RANKS];
    int others[MAX_RANKS]; /* the far ends */
} rig;

static void require(int condition)
{
    if (!condition)
        abort();
}

/* A connection on which `bytes` and then the end have come. */
static void connect_link(rig *r, int index, const uint8_t *data, size_t bytes)
{
    int ends[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    while (bytes > 0) {
        ssize_t sent = send(ends[1], data, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            break; /* more than a socket holds */
        data += sent;
        bytes -= (size_t)sent;
    }
    shutdown(ends[1], SHUT_WR);
    c4_link_init(&r->links[index], ends[0]);
    r->others[index] = ends[1];
}

static void rig_init(rig *r, int rank, int nranks)
{
    memset(r, 0, sizeof *r);
    r->bootstrap.spec = (c4_bootstrap_spec){
        .rank = rank, .nranks = nranks, .insecure = true, .timeout_ms = 20000, .naddresses = 1, .listen_fd = -1};
    r->bootstrap.links = r->links;
    r->bootstrap.processes = r->processes;
    for (int i = 0; i < MAX_RANKS; i++)
        r->links[i].fd = r->others[i] = -1;
    c4_bootstrap_start_clock(&r->bootstrap, 0);
}

static void rig_fini(rig *r)
{
    for (int i = 0; i < MAX_RANKS; i++) {
        c4_link_close(&r->links[i]);
        if (r->others[i] >= 0)
            close(r->others[i]);
    }
}

/* Again and again, until the bytes are used up. */
static void gather(rig *r, size_t bytes)
{
    unsigned char own[PART_MAX_BYTES], all[MAX_RANKS * PART_MAX_BYTES];
    memset(own, 0x5a, sizeof own);
    c4_status status = C4_OK;
    bool root = r->bootstrap.spec.rank == 0;
    for (int i = 0; status == C4_OK && i < 8; i++) {
        status = c4_bootstrap_all_gather(&r->bootstrap, own, bytes, all);
        require(status != C4_OK || !root || memcmp(all, own, bytes) == 0);
    }
    require(status < 0 ? r->bootstrap.fault.status == status && *r->bootstrap.fault.text : status == C4_OK);
    require(r->bootstrap.fault.status == C4_OK ||
            memchr(r->bootstrap.fault.text, '\0', sizeof r->bootstrap.fault.text) != NULL);
}

/* From its proof on: what comes before is fuzz_handshake's. */
static void join(rig *r, const uint8_t *data, size_t size)
{
    static c4_entrant entrant;
    c4_door door = {.bootstrap = &r->bootstrap, .doors = {-1, -1}, .missing = r->bootstrap.spec.nranks - 1};
    memset(&entrant, 0, sizeof entrant);
    connect_link(r, 2, data, size);
    entrant.link = r->links[2];
    r->links[2].fd = -1;
    entrant.phase = C4_ENTRANT_JOINING;
    entrant.handshake.peer_rank = 1;
    door.entrants = &entrant;
    c4_entrant_step(&door, &entrant);
    require(entrant.phase == C4_ENTRANT_FREE);
    bool in = r->links[1].fd >= 0;
    require(door.missing == r->bootstrap.spec.nranks - 1 - in && door.refused == !in);
    require(!in || (r->processes[1].pid > 0 && memchr(r->processes[1].host, '\0', C4_HOST_NAME_BYTES)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t parts[] = {0, 16, 128, PART_MAX_BYTES};
    rig r;
    if (size < 2)
        return 0;
    c4_log_configure(C4_LOG_NONE, NULL);
    unsigned what = data[0] & 3;
    int nranks = data[0] & 4 ? 3 : 2;
    size_t split = nranks == 3 ? (size - 2) * data[1] / 255 : size - 2;
    rig_init(&r, what == 1 ? 1 : 0, nranks);
    if (what == 2)
        join(&r, data + 2, size - 2);
    else if (what == 1)
        connect_link(&r, 0, data + 2, size - 2);
    for (int rank = 1; what == 0 && rank < nranks; rank++)
        connect_link(&r, rank, data + 2 + (rank == 1 ? 0 : split), rank == 1 ? split : size - 2 - split);
    if (what < 2)
        gather(&r, parts[data[0] >> 3 & 3]);
    rig_fini(&r);
    return 0;
}
