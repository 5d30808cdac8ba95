#include "tools/c4info/clean.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/segment.h"
#include "record/clean.h"
#include "record/place.h"
#include "record/sockets.h"
#include "tools/c4info/table.h"

static c4info_leftover *add(c4info_leftovers *found)
{
    if (found->count == found->room) {
        size_t room = found->room ? 2 * found->room : 64;
        c4info_leftover *all = realloc(found->all, room * sizeof *all);
        if (!all) {
            fprintf(stderr, "c4info: out of memory\n");
            exit(1);
        }
        found->all = all;
        found->room = room;
    }
    return &found->all[found->count++];
}

typedef struct segment_visit {
    const char *directory;
    c4info_leftovers *found;
    bool removed; /* of sockets */
} segment_visit;

static void add_segment(void *context, const char *name, uint64_t bytes, bool removed)
{
    segment_visit *visit = context;
    c4info_leftover *made = add(visit->found);
    *made = (c4info_leftover){.bytes = bytes, .age_s = -1, .removed = removed};
    snprintf(made->path, sizeof made->path, "%s/%s", visit->directory, name);
}

static void clean_records(const c4info_request *request, const char *records, c4info_leftovers *found)
{
    c4_record_dead_job *jobs = NULL;
    c4_record_reason reason = {""};
    int top = c4_record_open_top(records, false, &reason);
    if (top < 0) {
        if (errno != ENOENT)
            fprintf(stderr, "c4info: %s\n", reason.text);
        return;
    }
    size_t count = c4_record_dead_jobs(top, &jobs);
    int64_t now = (int64_t)time(NULL);
    for (size_t i = 0; i < count; i++) {
        int64_t age_s = now > jobs[i].newest ? now - jobs[i].newest : 0;
        /* An empty directory of a minute ago may be a job's that is just starting. */
        if (age_s < request->older_ms / 1000 || (jobs[i].bytes == 0 && age_s < 60))
            continue;
        c4info_leftover *made = add(found);
        *made = (c4info_leftover){.bytes = jobs[i].bytes, .age_s = age_s};
        snprintf(made->path, sizeof made->path, "%.480s/%s", records, jobs[i].name);
        made->removed = !request->dry_run && c4_record_remove_dead(top, jobs[i].name);
    }
    free(jobs);
    close(top);
}

static void add_socket(void *context, const char *text, const c4_admin_name *name)
{
    segment_visit *visit = context;
    c4info_leftover *made = add(visit->found);
    (void)name;
    *made = (c4info_leftover){.age_s = -1, .removed = visit->removed};
    snprintf(made->path, sizeof made->path, "%.400s/%s", visit->directory, text);
}

/* At any age: nobody listens there any more. */
static void clean_sockets(const c4info_request *request, const char *records, c4info_leftovers *found)
{
    segment_visit visit = {records, found, !request->dry_run};
    int top = c4_record_open_top(records, false, NULL); /* clean_records has said why not */
    if (top < 0)
        return;
    c4_admin_sockets_stale(top, 0, !request->dry_run, add_socket, &visit);
    close(top);
}

void c4info_clean(const c4info_request *request, const char *segments, const char *records, c4info_leftovers *found)
{
    segment_visit visit = {segments, found, false};
    *found = (c4info_leftovers){.count = 0};
    c4_segments_stale(segments, !request->dry_run, add_segment, &visit);
    clean_records(request, records, found);
    clean_sockets(request, records, found);
}

c4_status c4info_record_top(char top[C4_RECORD_TOP_BYTES])
{
    c4_info_option option = {.struct_size = sizeof option};
    c4_status status;
    for (size_t i = 0; (status = c4_info_get_option(i, &option)) == C4_OK; i++)
        if (strcmp(option.name, "C4_RECORD_DIR") == 0)
            return c4_record_expand_top(option.value, top) ? C4_OK : C4_ERR_OPTION;
    return status;
}

c4_status c4info_clean_run(const c4info_request *request, c4info_leftovers *found)
{
    char top[C4_RECORD_TOP_BYTES];
    *found = (c4info_leftovers){.count = 0};
    c4_status status = c4info_record_top(top);
    if (status == C4_OK)
        c4info_clean(request, C4_SEGMENT_DIRECTORY, top, found);
    return status;
}

int c4info_clean_text(const c4info_request *request)
{
    c4info_leftovers found;
    uint64_t bytes = 0;
    size_t done = 0;
    char size[32];
    c4_status status = c4info_clean_run(request, &found);
    if (status < 0)
        return c4info_complain(status, "C4_RECORD_DIR");
    for (size_t i = 0; i < found.count; i++) {
        const c4info_leftover *one = &found.all[i];
        bool counts = request->dry_run || one->removed;
        printf("%-9s  %9s  %s\n",
               request->dry_run ? "would go"
               : one->removed   ? "removed"
                                : "stays",
               c4info_format_bytes(one->bytes, size), one->path);
        bytes += counts ? one->bytes : 0;
        done += counts;
    }
    printf("%s%zu of dead jobs, %s%s.\n", found.count ? "\n" : "", done, c4info_format_bytes(bytes, size),
           request->dry_run ? " (nothing was removed: --dry-run)" : "");
    bool whole = done == found.count;
    free(found.all);
    return !whole;
}
