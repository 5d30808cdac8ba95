/* The side of --hosts: one ssh per host. */
#include "tools/c4run/hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tools/c4run/spawn.h"

#define REPLY_MS 60000 /* ssh, a login shell and c4run's start on host 0 */

/* Variables that go along. Those that make the job (rank, key, ...) are set on each host. */
static const char *const exported[] = {"C4_", "NCCL_", "OMP_", "OPENBLAS_", "MKL_", "LD_LIBRARY_PATH="};

int c4run_hosts_parse(c4run_job *job)
{
    char *names = strdup(job->options->hosts);
    int count = 1;
    if (!names)
        return 1;
    job->host_names = names;
    for (const char *at = names; *at; at++)
        count += *at == ',';
    if (count > job->options->nranks) {
        c4run_say(job, "--hosts names %d hosts for %d ranks: every host needs a rank", count, job->options->nranks);
        return 2;
    }
    job->children = calloc((size_t)count, sizeof *job->children);
    job->nchildren = count;
    for (int i = 0; i < count && job->children; i++) {
        char *name = strsep(&names, ",");
        if (!*name || *name == '-') {
            c4run_say(job, "--hosts '%s': expected names with commas between them", job->options->hosts);
            return 2;
        }
        job->children[i] = (c4run_child){.rank = i, .host = name, .orders = -1, .out.fd = -1, .err.fd = -1};
    }
    return job->children ? 0 : 1;
}

/* ---- orders ---- */

static bool order(const c4run_child *child, const char *text)
{
    size_t bytes = strlen(text);
    while (bytes > 0 && child->orders >= 0) {
        ssize_t wrote = write(child->orders, text, bytes);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return false;
        text += wrote;
        bytes -= (size_t)wrote;
    }
    return child->orders >= 0;
}

void c4run_order_signal(const c4run_child *child, int number)
{
    char line[32];
    snprintf(line, sizeof line, "signal %d\n", number);
    order(child, line);
}

void c4run_order_end(const c4run_job *job)
{
    for (int i = 0; i < job->nchildren; i++)
        order(&job->children[i], "end\n");
}

static bool is_exported(const char *variable)
{
    if (strncmp(variable, "C4_KEY=", 7) == 0 || strchr(variable, '\n'))
        return false;
    for (size_t i = 0; i < sizeof exported / sizeof exported[0]; i++)
        if (strncmp(variable, exported[i], strlen(exported[i])) == 0)
            return true;
    return false;
}

/* All orders up to "start", in one text that the caller frees. */
static char *make_orders(const c4run_job *job, int node)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    if (!stream)
        return NULL;
    fprintf(stream, "key %s\nid %s\n", job->key, job->id);
    for (char **variable = environ; *variable; variable++)
        if (is_exported(*variable))
            fprintf(stream, "env %s\n", *variable);
    if (node == 0)
        fprintf(stream, "listen %s\nstart\n", job->options->master ? job->options->master : "");
    else
        fprintf(stream, "rendezvous %s\nstart\n", job->rendezvous);
    return fclose(stream) == 0 ? text : NULL;
}

/* ---- start ---- */

/* For the login shell on the other side. */
static void quote(FILE *stream, const char *word)
{
    fputc('\'', stream);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", stream);
        else
            fputc(*word, stream);
    }
    fputs("' ", stream);
}

static char *make_command(const c4run_job *job, int node)
{
    const c4run_options *options = job->options;
    char *command = NULL, self[4096], folder[4096];
    size_t bytes = 0;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    FILE *stream = length > 0 && getcwd(folder, sizeof folder) ? open_memstream(&command, &bytes) : NULL;
    if (!stream)
        return NULL;
    self[length] = '\0';
    fputs("cd ", stream);
    quote(stream, folder);
    fputs("&& exec ", stream);
    quote(stream, self);
    fprintf(stream, "--remote -n %d --nnodes %d --node-rank %d --grace %lldms%s%s%s ", options->nranks, job->nchildren,
            node, (long long)options->grace_ms, options->tag ? " --tag" : "",
            options->keep_going ? " --keep-going" : "", options->quiet ? " --quiet" : "");
    if (options->bind != C4RUN_BIND_AUTO)
        fprintf(stream, "--bind %s ", options->bind == C4RUN_BIND_CORE ? "core" : "none");
    if (options->wrap) {
        fputs("--wrap ", stream);
        quote(stream, options->wrap);
    }
    fputs("-- ", stream);
    for (char **word = options->program; *word; word++)
        quote(stream, *word);
    return fclose(stream) == 0 ? command : NULL;
}

static _Noreturn void exec_ssh(const c4run_job *job, const c4run_child *child, char *command)
{
    char line[1024];
    char *words[] = {
        (char[]){"sh"}, (char[]){"-c"}, line, (char[]){"c4run --ssh"}, (char *)(uintptr_t)child->host, command, NULL};
    snprintf(line, sizeof line, "exec %s \"$@\"", job->options->ssh);
    c4run_child_exec(job, words);
}

static int start_ssh(c4run_job *job, c4run_child *child)
{
    int out[2], err[2], orders[2];
    pid_t self = getpid();
    char *command = make_command(job, child->rank);
    if (!command || pipe2(orders, O_CLOEXEC) < 0 || c4run_child_open_streams(job, child, "", out, err)) {
        c4run_say(job, "host %s: cannot prepare its start: %s", child->host, strerror(errno));
        free(command);
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        c4run_child_enter(job, self, out, err);
        dup2(orders[0], STDIN_FILENO);
        exec_ssh(job, child, command);
    }
    free(command);
    close(out[1]);
    close(err[1]);
    close(orders[0]);
    child->orders = orders[1];
    if (pid < 0) {
        c4run_say(job, "host %s: cannot start ssh: %s", child->host, strerror(errno));
        return 1;
    }
    c4run_child_started(job, child, pid);
    char *text = make_orders(job, child->rank);
    bool sent = text && order(child, text);
    free(text);
    if (!sent)
        c4run_say(job, "host %s: c4run did not start there", child->host);
    return !sent;
}

/* One byte of host 0's output; -1 at its end, after the deadline, or when the user interrupts. */
static int reply_byte(const c4run_job *job, uint64_t deadline_ns)
{
    const c4run_child *child = &job->children[0];
    unsigned char byte;
    for (;;) {
        struct pollfd fds[] = {{.fd = child->out.fd, .events = POLLIN}, {.fd = job->signal_fd, .events = POLLIN}};
        uint64_t now = c4_now_ns();
        if (now >= deadline_ns || poll(fds, 2, (int)((deadline_ns - now) / 1000000) + 1) <= 0)
            return -1;
        ssize_t got = fds[0].revents ? read(child->out.fd, &byte, 1) : -1;
        if (got == 1)
            return byte;
        if (got == 0 || fds[1].revents)
            return -1;
    }
}

/* Skips what a login shell may print before. */
static int wait_for_rendezvous(c4run_job *job)
{
    static const char word[] = "c4run-rendezvous ";
    char line[sizeof job->rendezvous];
    size_t used = 0;
    uint64_t deadline_ns = c4_now_ns() + (uint64_t)REPLY_MS * 1000000u;
    for (int byte = reply_byte(job, deadline_ns); byte >= 0; byte = reply_byte(job, deadline_ns)) {
        if (byte != '\n') {
            line[used] = (char)byte;
            used += used + 1 < sizeof line;
            continue;
        }
        line[used] = '\0';
        used = 0;
        if (strncmp(line, word, sizeof word - 1) == 0) {
            snprintf(job->rendezvous, sizeof job->rendezvous, "%s", line + sizeof word - 1);
            return 0;
        }
    }
    c4run_say(job, "host %s: c4run did not start there", job->children[0].host);
    return 1;
}

int c4run_hosts_start(c4run_job *job)
{
    if (start_ssh(job, &job->children[0]) || wait_for_rendezvous(job))
        return 1;
    for (int i = 1; i < job->nchildren; i++)
        if (start_ssh(job, &job->children[i]))
            return 1;
    return 0;
}
