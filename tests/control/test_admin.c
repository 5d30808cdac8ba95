/* The admin socket: its file, its limits, and what it answers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "record/sockets.h"
#include "tests/c4test.h"
#include "tests/control/admin_client.h"
#include "tests/control/control_rig.h"

/* ---- ranks ---- */

/* Stands for a communicator. First what the rig takes for its context. */
typedef struct fake_comm {
    news_log news;
    c4_control *control;
    c4_control_attachment *attachment;
    int rank, nranks;
    atomic_int aborted;
    atomic_bool dies; /* of an abort, at once */
    char by[400];
} fake_comm;

static void fake_name(void *context, char *text, size_t bytes)
{
    (void)context;
    snprintf(text, bytes, "dp");
}

static void fake_describe(void *context, c4_control_view view, c4_json *json)
{
    (void)context;
    c4_json_int(json, "view", (int)view);
}

static void fake_testify(void *context, unsigned char card[C4_CONTROL_CARD_BYTES])
{
    const fake_comm *comm = context;
    memset(card, 0, C4_CONTROL_CARD_BYTES);
    card[0] = (unsigned char)(100 + comm->rank);
}

static void fake_explain(void *context, const c4_control_testimony *members, c4_json *json)
{
    const fake_comm *comm = context;
    c4_json_open(json, "said", '[');
    for (int i = 0; i < comm->nranks; i++)
        c4_json_int(json, NULL, members[i].answer == C4_ANSWER_SAME ? members[i].card[0] : -(int)members[i].answer);
    c4_json_close(json, '[');
    c4_json_open(json, "asked", '[');
    for (int i = 0; i < comm->nranks; i++)
        c4_json_bool(json, NULL, members[i].asked);
    c4_json_close(json, '[');
}

static void fake_abort(void *context, const char *by, char told[C4_CONTROL_TEXT_MAX_BYTES])
{
    fake_comm *comm = context;
    if (atomic_load(&comm->dies))
        _exit(0);
    snprintf(comm->by, sizeof comm->by, "%s", by);
    snprintf(told, C4_CONTROL_TEXT_MAX_BYTES, "communicator \"dp\" was %s", by);
    atomic_store(&comm->aborted, 1);
}

static const c4_control_operator fakes = {
    .name = fake_name, .describe = fake_describe, .testify = fake_testify, .explain = fake_explain, .end = fake_abort};

#define COMM 0x1234abcdu

static void begin(test_rig *rig, int rank, fake_comm *comm)
{
    memset(comm, 0, sizeof *comm);
    comm->rank = rank;
    comm->nranks = rig->nranks;
    news_init(&comm->news);
    comm->control = rig_start(rig, rank);
    comm->attachment = rig_attach(comm->control, rig, COMM, &comm->news);
    c4_control_serve_operator(comm->attachment, &fakes);
    rig_meet(&rig->shared->ready, rig->nranks);
}

static void end(test_rig *rig, fake_comm *comm)
{
    rig_meet(&rig->shared->done, rig->nranks);
    c4_control_detach(comm->attachment);
    c4_control_stop(comm->control);
}

static test_rig make(int nranks)
{
    test_rig rig = rig_make(nranks, -1);
    rig.spec.admin_top = c4test_path("records");
    return rig;
}

static void expect(const test_rig *rig, int rank, const char *line, const char *part)
{
    char *answer = admin_ask(rig->spec.admin_top, rank, line);
    CU_ASSERT_FATAL(answer != NULL);
    C4TEST_CONTAINS(answer, part);
    size_t bytes = strlen(answer);
    CU_ASSERT(bytes > 2 && strcmp(answer + bytes - 2, "}\n") == 0);
    free(answer);
}

/* ---- the file ---- */

static void file_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    char name[64], path[4200];
    struct stat info;
    begin(rig, rank, &comm);
    CU_ASSERT_FATAL(admin_find(rig->spec.admin_top, rank, name) == 1);
    c4_admin_name parsed;
    CU_ASSERT(c4_admin_name_parse(name, &parsed) && parsed.pid == getpid() && parsed.job != 1);
    snprintf(path, sizeof path, "%s/%s", rig->spec.admin_top, name);
    CU_ASSERT(stat(path, &info) == 0 && S_ISSOCK(info.st_mode));
    C4TEST_INT(info.st_mode & 07777, 0600);
    CU_ASSERT(stat(rig->spec.admin_top, &info) == 0);
    C4TEST_INT(info.st_mode & 07777, 0700);
    C4TEST_INT(admin_count(rig->spec.admin_top), rig->nranks);
    end(rig, &comm);
    CU_ASSERT(access(path, F_OK) < 0 && errno == ENOENT);
}

static void test_file(void)
{
    int statuses[3];
    test_rig rig = make(3);
    umask(0);
    rig_run(&rig, file_rank, 15, statuses);
    C4TEST_INT(admin_count(rig.spec.admin_top), 0);
}

static void none_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm); /* works as well */
    end(rig, &comm);
}

/* A directory that others may write, or none: a warning and no socket. */
static void test_no_place(void)
{
    int statuses[2];
    test_rig rig = rig_make(2, -1);
    rig.spec.admin_top = "";
    rig_run(&rig, none_rank, 15, statuses);
    rig = make(2);
    CU_ASSERT(mkdir(rig.spec.admin_top, 0777) == 0 && chmod(rig.spec.admin_top, 0777) == 0);
    rig_run(&rig, none_rank, 15, statuses);
    C4TEST_INT(admin_count(rig.spec.admin_top), 0);
}

/* ---- answers ---- */

static void answers_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    if (rank == 1) {
        expect(rig, 0, "status\n", "\"command\":\"status\"");
        expect(rig, 0, "status\n", "{\"id\":\"1234abcd\",\"name\":\"dp\",\"rank\":0,\"nranks\":3,\"view\":0}");
        expect(rig, 2, "dump communicator=dp\r\n", "\"members\":[0,1,2],\"view\":1}");
        expect(rig, 2, "dump\n", "\"state\":\"alive\",\"linked\":");
        expect(rig, 2, "plan communicator=1234abcd\n", "\"view\":2}");
        expect(rig, 1, "probe\n", "\"said\":[100,101,102],\"asked\":[false,false,false]}");
        expect(rig, 0, "dump communicator=tp\n", "rank 0 has no communicator \\\"tp\\\"; it has \\\"dp\\\" (1234abcd)");
        expect(rig, 0, "halt\n", "unknown command \\\"halt\\\"");
    }
    end(rig, &comm);
    C4TEST_INT(comm.aborted, 0);
}

static void test_answers(void)
{
    int statuses[3];
    test_rig rig = make(3);
    rig_run(&rig, answers_rank, 30, statuses);
}

static void abort_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    if (rank == 0)
        expect(rig, 2, "abort the wrong data set\n", "\"aborted\":\"all communicators\"");
    while (!atomic_load(&comm.aborted)) /* the case's deadline ends a wait in vain */
        poll(NULL, 0, 1);
    char by[200];
    snprintf(by, sizeof by, "aborted by operator (uid %ld) through the admin socket of rank 2: the wrong data set",
             (long)geteuid());
    C4TEST_STRING(comm.by, by);
    C4TEST_INT(comm.news.count, 0);
    end(rig, &comm);
}

static void test_abort(void)
{
    int statuses[3];
    test_rig rig = make(3);
    rig_run(&rig, abort_rank, 30, statuses);
}

/* A program ends as soon as its operations have: the answer must have gone by then. */
static void abort_deadly_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    atomic_store(&comm.dies, rank == 1);
    rig_meet(&rig->shared->done, rig->nranks);
    if (rank == 0)
        expect(rig, 1, "abort communicator=dp\n", "\"aborted\":\"dp\"");
    while (atomic_load(&comm.dies))
        poll(NULL, 0, 1);
    c4_control_detach(comm.attachment);
    c4_control_stop(comm.control);
}

static void test_abort_deadly(void)
{
    int statuses[2];
    test_rig rig = make(2);
    rig_run(&rig, abort_deadly_rank, 30, statuses);
}

/* The order reaches rank 1 when its communicator is attached, but not yet the operator's; and one that is made after the
 * order is not meant. */
static void abort_early_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm = {.rank = rank, .nranks = rig->nranks}, next = comm;
    news_init(&comm.news);
    news_init(&next.news);
    comm.control = next.control = rig_start(rig, rank);
    comm.attachment = rig_attach(comm.control, rig, COMM, &comm.news);
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank == 2) {
        expect(rig, 2, "abort too early\n", "\"aborted\":\"all communicators\"");
        c4_control_report(comm.attachment, C4_ERR_MEMORY, "behind the order");
    } else {
        news_await(&comm.news, 1);
    }
    c4_control_serve_operator(comm.attachment, &fakes);
    C4TEST_INT(comm.aborted, 1);
    C4TEST_CONTAINS(comm.by, "through the admin socket of rank 2: too early");
    next.attachment = rig_attach(next.control, rig, COMM + 1, &next.news);
    c4_control_serve_operator(next.attachment, &fakes);
    C4TEST_INT(next.aborted, 0);
    rig_meet(&rig->shared->done, rig->nranks);
    c4_control_detach(next.attachment);
    c4_control_detach(comm.attachment);
    c4_control_stop(comm.control);
}

static void test_abort_early(void)
{
    int statuses[3];
    test_rig rig = make(3);
    rig_run(&rig, abort_early_rank, 30, statuses);
}

/* Of one communicator: its other members hear of it as of any error. */
static void abort_one_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    if (rank == 0)
        expect(rig, 2, "abort communicator=dp\n", "\"aborted\":\"dp\"");
    if (rank != 2) {
        news_await(&comm.news, 1);
        C4TEST_INT(comm.news.statuses[0], C4_ERR_ABORTED);
        C4TEST_INT(comm.news.members[0], 2);
        C4TEST_CONTAINS(comm.news.texts[0], "communicator \"dp\" was aborted by operator (uid ");
        C4TEST_CONTAINS(comm.news.texts[0], ") through the admin socket of rank 2: no reason given");
    }
    end(rig, &comm);
    C4TEST_INT(comm.aborted, rank == 2);
}

static void test_abort_one(void)
{
    int statuses[3];
    test_rig rig = make(3);
    rig_run(&rig, abort_one_rank, 30, statuses);
}

/* ---- limits ---- */

static void garbage_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    for (int i = 0; rank == 1 && i < c4test_samples(400); i++) {
        char junk[2000];
        size_t bytes = (size_t)c4test_rand_below(sizeof junk);
        for (size_t j = 0; j < bytes; j++)
            junk[j] = (char)c4test_rand_below(i % 2 ? 256 : 10);
        int fd = admin_connect(rig->spec.admin_top, 0);
        CU_ASSERT_FATAL(fd >= 0 || errno == EAGAIN);
        if (fd < 0)
            continue;
        send(fd, junk, bytes, MSG_NOSIGNAL);
        if (i % 3 == 0)
            shutdown(fd, SHUT_WR);
        close(fd);
    }
    if (rank == 1) {
        char line[1200];
        memset(line, 'a', sizeof line);
        line[sizeof line - 1] = '\0';
        expect(rig, 0, line, "a request is one line of text of at most 511 bytes");
        expect(rig, 0, "status\n", "\"view\":0");
    }
    end(rig, &comm);
}

static void test_garbage(void)
{
    int statuses[2];
    test_rig rig = make(2);
    rig_run(&rig, garbage_rank, 60, statuses);
}

/* Clients that say nothing: there is room for eight, they end after 5 s, and nothing else waits for them. */
static void half_open_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    if (rank == 1) {
        int fds[8];
        uint64_t start_ns = c4_now_ns();
        for (int i = 0; i < 8; i++) {
            fds[i] = admin_connect(rig->spec.admin_top, 0);
            CU_ASSERT_FATAL(fds[i] >= 0);
            CU_ASSERT(send(fds[i], "du", 2, MSG_NOSIGNAL) == 2);
        }
        expect(rig, 0, "status\n", "busy: 8 clients are connected; try again");
        for (int i = 0; i < 8; i++) {
            char *text = admin_read(fds[i], c4test_seconds(15) * 1000);
            C4TEST_CONTAINS(text, "no request came within 5 s");
            free(text);
            close(fds[i]);
        }
        CU_ASSERT(c4_now_ns() - start_ns >= 4900000000u);
        expect(rig, 0, "status\n", "\"view\":0");
    }
    end(rig, &comm);
    C4TEST_INT(comm.news.count, 0);
}

static void test_half_open(void)
{
    int statuses[2];
    test_rig rig = make(2);
    rig_run(&rig, half_open_rank, 60, statuses);
}

/* The directory and the file are open to all here, so that the process itself has to look. */
static void stranger_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    char name[64], path[4200];
    begin(rig, rank, &comm);
    if (rank == 1) {
        CU_ASSERT_FATAL(admin_find(rig->spec.admin_top, 0, name) == 1);
        snprintf(path, sizeof path, "%s/%s", rig->spec.admin_top, name);
        int directory = open(rig->spec.admin_top, O_RDONLY | O_DIRECTORY);
        CU_ASSERT(chmod(path, 0666) == 0 && chmod(rig->spec.admin_top, 0755) == 0 && chmod(c4test_dir(), 0755) == 0);
        CU_ASSERT_FATAL(directory >= 0 && seteuid(65534) == 0);
        int fd = c4_admin_dial(directory, name);
        CU_ASSERT_FATAL(seteuid(0) == 0 && fd >= 0);
        send(fd, "abort\n", 6, MSG_NOSIGNAL);
        char *text = admin_read(fd, c4test_seconds(8) * 1000);
        C4TEST_CONTAINS(text, "permission denied");
        free(text);
        close(fd);
        close(directory);
    }
    end(rig, &comm);
    C4TEST_INT(comm.aborted, 0);
}

static void test_stranger(void)
{
    int statuses[2];
    if (geteuid() != 0)
        C4TEST_SKIP("needs root, to be another user");
    test_rig rig = make(2);
    rig_run(&rig, stranger_rank, 30, statuses);
}

/* ---- ranks that do not answer ---- */

/* A rank that does not answer is asked about one communicator only; it does not answer about the other either. */
static void expect_silence_on_both(const test_rig *rig)
{
    static const char first[] = "\"said\":[100,101,-3],\"asked\":[false,false,true]},{";
    static const char second[] = "\"said\":[100,101,-3],\"asked\":[false,false,true]}]";
    char *answer = admin_ask(rig->spec.admin_top, 1, "probe\n");
    CU_ASSERT_FATAL(answer != NULL);
    C4TEST_CONTAINS(answer, first);
    C4TEST_CONTAINS(answer, second);
    free(answer);
}

static void stopped_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm, next;
    begin(rig, rank, &comm);
    next = comm;
    news_init(&next.news);
    next.attachment = rig_attach(next.control, rig, COMM + 1, &next.news);
    c4_control_serve_operator(next.attachment, &fakes);
    rig_meet(&rig->shared->go, rig->nranks);
    if (rank == 0) {
        pid_t stopped = (pid_t)c4_control_process(comm.control, 2)->pid;
        rig_stop(stopped);
        uint64_t start_ns = c4_now_ns();
        expect_silence_on_both(rig);
        CU_ASSERT(c4_now_ns() - start_ns < (uint64_t)c4test_seconds(4) * 1000000000u);
        CU_ASSERT(kill(stopped, SIGCONT) == 0);
        expect(rig, 1, "probe\n", "\"said\":[100,101,102],\"asked\":[false,false,false]}");
    }
    rig_meet(&rig->shared->done, rig->nranks);
    c4_control_detach(next.attachment);
    end(rig, &comm);
    C4TEST_INT(comm.news.count, 0);
}

static void test_stopped(void)
{
    int statuses[3];
    test_rig rig = make(3);
    rig_run(&rig, stopped_rank, 40, statuses);
}

/* ---- what is left behind ---- */

static void killed_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    if (rank == rig->victim) {
        rig_meet(&rig->shared->go, 1);
        kill(getpid(), SIGKILL);
    }
    news_await(&comm.news, 1);
    c4_control_detach(comm.attachment);
    c4_control_stop(comm.control);
}

static size_t stale(const char *top, uint64_t spare, bool remove)
{
    int directory = c4_record_open_top(top, false, NULL);
    CU_ASSERT_FATAL(directory >= 0);
    size_t count = c4_admin_sockets_stale(directory, spare, remove, NULL, NULL);
    close(directory);
    return count;
}

static void test_left_behind(void)
{
    int statuses[3];
    test_rig rig = make(3);
    rig.victim = 1;
    rig_run(&rig, killed_rank, 20, statuses);
    char name[64];
    c4_admin_name parsed;
    CU_ASSERT(WIFSIGNALED(statuses[1]));
    C4TEST_INT(admin_count(rig.spec.admin_top), 1);
    CU_ASSERT_FATAL(admin_find(rig.spec.admin_top, 1, name) == 1 && c4_admin_name_parse(name, &parsed));
    C4TEST_INT((int)stale(rig.spec.admin_top, parsed.job, true), 0); /* spared: of the run that is starting */
    C4TEST_INT((int)stale(rig.spec.admin_top, 2, false), 1);
    C4TEST_INT(admin_count(rig.spec.admin_top), 1);
    C4TEST_INT((int)stale(rig.spec.admin_top, 2, true), 1);
    C4TEST_INT(admin_count(rig.spec.admin_top), 0);
}

/* A job that is started again has the same job id, but its run has a number of its own: so it clears up after the last. */
static void test_started_again(void)
{
    int statuses[3];
    test_rig rig = make(3), again = make(3);
    rig.victim = 1;
    rig_run(&rig, killed_rank, 20, statuses);
    C4TEST_INT(admin_count(rig.spec.admin_top), 1);
    rig_run(&again, file_rank, 20, statuses); /* counts the sockets */
}

/* ---- forks ---- */

static int listening_sockets(void)
{
    int count = 0;
    for (int fd = 3; fd < 256; fd++) {
        int listens = 0, family = 0;
        socklen_t bytes = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && listens &&
            getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes) == 0 && family == AF_UNIX)
            count++;
    }
    return count;
}

/* The child has nothing of it, and its end takes nothing away. */
static void fork_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    fake_comm comm;
    begin(rig, rank, &comm);
    C4TEST_INT(listening_sockets(), 1);
    pid_t child = fork();
    if (child == 0) {
        int left = listening_sockets();
        c4_control_detach(comm.attachment);
        c4_control_stop(comm.control);
        _exit(left);
    }
    int status = -1;
    CU_ASSERT(waitpid(child, &status, 0) == child);
    C4TEST_INT(status, 0);
    expect(rig, rank, "status\n", "\"view\":0");
    end(rig, &comm);
}

static void test_fork(void)
{
    int statuses[2];
    test_rig rig = make(2);
    rig_run(&rig, fork_rank, 20, statuses);
    C4TEST_INT(admin_count(rig.spec.admin_top), 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(file),
                                        C4TEST_DEADLINE(no_place, 40),
                                        C4TEST_DEADLINE(answers, 40),
                                        C4TEST_DEADLINE(abort, 40),
                                        C4TEST_DEADLINE(abort_deadly, 40),
                                        C4TEST_DEADLINE(abort_one, 40),
                                        C4TEST_DEADLINE(abort_early, 40),
                                        C4TEST_DEADLINE(garbage, 70),
                                        C4TEST_DEADLINE(half_open, 70),
                                        C4TEST_DEADLINE(stranger, 40),
                                        C4TEST_DEADLINE(stopped, 50),
                                        C4TEST_DEADLINE(left_behind, 30),
                                        C4TEST_DEADLINE(started_again, 50),
                                        C4TEST_DEADLINE(fork, 30),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
