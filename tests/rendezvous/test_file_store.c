/* The rendezvous through a file: what it holds, what a dead job has left, and whole jobs that meet by it. */
#include "rendezvous/file_store.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "rendezvous/bootstrap.h"
#include "rendezvous/process.h"
#include "tests/c4test.h"

static const unsigned char key[C4_KEY_BYTES] = "a key of thirty-two bytes......";
static const c4_net_address any_loopback = {.family = 4, .bytes = {127, 0, 0, 1}};

static c4_file_store_entry make_entry(void)
{
    c4_file_store_entry entry = {.job_id = 0x1234567890abcdef, .nranks = 8, .naddresses = 2};
    c4_process_self(&entry.process);
    entry.addresses[0] = (c4_net_address){.family = 4, .port = 4711, .bytes = {10, 0, 0, 5}};
    entry.addresses[1] = (c4_net_address){.family = 6, .port = 4712, .bytes = {[15] = 1}};
    return entry;
}

/* A process that was here and is not any more. */
static c4_process dead_process(void)
{
    c4_process process;
    int ends[2];
    CU_ASSERT_FATAL(pipe(ends) == 0);
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        c4_process_self(&process);
        _exit(write(ends[1], &process, sizeof process) != sizeof process);
    }
    CU_ASSERT_EQUAL_FATAL(read(ends[0], &process, sizeof process), sizeof process);
    waitpid(child, NULL, 0);
    close(ends[0]);
    close(ends[1]);
    return process;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

static void test_write_and_read(void)
{
    const char *path = c4test_path("meet");
    char reason[C4_FILE_STORE_REASON_BYTES] = "";
    c4_file_store_entry entry = make_entry();
    c4_file_store_entry found;
    struct stat info;
    C4TEST_INT(c4_file_store_read(path, entry.job_id, 8, &found, reason), C4_IN_PROGRESS);
    C4TEST_CONTAINS(reason, "rank 0 has not written it");
    C4TEST_OK_FATAL(c4_file_store_publish(path, &entry));
    CU_ASSERT(stat(path, &info) == 0 && (info.st_mode & 0777) == 0600);
    C4TEST_OK_FATAL(c4_file_store_read(path, entry.job_id, 8, &found, reason));
    CU_ASSERT(found.job_id == entry.job_id && found.nranks == entry.nranks && found.naddresses == entry.naddresses);
    CU_ASSERT(found.process.pid == entry.process.pid && found.process.start_ticks == entry.process.start_ticks);
    C4TEST_STRING(found.process.host, entry.process.host);
    for (size_t i = 0; i < entry.naddresses; i++) {
        char mine[C4_NET_ADDRESS_TEXT_BYTES], theirs[C4_NET_ADDRESS_TEXT_BYTES];
        c4_net_address_format(&entry.addresses[i], mine);
        c4_net_address_format(&found.addresses[i], theirs);
        C4TEST_STRING(theirs, mine);
    }
    C4TEST_INT(c4_file_store_read(path, entry.job_id + 1, 8, &found, reason), C4_IN_PROGRESS);
    C4TEST_CONTAINS(reason, "it is of another job");
    C4TEST_INT(c4_file_store_read(path, entry.job_id, 9, &found, reason), C4_IN_PROGRESS);
    C4TEST_OK(c4_file_store_publish(path, &entry)); /* its own it may replace */
    c4_file_store_entry other = entry;
    other.job_id++;
    c4_file_store_remove(path, &other);
    CU_ASSERT_EQUAL(access(path, F_OK), 0);
    c4_file_store_remove(path, &entry);
    CU_ASSERT_NOT_EQUAL(access(path, F_OK), 0);
}

static void test_refuses(void)
{
    static const char *const bad[] = {
        "",
        "\n",
        "c4-rendezvous 1\n",
        "c4-rendezvous 2\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddeeff h\naddress 1.2.3.4:5\n",
        "c4-rendezvous 1\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddeeff h\n",
        "c4-rendezvous 1\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddee h\naddress 1.2.3.4:5\n",
        "c4-rendezvous 1\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddeeff h\naddress 1.2.3.4:5",
        "c4-rendezvous 1\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddeeff h\naddress here:5\n",
        "c4-rendezvous 1\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddeeff h\naddress 1:5\naddress 1:6\n",
    };
    c4_file_store_entry found;
    char reason[C4_FILE_STORE_REASON_BYTES] = "";
    const char *path = c4test_path("meet");
    const char *four = "c4-rendezvous 1\njob 1 ranks 2\nprocess 1 2 3 00112233445566778899aabbccddeeff h\n"
                       "address 1.2.3.4:5\naddress 1.2.3.4:6\naddress 1.2.3.4:7\naddress 1.2.3.4:8\n";
    CU_ASSERT(!c4_file_store_parse(four, strlen(four), &found)); /* three fit */
    CU_ASSERT(c4_file_store_parse(four, strlen(four) - strlen("address 1.2.3.4:8\n"), &found));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CU_ASSERT(!c4_file_store_parse(bad[i], strlen(bad[i]), &found));
        write_text(path, bad[i]);
        C4TEST_INT(c4_file_store_read(path, 1, 2, &found, reason), C4_IN_PROGRESS);
        C4TEST_CONTAINS(reason, "not written by rank 0");
    }
    const char *link = c4test_path("link");
    CU_ASSERT_EQUAL_FATAL(symlink(path, link), 0);
    C4TEST_INT(c4_file_store_read(link, 1, 2, &found, reason), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "is a symbolic link");
    C4TEST_INT(c4_file_store_read(c4test_dir(), 1, 2, &found, reason), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "is not a regular file;");
    c4_file_store_entry entry = make_entry();
    C4TEST_INT(c4_file_store_publish("/proc/no/such/place", &entry), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "C4_RENDEZVOUS=file:/proc/no/such/place cannot be written");
}

/* What others could have written, and what belongs to others. */
static void test_permissions(void)
{
    const char *path = c4test_path("meet");
    char reason[C4_FILE_STORE_REASON_BYTES] = "";
    c4_file_store_entry entry = make_entry(), found;
    static const mode_t open_to_all[] = {0620, 0602, 0666};
    C4TEST_OK_FATAL(c4_file_store_publish(path, &entry));
    for (size_t i = 0; i < sizeof open_to_all / sizeof open_to_all[0]; i++) {
        CU_ASSERT_EQUAL_FATAL(chmod(path, open_to_all[i]), 0);
        C4TEST_INT(c4_file_store_read(path, entry.job_id, 8, &found, reason), C4_ERR_OPTION);
        C4TEST_CONTAINS(c4_fail_text(), "can be written by others (mode 6");
        C4TEST_INT(c4_file_store_publish(path, &entry), C4_ERR_OPTION);
    }
    CU_ASSERT_EQUAL_FATAL(chmod(path, 0644), 0); /* only read: no harm, there is no secret in it */
    C4TEST_OK(c4_file_store_read(path, entry.job_id, 8, &found, reason));
    if (geteuid() != 0)
        return;
    CU_ASSERT_EQUAL_FATAL(chown(path, 65534, 65534), 0);
    C4TEST_INT(c4_file_store_read(path, entry.job_id, 8, &found, reason), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "is of user 65534 (mode 644) and this process of user 0: ");
    C4TEST_INT(c4_file_store_publish(path, &entry), C4_ERR_OPTION);
}

/* Readers see the whole file or none, whatever is under way: it is renamed into place, and nothing else is left there. */
static void test_whole(void)
{
    const char *path = c4test_path("meet");
    char reason[C4_FILE_STORE_REASON_BYTES] = "";
    c4_file_store_entry entry = make_entry(), found;
    atomic_int *stop = c4test_shared(sizeof *stop);
    C4TEST_OK_FATAL(c4_file_store_publish(path, &entry));
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        int bad = 0;
        while (!*stop)
            bad |= c4_file_store_read(path, entry.job_id, 8, &found, reason) != C4_OK;
        _exit(bad);
    }
    for (int i = 0; i < c4test_samples(400); i++)
        C4TEST_OK(c4_file_store_publish(path, &entry));
    *stop = 1;
    int status = -1;
    waitpid(child, &status, 0);
    C4TEST_INT(status, 0);
    c4_file_store_remove(path, &entry);
    CU_ASSERT_EQUAL(rmdir(c4test_dir()), 0); /* empty: no temporary file has stayed */
    CU_ASSERT_EQUAL(mkdir(c4test_dir(), 0700), 0);
}

static void test_stale(void)
{
    const char *path = c4test_path("meet");
    char reason[C4_FILE_STORE_REASON_BYTES] = "";
    c4_file_store_entry dead = make_entry();
    c4_file_store_entry mine = make_entry();
    c4_file_store_entry found;
    dead.process = dead_process();
    C4TEST_OK_FATAL(c4_file_store_publish(path, &dead));
    C4TEST_INT(c4_file_store_read(path, dead.job_id, 8, &found, reason), C4_IN_PROGRESS);
    C4TEST_CONTAINS(reason, "which is dead");
    C4TEST_OK(c4_file_store_publish(path, &mine)); /* replaces it */
    c4_file_store_remove(path, &dead);             /* not its own any more */
    C4TEST_OK(c4_file_store_read(path, mine.job_id, 8, &found, reason));
    /* Another living process may not take it over. */
    pid_t child = fork();
    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        c4_file_store_entry other = make_entry();
        _exit(c4_file_store_publish(path, &other) == C4_ERR_OPTION && strstr(c4_fail_text(), "in use by another job")
                  ? 0
                  : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    C4TEST_INT(status, 0);
}

/* As where root's files are given to nobody: rank 0 finds out by itself. */
static void test_given_away(void)
{
    const char *path = c4test_path("meet");
    c4_file_store_entry entry = make_entry();
    if (geteuid() != 0)
        C4TEST_SKIP("only root's files are given away");
    CU_ASSERT_EQUAL_FATAL(chmod(c4test_dir(), 0777), 0);
    setfsuid(65534);
    C4TEST_INT(c4_file_store_publish(path, &entry), C4_ERR_OPTION);
    setfsuid(0);
    C4TEST_CONTAINS(c4_fail_text(),
                    "meet is of user 65534 (mode 600) and this process of user 0: run all ranks as one");
}

enum { RACERS = 4 };

typedef struct race {
    const char *path;
    atomic_int here, done, winners, losers;
} race;

static void racing_root(int rank, void *arg)
{
    race *r = arg;
    c4_file_store_entry entry = make_entry(), found;
    char reason[C4_FILE_STORE_REASON_BYTES] = "";
    entry.job_id += (uint64_t)rank;
    r->here++;
    while (r->here < RACERS)
        sched_yield();
    if (c4_file_store_publish(r->path, &entry) == C4_OK) {
        r->winners++;
    } else {
        C4TEST_CONTAINS(c4_fail_text(), "is in use by another job that is starting (rank 0 is pid ");
        r->losers++;
    }
    bool won = access(r->path, F_OK) == 0 && c4_file_store_read(r->path, entry.job_id, 8, &found, reason) == C4_OK;
    r->done++;
    while (r->done < RACERS) /* alive until all have looked */
        sched_yield();
    if (won)
        c4_file_store_remove(r->path, &entry);
}

/* Jobs that start at once: one gets the file, with and without what a dead one has left there. */
static void test_race(void)
{
    race *r = c4test_shared(sizeof *r);
    r->path = c4test_path("meet");
    for (int i = 0; i < c4test_samples(60); i++) {
        c4_file_store_entry dead = make_entry();
        dead.process = dead_process();
        unlink(r->path);
        if (i % 2)
            C4TEST_OK_FATAL(c4_file_store_publish(r->path, &dead));
        r->here = r->done = r->winners = r->losers = 0;
        c4test_ranks(RACERS, racing_root, r, 30);
        C4TEST_INT(r->winners, 1);
        C4TEST_INT(r->losers, RACERS - 1);
    }
    unlink(r->path);
    CU_ASSERT_EQUAL(rmdir(c4test_dir()), 0); /* nothing has stayed */
    CU_ASSERT_EQUAL(mkdir(c4test_dir(), 0700), 0);
}

/* ---- jobs ---- */

typedef struct file_job {
    const char *path;
    int nranks;
    bool keyless;
    int timeout_ms;
} file_job;

static void meeting_rank(int rank, void *arg)
{
    const file_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    uint32_t out[8];
    c4_bootstrap_spec spec = {.rank = rank,
                              .nranks = job->nranks,
                              .job_id = 4711,
                              .key = job->keyless ? NULL : key,
                              .listen_fd = -1,
                              .listen = &any_loopback,
                              .nlisten = 1,
                              .file = job->path,
                              .timeout_ms = job->timeout_ms};
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    C4TEST_OK_FATAL(c4_bootstrap_all_gather(bootstrap, &(uint32_t){(uint32_t)rank}, 4, out));
    for (int i = 0; i < job->nranks; i++)
        C4TEST_INT(out[i], i);
    CU_ASSERT_NOT_EQUAL(access(job->path, F_OK), 0);
    c4_bootstrap_close(bootstrap);
}

/* With what dead jobs have left: of this host, and of another one, at whose address nobody answers. */
static void test_jobs(void)
{
    file_job job = {.path = c4test_path("meet"), .nranks = 5, .timeout_ms = c4test_seconds(15) * 1000};
    c4_file_store_entry left = make_entry();
    c4test_ranks(job.nranks, meeting_rank, &job, 30);
    left.job_id = 4711;
    left.nranks = 5;
    left.process = dead_process();
    C4TEST_OK_FATAL(c4_file_store_publish(job.path, &left));
    c4test_ranks(job.nranks, meeting_rank, &job, 30);
    left.process.boot_id[0] ^= 1;
    left.naddresses = 1;
    left.addresses[0] = (c4_net_address){.family = 4, .port = 1, .bytes = {127, 0, 0, 1}};
    C4TEST_OK_FATAL(c4_file_store_publish(job.path, &left));
    c4test_ranks(job.nranks, meeting_rank, &job, 30);
    job.keyless = true;
    c4test_ranks(job.nranks, meeting_rank, &job, 30);
}

static void lonely_rank(int rank, void *arg)
{
    const file_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = {.rank = rank + 1,
                              .nranks = 2,
                              .job_id = 4711,
                              .key = key,
                              .listen_fd = -1,
                              .file = job->path,
                              .timeout_ms = 300};
    C4TEST_INT(c4_bootstrap_open(&spec, &bootstrap), C4_ERR_TIMEOUT);
    C4TEST_CONTAINS(c4_fail_text(), "within 300 ms (C4_SETUP_TIMEOUT_MS): rank 0 has not written it");
}

/* Rank 0 was here, on another host; this rank has no key. */
static void strange_rank(int rank, void *arg)
{
    const file_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = {.rank = rank + 1,
                              .nranks = 8,
                              .job_id = make_entry().job_id,
                              .listen_fd = -1,
                              .file = job->path,
                              .timeout_ms = 300};
    C4TEST_INT(c4_bootstrap_open(&spec, &bootstrap), C4_ERR_TIMEOUT);
    C4TEST_CONTAINS(c4_fail_text(), "and without a key only ranks of one host meet: set C4_KEY_FILE");
}

static void test_other_host(void)
{
    file_job job = {.path = c4test_path("meet")};
    c4_file_store_entry left = make_entry();
    left.process.boot_id[0] ^= 1;
    C4TEST_OK_FATAL(c4_file_store_publish(job.path, &left));
    c4test_ranks(1, strange_rank, &job, 20);
}

static void test_no_root(void)
{
    file_job job = {.path = c4test_path("meet")};
    c4test_ranks(1, lonely_rank, &job, 20);
}

static void aborted_rank(int rank, void *arg)
{
    const file_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    atomic_int aborted = 1;
    c4_bootstrap_spec spec = {.rank = rank + 1,
                              .nranks = 2,
                              .job_id = 4711,
                              .key = key,
                              .listen_fd = -1,
                              .file = job->path,
                              .timeout_ms = 60000,
                              .abort_flag = &aborted};
    C4TEST_INT(c4_bootstrap_open(&spec, &bootstrap), C4_ERR_ABORTED);
    C4TEST_CONTAINS(c4_fail_text(), "rank 1: aborted while it waited for rank 0 at the file ");
    C4TEST_CONTAINS(c4_fail_text(), "meet: rank 0 has not written it");
}

/* No address is known yet: the text names the file. */
static void test_aborted(void)
{
    file_job job = {.path = c4test_path("meet")};
    c4test_ranks(1, aborted_rank, &job, 20);
}

static void unlucky_rank(int unused, void *arg)
{
    int rank = *(const int *)arg;
    (void)unused;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = {.rank = rank,
                              .nranks = 2,
                              .job_id = 4711,
                              .key = key,
                              .listen_fd = -1,
                              .listen = &any_loopback,
                              .nlisten = 1,
                              .file = c4test_dir(),
                              .timeout_ms = 60000};
    const char *log = c4test_path("log");
    char text[4096] = "";
    CU_ASSERT_PTR_NOT_NULL_FATAL(freopen(log, "we", stderr));
    C4TEST_INT(c4_bootstrap_open(&spec, &bootstrap), C4_ERR_OPTION);
    FILE *file = fopen(log, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    const char *words = "is not a regular file";
    const char *first = strstr(text, words);
    CU_ASSERT(first != NULL && strstr(first + 1, words) == NULL);
}

/* What cannot work is logged once, by rank 0 and by the others. */
static void test_said_once(void)
{
    for (int rank = 0; rank < 2; rank++)
        c4test_ranks(1, unlucky_rank, &rank, 20);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(write_and_read),
                                        C4TEST(refuses),
                                        C4TEST(permissions),
                                        C4TEST(whole),
                                        C4TEST(stale),
                                        C4TEST(no_root),
                                        C4TEST(other_host),
                                        C4TEST_DEADLINE(jobs, 90),
                                        C4TEST(given_away),
                                        C4TEST(aborted),
                                        C4TEST(said_once),
                                        C4TEST_DEADLINE(race, 60),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
