#include "tools/c4info/admin.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc_stat.h"
#include "tools/c4info/clean.h"

#define AT_ONCE      256
#define ANSWER_BYTES ((size_t)64 << 20)

/* ---- finding ---- */

static void add_rank(void *context, const char *text, const c4_admin_name *name)
{
    c4info_ranks *ranks = context;
    if (ranks->count == ranks->room) {
        size_t room = ranks->room ? 2 * ranks->room : 64;
        c4info_rank *all = realloc(ranks->all, room * sizeof *all);
        if (!all)
            return;
        ranks->all = all;
        ranks->room = room;
    }
    c4info_rank *made = &ranks->all[ranks->count++];
    *made = (c4info_rank){.name = *name, .pid = name->pid, .fd = -1};
    snprintf(made->file, sizeof made->file, "%s", text);
}

static int compare(const void *a, const void *b)
{
    const c4_admin_name *x = &((const c4info_rank *)a)->name, *y = &((const c4info_rank *)b)->name;
    if (x->job != y->job)
        return x->job < y->job ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

c4_status c4info_ranks_find(c4info_ranks *ranks)
{
    c4_record_reason reason = {""};
    *ranks = (c4info_ranks){.count = 0};
    c4_status status = c4info_record_top(ranks->top);
    if (status < 0) {
        c4info_complain(status, "C4_RECORD_DIR");
        return status;
    }
    int directory = c4_record_open_top(ranks->top, false, &reason);
    if (directory < 0 && errno == ENOENT)
        return C4_OK; /* no job has run yet */
    if (directory < 0) {
        fprintf(stderr, "c4info: %s\n", reason.text);
        return C4_ERR_SYSTEM;
    }
    c4_admin_sockets(directory, add_rank, ranks);
    close(directory);
    if (ranks->count)
        qsort(ranks->all, ranks->count, sizeof *ranks->all, compare);
    return C4_OK;
}

void c4info_ranks_free(c4info_ranks *ranks)
{
    for (size_t i = 0; i < ranks->count; i++)
        free(ranks->all[i].answer);
    free(ranks->all);
    *ranks = (c4info_ranks){.count = 0};
}

char c4info_process_state(long pid)
{
    c4_proc_stat stat;
    c4_proc_stat_read(pid, &stat);
    return stat.state;
}

/* ---- asking ---- */

static void explain(c4info_rank *rank, int error)
{
    char state = c4info_process_state(rank->pid);
    if (rank->gone)
        snprintf(rank->why, sizeof rank->why, "its process is gone (c4info clean removes the socket)");
    else if (error == EACCES || error == EPERM)
        snprintf(rank->why, sizeof rank->why, "permission denied: it belongs to another user");
    else if (state == 'T' || state == 't')
        snprintf(rank->why, sizeof rank->why, "its process is stopped (state %c): kill -CONT %ld lets it go on", state,
                 rank->pid);
    else if (state == 'D')
        snprintf(rank->why, sizeof rank->why, "its process is inside the kernel (state D): see /proc/%ld/stack",
                 rank->pid);
    else if (state == 'Z')
        snprintf(rank->why, sizeof rank->why, "its process has ended and was not waited for (state Z)");
    else if (error)
        snprintf(rank->why, sizeof rank->why, "%s", strerror(error));
    else
        snprintf(rank->why, sizeof rank->why, "its control thread does not answer (process state %c)",
                 state ? state : '?');
}

static void finish(c4info_rank *rank, int error)
{
    if (rank->fd >= 0)
        close(rank->fd);
    rank->fd = -1;
    bool whole = rank->bytes > 0 && rank->answer[rank->bytes - 1] == '\n';
    if (whole) {
        rank->answer[rank->bytes - 1] = '\0';
        return;
    }
    free(rank->answer);
    rank->answer = NULL;
    explain(rank, error);
}

static void call_rank(c4info_rank *rank, int directory, const char *line)
{
    struct ucred who;
    socklen_t bytes = sizeof who;
    free(rank->answer);
    rank->answer = NULL;
    rank->bytes = rank->room = 0;
    *rank->why = '\0';
    rank->fd = c4_admin_dial(directory, rank->file);
    if (rank->fd < 0) {
        rank->gone = errno == ECONNREFUSED || errno == ENOENT;
        finish(rank, errno == EAGAIN ? 0 : errno);
        return;
    }
    if (getsockopt(rank->fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) == 0 && who.pid > 0)
        rank->pid = who.pid;
    if (send(rank->fd, line, strlen(line), MSG_NOSIGNAL) < 0 && errno != EPIPE) /* sent away: it says why */
        finish(rank, errno);
}

/* false: more may come. */
static bool hear(c4info_rank *rank)
{
    if (rank->room - rank->bytes < 4096) {
        size_t room = rank->room ? 2 * rank->room : 16384;
        char *answer = room > ANSWER_BYTES ? NULL : realloc(rank->answer, room);
        if (!answer)
            return true;
        rank->answer = answer;
        rank->room = room;
    }
    ssize_t got = recv(rank->fd, rank->answer + rank->bytes, rank->room - rank->bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got > 0)
        rank->bytes += (size_t)got;
    return got <= 0;
}

static void ask_batch(c4info_rank *first, size_t count, int directory, const char *line, int timeout_ms)
{
    struct pollfd items[AT_ONCE];
    uint64_t end_ns = c4_now_ns() + (uint64_t)timeout_ms * 1000000u;
    for (size_t i = 0; i < count; i++)
        call_rank(&first[i], directory, line);
    for (;;) {
        uint64_t now_ns = c4_now_ns();
        bool open = false;
        for (size_t i = 0; i < count; i++) {
            items[i] = (struct pollfd){.fd = first[i].fd, .events = POLLIN}; /* -1 is passed over */
            open |= first[i].fd >= 0;
        }
        if (!open || now_ns >= end_ns)
            break;
        if (poll(items, (nfds_t)count, (int)((end_ns - now_ns) / 1000000u) + 1) < 0 && errno != EINTR)
            break;
        for (size_t i = 0; i < count; i++)
            if (first[i].fd >= 0 && items[i].revents && hear(&first[i]))
                finish(&first[i], 0);
    }
    for (size_t i = 0; i < count; i++)
        if (first[i].fd >= 0)
            finish(&first[i], 0);
}

void c4info_ranks_ask(const c4info_ranks *ranks, c4info_rank *first, size_t count, const char *line, int timeout_ms)
{
    int directory = c4_record_open_top(ranks->top, false, NULL);
    if (directory < 0)
        return;
    for (size_t at = 0; at < count; at += AT_ONCE)
        ask_batch(first + at, count - at < AT_ONCE ? count - at : AT_ONCE, directory, line, timeout_ms);
    close(directory);
}
