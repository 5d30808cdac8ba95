/* The orders that a c4run on another host takes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "tools/c4run/hosts.h"
#include "tools/c4run/rendezvous.h"
#include "tools/c4run/supervise.h"
#include "tools/c4run/waiting.h"

#define LINE_BYTES 65536

/* Byte by byte: what follows is for later. False at the end of the input. */
static bool read_line(char *line)
{
    size_t used = 0;
    for (;;) {
        ssize_t got = read(STDIN_FILENO, line + used, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        if (line[used] == '\n')
            break;
        if (used + 1 < LINE_BYTES)
            used++;
    }
    line[used] = '\0';
    return true;
}

/* The address of this host at which ssh was reached: server's in "client port server port". */
static bool ssh_address(char *text, size_t bytes)
{
    char address[128];
    const char *connection = c4_env_get("SSH_CONNECTION");
    if (!connection || sscanf(connection, "%*s %*s %127s", address) != 1)
        return false;
    snprintf(text, bytes, strchr(address, ':') ? "[%s]:0" : "%s:0", address);
    return true;
}

static int listen_here(c4run_job *job, const char *master)
{
    char found[160];
    if (!*master && !ssh_address(found, sizeof found)) {
        c4run_say(job, "%s: SSH_CONNECTION does not tell this host's address; name it with --master HOST", job->host);
        return 1;
    }
    if (c4run_rendezvous_listen(job, *master ? master : found))
        return 1;
    char reply[400];
    int bytes = snprintf(reply, sizeof reply, "c4run-rendezvous %s\n", job->rendezvous);
    return write(STDOUT_FILENO, reply, (size_t)bytes) != bytes;
}

static bool takes(const char *line, const char *order, const char **rest)
{
    size_t bytes = strlen(order);
    if (strncmp(line, order, bytes) != 0 || (line[bytes] && line[bytes] != ' '))
        return false;
    *rest = line[bytes] ? line + bytes + 1 : line + bytes;
    return true;
}

static void take_variable(char *assignment)
{
    char *equals = strchr(assignment, '=');
    if (!equals)
        return;
    *equals = '\0';
    setenv(assignment, equals + 1, 1);
}

/* 0 to go on. */
static int prepare(c4run_job *job, char *line)
{
    const char *rest;
    if (takes(line, "key", &rest))
        snprintf(job->key, sizeof job->key, "%s", rest);
    else if (takes(line, "id", &rest))
        snprintf(job->id, sizeof job->id, "%s", rest);
    else if (takes(line, "rendezvous", &rest))
        snprintf(job->rendezvous, sizeof job->rendezvous, "%s", rest);
    else if (takes(line, "env", &rest))
        take_variable(line + (rest - line));
    else if (takes(line, "listen", &rest))
        return listen_here(job, rest);
    else {
        c4run_say(job, "%s: unknown order \"%.40s\": both hosts need the same version of c4run", job->host, line);
        return 1;
    }
    return 0;
}

int c4run_orders_start(c4run_job *job)
{
    char *line = malloc(LINE_BYTES);
    int result = line ? 0 : 1;
    while (!result) {
        if (!read_line(line)) {
            c4run_say(job, "--remote is for c4run itself: its orders come on standard input");
            result = 1;
        } else if (strcmp(line, "start") == 0) {
            break;
        } else {
            result = prepare(job, line);
        }
    }
    free(line);
    return result;
}

void c4run_orders_read(c4run_job *job)
{
    char *line = malloc(LINE_BYTES);
    const char *rest;
    int64_t number;
    if (!line || !read_line(line)) {
        c4run_end(job);
    } else if (takes(line, "signal", &rest) && c4_parse_int(rest, &number) && number > 0 && number < NSIG) {
        if (number == SIGINT || number == SIGTERM || number == SIGHUP) {
            job->interrupted = true;
            if (!job->options->quiet)
                c4run_report_waiting(job);
        }
        c4run_signal_all(job, (int)number);
    } else if (strcmp(line, "end") == 0) {
        c4run_end(job);
    }
    free(line);
}
