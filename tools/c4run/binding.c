#include "tools/c4run/binding.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/topology.h"

/* A claim is an AF_UNIX name in the abstract name space: taken by one process at a time, gone with it, no file. The
 * descriptor stays open until c4run ends. Seen within one network namespace, so not from other containers. */
static bool claim(const c4_topology *topology, size_t core)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int bytes = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "c4run-core-%d",
                         topology->cpus[topology->cores[core].first_cpu]);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)bytes)) <
        0) {
        close(fd);
        return false;
    }
    return true;
}

/* Round robin over all cores, claimed by another job or not. */
static void bind_all(c4run_job *job)
{
    for (int i = 0; i < job->nchildren; i++) {
        size_t core = (size_t)i % job->cores->ncores;
        if ((size_t)i < job->cores->ncores)
            claim(job->cores, core);
        job->core_of[i] = (int)core;
    }
}

/* Cores that no other job has; false when they do not suffice. */
static bool bind_free(c4run_job *job)
{
    int found = 0;
    for (size_t core = 0; core < job->cores->ncores && found < job->nchildren; core++)
        if (claim(job->cores, core))
            job->core_of[found++] = (int)core;
    return found == job->nchildren;
}

int c4run_binding_choose(c4run_job *job, c4_topology *topology)
{
    c4run_bind wish = job->options->bind;
    if (c4_topology_init(topology) < 0) {
        if (wish == C4RUN_BIND_CORE)
            c4run_say(job, "--bind core: this host does not tell its cores");
        return wish == C4RUN_BIND_CORE;
    }
    job->cores = topology;
    job->topology = c4_topology_format(topology);
    if (wish == C4RUN_BIND_NONE || (wish == C4RUN_BIND_AUTO && (size_t)job->nchildren > topology->ncores))
        return 0;
    job->core_of = calloc((size_t)job->nchildren, sizeof *job->core_of);
    if (!job->core_of) {
        c4run_say(job, "out of memory");
        return 1;
    }
    if (wish == C4RUN_BIND_CORE) {
        bind_all(job);
    } else if (!bind_free(job)) {
        free(job->core_of);
        job->core_of = NULL;
    }
    return 0;
}
