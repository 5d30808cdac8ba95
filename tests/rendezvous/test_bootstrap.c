#include "rendezvous/bootstrap.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "rendezvous/listener.h"
#include "tests/c4test.h"
#include "wire/handshake.h"
#include "wire/unique_id.h"

static const unsigned char key[C4_KEY_BYTES] = "a key of thirty-two bytes......";
static const unsigned char other_key[C4_KEY_BYTES] = "another key of thirty-two bytes";
static const c4_net_address any_loopback = {.family = 4, .bytes = {127, 0, 0, 1}};

typedef struct test_job {
    int nranks;
    c4_net_address address;
    int listen_fd;
    int timeout_ms;
    bool keyless;
    c4_status expect;
    const char *text;
    int bad_rank;
    atomic_int *flag;   /* shared between the ranks */
    uint64_t *fault_ns; /* shared */
} test_job;

static test_job make_job(int nranks)
{
    test_job job = {.nranks = nranks, .timeout_ms = c4test_seconds(15) * 1000, .bad_rank = -1, .listen_fd = -1};
    c4_listen_spec listen = {.bind = any_loopback};
    C4TEST_OK_FATAL(c4_listener_open(&listen, &job.listen_fd, &job.address));
    job.flag = c4test_shared(sizeof *job.flag);
    job.fault_ns = c4test_shared(sizeof *job.fault_ns);
    return job;
}

static c4_bootstrap_spec spec_of(const test_job *job, int rank)
{
    if (rank != 0 && job->listen_fd >= 0)
        close(job->listen_fd); /* inherited by the fork; rank 0's alone */
    return (c4_bootstrap_spec){.rank = rank,
                               .nranks = job->nranks,
                               .job_id = 4711,
                               .key = job->keyless ? NULL : key,
                               .addresses = &job->address,
                               .naddresses = 1,
                               .listen_fd = rank == 0 ? job->listen_fd : -1,
                               .timeout_ms = job->timeout_ms};
}

static void run(test_job *job, c4test_rank_fn fn, int deadline_s)
{
    if (job->listen_fd >= 0) {
        /* The ranks inherit it; the parent must not keep it open, or nobody would be refused after rank 0's end. */
        c4test_team *team = c4test_team_start(job->nranks, fn, job);
        close(job->listen_fd);
        int *statuses = calloc((size_t)job->nranks, sizeof *statuses);
        CU_ASSERT_PTR_NOT_NULL_FATAL(statuses);
        c4test_team_wait(team, deadline_s, statuses);
        for (int rank = 0; rank < job->nranks; rank++)
            if (!(rank == job->bad_rank && WIFSIGNALED(statuses[rank])))
                C4TEST_INT(statuses[rank], 0);
        free(statuses);
        return;
    }
    c4test_ranks(job->nranks, fn, job, deadline_s);
}

static void check_gather(c4_bootstrap *bootstrap, int rank, int nranks, size_t bytes)
{
    unsigned char *in = malloc(bytes);
    unsigned char *out = malloc(bytes * (size_t)nranks);
    CU_ASSERT_FATAL(in && out);
    memset(in, rank + 1, bytes);
    C4TEST_OK_FATAL(c4_bootstrap_all_gather(bootstrap, in, bytes, out));
    size_t wrong = 0;
    for (size_t i = 0; i < bytes * (size_t)nranks; i++)
        wrong += out[i] != (unsigned char)(i / bytes + 1);
    C4TEST_INT(wrong, 0);
    free(in);
    free(out);
}

/* ---- good days ---- */

static void good_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap *bootstrap = NULL;
    c4_bootstrap_spec spec = spec_of(job, rank);
    uint64_t start_ns = c4_now_ns();
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    uint64_t open_ns = c4_now_ns();
    CU_ASSERT(open_ns - start_ns < 5000000000u * (unsigned)c4test_seconds(1)); /* with strangers at the door, too */
    check_gather(bootstrap, rank, job->nranks, 1);
    check_gather(bootstrap, rank, job->nranks, 500);
    check_gather(bootstrap, rank, job->nranks, C4_CONTROL_BLOB_MAX_BYTES);
    C4TEST_OK(c4_bootstrap_all_gather(bootstrap, NULL, 0, NULL));
    if (rank == 0)
        printf("%d ranks: let in %.1f ms, gathers %.1f ms\n", job->nranks, (double)(open_ns - start_ns) / 1e6,
               (double)(c4_now_ns() - open_ns) / 1e6);
    CU_ASSERT_PTR_NOT_NULL_FATAL(c4_bootstrap_key(bootstrap));
    if (!job->keyless) /* of one rank, the given one */
        C4TEST_INT(memcmp(c4_bootstrap_key(bootstrap), key, sizeof key) == 0, job->nranks == 1);
    unsigned char *keys = malloc(C4_KEY_BYTES * (size_t)job->nranks);
    CU_ASSERT_PTR_NOT_NULL_FATAL(keys);
    C4TEST_OK(c4_bootstrap_all_gather(bootstrap, c4_bootstrap_key(bootstrap), C4_KEY_BYTES, keys));
    for (int i = 1; i < job->nranks; i++)
        CU_ASSERT_EQUAL(memcmp(keys, keys + (size_t)i * C4_KEY_BYTES, C4_KEY_BYTES), 0);
    free(keys);
    c4_bootstrap_close(bootstrap);
}

static void test_good(void)
{
    static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 64};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        test_job job = make_job(sizes[i]);
        run(&job, good_rank, 20);
    }
}

static void test_256_ranks(void)
{
    test_job job = make_job(256);
    run(&job, good_rank, 60);
}

static void test_same_user(void)
{
    test_job job = make_job(5);
    job.keyless = true;
    run(&job, good_rank, 20);
}

/* ---- bad days ---- */

static void expect_failure(c4_status status, const test_job *job, int rank)
{
    if (status != job->expect || !strstr(c4_fail_text(), job->text))
        fprintf(stderr, "rank %d: %d, %s\n", rank, status, c4_fail_text());
    C4TEST_INT(status, job->expect);
    C4TEST_CONTAINS(c4_fail_text(), job->text);
}

static c4_status open_and_gather(const c4_bootstrap_spec *spec, int rounds)
{
    c4_bootstrap *bootstrap = NULL;
    unsigned char out[64 * 8];
    c4_status status = c4_bootstrap_open(spec, &bootstrap);
    for (int i = 0; status == C4_OK && i < rounds; i++)
        status = c4_bootstrap_all_gather(bootstrap, &(uint64_t){7}, 8, out);
    c4_bootstrap_close(bootstrap);
    return status;
}

static void missing_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == job->bad_rank || rank == job->bad_rank + 1)
        return;
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_missing(void)
{
    test_job job = make_job(6);
    job.timeout_ms = 600;
    job.bad_rank = 3;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "ranks 3, 4 have not connected after 600 ms to 127.0.0.1:";
    run(&job, missing_rank, 15);
}

static void wrong_key_rank(int rank, void *arg)
{
    test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == job->bad_rank) {
        spec.key = other_key;
        job->expect = C4_ERR_AUTH;
        job->text = "rank 2: rendezvous with rank 0 at 127.0.0.1";
        expect_failure(open_and_gather(&spec, 1), job, rank);
        C4TEST_CONTAINS(c4_fail_text(), "the two sides have different keys");
        return;
    }
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_wrong_key(void)
{
    test_job job = make_job(4);
    job.timeout_ms = 1000;
    job.bad_rank = 2;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "rank 2 has not connected";
    run(&job, wrong_key_rank, 15);
}

static void keyless_rank(int rank, void *arg)
{
    test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == job->bad_rank) {
        spec.key = NULL;
        job->text = "this rank has no key";
    }
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_key_on_one_side(void)
{
    test_job job = make_job(3);
    job.timeout_ms = 500;
    job.bad_rank = 2;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "rank 2 has not connected";
    run(&job, keyless_rank, 15);
}

static void wrong_count_rank(int rank, void *arg)
{
    test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == job->bad_rank) {
        spec.nranks++;
        job->expect = C4_ERR_AUTH;
        job->text = "different rank counts";
    }
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_wrong_count(void)
{
    test_job job = make_job(3);
    job.timeout_ms = 500;
    job.bad_rank = 1;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "rank 1 has not connected";
    run(&job, wrong_count_rank, 15);
}

/* Killed while others are still missing (round 0) or between exchanges. */
static void killed_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    c4_bootstrap *bootstrap = NULL;
    uint64_t out[16];
    if (rank != job->bad_rank) {
        expect_failure(open_and_gather(&spec, 3), job, rank);
        return;
    }
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    C4TEST_OK_FATAL(c4_bootstrap_all_gather(bootstrap, &(uint64_t){7}, 8, out));
    raise(SIGKILL);
}

static void test_killed(void)
{
    test_job job = make_job(5);
    job.bad_rank = 3;
    job.expect = C4_ERR_PEER_DEAD;
    job.text = "rank 3 (pid ";
    run(&job, killed_rank, 15);
}

static void killed_early_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == 1)
        alarm(1); /* by then it has been let in, and waits for the others until this ends it */
    if (rank == 2)
        return; /* never comes: the others must not wait for it */
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_killed_early(void)
{
    test_job job = make_job(5);
    job.bad_rank = 1;
    job.expect = C4_ERR_PEER_DEAD;
    job.text = "rank 1 (pid ";
    run(&job, killed_early_rank, 10);
}

static void killed_root_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    c4_bootstrap *bootstrap = NULL;
    if (rank == 0) {
        C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
        raise(SIGKILL);
    }
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_killed_root(void)
{
    test_job job = make_job(4);
    job.bad_rank = 0;
    job.expect = C4_ERR_PEER_DEAD;
    job.text = "rank 0 (pid ";
    run(&job, killed_root_rank, 10);
}

static void no_root_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == 0) {
        close(spec.listen_fd);
        return;
    }
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_no_root(void)
{
    test_job job = make_job(2);
    job.timeout_ms = 300;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "did not let this rank in within 300 ms (C4_SETUP_TIMEOUT_MS): Connection refused";
    run(&job, no_root_rank, 10);
}

static void give_up_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    c4_bootstrap *bootstrap = NULL;
    if (rank != job->bad_rank) {
        expect_failure(open_and_gather(&spec, 1), job, rank);
        return;
    }
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    c4_bootstrap_give_up(bootstrap, "no memory for \x1b[31mrings");
    c4_bootstrap_close(bootstrap);
}

static void test_give_up(void)
{
    for (int bad = 0; bad < 2; bad++) {
        test_job job = make_job(4);
        job.bad_rank = bad * 2;
        job.expect = C4_ERR_PEER_ERROR;
        job.text = bad ? "): no memory for ?[31mrings" : "rank 0 (pid ";
        run(&job, give_up_rank, 10);
    }
}

/* Aborted at the door (rank 0 waits for a rank that never comes) and in an exchange. */
static void aborted_rank(int rank, void *arg)
{
    test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    spec.abort_flag = job->flag;
    if (rank == job->bad_rank) {
        poll(NULL, 0, 100); /* nothing to wait for: "some time later" is the point */
        atomic_store(job->flag, 1);
        *job->fault_ns = c4_now_ns();
        return;
    }
    c4_status status = open_and_gather(&spec, 1);
    C4TEST_INT(status, C4_ERR_ABORTED);
    C4TEST_CONTAINS(c4_fail_text(), "aborted");
    CU_ASSERT(c4_now_ns() - *job->fault_ns < 1000000000u * (unsigned)c4test_seconds(1));
}

static void test_abort(void)
{
    test_job job = make_job(3);
    job.bad_rank = 2;
    run(&job, aborted_rank, 10);
}

static void duplicate_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == 2)
        spec.rank = 1; /* whichever of the two comes second is told */
    c4_status status = open_and_gather(&spec, 1);
    if (rank == 0)
        return expect_failure(status, job, rank);
    CU_ASSERT(status == C4_ERR_ROOT || status == C4_ERR_TIMEOUT);
    if (status == C4_ERR_ROOT) {
        C4TEST_CONTAINS(c4_fail_text(), "two processes have rank 1: pid ");
        atomic_fetch_add(job->flag, 1);
    }
}

static void test_duplicate(void)
{
    test_job job = make_job(3);
    job.timeout_ms = 700;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "rank 2 has not connected";
    run(&job, duplicate_rank, 10);
    C4TEST_INT(atomic_load(job.flag), 1);
}

/* ---- strangers ---- */

static int knock(const test_job *job)
{
    struct sockaddr_storage name;
    socklen_t bytes = c4_net_address_to_sockaddr(&job->address, &name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&name, bytes), 0);
    return fd;
}

/* More strangers than there are places, all before the first rank: silent ones, garbage, half a hello, a whole hello
 * that is never continued, and one that pours bytes. */
static void strange_rank(int rank, void *arg)
{
    test_job *job = arg;
    if (rank != job->bad_rank) {
        while (!atomic_load(job->flag))
            poll(NULL, 0, 1);
        if (rank == job->nranks) /* not reached: ranks are below */
            return;
        test_job smaller = *job;
        smaller.nranks--;
        good_rank(rank, &smaller);
        atomic_fetch_add(job->flag, 1);
        return;
    }
    close(job->listen_fd);
    int fds[200];
    unsigned char bytes[5000];
    c4_handshake handshake;
    c4_handshake_identity identity = {.key = other_key,
                                      .job_id = 4711,
                                      .rank = 1,
                                      .nranks = (uint32_t)job->nranks - 1,
                                      .role = C4_HANDSHAKE_CONTROL,
                                      .transport = "control"};
    C4TEST_OK_FATAL(c4_handshake_init(&handshake, &identity, true));
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)c4test_rand();
    for (int i = 0; i < 200; i++) {
        const unsigned char *hello = NULL;
        size_t size = c4_handshake_output(&handshake, &hello);
        fds[i] = knock(job);
        if (i % 5 == 1)
            send(fds[i], bytes, sizeof bytes, MSG_NOSIGNAL);
        else if (i % 5 == 2)
            send(fds[i], hello, size / 2, MSG_NOSIGNAL);
        else if (i % 5 == 3)
            send(fds[i], hello, size, MSG_NOSIGNAL);
        if (i == 100)
            atomic_store(job->flag, 1);
    }
    while (atomic_load(job->flag) < job->nranks) /* hold them until all ranks are done */
        poll(NULL, 0, 5);
    for (int i = 0; i < 200; i++)
        close(fds[i]);
}

static void test_strangers(void)
{
    test_job job = make_job(5);
    job.bad_rank = 4;
    run(&job, strange_rank, 30);
}

/* Ranks that all come at once to a busy machine have connected long before it is their turn to say who they are: nobody
 * puts them out for that, though more than C4_DOOR_PLACES are there. */
static void late_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == 0)
        return expect_failure(open_and_gather(&spec, 1), job, rank);
    if (rank > 1)
        return; /* rank 1 knocks for all */
    struct pollfd watches[100];
    for (int i = 0; i < 100; i++)
        watches[i] = (struct pollfd){.fd = knock(job), .events = POLLIN};
    C4TEST_INT(poll(watches, 100, 600), 0);
}

static void test_slow_ranks(void)
{
    test_job job = make_job(100);
    job.timeout_ms = c4test_seconds(1) * 1000;
    job.expect = C4_ERR_TIMEOUT;
    job.text = "not connected";
    run(&job, late_rank, 20);
}

/* ---- local resources ---- */

static void few_files_rank(int rank, void *arg)
{
    const test_job *job = arg;
    c4_bootstrap_spec spec = spec_of(job, rank);
    if (rank == 0) {
        struct rlimit limit = {20, 20};
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    /* All of them are there: rank 0 does not wait for long for those whom it has to tell of its end. */
    atomic_fetch_add(job->flag, 1);
    while (atomic_load(job->flag) < job->nranks)
        poll(NULL, 0, 1);
    expect_failure(open_and_gather(&spec, 1), job, rank);
}

static void test_file_limit(void)
{
    test_job job = make_job(30);
    job.timeout_ms = c4test_seconds(4) * 1000;
    job.expect = C4_ERR_FILES;
    job.text = "rank 0 cannot let in more ranks";
    run(&job, few_files_rank, 20);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(good, 60),
                                        C4TEST_DEADLINE(256_ranks, 90),
                                        C4TEST_DEADLINE(same_user, 30),
                                        C4TEST(missing),
                                        C4TEST(wrong_key),
                                        C4TEST(key_on_one_side),
                                        C4TEST(wrong_count),
                                        C4TEST(killed),
                                        C4TEST(killed_early),
                                        C4TEST(killed_root),
                                        C4TEST(no_root),
                                        C4TEST(give_up),
                                        C4TEST(abort),
                                        C4TEST(duplicate),
                                        C4TEST_DEADLINE(strangers, 40),
                                        C4TEST_DEADLINE(slow_ranks, 30),
                                        C4TEST_DEADLINE(file_limit, 30),

                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
