#include "tools/c4train/progress.h"

#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    REDRAW_NS = 100000000, /* ten times a second is smooth enough */
    LINES = 12,            /* about so many where stderr is a file or a pipe */
    BAR_COLUMNS = 30,
    TEXT_COLUMNS = 70, /* everything but the bar */
    DEFAULT_COLUMNS = 100
};

void c4_train_progress_start(c4_train_progress *progress, bool shown, long first, long total)
{
    setlocale(LC_CTYPE, "");
    *progress = (c4_train_progress){
        .shown = shown,
        .terminal = isatty(STDERR_FILENO) == 1,
        .unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
        .first = first,
        .total = total,
        .start_ns = c4_now_ns(),
    };
}

static int terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return DEFAULT_COLUMNS;
    return size.ws_col;
}

static void append(char *line, size_t bytes, const char *text)
{
    size_t used = strlen(line);
    snprintf(line + used, bytes - used, "%s", text);
}

static void append_bar(const c4_train_progress *progress, long step, int columns, char *line, size_t bytes)
{
    long filled = progress->total > 0 ? step * columns / progress->total : columns;
    const char *full = progress->unicode ? "\u2501" : "=", *rest = progress->unicode ? "\u2500" : ".";
    append(line, bytes, progress->unicode ? " " : " [");
    for (int i = 0; i < columns; i++)
        append(line, bytes, i < filled ? full : rest);
    append(line, bytes, progress->unicode ? " " : "] ");
}

void c4_train_progress_format(const c4_train_progress *progress, const c4_train_progress_state *state, double seconds,
                              int width, char *line, size_t bytes)
{
    char part[128];
    long done = state->step - progress->first, left = progress->total - state->step;
    double eta = done > 0 ? seconds / (double)done * (double)left : 0;
    int columns = width - TEXT_COLUMNS < BAR_COLUMNS ? width - TEXT_COLUMNS : BAR_COLUMNS;
    snprintf(line, bytes, "%5ld/%ld", state->step, progress->total);
    if (columns > 0)
        append_bar(progress, state->step, columns, line, bytes);
    if (!isnan(state->loss)) {
        snprintf(part, sizeof part, " loss %6.4f ", state->loss);
        append(line, bytes, part);
    }
    if (isnan(state->tokens_per_s))
        snprintf(part, sizeof part, " %7.2f ms/step ", state->step_ms);
    else
        snprintf(part, sizeof part, " %7.0f tok/s ", state->tokens_per_s);
    append(line, bytes, part);
    snprintf(part, sizeof part, " comm %4.1f%%  %ld:%02ld left", 100 * state->comm_share, (long)eta / 60,
             (long)eta % 60);
    append(line, bytes, part);
}

/* On a terminal: often, and at the end. Elsewhere: first, last and about LINES times in between. */
static bool due(const c4_train_progress *progress, long step, uint64_t now_ns)
{
    if (step == progress->total || step == progress->first + 1)
        return true;
    if (progress->terminal)
        return now_ns - progress->drawn_ns >= REDRAW_NS;
    return (step - progress->first) * LINES / (progress->total - progress->first) >= progress->drawn;
}

void c4_train_progress_update(c4_train_progress *progress, const c4_train_progress_state *state)
{
    char line[1024];
    uint64_t now_ns = c4_now_ns();
    if (!progress->shown || !due(progress, state->step, now_ns))
        return;
    int width = progress->terminal ? terminal_columns() : DEFAULT_COLUMNS;
    c4_train_progress_format(progress, state, (double)(now_ns - progress->start_ns) * 1e-9, width, line, sizeof line);
    fprintf(stderr, progress->terminal ? "\r%s\033[K" : "%s\n", line);
    progress->drawn_ns = now_ns;
    progress->drawn++;
}

void c4_train_progress_end(c4_train_progress *progress)
{
    if (progress->shown && progress->terminal && progress->drawn > 0)
        fputc('\n', stderr);
    progress->drawn = 0;
}
