/* Modules: limits, sleep, named files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "tests/c4test.h"
#include "tests/transports/shm/rig.h"
#include "transports/shm/module.h"

static const c4_transport_ops *const ops = &c4_shm_ops;

/* ---- limits ---- */

static void test_budget(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig[2];
    rig_options options = rig_defaults();
    options.budget_bytes = 16 << 20; /* 8 MiB for each of two */
    options.ring_bytes = 2 << 20;    /* may shrink to four of the largest frames */
    for (int rank = 0; rank < 2; rank++)
        C4TEST_OK_FATAL(rig_create(&rig[rank], board, rank, 2, &options));
    for (int rank = 0; rank < 2; rank++)
        C4TEST_OK_FATAL(rig_connect(&rig[rank]));
    char data[100] = "x";
    c4_channel *last = NULL;
    c4_status status = C4_OK;
    int made = 0;
    for (uint32_t tag = 0; tag < 20 && status == C4_OK; tag++) {
        last = rig_channel(&rig[0], tag, 0, 1, 0);
        status = rig_send(last, data, sizeof data);
        made += status == C4_OK;
    }
    CU_ASSERT(made >= 4 && made < 8);
    C4TEST_INT(status, C4_ERR_SHM);
    C4TEST_CONTAINS(board->last_warning[0], "C4_SHM_BUDGET_BYTES"); /* smaller rings were tried, and said so */
    C4TEST_INT(rig_send(last, data, sizeof data), C4_ERR_SHM);
    /* A small ring still fits, and a closed one makes room. */
    C4TEST_OK(rig_send(rig_channel(&rig[0], 100, 0, 1, 16384), data, sizeof data));
    ops->close(rig[0].module);
    ops->close(rig[1].module);
}

static void test_no_memory(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    C4TEST_OK_FATAL(rig_create(&rig, board, 0, 1, NULL));
    c4_channel *channel = rig_channel(&rig, 1, 0, 0, 0);
    C4TEST_OK_FATAL(ops->inject(rig.module, "no_memory=1"));
    char data[100] = "x";
    C4TEST_INT(rig_send(channel, data, sizeof data), C4_ERR_SHM);
    C4TEST_OK_FATAL(ops->inject(rig.module, "no_memory=0"));
    C4TEST_OK(rig_send(channel, data, sizeof data)); /* nothing was left half made */
    C4TEST_INT(ops->inject(rig.module, "slow_us=100"), C4_ERR_UNSUPPORTED);
    ops->close(rig.module);
}

static void test_file_size_limit(void)
{
    struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    C4TEST_INT_FATAL(setrlimit(RLIMIT_FSIZE, &limit), 0);
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    C4TEST_INT(rig_create(&rig, board, 0, 2, NULL), C4_ERR_SHM); /* not SIGXFSZ */
}

static void test_file_descriptor_limit(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    struct rlimit limit = {.rlim_cur = (rlim_t)dup(0), .rlim_max = 1000};
    close((int)limit.rlim_cur);
    C4TEST_INT_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rig_rank rig;
    rig_options options = rig_defaults();
    options.backend = C4_SHM_BACKEND_MEMFD;
    C4TEST_INT(rig_create(&rig, board, 0, 1, &options), C4_ERR_FILES);
    int free_fd = (limit.rlim_cur = 1000, setrlimit(RLIMIT_NOFILE, &limit), dup(0));
    close(free_fd);
    C4TEST_OK_FATAL(rig_create(&rig, board, 0, 1, &options));
    C4TEST_INT(rig.module->arena.segment.fd, free_fd); /* the failed attempt leaked none */
    ops->close(rig.module);
}

static void mount_dev_shm(const char *type, const char *options)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/dev/shm", type, 0, options) < 0)
        C4TEST_SKIP("needs to mount a %s: run as root (%s)", type, strerror(errno));
}

/* A container's 1 MiB /dev/shm: opening says so, and what to do; nothing is left behind. */
static void test_small_dev_shm(void)
{
    mount_dev_shm("tmpfs", "size=1m,mode=1777");
    int before = rig_named_segments();
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    rig_options options = rig_defaults();
    options.backend = C4_SHM_BACKEND_FILE;
    C4TEST_INT(rig_create(&rig, board, 0, 1, &options), C4_ERR_SHM);
    C4TEST_CONTAINS(c4_fail_text(), "--shm-size");
    C4TEST_CONTAINS(c4_fail_text(), "C4_SHM_BACKEND=memfd");
    C4TEST_INT(rig_named_segments(), before);
    options.backend = C4_SHM_BACKEND_MEMFD; /* needs no room there */
    C4TEST_OK_FATAL(rig_create(&rig, board, 0, 1, &options));
    ops->close(rig.module);
}

/* A file system that cannot allocate ahead is not a full one. */
static void test_ramfs(void)
{
    mount_dev_shm("ramfs", "");
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    rig_options options = rig_defaults();
    options.backend = C4_SHM_BACKEND_FILE;
    C4TEST_INT(rig_create(&rig, board, 0, 1, &options), C4_ERR_SHM);
    C4TEST_CONTAINS(c4_fail_text(), "mount a tmpfs");
    CU_ASSERT_PTR_NULL(strstr(c4_fail_text(), "is full"));
}

/* Somebody else fills it after set-up: the rings that schedules need are there, another one is an error and no SIGBUS. */
static void test_full_dev_shm(void)
{
    static char rest[64 << 10];
    mount_dev_shm("tmpfs", "size=8m,mode=1777");
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    rig_options options = rig_defaults();
    options.backend = C4_SHM_BACKEND_FILE;
    C4TEST_OK_FATAL(rig_create(&rig, board, 0, 1, &options));
    C4TEST_STRING(board->last_warning[0], "");
    int fd = open("/dev/shm/others", O_WRONLY | O_CREAT, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    while (write(fd, rest, sizeof rest) > 0)
        ;
    char data[100] = "x";
    for (uint32_t tag = 1; tag <= 2; tag++)
        C4TEST_OK(rig_send(rig_channel(&rig, tag, 0, 0, 0), data, sizeof data));
    C4TEST_STRING(board->last_warning[0], ""); /* and none of them is smaller than it should be */
    C4TEST_INT(rig_send(rig_channel(&rig, 3, 0, 0, 0), data, sizeof data), C4_ERR_SHM);
    C4TEST_CONTAINS(c4_fail_text(), "--shm-size");
    close(fd);
    ops->close(rig.module);
}

static void test_probe(void)
{
    rig_board *board = c4test_shared(sizeof *board);
    rig_rank rig;
    C4TEST_OK_FATAL(rig_create(&rig, board, 0, 2, NULL));
    c4_transport_caps probed = {.struct_size = sizeof probed}, open = {.struct_size = sizeof open};
    char reason[256] = "";
    C4TEST_OK(ops->probe(&rig.host, &probed, reason, sizeof reason));
    C4TEST_OK(ops->caps(rig.module, &open));
    C4TEST_INT((long long)probed.max_frame_bytes, (long long)open.max_frame_bytes);
    C4TEST_INT(probed.flags, open.flags);
    CU_ASSERT(probed.flags & C4_CAP_WINDOWS && probed.flags & C4_CAP_MAP && probed.flags & C4_CAP_DOORBELL);
    ops->close(rig.module);
}

/* ---- sleep ---- */

static void sleep_until_rung(const uint32_t *word, uint32_t seen)
{
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == seen)
        syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
}

/* Reads one frame, asleep while there is none. Returns whether it slept. */
static int receive_asleep(rig_rank *rig, c4_channel *in, uint32_t *value)
{
    uint32_t *word = NULL;
    int slept = 0, fd = 0;
    C4TEST_OK_FATAL(ops->doorbell(rig->module, &word));
    c4_window window;
    while (ops->peek(in, &window) == C4_IN_PROGRESS) {
        uint32_t seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
        if (ops->arm(rig->module, &fd) == C4_OK)
            continue;
        C4TEST_INT(fd, -1);
        sleep_until_rung(word, seen);
        ops->disarm(rig->module);
        slept++;
    }
    memcpy(value, window.pointer, sizeof *value);
    ops->consume(in);
    return slept;
}

static void sleep_rank(int rank, void *arg)
{
    rig_board *board = arg;
    rig_rank rig;
    C4TEST_OK_FATAL(rig_open(&rig, board, rank, 2, NULL));
    c4_channel *out = rig_channel(&rig, 1, rank, 1 - rank, 0), *in = rig_channel(&rig, 1, 1 - rank, rank, 0);
    int slept = 0;
    for (uint32_t turn = 0; turn < 3000; turn++) { /* a lost wake-up ends at the deadline */
        if ((int)(turn % 2) == rank) {
            C4TEST_OK_FATAL(rig_send(out, &turn, sizeof turn));
        } else {
            uint32_t value = UINT32_MAX;
            slept += receive_asleep(&rig, in, &value);
            C4TEST_INT(value, turn);
        }
    }
    CU_ASSERT(slept > 0);
    rig_close(&rig);
}

static void test_sleep(void)
{
    c4test_ranks(2, sleep_rank, c4test_shared(sizeof(rig_board)), 25);
}

/* A writer without credit sleeps until its reader gives some. */
static void credit_rank(int rank, void *arg)
{
    rig_board *board = arg;
    rig_rank rig;
    C4TEST_OK_FATAL(rig_open(&rig, board, rank, 2, NULL));
    c4_channel *channel = rig_channel(&rig, 1, 0, 1, 16384);
    char data[3000] = {0};
    uint32_t *word = NULL;
    int fd, slept = 0;
    C4TEST_OK_FATAL(ops->doorbell(rig.module, &word));
    for (int i = 0; i < 2000; i++) {
        c4_window window;
        if (rank == 1) {
            uint32_t value;
            receive_asleep(&rig, channel, &value);
            continue;
        }
        while (ops->reserve(channel, sizeof data, &window) == C4_IN_PROGRESS) {
            uint32_t seen = __atomic_load_n(word, __ATOMIC_SEQ_CST);
            if (ops->arm(rig.module, &fd) == C4_OK)
                continue;
            sleep_until_rung(word, seen);
            ops->disarm(rig.module);
            slept++;
        }
        c4_frame frame = {.bytes = sizeof data};
        memcpy(window.pointer, data, sizeof data);
        ops->commit(channel, &frame);
    }
    CU_ASSERT(rank == 1 || slept > 0);
    rig_close(&rig);
}

static void test_sleep_for_credit(void)
{
    c4test_ranks(2, credit_rank, c4test_shared(sizeof(rig_board)), 25);
}

static void file_rank(int rank, void *arg)
{
    rig_board *board = arg;
    rig_options options = rig_defaults();
    options.backend = C4_SHM_BACKEND_FILE;
    rig_rank rig;
    C4TEST_OK_FATAL(rig_open(&rig, board, rank, 2, &options));
    c4_transport_caps caps = {.struct_size = sizeof caps};
    C4TEST_OK(ops->caps(rig.module, &caps));
    CU_ASSERT(!(caps.flags & C4_CAP_MAP)); /* regions are found through /proc only */
    c4_channel *out = rig_channel(&rig, 1, rank, 1 - rank, 0), *in = rig_channel(&rig, 1, 1 - rank, rank, 0);
    for (uint32_t turn = 0; turn < 200; turn++) {
        uint32_t value = UINT32_MAX;
        C4TEST_OK_FATAL(rig_send(out, &turn, sizeof turn));
        receive_asleep(&rig, in, &value);
        C4TEST_INT(value, turn);
    }
    rig_close(&rig);
}

static void test_file_backend(void)
{
    int before = rig_named_segments();
    c4test_ranks(2, file_rank, c4test_shared(sizeof(rig_board)), 15);
    C4TEST_INT(rig_named_segments(), before);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(budget),
                                        C4TEST(no_memory),
                                        C4TEST(file_size_limit),
                                        C4TEST(file_descriptor_limit),
                                        C4TEST(small_dev_shm),
                                        C4TEST(full_dev_shm),
                                        C4TEST(ramfs),
                                        C4TEST(probe),
                                        C4TEST_DEADLINE(sleep, 30),
                                        C4TEST_DEADLINE(sleep_for_credit, 30),
                                        C4TEST(file_backend),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
