/* The answers of admin sockets as tables. */
#include <stdio.h>
#include <string.h>

#include "tools/c4info/job.h"

static void print_comm(const cJSON *comm)
{
    printf("\ncommunicator \"%s\" (%s), %.0f ranks\n", c4info_text_of(comm, "name"), c4info_text_of(comm, "id"),
           c4info_number_of(comm, "nranks"));
}

static bool is_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* ---- rows ---- */

#define MERGE_FROM 17 /* ranks: fewer fit a screen */

void c4info_rows_init(c4info_rows *rows, int nranks, bool comms)
{
    static const char *const with[] = {"RANK", "HOST", "PID", "STATE", "COMMUNICATOR", "CALL", "SINCE", "WAITS FOR"};
    static const char *const without[] = {"RANK", "HOST", "PID", "STATE", "CALL", "SINCE", "WAITS FOR"};
    *rows = (c4info_rows){.merge = nranks >= MERGE_FROM, .comms = comms};
    c4info_table_init(&rows->table, comms ? 8 : 7, 1u | 4u, comms ? with : without);
}

static void flush_row(c4info_rows *rows)
{
    const c4info_row *row = &rows->last;
    char since[32];
    if (!rows->open)
        return;
    rows->open = false;
    if (row->last > row->first)
        c4info_table_add(&rows->table, "%d-%d", row->first, row->last);
    else
        c4info_table_add(&rows->table, "%d", row->first);
    c4info_table_add(&rows->table, "%s", row->host);
    c4info_table_add(&rows->table, row->last > row->first ? "%.0f..." : "%.0f", row->pid);
    c4info_table_add(&rows->table, "%s", row->state);
    if (rows->comms)
        c4info_table_add(&rows->table, "%s", row->comm);
    c4info_table_add(&rows->table, "%s", row->what);
    c4info_table_add(&rows->table, "%s", row->since_s >= 0 ? c4info_format_time(row->since_s, since) : "");
    c4info_table_add(&rows->table, "%s", row->waits);
}

static bool is_like(const c4info_row *a, const c4info_row *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->state, b->state) == 0 && strcmp(a->comm, b->comm) == 0 &&
           strcmp(a->what, b->what) == 0 && strcmp(a->waits, b->waits) == 0;
}

void c4info_rows_add(c4info_rows *rows, const c4info_row *row)
{
    if (rows->merge && rows->open && row->first == rows->last.last + 1 && is_like(&rows->last, row)) {
        rows->last.last = row->last;
        if (row->since_s > rows->last.since_s)
            rows->last.since_s = row->since_s;
        return;
    }
    flush_row(rows);
    rows->last = *row;
    rows->open = true;
}

void c4info_rows_print(c4info_rows *rows)
{
    flush_row(rows);
    c4info_table_print(&rows->table);
}

/* ---- probe ---- */

static const char *probe_state(const cJSON *rank)
{
    static const struct {
        const char *answer, *state;
    } others[] = {{"none", "NO ANSWER"}, {"silent", "SILENT"}, {"dead", "DEAD"}, {"left", "left"}};
    const char *answer = c4info_text_of(rank, "answer"), *status = c4info_text_of(rank, "status");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(answer, others[i].answer) == 0)
            return others[i].state;
    if (strcmp(answer, "told") != 0)
        return "not a member";
    if (strcmp(status, "C4_OK") != 0)
        return status;
    if (!is_true(rank, "entered"))
        return "NOT ENTERED";
    return is_true(rank, "inside") ? "inside" : "between calls";
}

/* Why a rank does not answer, as this host sees it, or the rank that was asked; "": nothing is known. */
static const char *why_silent(const cJSON *rank, const c4info_rank *ranks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ranks[i].name.rank == (int)c4info_number_of(rank, "job_rank") && !ranks[i].answer)
            return ranks[i].why;
    return c4info_text_of(rank, "why");
}

static void add_probe_row(c4info_rows *rows, const cJSON *rank, const c4info_rank *ranks, size_t count)
{
    const cJSON *call = cJSON_GetObjectItemCaseSensitive(rank, "call");
    int number = (int)c4info_number_of(rank, "rank");
    c4info_row row = {.first = number, .last = number, .pid = c4info_number_of(rank, "pid"), .since_s = -1};
    snprintf(row.host, sizeof row.host, "%s", c4info_text_of(rank, "host"));
    snprintf(row.state, sizeof row.state, "%s", probe_state(rank));
    if (call)
        snprintf(row.what, sizeof row.what, "%s%s",
                 is_true(rank, "inside") ? "" : "last: ", c4info_text_of(call, "text"));
    else
        snprintf(row.what, sizeof row.what, "%s", why_silent(rank, ranks, count));
    if (call)
        row.since_s = c4info_number_of(call, "age_s");
    if (cJSON_GetObjectItemCaseSensitive(rank, "waits_for"))
        snprintf(row.waits, sizeof row.waits, "rank %.0f", c4info_number_of(rank, "waits_for"));
    c4info_rows_add(rows, &row);
}

void c4info_print_probe(const cJSON *answer, const c4info_rank *ranks, size_t count)
{
    const cJSON *comm, *rank, *line;
    for (comm = c4info_first_of(answer, "communicators"); comm; comm = comm->next) {
        c4info_rows rows;
        print_comm(comm);
        c4info_rows_init(&rows, (int)c4info_number_of(comm, "nranks"), false);
        for (rank = c4info_first_of(comm, "ranks"); rank; rank = rank->next)
            add_probe_row(&rows, rank, ranks, count);
        c4info_rows_print(&rows);
        for (line = c4info_first_of(comm, "summary"); line; line = line->next)
            if (cJSON_IsString(line))
                printf("* %s\n", line->valuestring);
    }
}

/* ---- dump ---- */

static void print_ranks(const cJSON *answer)
{
    static const char *const headers[] = {"RANK", "HOST", "PID", "STATE", "SILENT", "CONTROL LINK"};
    const cJSON *rank;
    c4info_table table;
    c4info_table_init(&table, 6, 1u | 4u, headers);
    for (rank = c4info_first_of(answer, "ranks"); rank; rank = rank->next) {
        char since[32];
        const cJSON *silent = cJSON_GetObjectItemCaseSensitive(rank, "silent_s");
        c4info_table_add(&table, "%.0f", c4info_number_of(rank, "rank"));
        c4info_table_add(&table, "%s", c4info_text_of(rank, "host"));
        c4info_table_add(&table, "%.0f", c4info_number_of(rank, "pid"));
        c4info_table_add(&table, "%s", c4info_text_of(rank, "state"));
        c4info_table_add(&table, "%s", silent ? c4info_format_time(silent->valuedouble, since) : "");
        if (is_true(rank, "linked"))
            c4info_table_add(&table, "%s", c4info_text_of(rank, "address"));
        else
            c4info_table_add(&table, "%s",
                             c4info_number_of(rank, "rank") == c4info_number_of(answer, "rank") ? "(itself)" : "");
    }
    printf("\n");
    c4info_table_print(&table);
}

static void print_operation(const char *what, const cJSON *operation)
{
    char since[32];
    if (operation)
        printf("  %-14s %s, %s %s%s\n", what, c4info_text_of(operation, "text"),
               is_true(operation, "ended") ? "ended" : "for",
               c4info_format_time(c4info_number_of(operation, "age_s"), since),
               is_true(operation, "ended") ? " ago" : "");
}

static void print_comm_dump(const cJSON *comm)
{
    char since[32];
    const cJSON *item, *waits = cJSON_GetObjectItemCaseSensitive(comm, "waits");
    print_comm(comm);
    printf("  %-14s %.0f\n", "rank in it", c4info_number_of(comm, "rank"));
    printf("  %-14s %s%s%s\n", "status", c4info_text_of(comm, "status"), *c4info_text_of(comm, "error") ? ": " : "",
           c4info_text_of(comm, "error"));
    for (item = c4info_first_of(comm, "operations"); item; item = item->next)
        print_operation("under way", item);
    if (waits)
        printf("  %-14s %s, to %s, since %s\n", "waits for", c4info_text_of(waits, "who"), c4info_text_of(waits, "to"),
               c4info_format_time(c4info_number_of(waits, "stuck_s"), since));
    print_operation("last complete", cJSON_GetObjectItemCaseSensitive(comm, "last_complete"));
    for (item = c4info_first_of(comm, "options"); item; item = item->next)
        printf("  %-14s %s=%s (%s)\n", "option", c4info_text_of(item, "name"), c4info_text_of(item, "value"),
               c4info_text_of(item, "source"));
}

void c4info_print_dump(const cJSON *answer)
{
    const cJSON *comm;
    print_ranks(answer);
    for (comm = c4info_first_of(answer, "communicators"); comm; comm = comm->next)
        print_comm_dump(comm);
}

/* ---- plan ---- */

static void print_range(int first, int last, bool more)
{
    printf("%s %d", more ? "," : "", first);
    if (last > first)
        printf("-%d", last);
}

/* "ranks 0-2, 5" of those that are reached by it. */
static void print_reached(const cJSON *comm, const char *transport)
{
    const cJSON *one;
    int first = -1, last = -1;
    bool more = false;
    for (one = c4info_first_of(comm, "transports"); one; one = one->next) {
        int rank = (int)c4info_number_of(one, "rank");
        if (strcmp(c4info_text_of(one, "transport"), transport) != 0)
            continue;
        if (first >= 0 && rank != last + 1) {
            print_range(first, last, more);
            more = true;
            first = -1;
        }
        first = first < 0 ? rank : first;
        last = rank;
    }
    print_range(first, last, more);
}

/* A line for each transport. */
static void print_transports(const cJSON *comm)
{
    const cJSON *one, *before;
    for (one = c4info_first_of(comm, "transports"); one; one = one->next) {
        const char *name = c4info_text_of(one, "transport");
        for (before = c4info_first_of(comm, "transports"); before; before = before->next)
            if (before == one || strcmp(c4info_text_of(before, "transport"), name) == 0)
                break;
        if (before != one)
            continue;
        printf("  %-6s to ranks", name);
        print_reached(comm, name);
        printf("\n");
    }
}

static void print_algorithms(const cJSON *comm)
{
    static const char *const headers[] = {"COLLECTIVE", "FROM", "ALGORITHM", "CHUNK", "PREDICTED us", "REASON"};
    const cJSON *row;
    char from[32], chunk[32];
    c4info_table table;
    c4info_table_init(&table, 6, 2u | 8u | 16u, headers);
    for (row = c4info_first_of(comm, "algorithms"); row; row = row->next) {
        double bytes = c4info_number_of(row, "chunk_bytes");
        c4info_table_add(&table, "%s", c4info_text_of(row, "collective"));
        c4info_table_add(&table, "%s",
                         c4info_format_bytes((unsigned long long)c4info_number_of(row, "min_bytes"), from));
        c4info_table_add(&table, "%s", c4info_text_of(row, "algorithm"));
        c4info_table_add(&table, "%s", bytes > 0 ? c4info_format_bytes((unsigned long long)bytes, chunk) : "its own");
        c4info_table_add(&table, "%.1f", c4info_number_of(row, "predicted_us"));
        c4info_table_add(&table, "%s", c4info_text_of(row, "reason"));
    }
    c4info_table_print(&table);
}

static void print_channels(const cJSON *comm)
{
    static const char *const headers[] = {"CHANNEL", "TRANSPORT", "BYTES", "MESSAGES", "RESENDS", "WAITED"};
    const cJSON *row;
    char bytes[32], waited[32];
    c4info_table table;
    c4info_table_init(&table, 6, 4u | 8u | 16u | 32u, headers);
    int quiet = 0;
    for (row = c4info_first_of(comm, "channels"); row; row = row->next) {
        if (c4info_number_of(row, "messages") == 0) {
            quiet++;
            continue;
        }
        c4info_table_add(&table, "%s rank %.0f", strcmp(c4info_text_of(row, "direction"), "send") == 0 ? "to" : "from",
                         c4info_number_of(row, "peer"));
        c4info_table_add(&table, "%s", c4info_text_of(row, "transport"));
        c4info_table_add(&table, "%s", c4info_format_bytes((unsigned long long)c4info_number_of(row, "bytes"), bytes));
        c4info_table_add(&table, "%.0f", c4info_number_of(row, "messages"));
        c4info_table_add(&table, "%.0f", c4info_number_of(row, "resends"));
        c4info_table_add(&table, "%s", c4info_format_time(c4info_number_of(row, "waited_s"), waited));
    }
    printf("\n");
    c4info_table_print(&table);
    if (quiet) /* counters are brought up to date with operations of 4 KiB or more, see trace.c of the engine */
        printf("%d more channels are open; little or nothing has gone over them.\n", quiet);
}

void c4info_print_plan(const cJSON *answer)
{
    const cJSON *comm;
    for (comm = c4info_first_of(answer, "communicators"); comm; comm = comm->next) {
        print_comm(comm);
        print_transports(comm);
        printf("\n");
        print_algorithms(comm);
        print_channels(comm);
    }
}
