/* `c4info job dump|probe|plan|abort [JOB|PID]`: which job and rank are meant, and what they say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/c4info/job.h"
#include "wire/admin_request.h"

/* ---- which ---- */

/* "17786", a process of the job, or the beginning of the job's id. */
static bool is_meant(const c4info_rank *rank, const char *which)
{
    char id[17], pid[24];
    snprintf(id, sizeof id, "%016llx", (unsigned long long)rank->name.job);
    snprintf(pid, sizeof pid, "%ld", rank->pid);
    return strcmp(which, pid) == 0 || (strlen(which) >= 4 && strncmp(id, which, strlen(which)) == 0);
}

static int complain_ambiguous(const c4info_ranks *ranks, const char *which)
{
    fprintf(stderr, "c4info: %s%s%s:", which ? "several jobs begin with " : "which job? there are several",
            which ? which : "", which ? "" : " here");
    for (size_t at = 0; at < ranks->count; at += c4info_job_size(ranks, at))
        if (!ranks->all[at].gone && (!which || is_meant(&ranks->all[at], which)))
            fprintf(stderr, " %016llx", (unsigned long long)ranks->all[at].name.job);
    fprintf(stderr, " (c4info jobs shows them)\n");
    return 1;
}

static int complain_none(const c4info_ranks *ranks, const char *which)
{
    if (which)
        fprintf(stderr, "c4info: no job %s of this user on this host: no socket of it in %s (c4info jobs lists them)\n",
                which, ranks->top);
    else
        fprintf(stderr,
                "c4info: no job of this user runs on this host: no socket in %s (see C4_ADMIN and C4_RECORD_DIR)\n",
                ranks->top);
    return 1;
}

/* Index of the job's first rank here; < 0: an error was printed. *pid_at: the rank whose process was named, or -1. */
static int find_job(const c4info_ranks *ranks, const char *which, int *pid_at)
{
    int found = -1;
    *pid_at = -1;
    for (size_t at = 0, count; at < ranks->count; at += count) {
        bool meant = false;
        count = c4info_job_size(ranks, at);
        for (size_t i = at; i < at + count; i++) {
            if (ranks->all[i].gone || (which && !is_meant(&ranks->all[i], which)))
                continue;
            meant = true;
            if (which && (long)strtol(which, NULL, 10) == ranks->all[i].pid &&
                strspn(which, "0123456789") == strlen(which))
                *pid_at = (int)i;
        }
        if (meant && found >= 0 && *pid_at < 0) {
            complain_ambiguous(ranks, which);
            return -1;
        }
        if (meant && (found < 0 || (*pid_at >= (int)at && *pid_at < (int)(at + count))))
            found = (int)at;
    }
    if (found < 0)
        complain_none(ranks, which);
    return found;
}

/* ---- asking ---- */

static size_t make_line(const c4info_request *request, char line[C4_ADMIN_LINE_BYTES])
{
    static const struct {
        const char *name;
        c4_admin_command command;
    } commands[] = {
        {"dump", C4_ADMIN_DUMP}, {"probe", C4_ADMIN_PROBE}, {"plan", C4_ADMIN_PLAN}, {"abort", C4_ADMIN_ABORT}};
    c4_admin_request asked = {.command = C4_ADMIN_NCOMMANDS};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, request->words[0]) == 0)
            asked.command = commands[i].command;
    const char *comm = request->comm ? request->comm : "", *reason = request->reason ? request->reason : "";
    if (strlen(comm) >= sizeof asked.comm || strlen(reason) >= sizeof asked.reason)
        return 0;
    snprintf(asked.comm, sizeof asked.comm, "%s", comm);
    snprintf(asked.reason, sizeof asked.reason, "%s", reason);
    return c4_admin_request_format(&asked, line);
}

/* The rank to ask: the one that was named, else the lowest that answers. */
static c4info_rank *choose(c4info_rank *first, size_t count, c4info_rank *named)
{
    if (named)
        return named;
    for (size_t i = 0; i < count; i++)
        if (first[i].answer)
            return &first[i];
    return &first[0];
}

static int complain_rank(const c4info_rank *rank)
{
    fprintf(stderr, "c4info: rank %d (pid %ld): %s\n", rank->name.rank, rank->pid, rank->why);
    return 1;
}

static void print_answer(const c4info_request *request, const cJSON *answer, const c4info_rank *first, size_t count)
{
    const char *what = request->words[0];
    if (strcmp(what, "abort") == 0) {
        printf("%s of job %s: %s\n", request->comm ? c4info_text_of(answer, "aborted") : "all communicators",
               c4info_text_of(answer, "job"), c4info_text_of(answer, "text"));
        return;
    }
    printf("job %s: %.0f ranks, %s; asked through rank %.0f\n", c4info_text_of(answer, "job"),
           c4info_number_of(answer, "nranks"), c4info_text_of(answer, "program"), c4info_number_of(answer, "rank"));
    if (strcmp(what, "probe") == 0)
        c4info_print_probe(answer, first, count);
    else if (strcmp(what, "dump") == 0)
        c4info_print_dump(answer);
    else
        c4info_print_plan(answer);
}

static int ask_job(const c4info_request *request, const c4info_ranks *ranks, const char *line)
{
    int pid_at, found = find_job(ranks, request->words[1], &pid_at);
    if (found < 0)
        return 1;
    size_t count = c4info_job_size(ranks, (size_t)found);
    c4info_rank *first = &ranks->all[found];
    c4info_rank *asked = choose(first, count, pid_at < 0 ? NULL : &ranks->all[pid_at]);
    c4info_ranks_ask(ranks, asked, 1, line, C4INFO_PROBE_MS);
    cJSON *answer = c4info_rank_parse(asked);
    if (!answer)
        return complain_rank(asked);
    if (request->json)
        puts(asked->answer);
    else
        print_answer(request, answer, first, count);
    cJSON_Delete(answer);
    return 0;
}

int c4info_job_text(const c4info_request *request)
{
    c4info_ranks ranks;
    char line[C4_ADMIN_LINE_BYTES];
    if (make_line(request, line) == 0) {
        fprintf(stderr,
                "c4info: --communicator takes a name without blanks or an id, --reason one line of at most %u bytes\n",
                C4_ADMIN_REASON_BYTES - 1);
        return 2;
    }
    if (c4info_ranks_find(&ranks) < 0)
        return 1;
    c4info_ranks_ask(&ranks, ranks.all, ranks.count, "status\n", C4INFO_STATUS_MS);
    int status = ask_job(request, &ranks, line);
    c4info_ranks_free(&ranks);
    return status;
}

int c4info_job_json(const c4info_request *request)
{
    return c4info_job_text(request);
}
