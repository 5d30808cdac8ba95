#include "tests/control/control_rig.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc_stat.h"
#include "rendezvous/listener.h"

static const unsigned char key[C4_KEY_BYTES] = "a key of thirty-two bytes......";

test_rig rig_make(int nranks, int victim)
{
    test_rig made = {.nranks = nranks,
                     .victim = victim,
                     .signal = SIGKILL,
                     .how = "killed by signal 9",
                     .spec = {.heartbeat_ms = 5000, .silent_ms = 30000}};
    c4_listen_spec listen = {.bind = {.family = 4, .bytes = {127, 0, 0, 1}}};
    C4TEST_OK_FATAL(c4_listener_open(&listen, &made.listen_fd, &made.address));
    made.shared = c4test_shared(sizeof *made.shared);
    return made;
}

c4_control *rig_start(const test_rig *rig, int rank)
{
    c4_bootstrap *bootstrap = NULL;
    c4_control *control = NULL;
    if (rank != 0)
        close(rig->listen_fd);
    c4_bootstrap_spec spec = {.rank = rank,
                              .nranks = rig->nranks,
                              .job_id = 1,
                              .key = key,
                              .addresses = &rig->address,
                              .naddresses = 1,
                              .listen_fd = rank ? -1 : rig->listen_fd,
                              .timeout_ms = c4test_seconds(15) * 1000};
    C4TEST_OK_FATAL(c4_bootstrap_open(&spec, &bootstrap));
    C4TEST_OK_FATAL(c4_control_start_with(bootstrap, &rig->spec, NULL, &control));
    c4_bootstrap_close(bootstrap);
    return control;
}

void news_init(news_log *news)
{
    memset(news, 0, sizeof *news);
    pthread_mutex_init(&news->lock, NULL);
    pthread_cond_init(&news->changed, NULL);
}

void news_on_fault(void *context, c4_status status, int member, const char *text)
{
    news_log *news = context;
    pthread_mutex_lock(&news->lock);
    if (news->count < 64) {
        news->members[news->count] = member;
        news->statuses[news->count] = status;
        snprintf(news->texts[news->count], sizeof news->texts[0], "%s", text);
        news->count++;
    }
    news->last_ns = c4_now_ns();
    pthread_cond_signal(&news->changed);
    pthread_mutex_unlock(&news->lock);
}

void news_await(news_log *news, int count)
{
    pthread_mutex_lock(&news->lock);
    while (news->count < count) /* the case's deadline ends a wait in vain */
        pthread_cond_wait(&news->changed, &news->lock);
    pthread_mutex_unlock(&news->lock);
}

c4_control_attachment *rig_attach(c4_control *control, const test_rig *rig, uint32_t comm, news_log *news)
{
    int members[256];
    c4_control_attachment *attachment = NULL;
    for (int i = 0; i < rig->nranks; i++)
        members[i] = i;
    C4TEST_OK_FATAL(c4_control_attach(control, comm, members, rig->nranks, news_on_fault, news, &attachment));
    return attachment;
}

void rig_meet(atomic_int *counter, int count)
{
    atomic_fetch_add(counter, 1);
    while (atomic_load(counter) < count)
        poll(NULL, 0, 1);
}

static bool all_threads_stopped(pid_t pid)
{
    char path[64];
    bool stopped = true;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    CU_ASSERT_PTR_NOT_NULL_FATAL(tasks);
    for (struct dirent *entry; stopped && (entry = readdir(tasks)) != NULL;) {
        c4_proc_stat stat;
        if (entry->d_name[0] != '.' && c4_proc_stat_read(strtol(entry->d_name, NULL, 10), &stat))
            stopped = stat.state == 'T';
    }
    closedir(tasks);
    return stopped;
}

void rig_stop(pid_t pid)
{
    CU_ASSERT_FATAL(kill(pid, SIGSTOP) == 0);
    while (!all_threads_stopped(pid)) /* the case's deadline ends a wait in vain */
        poll(NULL, 0, 1);
}

void rig_run(test_rig *rig, c4test_rank_fn fn, int deadline_s, int *statuses)
{
    c4test_team *team = c4test_team_start(rig->nranks, fn, rig);
    close(rig->listen_fd);
    c4test_team_wait(team, deadline_s, statuses);
    for (int rank = 0; rank < rig->nranks; rank++)
        if (rank != rig->victim)
            C4TEST_INT(statuses[rank], 0);
}
