/* Those who know something of a job, but not its key: one who has listened in while a rank joined and says the same again, one
 * who gives the job its own words back, one with another key. They are turned away, and a job that runs is unharmed. What
 * single connections make of them is in tests/wire, tests/rendezvous and tests/transports/tcp. */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/chaos/chaos.h"
#include "tests/chaos/rounds.h"
#include "tests/collectives/world.h"
#include "wire/unique_id.h"

enum { NRANKS = 3, COUNT = 2000, TAPE_BYTES = 1 << 16, PATIENCE_MS = 20000, ROUNDS = 20, TRIES = 10 };

typedef struct job {
    c4_unique_id ids[NRANKS]; /* by which each joins */
    _Atomic int ready;        /* 1: rank 0's id, 2: all ids, 3: the last rank may come */
    chaos_rounds rounds;
    c4_status expected[NRANKS];
    const char *text[NRANKS];
} job;

/* Both directions of a connection: what who joins says, and what it is told. */
typedef struct tape {
    size_t used[2];
    unsigned char bytes[2][TAPE_BYTES];
} tape;

static void job_rank(int rank, void *arg)
{
    job *j = arg;
    c4_comm *comm = NULL;
    setenv("C4_LOG", "none", 0);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    if (rank == 0) {
        WORLD_OK(c4_unique_id_create(&j->ids[0]));
        atomic_store(&j->ready, 1);
    }
    while (atomic_load(&j->ready) < (rank == NRANKS - 1 ? 3 : 2))
        chaos_sleep_ms(1);
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_TRANSPORTS=tcp", .timeout_ms = 60000};
    if (j->expected[rank] != C4_OK)
        config.timeout_ms = 2000;
    WORLD_STATUS(c4_comm_create(&j->ids[rank], NRANKS, rank, &config, NULL, &comm), j->expected[rank]);
    if (j->text[rank] && !strstr(c4_last_error(NULL), j->text[rank]))
        world_fail("rank %d: \"%s\" does not contain \"%s\"", rank, c4_last_error(NULL), j->text[rank]);
    if (comm)
        chaos_rounds_run(&j->rounds, comm, rank, NRANKS, COUNT);
    WORLD_OK(c4_comm_destroy(comm));
    C4TEST_INT(world_failures(), 0);
}

/* ---- connections ---- */

static int door_of(const c4_unique_id *id, struct sockaddr_storage *door, socklen_t *bytes)
{
    c4_unique_id_fields fields;
    C4TEST_OK_FATAL(c4_unique_id_unpack(id, &fields));
    *bytes = c4_net_address_to_sockaddr(&fields.addresses[0], door);
    return fields.addresses[0].family == 4 ? AF_INET : AF_INET6;
}

static int call(const c4_unique_id *id)
{
    struct sockaddr_storage door;
    socklen_t bytes;
    int fd = socket(door_of(id, &door, &bytes), SOCK_STREAM | SOCK_CLOEXEC, 0);
    C4TEST_INT_FATAL(connect(fd, (struct sockaddr *)&door, bytes), 0);
    return fd;
}

static ssize_t hear(int fd, void *bytes, size_t room, int wait_ms)
{
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    return poll(&watch, 1, wait_ms) == 1 ? recv(fd, bytes, room, MSG_DONTWAIT) : -1;
}

/* Listens in place of rank 0 and gives rank 1 the way there; the name of a job is no secret. */
static int stand_between(job *j)
{
    c4_unique_id_fields fields;
    struct sockaddr_storage own = {0};
    socklen_t bytes;
    while (atomic_load(&j->ready) < 1)
        chaos_sleep_ms(1);
    int fd = socket(door_of(&j->ids[0], &own, &bytes), SOCK_STREAM | SOCK_CLOEXEC, 0);
    C4TEST_OK_FATAL(c4_unique_id_unpack(&j->ids[0], &fields));
    fields.naddresses = 1;
    fields.addresses[0].port = 0;
    bytes = c4_net_address_to_sockaddr(&fields.addresses[0], &own);
    C4TEST_INT_FATAL(bind(fd, (struct sockaddr *)&own, bytes) | listen(fd, 8), 0);
    C4TEST_INT_FATAL(getsockname(fd, (struct sockaddr *)&own, &bytes), 0);
    CU_ASSERT_FATAL(c4_net_address_from_sockaddr((struct sockaddr *)&own, &fields.addresses[0]));
    c4_unique_id_pack(&fields, &j->ids[1]);
    j->ids[2] = j->ids[0];
    atomic_store(&j->ready, 2);
    return fd;
}

/* Passes on what goes through the first connection, until both sides trust it; later that is the business of a process. */
static void listen_in(job *j, int listen_fd, tape *t)
{
    int fds[2] = {accept(listen_fd, NULL, NULL), call(&j->ids[0])};
    pid_t parent = getpid();
    while (t->used[0] < 2 * C4_HANDSHAKE_MESSAGE_BYTES || t->used[1] < 2 * C4_HANDSHAKE_MESSAGE_BYTES)
        for (int i = 0; i < 2; i++) {
            unsigned char *to = t->bytes[i] + t->used[i];
            ssize_t got = hear(fds[i], to, TAPE_BYTES - t->used[i], 1);
            if (got > 0)
                CU_ASSERT_FATAL(send(fds[1 - i], to, (size_t)got, MSG_NOSIGNAL) == got);
            t->used[i] += got > 0 ? (size_t)got : 0;
        }
    if (fork() == 0) { /* the connection may be a control link for the rest of the job */
        char bytes[4096];
        while (getppid() == parent && !atomic_load(&j->rounds.stop))
            for (int i = 0; i < 2; i++) {
                ssize_t got = hear(fds[i], bytes, sizeof bytes, 1);
                if (got > 0 && send(fds[1 - i], bytes, (size_t)got, MSG_NOSIGNAL) != got)
                    _exit(1);
            }
        _exit(0);
    }
    close(fds[0]);
    close(fds[1]);
}

/* Says `n` bytes in messages, each after the answer to the one before; returns what came back in all when the other side has
 * closed, which it must. */
static size_t say(int fd, const unsigned char *bytes, size_t n, unsigned char *answer)
{
    size_t sent = 0, heard = 0;
    int64_t end = chaos_now_ns() + (int64_t)PATIENCE_MS * 1000000;
    while (chaos_now_ns() < end) {
        size_t part = n - sent < C4_HANDSHAKE_MESSAGE_BYTES ? n - sent : C4_HANDSHAKE_MESSAGE_BYTES;
        if (part && send(fd, bytes + sent, part, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)part)
            sent += part;
        ssize_t got = hear(fd, answer + heard, TAPE_BYTES - heard, 200);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return heard;
        heard += got > 0 ? (size_t)got : 0;
    }
    CU_FAIL("the connection is still open");
    return heard;
}

/* ---- cases ---- */

static void replay(const job *j, const tape *t)
{
    static unsigned char answer[TAPE_BYTES];
    int fd = call(&j->ids[0]);
    size_t heard = say(fd, t->bytes[0], t->used[0], answer);
    /* At most its hello, with a challenge of its own, and its refusal. */
    CU_ASSERT(heard <= 2 * C4_HANDSHAKE_MESSAGE_BYTES);
    CU_ASSERT(heard < C4_HANDSHAKE_MESSAGE_BYTES || memcmp(answer, t->bytes[1], C4_HANDSHAKE_MESSAGE_BYTES) != 0);
    close(fd);
}

/* The job's own words, said on another connection or on the same. */
static void reflect(const job *j, const tape *t, bool same)
{
    static unsigned char answer[TAPE_BYTES];
    unsigned char words[C4_HANDSHAKE_MESSAGE_BYTES];
    int fds[2] = {call(&j->ids[0]), call(&j->ids[0])};
    for (int i = 0; i < 2; i++)
        CU_ASSERT(send(fds[i], t->bytes[0], C4_HANDSHAKE_MESSAGE_BYTES, MSG_NOSIGNAL) == C4_HANDSHAKE_MESSAGE_BYTES);
    ssize_t got = hear(fds[0], words, sizeof words, PATIENCE_MS);
    if (got > 0)
        say(fds[same ? 0 : 1], words, (size_t)got, answer);
    close(fds[0]);
    close(fds[1]);
}

/* While a rank is missing, and while the job runs. */
static void test_eavesdropper(void)
{
    static tape t;
    int statuses[NRANKS];
    job *j = c4test_shared(sizeof *j);
    c4test_team *team = c4test_team_start(NRANKS, job_rank, j);
    int listen_fd = stand_between(j);
    listen_in(j, listen_fd, &t);
    for (int running = 0; running < 2; running++) {
        for (int i = 0; i < TRIES; i++) {
            replay(j, &t);
            reflect(j, &t, i % 2);
        }
        C4TEST_INT(j->rounds.done > 0, running);
        atomic_store(&j->ready, 3);
        chaos_rounds_wait(&j->rounds, ROUNDS);
    }
    close(listen_fd);
    atomic_store(&j->rounds.stop, 1);
    c4test_team_wait(team, 60, statuses);
    for (int r = 0; r < NRANKS; r++)
        C4TEST_INT(statuses[r], 0);
}

/* One bit of the key differs: both sides say so, and rank 0 waits in vain. */
static void test_wrong_key(void)
{
    c4_unique_id_fields fields;
    int statuses[NRANKS];
    job *j = c4test_shared(sizeof *j);
    j->expected[0] = C4_ERR_TIMEOUT;
    j->text[0] = "rank 1 has not connected";
    j->expected[2] = C4_ERR_TIMEOUT;
    j->expected[1] = C4_ERR_AUTH;
    j->text[1] = "different keys";
    c4test_team *team = c4test_team_start(NRANKS, job_rank, j);
    while (atomic_load(&j->ready) < 1)
        chaos_sleep_ms(1);
    C4TEST_OK_FATAL(c4_unique_id_unpack(&j->ids[0], &fields));
    fields.key[31] ^= 1;
    c4_unique_id_pack(&fields, &j->ids[1]);
    j->ids[2] = j->ids[0];
    atomic_store(&j->ready, 3);
    c4test_team_wait(team, 60, statuses);
    for (int r = 0; r < NRANKS; r++)
        C4TEST_INT(statuses[r], 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(eavesdropper, 120), C4TEST_DEADLINE(wrong_key, 60), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
