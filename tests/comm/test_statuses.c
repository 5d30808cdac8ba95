/* Every status there is, provoked by what provokes it in life, and its text: what happened, where, and the fix. The text is
 * the last error, and the log has it once. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/status.h"
#include "tests/c4test.h"
#include "tests/comm/statuses.h"

static const struct {
    const char *name;
    c4_status status;
    const provocation *rows;
} statuses[] = {
#define ROW(name, value, text, advice) {#name, C4_##name, provocations_of_##name},
    C4_STATUS_MAP(ROW)
#undef ROW
};
enum { NSTATUSES = sizeof statuses / sizeof statuses[0] };

c4_status stage_wait_end(stage *s)
{
    char byte;
    while (read(s->ends, &byte, 1) > 0)
        ;
    return C4_OK;
}

/* ---- the judgement ---- */

static size_t count_in_log(int fd, const char *text)
{
    static char log[1 << 16];
    size_t count = 0;
    ssize_t got = pread(fd, log, sizeof log - 1, 0);
    log[got > 0 ? got : 0] = '\0';
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static bool judge(const provocation *p, size_t index, c4_status met, const stage *s, int log)
{
    c4_status wanted = statuses[index].status;
    const char *text = s->comm && p->part && *c4_last_error(s->comm) ? c4_last_error(s->comm) : c4_last_error(NULL);
    bool good = met == wanted;
    if (!good)
        fprintf(stderr, "got %s: ", c4_status_name(met));
    if (wanted < 0) {
        const char *const always[] = {c4_status_name(wanted), c4_status_advice(wanted)};
        for (size_t i = 0; i < STATUSES_WORDS + 2; i++) {
            const char *part = i < 2 ? always[i] : p->says[i - 2];
            if (part && !strstr(text, part)) {
                fprintf(stderr, "no \"%s\" in: ", part);
                good = false;
            }
        }
        size_t logged = count_in_log(log, text);
        if (logged != 1)
            fprintf(stderr, "logged %zu times: ", logged);
        good = good && logged == 1;
    }
    if (!good || getenv("C4_TEST_VERBOSE"))
        fprintf(stderr, "%s by %s:\n    %s\n", statuses[index].name, p->what, wanted < 0 ? text : "");
    return good;
}

/* ---- the stage ---- */

static int rank_main(const provocation *p, size_t index, stage *s)
{
    const char *options = p->options ? p->options : p->nranks ? "C4_TRANSPORTS=shm,tcp" : "C4_TRANSPORTS=shm";
    int terminal = dup(2), log = memfd_create("log", MFD_CLOEXEC); /* no path: the part may lose its rights */
    dup2(log, 2);
    c4_comm_config config = {.struct_size = sizeof config, .options = options};
    if (!p->raw && c4_comm_create(&s->id, s->nranks, s->rank, &config, NULL, &s->comm) != C4_OK) {
        dprintf(terminal, "%s by %s: rank %d: no communicator: %s\n", statuses[index].name, p->what, s->rank,
                c4_last_error(NULL));
        return 1;
    }
    c4_status met = p->part(s);
    dup2(terminal, 2);
    return s->rank == p->judged && !judge(p, index, met, s, log);
}

/* One process for each rank: limits and variables are not given back. */
static bool provoke(const provocation *p, size_t index)
{
    pid_t pids[4];
    int ids[2], ends[2], status = 0;
    stage s = {.nranks = p->nranks ? p->nranks : 1};
    if (pipe(ids) || pipe(ends) || pipe(s.gate))
        return false;
    for (s.rank = 0; s.rank < s.nranks; s.rank++) {
        pids[s.rank] = fork();
        if (pids[s.rank] > 0)
            continue;
        s.ends = ends[0];
        if (s.rank > 0)
            close(ends[1]);
        if (s.rank > 0 && read(ids[0], &s.id, sizeof s.id) != (ssize_t)sizeof s.id)
            _exit(1);
        if (s.rank == 0 && c4_unique_id_create(&s.id) != C4_OK)
            _exit(1);
        for (int i = 1; s.rank == 0 && i < s.nranks; i++)
            if (write(ids[1], &s.id, sizeof s.id) != (ssize_t)sizeof s.id)
                _exit(1);
        _exit(rank_main(p, index, &s));
    }
    const int fds[] = {ids[0], ids[1], ends[0], ends[1], s.gate[0], s.gate[1]};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        close(fds[i]);
    waitpid(pids[p->judged], &status, 0);
    for (int i = 0; i < s.nranks; i++)
        if (i != p->judged) {
            kill(pids[i], SIGKILL); /* stopped ones, too */
            waitpid(pids[i], NULL, 0);
        }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool provoke_or_say(const provocation *p, size_t index)
{
    const char *missing = p->missing ? p->missing() : NULL;
    if (C4TEST_SANITIZED && p->memory)
        missing = "a sanitizer needs its address space";
    if (missing) {
        printf("C4_%s is not provoked by %s: %s\n", statuses[index].name, p->what, missing);
        return true;
    }
    bool good = provoke(p, index);
    if (!good)
        fprintf(stderr, "C4_%s is not provoked by %s\n", statuses[index].name, p->what);
    return good;
}

static void test_all(void)
{
    setenv("C4_LOG", "warn", 1);
    for (size_t i = 0; i < NSTATUSES; i++) {
        const provocation *p = statuses[i].rows;
        CU_ASSERT(*c4_status_text(statuses[i].status) && *c4_status_advice(statuses[i].status));
        CU_ASSERT(p->part != NULL);
        for (; p->part; p++)
            CU_ASSERT(provoke_or_say(p, i));
    }
}

/* Texts that came over the wire or from another thread get the words of their status, whole, and once. */
static void test_advice(void)
{
    static const char whole[] = "rank 1 died [C4_ERR_PEER_DEAD: ", other[] = "rank 1: no file [C4_ERR_OPTION: see it]";
    char text[C4_ERROR_TEXT_BYTES], again[C4_ERROR_TEXT_BYTES];
    snprintf(text, sizeof text, "rank 1 died");
    c4_fail_advise(C4_ERR_PEER_DEAD, text, sizeof text);
    CU_ASSERT(strncmp(text, whole, sizeof whole - 1) == 0 && strstr(text, c4_status_advice(C4_ERR_PEER_DEAD)));
    memcpy(again, text, sizeof again);
    c4_fail_advise(C4_ERR_PEER_DEAD, again, sizeof again);
    C4TEST_STRING(again, text);
    for (size_t cut = strlen("rank 1 died"); cut < strlen(text); cut++) { /* where there is no room for all of it */
        snprintf(again, sizeof again, "%.*s", (int)cut, text);
        c4_fail_advise(C4_ERR_PEER_DEAD, again, sizeof again);
        if (cut > strlen("rank 1 died [C4_"))
            C4TEST_STRING(again, text);
    }
    snprintf(text, sizeof text, "%s", other);
    c4_fail_advise(C4_ERR_PEER_ERROR, text, sizeof text);
    CU_ASSERT(strncmp(text, other, strlen(other)) == 0 && strstr(text, c4_status_advice(C4_ERR_PEER_ERROR)));
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    c4_fail_advise(C4_ERR_LINK, text, sizeof text);
    CU_ASSERT(strlen(text) == sizeof text - 1 && strstr(text, c4_status_advice(C4_ERR_LINK)));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(all, 90), C4TEST(advice), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
