/* The segment that ranks of a host share: who finds it, what it costs, what is left of it. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "tests/c4test.h"
#include "tests/transports/shm/rig.h"
#include "transports/shm/module.h"

static const c4_transport_ops *const ops = &c4_shm_ops;

/* ---- addresses ---- */

static void test_addresses(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[2];
    C4TEST_OK_FATAL(rig_create(&rig[0], board, 0, 2, NULL));
    C4TEST_OK_FATAL(rig_create(&rig[1], board, 1, 2, NULL));
    c4_shm_address good;
    memcpy(&good, board->address[0], sizeof good);
    struct {
        c4_shm_address address;
        const char *reason;
    } bad[] = {{good, "another version"}, {good, "another host"},  {good, "pid namespace"}, {good, "another user"},
               {good, "cannot open"},     {good, "does not hold"}, {good, "does not hold"}, {good, "C4_SHM_BACKEND"}};
    bad[0].address.magic ^= 1;
    bad[1].address.boot_id[3] ^= 1;
    bad[2].address.place ^= 1;
    bad[3].address.uid ^= 1;
    bad[4].address.fd = 9999;
    bad[5].address.nonce[1] ^= 1;
    bad[6].address.bytes += C4_SHM_PAGE;
    bad[7].address.backend = C4_SHM_BACKEND_FILE;
    char reason[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        C4TEST_INT(ops->add_peer(rig[1].module, 0, &bad[i].address, sizeof good, reason, sizeof reason),
                   C4_ERR_UNREACHABLE);
        C4TEST_CONTAINS(reason, bad[i].reason);
    }
    C4TEST_INT(ops->add_peer(rig[1].module, 0, &good, sizeof good - 1, reason, sizeof reason), C4_ERR_UNREACHABLE);
    C4TEST_INT(ops->add_peer(rig[1].module, 2, &good, sizeof good, reason, sizeof reason), C4_ERR_ROOT);
    C4TEST_OK(ops->add_peer(rig[1].module, 0, &good, sizeof good, reason, sizeof reason));
    C4TEST_OK(ops->add_peer(rig[1].module, 0, &good, sizeof good, reason, sizeof reason));
    C4TEST_INT(ops->add_peer(rig[1].module, 0, &bad[5].address, sizeof good, reason, sizeof reason),
               C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "already connected");
    size_t bytes = sizeof good - 1;
    char small[sizeof good];
    C4TEST_INT(ops->address(rig[0].module, small, &bytes), C4_ERR_ARGUMENT);
    ops->close(rig[0].module);
    ops->close(rig[1].module);
}

/* Lines of /proc/self/maps and descriptors that belong to segments. */
static int count_segments(const char *directory)
{
    char text[512];
    int count = 0;
    FILE *maps = directory ? NULL : fopen("/proc/self/maps", "re");
    while (maps && fgets(text, sizeof text, maps))
        count += strstr(text, "c4-shm") != NULL;
    if (maps)
        fclose(maps);
    DIR *files = directory ? opendir(directory) : NULL;
    for (struct dirent *entry; files && (entry = readdir(files)) != NULL;) {
        ssize_t length = readlinkat(dirfd(files), entry->d_name, text, sizeof text - 1);
        text[length < 0 ? 0 : length] = '\0';
        count += strstr(text, "c4-shm") != NULL;
    }
    if (files)
        closedir(files);
    return count;
}

/* However many peers: each of the eight ranks has one file open and one mapping, also after it has talked to all. */
static void one_segment(int backend)
{
    enum { N = 8 };
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[N];
    rig_options options = rig_defaults();
    options.backend = backend;
    for (int rank = 0; rank < N; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, N, &options));
    for (int rank = 0; rank < N; rank++)
        C4TEST_OK_FATAL(rig_connect(&rig[rank]));
    for (int from = 0; from < N; from++)
        for (int to = 0; to < N; to++) {
            int sent = 100 * from + to, heard = -1;
            C4TEST_OK(rig_send(rig_channel(&rig[from], 1, from, to, 0), &sent, sizeof sent));
            c4_xfer xfer = {.pointer = &heard, .bytes = sizeof heard};
            c4_channel *in = from == to ? NULL : rig_channel(&rig[to], 1, from, to, 0);
            C4TEST_OK(in ? ops->recv(in, &xfer) : C4_OK);
            C4TEST_INT(in ? heard : sent, sent);
        }
    C4TEST_INT(count_segments(NULL), N);
    C4TEST_INT(count_segments("/proc/self/fd"), N);
    for (int rank = 0; rank < N; rank++)
        ops->close(rig[rank].module);
    C4TEST_INT(count_segments(NULL), 0);
    C4TEST_INT(count_segments("/proc/self/fd"), 0);
}

static void test_one_segment_memfd(void)
{
    one_segment(C4_SHM_BACKEND_MEMFD);
}

static void test_one_segment_file(void)
{
    int before = rig_named_segments();
    one_segment(C4_SHM_BACKEND_FILE);
    C4TEST_INT(rig_named_segments(), before);
}

typedef struct mapping_sums {
    int count, dumped; /* mappings of segments; those that a core dump would hold */
    size_t bytes, resident_bytes;
} mapping_sums;

static mapping_sums sum_mappings(void)
{
    mapping_sums sums = {0};
    char line[512];
    bool ours = false;
    FILE *maps = fopen("/proc/self/smaps", "re");
    while (maps && fgets(line, sizeof line, maps)) {
        size_t first, end, kib;
        if (sscanf(line, "%zx-%zx ", &first, &end) == 2) {
            ours = strstr(line, "c4-shm") != NULL;
            sums.count += ours;
            sums.bytes += ours ? end - first : 0;
        } else if (ours && sscanf(line, "Rss: %zu", &kib) == 1) {
            sums.resident_bytes += kib * 1024;
        } else if (ours && strncmp(line, "VmFlags:", 8) == 0) {
            sums.dumped += strstr(line, " dd") == NULL;
        }
    }
    if (maps)
        fclose(maps);
    return sums;
}

/* A rank that may still move maps a few pages of its own file: never two whole segments at once. */
static void check_mappings(void)
{
    enum { N = 3 };
    const size_t few = N * 8 * C4_SHM_PAGE, whole = 512u << 20;
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[N];
    for (int rank = 0; rank < N; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, N, NULL));
    mapping_sums sums = sum_mappings();
    C4TEST_INT(sums.count, N);
    C4TEST_INT(sums.dumped, 0);
    CU_ASSERT(sums.bytes < few);
    for (int rank = 0; rank < N; rank++)
        C4TEST_OK_FATAL(rig_connect(&rig[rank]));
    sums = sum_mappings();
    C4TEST_INT(sums.count, N);
    C4TEST_INT(sums.dumped, 0);
    CU_ASSERT(sums.bytes > N * (whole - (1u << 20)) && sums.bytes < N * whole + few);
    CU_ASSERT(sums.resident_bytes < 1u << 20);
    for (int rank = 0; rank < N; rank++)
        ops->close(rig[rank].module);
}

static void test_mappings(void)
{
    check_mappings();
}

static void test_mappings_locked(void)
{
    if (mlockall(MCL_FUTURE) != 0)
        C4TEST_SKIP("mlockall: %s", strerror(errno));
    check_mappings();
}

/* A rank with nobody to share with opens a channel to itself: then its own file is the one to be mapped. */
static void test_alone(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    int sent = 7, heard = 0;
    C4TEST_OK_FATAL(rig_create(&rig, board, 0, 2, NULL));
    c4_channel *channel = rig_channel(&rig, 1, 0, 0, 0);
    C4TEST_OK(rig_send(channel, &sent, sizeof sent));
    c4_xfer xfer = {.pointer = &heard, .bytes = sizeof heard};
    C4TEST_OK(ops->recv(channel, &xfer));
    C4TEST_INT(heard, sent);
    ops->close(rig.module);
}

/* 64 MiB more than there is now: what a sanitizer maps on its own still fits. */
static void address_space_limit(struct rlimit *old)
{
    size_t pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    CU_ASSERT_FATAL(statm && fscanf(statm, "%zu", &pages) == 1);
    fclose(statm);
    getrlimit(RLIMIT_AS, old);
    struct rlimit tight = {(rlim_t)pages * C4_SHM_PAGE + (64u << 20), old->rlim_max};
    C4TEST_INT(setrlimit(RLIMIT_AS, &tight), 0);
}

/* Address space for the register, but not for the segment. */
static void test_address_space(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[3];
    char reason[256] = "";
    struct rlimit old;
    for (int rank = 0; rank < 3; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, 3, NULL));
    address_space_limit(&old);
    c4_status status =
        ops->add_peer(rig[1].module, 0, board->address[0], sizeof(c4_shm_address), reason, sizeof reason);
    setrlimit(RLIMIT_AS, &old);
    C4TEST_INT(status, C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "ulimit -v");
    C4TEST_OK(rig_connect(&rig[1])); /* still where it was: it may try again */

    address_space_limit(&old);
    status = ops->add_peer(rig[0].module, 1, board->address[1], sizeof(c4_shm_address), reason, sizeof reason);
    setrlimit(RLIMIT_AS, &old);
    C4TEST_INT(status, C4_ERR_SHM);
    C4TEST_CONTAINS(reason, "ulimit -v");
    /* One rank after another: what could not be had for the first is not asked for again. */
    C4TEST_INT(ops->add_peer(rig[0].module, 2, board->address[2], sizeof(c4_shm_address), reason, sizeof reason),
               C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "ulimit -v");
    for (int rank = 0; rank < 3; rank++)
        ops->close(rig[rank].module);
}

/* Nobody else of the same user may open its descriptors, so its memory has a name. */
static void test_not_dumpable(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[3];
    char reason[256] = "";
    C4TEST_OK_FATAL(rig_create(&rig[2], board, 2, 3, NULL));
    C4TEST_INT_FATAL(prctl(PR_SET_DUMPABLE, 0), 0);
    for (int rank = 0; rank < 2; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, 3, NULL));
    C4TEST_OK(ops->add_peer(rig[0].module, 1, board->address[1], sizeof(c4_shm_address), reason, sizeof reason));
    C4TEST_OK(ops->add_peer(rig[1].module, 0, board->address[0], sizeof(c4_shm_address), reason, sizeof reason));
    C4TEST_INT(rig[1].module->arena.address.backend, C4_SHM_BACKEND_FILE);
    C4TEST_INT(ops->add_peer(rig[2].module, 0, board->address[0], sizeof(c4_shm_address), reason, sizeof reason),
               C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "auto takes file");
    for (int rank = 0; rank < 3; rank++)
        ops->close(rig[rank].module);
}

/* A rank that cannot open the segment shares memory with nobody, says so once, and may try again. */
static void test_lost_rank(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[3];
    for (int rank = 0; rank < 3; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, 3, NULL));
    c4_shm_address hidden;
    char reason[256] = "";
    memcpy(&hidden, board->address[0], sizeof hidden);
    hidden.fd = 9999;
    /* The segment is that of the lowest: who meets a higher one first would be elsewhere than the others. */
    C4TEST_OK(ops->add_peer(rig[2].module, 1, board->address[1], sizeof hidden, reason, sizeof reason));
    C4TEST_INT(ops->add_peer(rig[2].module, 0, board->address[0], sizeof hidden, reason, sizeof reason),
               C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "ascending order");
    C4TEST_INT(ops->add_peer(rig[1].module, 0, &hidden, sizeof hidden, reason, sizeof reason), C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(board->last_warning[1], "no shared memory with the ranks of this host");
    board->last_warning[1][0] = '\0';
    C4TEST_INT(ops->add_peer(rig[1].module, 2, board->address[2], sizeof hidden, reason, sizeof reason),
               C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "cannot open");
    C4TEST_STRING(board->last_warning[1], "");
    C4TEST_OK(ops->add_peer(rig[1].module, 0, board->address[0], sizeof hidden, reason, sizeof reason));
    C4TEST_OK(ops->add_peer(rig[1].module, 2, board->address[2], sizeof hidden, reason, sizeof reason));
    for (int rank = 0; rank < 3; rank++)
        ops->close(rig[rank].module);
}

/* More ranks than the segment was made for. */
static void test_crowded_segment(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[3];
    char reason[256] = "";
    C4TEST_OK_FATAL(rig_create(&rig[0], board, 0, 2, NULL));
    for (int rank = 1; rank < 3; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, 3, NULL));
    C4TEST_OK(ops->add_peer(rig[1].module, 0, board->address[0], sizeof(c4_shm_address), reason, sizeof reason));
    C4TEST_INT(ops->add_peer(rig[2].module, 0, board->address[0], sizeof(c4_shm_address), reason, sizeof reason),
               C4_ERR_SHM);
    C4TEST_CONTAINS(reason, "all 2 places");
    C4TEST_INT(count_segments(NULL), 3);
    for (int rank = 0; rank < 3; rank++)
        ops->close(rig[rank].module);
}

/* The process that an address names has gone: before it was found, or before it took its place. */
static void test_dead_peer(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    C4TEST_OK_FATAL(rig_create(&rig, board, 1, 3, NULL));
    for (int rank = 0; rank < 3; rank += 2) {
        pid_t child = fork();
        if (child == 0) {
            rig_rank other;
            _exit(rig_create(&other, board, rank, 3, NULL) < 0);
        }
        int status;
        waitpid(child, &status, 0);
        C4TEST_INT_FATAL(status, 0);
    }
    char reason[256] = "", data[100] = "x";
    C4TEST_INT(ops->add_peer(rig.module, 0, board->address[0], board->address_bytes[0], reason, sizeof reason),
               C4_ERR_UNREACHABLE);
    C4TEST_CONTAINS(reason, "cannot open");
    ops->close(rig.module);

    C4TEST_OK_FATAL(rig_create(&rig, board, 1, 3, NULL));
    C4TEST_OK(ops->add_peer(rig.module, 2, board->address[2], board->address_bytes[2], reason, sizeof reason));
    C4TEST_INT(rig_send(rig_channel(&rig, 1, 1, 2, 0), data, sizeof data), C4_ERR_PEER_DEAD);
    C4TEST_CONTAINS(c4_fail_text(), "before it took its place");
    ops->close(rig.module);
}

/* What a rank has sent outlives its module, also for a reader that looks for it later; sending to it harms nobody. */
static void test_late_reader(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[2];
    C4TEST_OK_FATAL(rig_create(&rig[0], board, 0, 2, NULL));
    C4TEST_OK_FATAL(rig_create(&rig[1], board, 1, 2, NULL));
    C4TEST_OK_FATAL(rig_connect(&rig[0]));
    C4TEST_OK_FATAL(rig_connect(&rig[1]));
    char data[3000] = "last words", heard[3000] = "";
    C4TEST_OK(rig_send(rig_channel(&rig[1], 1, 1, 0, 0), data, sizeof data));
    ops->close(rig[1].module);
    c4_xfer xfer = {.pointer = heard, .bytes = sizeof heard};
    C4TEST_OK(ops->recv(rig_channel(&rig[0], 1, 1, 0, 0), &xfer));
    C4TEST_STRING(heard, "last words");
    C4TEST_OK(rig_send(rig_channel(&rig[0], 1, 0, 1, 0), data, sizeof data));
    ops->close(rig[0].module);
}

/* ---- files and death ---- */

struct death {
    rig_board board;
    rig_options options;
    int ready;
};

static void doomed_rank(int rank, void *arg)
{
    struct death *d = arg;
    rig_rank rig;
    if (rig_open(&rig, &d->board, rank, 3, &d->options) < 0)
        _exit(1);
    c4_channel *out = rig_channel(&rig, 1, rank, (rank + 1) % 3, 0);
    char data[5000] = {0};
    rig_send(out, data, sizeof data);
    __atomic_fetch_add(&d->ready, 1, __ATOMIC_SEQ_CST);
    for (;;)
        pause();
}

static void kill_all(int backend, int strangers)
{
    struct death *d = c4test_shared(sizeof *d);
    d->options = rig_defaults();
    d->options.backend = backend;
    d->options.strangers = strangers;
    int before = rig_named_segments();
    c4test_team *team = c4test_team_start(3, doomed_rank, d);
    int64_t deadline = (int64_t)time(NULL) + c4test_seconds(10);
    while (__atomic_load_n(&d->ready, __ATOMIC_SEQ_CST) < 3 && time(NULL) < deadline)
        usleep(1000);
    C4TEST_INT(__atomic_load_n(&d->ready, __ATOMIC_SEQ_CST), 3);
    for (int rank = 0; rank < 3; rank++)
        kill(c4test_team_pid(team, rank), SIGKILL);
    int statuses[3];
    c4test_team_wait(team, 10, statuses);
    C4TEST_INT(rig_named_segments(), before);
}

static void test_killed_memfd(void)
{
    kill_all(C4_SHM_BACKEND_MEMFD, 0);
}

/* Named files lose their names once everybody has opened them, or could have. */
static void test_killed_file(void)
{
    kill_all(C4_SHM_BACKEND_FILE, 0);
    kill_all(C4_SHM_BACKEND_FILE, 1);
}

/* A name left by a process that died before that goes at the next start; a living one's stays. */
static void test_stale_file(void)
{
    struct death *d = c4test_shared(sizeof *d);
    d->options = rig_defaults();
    d->options.backend = C4_SHM_BACKEND_FILE;
    int before = rig_named_segments();
    rig_rank alive, fresh;
    C4TEST_OK_FATAL(rig_create(&alive, &d->board, 0, 3, &d->options));
    pid_t child = fork();
    if (child == 0) {
        rig_rank dies;
        if (rig_create(&dies, &d->board, 1, 3, &d->options) < 0)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    CU_ASSERT(WIFSIGNALED(status));
    C4TEST_INT(rig_named_segments(), before + 2);
    C4TEST_OK_FATAL(rig_create(&fresh, &d->board, 2, 3, &d->options));
    C4TEST_INT(rig_named_segments(), before + 2);
    ops->close(fresh.module);
    ops->close(alive.module);
    C4TEST_INT(rig_named_segments(), before);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(addresses),        C4TEST(one_segment_memfd),
                                        C4TEST(one_segment_file), C4TEST(mappings),
                                        C4TEST(mappings_locked),  C4TEST(alone),
                                        C4TEST(address_space),    C4TEST(not_dumpable),
                                        C4TEST(lost_rank),        C4TEST(crowded_segment),
                                        C4TEST(dead_peer),        C4TEST(late_reader),
                                        C4TEST(killed_memfd),     C4TEST(killed_file),
                                        C4TEST(stale_file),       C4TEST_END};
    return c4test_main(argc, argv, cases);
}
