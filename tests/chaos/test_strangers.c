/* Strangers at the ports of a job: thousands of connections that send garbage, half a greeting, a byte now and then, or
 * nothing, while it starts and while it runs; and one who has listened in and says the same again. The job is unharmed, and
 * neither its memory nor its descriptors grow. C4_TEST_STRANGERS=N says how many (10,000). */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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

enum { NRANKS = 3, HELD = 150, MANY = 10000, FEW_KIB = 4096, PLACES = 192, COUNT = 20000, SETTLE = 50 };

typedef struct job {
    int id_pipe[2], go_pipe[2];
    _Atomic int waiting; /* rank 0 listens and two of three are there */
    chaos_rounds rounds;
    const char *options;
    c4_unique_id id;
} job;

static void job_rank(int rank, void *arg)
{
    job *j = arg;
    char byte;
    c4_unique_id id;
    c4_comm *comm = NULL;
    setenv("C4_LOG", "none", 0);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    if (rank == 0) {
        WORLD_OK(c4_unique_id_create(&id));
        j->id = id;
        WORLD_TRUE(write(j->id_pipe[1], "12", 2) == 2);
        atomic_store(&j->waiting, 1);
    } else {
        WORLD_TRUE(read(rank == 1 ? j->id_pipe[0] : j->go_pipe[0], &byte, 1) == 1); /* rank 2 comes when it is told */
        id = j->id;
    }
    c4_comm_config config = {.struct_size = sizeof config, .options = j->options, .timeout_ms = 60000};
    WORLD_OK(c4_comm_create(&id, NRANKS, rank, &config, NULL, &comm));
    if (comm)
        chaos_rounds_run(&j->rounds, comm, rank, NRANKS, COUNT);
    WORLD_OK(c4_comm_destroy(comm));
    C4TEST_INT(world_failures(), 0);
}

/* ---- what ranks use ---- */

static int count_files(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    return c4test_count_entries(path);
}

static long resident_kib(pid_t pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- strangers ---- */

typedef struct crowd {
    int held[HELD];
    int next;
    long came, refused;
} crowd;

static int call(const struct sockaddr_in *door)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (const struct sockaddr *)door, sizeof *door) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

/* Says something of its kind; nobody waits for an answer. */
static void speak(int fd, int kind)
{
    static const char web[] = "GET / HTTP/1.1\r\nHost: c4\r\n\r\n";
    unsigned char bytes[2048];
    struct linger reset = {1, 0};
    struct pollfd watch = {.fd = fd, .events = POLLOUT};
    if (poll(&watch, 1, 20) != 1)
        return; /* half open it stays */
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = kind == 1 ? 0xff : (unsigned char)c4test_rand();
    size_t length = kind == 0 ? sizeof bytes : kind == 1 ? 112 : kind == 2 ? 1 : kind == 3 ? sizeof web - 1 : 0;
    if (length && send(fd, kind == 3 ? (const void *)web : bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
    if (kind == 4)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

static void visit(crowd *c, const struct sockaddr_in *doors, int ndoors, int visits)
{
    for (int i = 0; i < visits; i++) {
        int *place = &c->held[c->next++ % HELD], kind = (int)c4test_rand_below(6);
        if (*place > 0) {
            if (send(*place, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) /* slow: a byte, long after */
                c->refused++;
            close(*place);
        }
        *place = call(&doors[(int)c4test_rand_below((uint64_t)ndoors)]);
        c->came += *place > 0;
        if (*place > 0)
            speak(*place, kind);
        if (*place > 0 && kind >= 4) {
            close(*place);
            *place = 0;
        }
    }
}

static void leave(crowd *c)
{
    for (int i = 0; i < HELD; i++)
        if (c->held[i] > 0)
            close(c->held[i]);
    memset(c->held, 0, sizeof c->held);
}

static void run_crowd(const char *options)
{
    const char *text = getenv("C4_TEST_STRANGERS");
    int many = text ? atoi(text) : c4test_samples(MANY), ndoors = 0, statuses[NRANKS], files[NRANKS];
    struct sockaddr_in doors[64];
    long kib[NRANKS];
    job *j = c4test_shared(sizeof *j);
    crowd c = {0};
    j->options = options;
    C4TEST_INT_FATAL(pipe(j->id_pipe) | pipe(j->go_pipe), 0);
    c4test_team *team = c4test_team_start(NRANKS, job_rank, j);
    while (!atomic_load(&j->waiting))
        chaos_sleep_ms(2);
    pid_t root = c4test_team_pid(team, 0);
    ndoors = chaos_socket_doors(&root, 1, doors, 64);
    CU_ASSERT_FATAL(ndoors > 0);
    visit(&c, doors, ndoors, many / 5); /* one rank is missing yet */
    CU_ASSERT(write(j->go_pipe[1], "g", 1) == 1);
    chaos_rounds_wait(&j->rounds, SETTLE);
    leave(&c);
    chaos_rounds_wait(&j->rounds, SETTLE);
    for (int r = 0; r < NRANKS; r++) {
        files[r] = count_files(c4test_team_pid(team, r));
        kib[r] = resident_kib(c4test_team_pid(team, r));
    }
    pid_t pids[NRANKS] = {root, c4test_team_pid(team, 1), c4test_team_pid(team, 2)};
    ndoors = chaos_socket_doors(pids, NRANKS, doors, 64);
    for (int part = 0; ndoors > 0 && part < 8; part++) {
        visit(&c, doors, ndoors, many / 10);
        chaos_rounds_wait(&j->rounds, 5); /* it goes on all the while */
        for (int r = 0; r < NRANKS; r++)
            CU_ASSERT(count_files(pids[r]) <= files[r] + PLACES);
    }
    leave(&c);
    chaos_rounds_wait(&j->rounds, SETTLE);
    for (int r = 0; r < NRANKS; r++) {
        long grown = resident_kib(pids[r]) - kib[r];
        if (grown > FEW_KIB)
            fprintf(stderr, "rank %d has grown by %ld KiB\n", r, grown);
        CU_ASSERT(grown <= FEW_KIB);
        C4TEST_INT(count_files(pids[r]) <= files[r] ? 0 : count_files(pids[r]) - files[r], 0);
    }
    fprintf(stderr, "%s: %ld strangers at %d doors\n", options, c.came, ndoors);
    atomic_store(&j->rounds.stop, 1);
    c4test_team_wait(team, 60, statuses);
    for (int r = 0; r < NRANKS; r++)
        C4TEST_INT(statuses[r], 0);
}

static void test_crowd_tcp(void)
{
    run_crowd("C4_TRANSPORTS=tcp");
}

static void test_crowd_shm(void)
{
    run_crowd("C4_TRANSPORTS=shm");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(crowd_tcp, 240), C4TEST_DEADLINE(crowd_shm, 240), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
