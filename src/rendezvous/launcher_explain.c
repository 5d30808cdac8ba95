#include "rendezvous/launcher_explain.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "rendezvous/launcher_internal.h"

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

typedef struct facts {
    c4_launch_fact *list;
    size_t count;
} facts;

/* The value of the next fact; its source is written by the caller. */
static c4_launch_fact *add(facts *f, const char *what, const char *format, ...) __attribute__((format(printf, 3, 4)));
static c4_launch_fact *add(facts *f, const char *what, const char *format, ...)
{
    c4_launch_fact *fact = &f->list[f->count++];
    va_list args;
    *fact = (c4_launch_fact){.what = what};
    va_start(args, format);
    vsnprintf(fact->value, sizeof fact->value, format, args);
    va_end(args);
    return fact;
}

static void tell_problem(facts *f)
{
    c4_launch_fact *fact = add(f, "problem", "%s", c4_fail_text());
    snprintf(fact->source, sizeof fact->source, "c4_comm_create_from_env would fail");
}

static void from_variable(c4_launch_fact *fact, const char *const *names, size_t limit)
{
    const char *value = NULL;
    const char *name = c4_launcher_variable(names, limit, &value);
    snprintf(fact->source, sizeof fact->source, "%s", name ? name : "not told");
}

static void tell_ranks(facts *f, const c4_launcher *launcher, const c4_launch *launch)
{
    from_variable(add(f, "rank", "%d", launch->rank), launcher->rank, COUNT(launcher->rank));
    if (launch->nranks > 0)
        from_variable(add(f, "ranks", "%d", launch->nranks), launcher->nranks, COUNT(launcher->nranks));
    else
        snprintf(add(f, "ranks", "?")->source, sizeof f->list->source, "the PMIx server will be asked");
    if (launch->local_nranks > 0)
        from_variable(add(f, "ranks on this host", "%d", launch->local_nranks), launcher->local_nranks,
                      COUNT(launcher->local_nranks));
}

static void tell_key(facts *f, const c4_options *options, const c4_launch *launch, bool pmix)
{
    const char *path = c4_option_string(options, "C4_KEY_FILE");
    if (launch->has_key && c4_env_get("C4_KEY"))
        snprintf(add(f, "key", "given")->source, sizeof f->list->source, "C4_KEY");
    else if (launch->has_key)
        snprintf(add(f, "key", "%s", path)->source, sizeof f->list->source, "C4_KEY_FILE");
    else if (pmix)
        snprintf(add(f, "key", "made by rank 0")->source, sizeof f->list->source, "PMIx");
    else if (c4_option_int(options, "C4_INSECURE"))
        snprintf(add(f, "key", "none: whoever reaches the port is let in")->source, sizeof f->list->source,
                 "C4_INSECURE");
    else
        snprintf(add(f, "key", "none: only processes of this user on this host are let in")->source,
                 sizeof f->list->source, "neither C4_KEY_FILE nor C4_KEY");
}

/* The variables by which the job is known, as far as they are set. */
static void tell_job(facts *f, const c4_launcher *launcher, const c4_launch *launch)
{
    c4_launch_fact *fact = add(f, "job", "%016llx", (unsigned long long)launch->job_id);
    size_t used = 0;
    if (c4_env_get("C4_JOB_ID")) {
        snprintf(fact->source, sizeof fact->source, "C4_JOB_ID");
        return;
    }
    for (size_t i = 0; i < COUNT(launcher->job) && launcher->job[i] && used < sizeof fact->source; i++)
        if (c4_env_get(launcher->job[i]))
            used += (size_t)snprintf(fact->source + used, sizeof fact->source - used, "%s%s", used ? ", " : "",
                                     launcher->job[i]);
    if (used == 0)
        snprintf(fact->source, sizeof fact->source,
                 launcher->host == C4_HOST_KUBERNETES ? "the name of pod 0" : "the launcher's own process");
}

static const char *host_source(const c4_launcher *launcher, const c4_launch *launch)
{
    if (launch->nhosts == 1)
        return "all ranks are on this host";
    return launcher->host == C4_HOST_MASTER  ? "MASTER_ADDR"
           : launcher->host == C4_HOST_SLURM ? "the first host of Slurm's node list"
                                             : "the name of this pod";
}

static void tell_plan(facts *f, const c4_launcher *launcher, const c4_launch *launch, const c4_launch_plan *plan)
{
    c4_launch_fact *fact;
    if (plan->pmix)
        fact = add(f, "rendezvous", "rank 0 listens on any free port of its interface");
    else if (plan->port_lo == plan->port_hi)
        fact = add(f, "rendezvous", "%s:%u", plan->host, plan->port_lo);
    else
        fact = add(f, "rendezvous", "%s, on the first free port of %u to %u", plan->host, plan->port_lo, plan->port_hi);
    const char *ports = plan->pmix                                        ? ""
                        : plan->port_lo == plan->port_hi                  ? ", C4_RENDEZVOUS_PORT"
                        : launcher->host == C4_HOST_MASTER && !plan->pmix ? ", MASTER_PORT"
                                                                          : ", the job's identity";
    snprintf(fact->source, sizeof fact->source, "%s%s",
             plan->pmix ? "the PMIx server will be asked" : host_source(launcher, launch), ports);
}

/* As c4_launch_detect decides. False: a problem, which is told. */
static bool tell_rendezvous(facts *f, const c4_launcher *launcher, const c4_options *options, c4_launch *launch,
                            bool *pmix)
{
    const char *told = c4_env_get("C4_RENDEZVOUS");
    c4_launch_plan plan;
    if (told) {
        snprintf(add(f, "rendezvous", "%s", told)->source, sizeof f->list->source, "C4_RENDEZVOUS%s",
                 c4_env_get("C4_RENDEZVOUS_FD") ? ", C4_RENDEZVOUS_FD" : "");
        return true;
    }
    if (launch->nranks == 1) {
        snprintf(add(f, "rendezvous", "none")->source, sizeof f->list->source, "there is one rank");
        return true;
    }
    if (!launcher->set) {
        c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS is not set: it must name HOST:PORT of rank 0, or file:/PATH; %s",
                c4_launch_how_to_start);
        return false;
    }
    if (c4_launch_identify(launcher, launch) < 0)
        return false;
    tell_job(f, launcher, launch);
    if (c4_launch_make_plan(launcher, options, launch, &plan) < 0)
        return false;
    tell_plan(f, launcher, launch, &plan);
    *pmix = plan.pmix;
    return true;
}

bool c4_launch_row(size_t index, const char **name, bool *used, const char **reason)
{
    static __thread char text[C4_LAUNCHER_REASON_BYTES];
    const c4_launcher *launcher = c4_launcher_explain(index, text);
    if (!launcher)
        return false;
    *name = launcher->name;
    *used = launcher == c4_launcher_find();
    *reason = text;
    return true;
}

size_t c4_launch_explain(const c4_options *options, c4_launch_fact list[C4_LAUNCH_FACTS])
{
    facts f = {.list = list};
    c4_launch launch = {.local_rank = -1, .local_nranks = -1, .listen_fd = -1};
    const c4_launcher *launcher = c4_launcher_find();
    bool pmix = false, good = true;
    if (!launcher) {
        c4_fail(C4_ERR_OPTION, "no launcher found (C4_RANK is not set): %s", c4_launch_how_to_start);
        tell_problem(&f);
        return f.count;
    }
    char reason[C4_LAUNCHER_REASON_BYTES];
    for (size_t i = 0; c4_launcher_explain(i, reason) != launcher; i++)
        ;
    snprintf(add(&f, "launcher", "%s", launcher->name)->source, sizeof list->source, "%s", reason);
    good = c4_launch_read_ranks(launcher, &launch) == C4_OK;
    if (good)
        tell_ranks(&f, launcher, &launch);
    good = good && c4_launch_read_key(options, &launch) == C4_OK;
    good = good && tell_rendezvous(&f, launcher, options, &launch, &pmix);
    if (good)
        tell_key(&f, options, &launch, pmix);
    else
        tell_problem(&f);
    explicit_bzero(&launch, sizeof launch);
    return f.count;
}
