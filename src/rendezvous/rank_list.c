#include "rendezvous/rank_list.h"

#include <stdio.h>
#include <string.h>

/* Appends one run of ranks; leaves `tail` bytes free for the end. */
static bool append_run(char *text, size_t bytes, size_t tail, int first, int last, bool is_first)
{
    char run[40];
    const char *comma = is_first ? "" : ", ";
    if (first == last)
        snprintf(run, sizeof run, "%s%d", comma, first);
    else
        snprintf(run, sizeof run, "%s%d%s%d", comma, first, last == first + 1 ? ", " : "-", last);
    size_t used = strlen(text);
    if (used + strlen(run) + tail >= bytes)
        return false;
    memcpy(text + used, run, strlen(run) + 1);
    return true;
}

int c4_rank_list(int nranks, bool (*listed)(const void *context, int rank), const void *context, char *text,
                 size_t bytes)
{
    static const char cut[] = ", ...";
    int count = 0;
    for (int rank = 0; rank < nranks; rank++)
        count += listed(context, rank);
    snprintf(text, bytes, count == 1 ? "rank " : "ranks ");
    bool first_run = true;
    for (int rank = 0; rank < nranks; rank++) {
        if (!listed(context, rank))
            continue;
        int first = rank;
        while (rank + 1 < nranks && listed(context, rank + 1))
            rank++;
        if (!append_run(text, bytes, sizeof cut + sizeof " have", first, rank, first_run)) {
            snprintf(text + strlen(text), bytes - strlen(text), "%s", cut);
            break;
        }
        first_run = false;
    }
    snprintf(text + strlen(text), bytes - strlen(text), count == 1 ? " has" : " have");
    return count;
}
