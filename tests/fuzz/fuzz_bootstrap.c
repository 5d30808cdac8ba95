/* The bootstrap's messages from sockets: all-gathers at the root and elsewhere, a rank that joins, the words of ranks at
 * the root and those of the root elsewhere while links are made. Byte 0: bits 0-1 what, bit 2 a third rank, bits 3-4
 * bytes of a part, bit 5 who reads; byte 1: where the second connection's bytes begin. Everything ends at once (the
 * connections do), and what fails leaves a fault with a text. */
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
    c4_endpoint endpoints[MAX_RANKS];
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
    r->bootstrap.processes = rank == 0 ? r->processes : NULL;
    r->bootstrap.endpoints = rank == 0 ? r->endpoints : NULL;
    r->bootstrap.nneighbours = c4_overlay_neighbours(nranks, rank, r->bootstrap.neighbours);
    for (int i = 0; i < MAX_RANKS; i++)
        r->links[i].fd = r->others[i] = -1;
    c4_bootstrap_start_clock(&r->bootstrap, 0);
}

static void rig_fini(rig *r)
{
    free(r->bootstrap.table);
    for (int i = 0; i < MAX_RANKS; i++) {
        c4_link_close(&r->links[i]);
        if (r->others[i] >= 0)
            close(r->others[i]);
    }
}

static void check_fault(const rig *r, c4_status status)
{
    require(status < 0 ? r->bootstrap.fault.status == status && *r->bootstrap.fault.text : status == C4_OK);
    require(r->bootstrap.fault.status == C4_OK ||
            memchr(r->bootstrap.fault.text, '\0', sizeof r->bootstrap.fault.text) != NULL);
}

/* Again and again, until the bytes are used up. */
static void gather(rig *r, size_t bytes)
{
    unsigned char own[PART_MAX_BYTES], all[MAX_RANKS * PART_MAX_BYTES];
    memset(own, 0x5a, sizeof own);
    c4_status status = C4_OK;
    size_t at = (size_t)r->bootstrap.spec.rank * bytes;
    for (int i = 0; status == C4_OK && i < 8; i++) {
        status = c4_bootstrap_all_gather(&r->bootstrap, own, bytes, all);
        require(status != C4_OK || memcmp(all + at, own, bytes) == 0);
    }
    check_fault(r, status);
}

/* Between check-in and exchange. */
static void link_up(rig *r)
{
    c4_status status =
        r->bootstrap.spec.rank ? c4_bootstrap_link_up(&r->bootstrap) : c4_bootstrap_switch(&r->bootstrap);
    check_fault(r, status);
    c4_net_address address;
    for (int rank = 0; rank < r->bootstrap.spec.nranks; rank++)
        for (size_t i = 0; c4_bootstrap_address(&r->bootstrap, rank, i, &address); i++)
            require(i < C4_ENDPOINT_ADDRESSES && (address.family == 4 || address.family == 6));
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
    bool gave_up = r->bootstrap.fault.status < 0; /* it says that it cannot take part */
    require(door.missing == r->bootstrap.spec.nranks - 1 - in && door.refused == !(in || gave_up) && !(in && gave_up));
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
    int self = what == 1 || (what == 3 && data[0] & 32) ? 1 : 0;
    if (what == 3 && self == 1)
        nranks = 2; /* with more it would connect to what the table says */
    rig_init(&r, self, nranks);
    if (what == 2)
        join(&r, data + 2, size - 2);
    for (int rank = 0, first = 1; what != 2 && rank < nranks; rank++) {
        if (rank == self)
            continue;
        connect_link(&r, rank, data + 2 + (first ? 0 : split), first ? split : size - 2 - split);
        first = 0;
    }
    if (what < 2)
        gather(&r, parts[data[0] >> 3 & 3]);
    else if (what == 3)
        link_up(&r);
    rig_fini(&r);
    return 0;
}
