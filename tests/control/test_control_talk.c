/* What ranks ask of one another through the control plane: states, agreements, calls. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/status.h"
#include "tests/c4test.h"
#include "tests/control/control_rig.h"

/* ---- silence ---- */

static void await_state(c4_control_attachment *attachment, int member, c4_control_state state)
{
    while (c4_control_member_state(attachment, member) != state) /* the case's deadline ends a wait in vain */
        poll(NULL, 0, 1);
}

/* The victim stops. It is silent, and either goes on in time or is given up, and learns it when it goes on. */
static void stopping_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    bool final = rig->spec.silent_ms < 10000;
    rig_meet(&rig->shared->ready, rig->nranks);
    if (rank == rig->victim) {
        raise(SIGSTOP);
    } else {
        await_state(attachment, rig->victim, C4_CONTROL_SILENT);
        if (final)
            news_await(&news, 1);
        C4TEST_INT(news.count, final);
        if (atomic_fetch_add(&rig->shared->done, 1) + 1 == rig->nranks - 1)
            kill((pid_t)c4_control_process(control, rig->victim)->pid, SIGCONT);
        await_state(attachment, rig->victim, final ? C4_CONTROL_DEAD : C4_CONTROL_ALIVE);
    }
    if (final) {
        news_await(&news, 1);
        C4TEST_INT(news.members[0], rig->victim);
        C4TEST_INT(news.statuses[0], C4_ERR_PEER_SILENT);
        C4TEST_CONTAINS(news.texts[0], "its process is stopped by a signal (state T)");
    }
    rig_meet(&rig->shared->reports, rig->nranks);
    C4TEST_INT(c4_control_member_state(attachment, rig->nranks), C4_CONTROL_DEAD);
    if (!final)
        C4TEST_INT(news.count, 0);
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void run_stopping(int victim, int silent_ms)
{
    int statuses[5];
    test_rig rig = rig_make(5, -1);
    rig.victim = victim;
    rig.spec = (c4_control_spec){.heartbeat_ms = 1000, .silent_ms = silent_ms};
    rig_run(&rig, stopping_rank, 40, statuses);
    C4TEST_INT(statuses[victim], 0);
}

static void test_silent(void)
{
    run_stopping(3, 4000);
}

static void test_back(void)
{
    run_stopping(2, 60000);
}

/* ---- agreement ---- */

static c4_status agree(c4_control_attachment *attachment, int rank, int timeout_ms, c4_control_agreement *agreement)
{
    char blob[8];
    snprintf(blob, sizeof blob, "rank %d", rank);
    c4_control_proposal proposal = {.tag = 5,
                                    .value = ~(1ull << rank),
                                    .minimum = 100 - (uint64_t)rank,
                                    .blob = blob,
                                    .blob_bytes = sizeof blob,
                                    .timeout_ms = timeout_ms};
    return c4_control_agree(attachment, &proposal, agreement);
}

static void check_agreement(const c4_control_agreement *agreement, int nranks, int dead, int lowest)
{
    uint64_t value = UINT64_MAX;
    for (int rank = 0; rank < nranks; rank++) {
        C4TEST_INT(agreement->dead[rank], rank == dead);
        if (rank != dead)
            value &= ~(1ull << rank);
    }
    CU_ASSERT_EQUAL(agreement->value, value);
    C4TEST_INT(agreement->minimum, 100 - (nranks - 1 == dead ? nranks - 2 : nranks - 1));
    C4TEST_INT(agreement->lowest, lowest);
    C4TEST_INT(agreement->nlive, nranks - (dead >= 0));
    char blob[8];
    snprintf(blob, sizeof blob, "rank %d", lowest);
    C4TEST_INT(agreement->blob_bytes, sizeof blob);
    C4TEST_STRING((const char *)agreement->blob, blob);
}

/* All; then one comes so late that the others' calls have ended; then one dies while the others wait for it. */
static void agreeing_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    news_log news;
    unsigned char dead[8];
    c4_control_agreement agreement = {.dead = dead};
    news_init(&news);
    c4_control *control = rig_start(rig, rank);
    c4_control_attachment *attachment = rig_attach(control, rig, 7, &news);
    for (int round = 0; round < 20; round++) {
        C4TEST_OK(agree(attachment, rank, 20000, &agreement));
        check_agreement(&agreement, rig->nranks, -1, 0);
    }
    if (rank != 1) {
        C4TEST_INT(agree(attachment, rank, 50, &agreement), C4_ERR_TIMEOUT);
        C4TEST_CONTAINS(c4_fail_text(), rank == 0 ? "member 1, rank 1" : "member 0, rank 0");
    }
    rig_meet(&rig->shared->ready, rig->nranks);
    C4TEST_OK(agree(attachment, rank, 20000, &agreement));
    check_agreement(&agreement, rig->nranks, -1, 0);
    if (rank == rig->victim) {
        while (atomic_load(&rig->shared->done) < rig->nranks - 1)
            poll(NULL, 0, 1);
        raise(SIGKILL);
    }
    atomic_fetch_add(&rig->shared->done, 1);
    C4TEST_OK(agree(attachment, rank, 20000, &agreement));
    check_agreement(&agreement, rig->nranks, rig->victim, 0);
    atomic_int abort_flag = 1;
    c4_control_proposal proposal = {.tag = 5, .timeout_ms = 20000, .abort_flag = &abort_flag};
    rig_meet(&rig->shared->go, rig->nranks - 1);
    if (rank == 0)
        C4TEST_INT(c4_control_agree(attachment, &proposal, &agreement), C4_ERR_ABORTED);
    rig_meet(&rig->shared->reports, rig->nranks - 1);
    proposal.abort_flag = NULL;
    proposal.tag = rank ? 5 : 6; /* too late for rank 0, which has proposed already */
    C4TEST_OK(c4_control_agree(attachment, &proposal, &agreement));
    proposal.tag = rank ? 7 : 8;
    C4TEST_INT(c4_control_agree(attachment, &proposal, &agreement), C4_ERR_MISMATCH);
    rig_meet(&rig->shared->go, 2 * (rig->nranks - 1));
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void test_agree(void)
{
    int statuses[5];
    test_rig rig = rig_make(5, 3);
    rig_run(&rig, agreeing_rank, 40, statuses);
    CU_ASSERT(WIFSIGNALED(statuses[3]));
}

/* ---- questions ---- */

typedef struct answer_log {
    atomic_int count;
    int member;
    c4_control_answer answer;
    unsigned char reply[C4_CONTROL_CARD_BYTES];
} answer_log;

static c4_control_answer on_question(void *context, int asker, uint64_t sequence,
                                     const unsigned char card[C4_CONTROL_CARD_BYTES],
                                     unsigned char reply[C4_CONTROL_CARD_BYTES])
{
    (void)context;
    reply[0] = (unsigned char)asker;
    reply[1] = (unsigned char)sequence;
    reply[2] = card[0];
    return sequence == 9 ? C4_ANSWER_SAME : C4_ANSWER_DIFFERENT;
}

static void on_reply(void *context, int member, uint64_t sequence, c4_control_answer answer,
                     const unsigned char reply[C4_CONTROL_CARD_BYTES])
{
    answer_log *log = context;
    log->member = member;
    log->answer = answer;
    memcpy(log->reply, reply, sizeof log->reply);
    (void)sequence;
    atomic_fetch_add(&log->count, 1);
}

static void nothing_wrong(void *context, c4_status status, int member, const char *text)
{
    (void)context, (void)status, (void)member, (void)text;
}

static void ask(c4_control_attachment *attachment, answer_log *log, int member, uint64_t sequence, int asker)
{
    int before = atomic_load(&log->count);
    unsigned char card[C4_CONTROL_CARD_BYTES] = {(unsigned char)(asker + 40)};
    C4TEST_OK(c4_control_ask(attachment, member, sequence, card));
    while (atomic_load(&log->count) == before)
        poll(NULL, 0, 1);
    C4TEST_INT(log->member, member);
}

static void asking_rank(int rank, void *arg)
{
    test_rig *rig = arg;
    answer_log log = {.count = 0};
    int members[8] = {0, 1, 2, 3, 4, 5};
    c4_control_attachment *attachment = NULL;
    c4_control *control = rig_start(rig, rank);
    C4TEST_OK_FATAL(c4_control_attach(control, 3, members, rig->nranks, nothing_wrong, &log, &attachment));
    c4_control_answer_with(attachment, on_question, on_reply);
    rig_meet(&rig->shared->ready, rig->nranks);
    for (int member = 0; member < rig->nranks; member++) {
        if (member == rank)
            continue;
        uint64_t sequence = 8 + (uint64_t)member % 2;
        ask(attachment, &log, member, sequence, rank);
        C4TEST_INT(log.answer, sequence == 9 ? C4_ANSWER_SAME : C4_ANSWER_DIFFERENT);
        CU_ASSERT(log.reply[0] == rank && log.reply[1] == sequence && log.reply[2] == rank + 40);
    }
    C4TEST_INT(c4_control_ask(attachment, rank, 1, log.reply), C4_ERR_ARGUMENT);
    rig_meet(&rig->shared->done, rig->nranks);
    if (rank == rig->victim)
        raise(SIGKILL);
    if (rank == 4) { /* leaves the communicator, stays in the job */
        c4_control_detach(attachment);
        c4_control_leave(control, 3);
        rig_meet(&rig->shared->reports, rig->nranks - 1);
        c4_control_stop(control);
        return;
    }
    await_state(attachment, rig->victim, C4_CONTROL_DEAD);
    await_state(attachment, 4, C4_CONTROL_LEFT);
    ask(attachment, &log, rig->victim, 9, rank);
    C4TEST_INT(log.answer, C4_ANSWER_DEAD);
    ask(attachment, &log, 4, 9, rank);
    C4TEST_INT(log.answer, C4_ANSWER_LEFT);
    rig_meet(&rig->shared->reports, rig->nranks - 1);
    c4_control_detach(attachment);
    c4_control_stop(control);
}

static void test_ask(void)
{
    int statuses[6];
    test_rig rig = rig_make(6, 5);
    rig_run(&rig, asking_rank, 30, statuses);
    CU_ASSERT(WIFSIGNALED(statuses[5]));
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(silent, 40), C4TEST_DEADLINE(back, 40),
                                        C4TEST_DEADLINE(agree, 40), C4TEST_DEADLINE(ask, 30), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
