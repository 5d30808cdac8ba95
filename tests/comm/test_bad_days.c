/* What goes wrong in real clusters: strangers at the ports, lost sockets, exhausted limits. (Killed ranks: test_killed.) */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"
#include "tests/comm/bad_days.h"
#include "wire/unique_id.h"

/* ---- strangers ---- */

static int connect_to(uint16_t port, uint32_t address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = address};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Listening IPv4 TCP sockets of process `pid`, by the inodes of its descriptors. */
static int listening(pid_t pid, uint16_t *ports, uint32_t *addresses, int limit)
{
    char path[64], line[512], target[64];
    int n = 0;
    FILE *table = fopen("/proc/net/tcp", "r");
    while (table && n < limit && fgets(line, sizeof line, table)) {
        unsigned address, port, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %8x:%4x %*x:%*x %2x %*x:%*x %*x:%*x %*x %*u %*u %lu", &address, &port, &state,
                   &inode) != 4 ||
            state != 10)
            continue;
        snprintf(path, sizeof path, "/proc/%d/fd", pid);
        char wanted[64];
        snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
        DIR *dir = opendir(path);
        struct dirent *entry;
        while (dir && (entry = readdir(dir))) {
            char link[384];
            snprintf(link, sizeof link, "/proc/%d/fd/%s", pid, entry->d_name);
            ssize_t got = readlink(link, target, sizeof target - 1);
            target[got > 0 ? got : 0] = '\0';
            if (strcmp(target, wanted) == 0 && n < limit) {
                ports[n] = (uint16_t)port;
                addresses[n++] = address ? address : htonl(INADDR_LOOPBACK);
                break;
            }
        }
        if (dir)
            closedir(dir);
    }
    if (table)
        fclose(table);
    return n;
}

#define NOISE 6

/* Garbage, a truncated start, an enormous length, a half-open connection and one closed at once, to every port. */
static int annoy(pid_t pid, int *open_fds)
{
    uint16_t ports[16];
    uint32_t addresses[16];
    int n = listening(pid, ports, addresses, 16), kept = 0;
    for (int i = 0; i < n; i++)
        for (int kind = 0; kind < NOISE; kind++) {
            unsigned char bytes[4096];
            size_t length = kind == 0 ? sizeof bytes : kind == 1 ? 3 : kind == 2 ? 64 : kind == 3 ? 0 : 8;
            for (size_t b = 0; b < sizeof bytes; b++)
                bytes[b] = kind == 2 ? 0xff : kind == 1 ? 'C' : (unsigned char)c4test_rand();
            int fd = connect_to(ports[i], addresses[i]);
            if (fd < 0)
                continue;
            if (length && send(fd, bytes, length, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
                CU_FAIL("send");
            if (kind >= 4)
                close(fd);
            else
                open_fds[kept++] = fd; /* stays half open */
        }
    return kept;
}

typedef struct strangers {
    const char *options;
    _Atomic int pid0;
    int id_pipe[2];
} strangers;

static void check_sum(c4_comm *comm, int nranks, size_t count)
{
    int32_t *buffer = malloc(count * sizeof *buffer);
    for (size_t i = 0; i < count; i++)
        buffer[i] = (int32_t)i;
    C4TEST_OK(c4_all_reduce(buffer, buffer, count, C4_INT32, C4_SUM, comm, NULL));
    size_t bad = 0;
    for (size_t i = 0; i < count; i++)
        bad += buffer[i] != (int32_t)i * nranks;
    C4TEST_INT(bad, 0);
    free(buffer);
}

static void strangers_rank(int rank, void *arg)
{
    strangers *s = arg;
    c4_unique_id id, wrong;
    c4_comm *comm, *no_comm = NULL;
    int fds[256], kept = 0;
    setenv("C4_LOG", "none", 1);
    if (rank == 0)
        s->pid0 = getpid();
    bad_days_get_id(s->id_pipe, rank, 3, &id);
    c4_comm_config config = {.struct_size = sizeof config, .options = world_options(s->options), .timeout_ms = 10000};
    if (rank == 1) {
        kept = annoy(s->pid0, fds); /* at the bootstrap's door */
        CU_ASSERT(kept > 0);
        c4_unique_id_fields fields;
        C4TEST_OK(c4_unique_id_unpack(&id, &fields));
        fields.key[5] ^= 0x10;
        c4_unique_id_pack(&fields, &wrong);
        C4TEST_INT(c4_comm_create(&wrong, 3, rank, &config, NULL, &no_comm), C4_ERR_AUTH);
        CU_ASSERT(no_comm == NULL);
    }
    C4TEST_OK_FATAL(c4_comm_create(&id, 3, rank, &config, NULL, &comm));
    if (rank == 2)
        kept += annoy(s->pid0, fds + kept); /* at the data ports, before they are used */
    C4TEST_OK(c4_barrier(comm, NULL));
    check_sum(comm, 3, 200000);
    if (rank == 1)
        kept += annoy(s->pid0, fds + kept);
    for (int i = 0; i < 20; i++)
        check_sum(comm, 3, 50000);
    C4TEST_OK(c4_comm_status(comm));
    for (int i = 0; i < kept; i++)
        close(fds[i]);
    check_sum(comm, 3, 1000);
    C4TEST_OK(c4_comm_destroy(comm));
}

static void test_strangers(void)
{
    strangers *s = c4test_shared(sizeof *s);
    s->options = bad_days_options("C4_TRANSPORTS=tcp");
    C4TEST_INT_FATAL(pipe(s->id_pipe), 0);
    c4test_ranks(3, strangers_rank, s, 30);
}

/* ---- a socket is lost, a frame cut, in the middle of operations ---- */

static void lossy_rank(c4_comm **comm, int rank, void *arg)
{
    enum { COUNT = 400000 };
    int nranks;
    int32_t *buffer = malloc(COUNT * sizeof *buffer);
    (void)arg;
    c4_comm_size(*comm, &nranks);
    for (int round = 0; round < (getenv("C4_TEST_QUICK") ? 2 : 6); round++) {
        for (int i = 0; i < COUNT; i++)
            buffer[i] = rank + round + i;
        WORLD_OK(c4_all_reduce(buffer, buffer, COUNT, C4_INT32, C4_SUM, *comm, NULL));
        for (int i = 0; i < COUNT; i++)
            if (buffer[i] != nranks * (nranks - 1) / 2 + nranks * (round + i)) {
                world_fail("rank %d round %d element %d: %d", rank, round, i, buffer[i]);
                break;
            }
    }
    WORLD_OK(c4_comm_status(*comm));
    free(buffer);
}

static void test_lost_socket(void)
{
    static const char *const hooks[] = {"close=tcp@frame:2", "close=tcp@frame:17#1",
                                        "close=tcp@frame:9,close=tcp@frame:30#0", "truncate=tcp@frame:12",
                                        "truncate=tcp@frame:3#0,close=tcp@frame:21#1"};
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++)
        for (int nranks = 2; nranks <= 3; nranks++) {
            char options[256];
            if (getenv("C4_TEST_QUICK") && nranks != 2 + (int)(i % 2))
                continue;
            snprintf(options, sizeof options, "C4_TRANSPORTS=tcp C4_HOOK=%s", hooks[i]);
            world_run(&(world_spec){.nranks = nranks, .options = options}, lossy_rank, NULL);
        }
}

/* ---- limits ---- */

static void test_ports_used_up(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t length = sizeof name;
    char range[64];
    c4_unique_id id;
    int before, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(bind(fd, (struct sockaddr *)&name, sizeof name) == 0 && listen(fd, 1) == 0 &&
                    getsockname(fd, (struct sockaddr *)&name, &length) == 0);
    snprintf(range, sizeof range, "%d-%d", ntohs(name.sin_port), ntohs(name.sin_port));
    setenv("C4_PORT_RANGE", range, 1);
    setenv("C4_LOG", "none", 1);
    before = c4test_count_entries("/proc/self/fd");
    C4TEST_INT(c4_unique_id_create(&id), C4_ERR_PORTS);
    C4TEST_CONTAINS(c4_last_error(NULL), "C4_PORT_RANGE");
    C4TEST_CONTAINS(c4_last_error(NULL), range);
    C4TEST_INT(c4test_count_entries("/proc/self/fd"), before);
    close(fd);
    C4TEST_OK(c4_unique_id_create(&id)); /* the port is free now */
}

/* Every number of free descriptors: a clear error or a working communicator, and nothing stays open. */
static void test_file_limit(void)
{
    struct rlimit old, limit;
    bool worked = false, refused = false;
    setenv("C4_LOG", "none", 1);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    c4_unique_id warm_id;
    c4_comm *warm;
    C4TEST_OK_FATAL(c4_unique_id_create(&warm_id));
    C4TEST_OK_FATAL(c4_comm_create(&warm_id, 1, 0, NULL, NULL, &warm));
    C4TEST_OK(c4_comm_destroy(warm));
    C4TEST_INT_FATAL(getrlimit(RLIMIT_NOFILE, &old), 0);
    int before = c4test_count_entries("/proc/self/fd");
    for (int room = 3; room < 64 && !worked; room++) {
        c4_unique_id id;
        c4_comm *comm = NULL;
        limit = (struct rlimit){(rlim_t)room, old.rlim_max};
        C4TEST_INT_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
        c4_status status = c4_unique_id_create(&id);
        if (status == C4_OK)
            status = c4_comm_create(&id, 1, 0, NULL, NULL, &comm);
        char text[512];
        snprintf(text, sizeof text, "%s", c4_last_error(NULL));
        setrlimit(RLIMIT_NOFILE, &old);
        if (status == C4_OK) {
            int32_t one = 1;
            C4TEST_OK(c4_all_reduce(&one, &one, 1, C4_INT32, C4_SUM, comm, NULL));
            C4TEST_OK(c4_comm_destroy(comm));
            worked = true;
        } else {
            refused = true;
            if (status != C4_ERR_FILES)
                fprintf(stderr, "limit %d: %s: %s\n", room, c4_status_name(status), text);
            C4TEST_INT(status, C4_ERR_FILES);
        }
        C4TEST_INT(c4test_count_entries("/proc/self/fd"), before);
    }
    CU_ASSERT(worked && refused);
}

/* Whichever call meets the wall says so; never a signal. */
static void small_shm_rank(const c4_unique_id *id, int rank, void *arg)
{
    enum { COUNT = 300000 };
    const world_spec *spec = arg;
    c4_comm *comm = NULL;
    c4_comm_config config = {
        .struct_size = sizeof config, .options = world_options(spec->options), .timeout_ms = 10000};
    float *buffer = calloc(COUNT, sizeof *buffer);
    void *mapped = NULL;
    c4_status status = c4_comm_create(id, spec->nranks, rank, &config, NULL, &comm);
    if (status == C4_OK)
        status = c4_all_reduce(buffer, buffer, COUNT, C4_FLOAT32, C4_SUM, comm, NULL);
    if ((status != C4_ERR_SHM && status != C4_ERR_UNREACHABLE) || !strstr(c4_last_error(comm), "--shm-size"))
        world_fail("rank %d: %s: %s", rank, c4_status_name(status), c4_last_error(comm));
    WORLD_OK(c4_comm_destroy(comm));
    status = c4_mem_alloc(1 << 20, &mapped); /* 16 times what there is, or memory of another kind */
    WORLD_TRUE(status == C4_OK || (status == C4_ERR_SHM && mapped == NULL));
    if (status == C4_OK) {
        memset(mapped, 1, 1 << 20);
        WORLD_OK(c4_mem_free(mapped));
    }
    free(buffer);
}

/* Needs a mount name space of its own: root only. */
static void mount_small_shm(const char *size)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0)
        C4TEST_SKIP("a small /dev/shm needs a private mount name space: run as root (CAP_SYS_ADMIN)");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", "/dev/shm", "tmpfs", 0, size) != 0)
        C4TEST_SKIP("mounting a tmpfs is not permitted here: %s", strerror(errno));
}

static void test_shm_full(void)
{
    char left[1024];
    mount_small_shm("size=64k");
    setenv("C4_LOG", "none", 1);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    world_spec spec = {.nranks = 2, .options = "C4_TRANSPORTS=shm C4_SHM_BACKEND=file"};
    world_run_raw(&spec, small_shm_rank, &spec);
    bad_days_list("/dev/shm", left, sizeof left);
    C4TEST_STRING(left, "");
    /* another transport takes its place */
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm,tcp C4_SHM_BACKEND=file"}, lossy_rank, NULL);
    /* memory that is no file there works all the same; so does a recorder without room */
    unsetenv("C4_RECORD_DIR");
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=shm"}, lossy_rank, NULL);
    world_run(&(world_spec){.nranks = 2, .options = "C4_TRANSPORTS=tcp"}, lossy_rank, NULL);
}

/* Every rank has as much to do with every other as a call can ask for. */
static void exchange_rank(c4_comm **comm, int rank, void *arg)
{
    int nranks;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    (void)arg;
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "/dev/shm/"))
            world_fail("rank %d still has %s", rank, line);
    if (maps)
        fclose(maps);
    c4_comm_size(*comm, &nranks);
    int32_t *sent = calloc(2 * (size_t)nranks, sizeof *sent), *got = sent + nranks;
    for (int i = 0; i < nranks; i++)
        sent[i] = rank * nranks + i;
    WORLD_OK(c4_all_to_all(sent, got, 1, C4_INT32, *comm, NULL));
    for (int i = 0; i < nranks; i++)
        if (got[i] != i * nranks + rank)
            world_fail("rank %d has %d from %d", rank, got[i], i);
    free(sent);
}

/* Room for some ranks and not for others, who come too late: those that got some do without it as well, instead of
 * meeting the end of it in a call. One line tells about it. */
static void test_shm_short(void)
{
    char text[4096] = "";
    mount_small_shm("size=10m");
    setenv("C4_LOG", "warn", 1);
    setenv("C4_LOG_FILE", c4test_path("log"), 1);
    setenv("C4_RECORD_DIR", c4test_path("records"), 1);
    world_run(&(world_spec){.nranks = 12, .options = "C4_TRANSPORTS=shm,tcp C4_SHM_BACKEND=file"}, exchange_rank, NULL);
    FILE *log = fopen(c4test_path("log"), "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    C4TEST_CONTAINS(text, "transport shm is left out by the 12 ranks of this host, of which rank");
    C4TEST_CONTAINS(text, "in /dev/shm (10240 KiB, ");
    C4TEST_CONTAINS(text, "raise its size");
    CU_ASSERT_PTR_EQUAL(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(strangers, 40),
                                        C4TEST_DEADLINE(lost_socket, 60),
                                        C4TEST(ports_used_up),
                                        C4TEST_DEADLINE(file_limit, 30),
                                        C4TEST_DEADLINE(shm_full, 60),
                                        C4TEST_DEADLINE(shm_short, 60),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
