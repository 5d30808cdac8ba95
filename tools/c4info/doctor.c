/* `c4info doctor`: gathers the facts, runs the checks, prints what they found, the worst first. */
#include "tools/c4info/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"

const c4info_check c4info_checks[] = {
    {"options", c4info_check_options, "values of C4_* options"},
    {"variables", c4info_check_variables, "C4_* variables that mean nothing"},
    {"key", c4info_check_key, "the job's key"},
    {"interface", c4info_check_interface, "which interface C4 takes"},
    {"faster-interface", c4info_check_faster_interface, "interfaces faster than that one"},
    {"subnets", c4info_check_subnets, "two interfaces in one network"},
    {"rp-filter", c4info_check_rp_filter, "reverse path filter"},
    {"mtu", c4info_check_mtu, "packet sizes"},
    {"listen", c4info_check_listen, "listening on the interface and reaching it from here"},
    {"port-range", c4info_check_port_range, "C4_PORT_RANGE against ranks and ephemeral ports"},
    {"local-ports", c4info_check_local_ports, "ephemeral ports against connections"},
    {"firewall", c4info_check_firewall, "rules that drop or refuse what comes in"},
    {"conntrack", c4info_check_conntrack, "the firewall's table of connections"},
    {"tcp-buffers", c4info_check_tcp_buffers, "TCP buffers against the link's speed"},
    {"shm", c4info_check_shm, "/dev/shm against what the ranks put there"},
    {"memory", c4info_check_memory, "memory limit of the control group"},
    {"memlock", c4info_check_memlock, "locked memory for RDMA"},
    {"file-size", c4info_check_file_size, "limit of file sizes"},
    {"files", c4info_check_files, "open files against ranks"},
    {"processes", c4info_check_processes, "processes and threads against ranks"},
    {"cores", c4info_check_cores, "ranks against cores"},
    {"cpu-quota", c4info_check_cpu_quota, "CPU quota of the control group"},
    {"governor", c4info_check_governor, "CPU frequency governor"},
    {"numa-balancing", c4info_check_numa_balancing, "automatic NUMA balancing"},
    {"swap", c4info_check_swap, "swap in use"},
    {"hugepages", c4info_check_hugepages, "huge pages set aside and unused"},
    {"thp", c4info_check_thp, "transparent huge pages"},
    {"clock", c4info_check_clock, "synchronisation of the clock"},
    {"clocksource", c4info_check_clocksource, "how the clock is read"},
    {"ptrace", c4info_check_ptrace, "whether debuggers may attach"},
    {"host-name", c4info_check_host_name, "what the host's name resolves to"},
    {"record", c4info_check_record, "where flight records go"},
    {"stale", c4info_check_stale, "what dead jobs have left"},
};
const size_t c4info_nchecks = sizeof c4info_checks / sizeof c4info_checks[0];

/* ---- the report ---- */

const char *c4info_severity_name(c4info_severity severity)
{
    static const char *const names[C4INFO_NSEVERITIES] = {"ok", "note", "warn", "bad"};
    return names[severity];
}

void c4info_report_add(c4info_report *report, c4info_severity severity, const char *what, ...)
{
    va_list arguments;
    if (report->count == report->room) {
        size_t room = report->room ? 2 * report->room : 64;
        c4info_finding *findings = realloc(report->findings, room * sizeof *findings);
        if (!findings) {
            fprintf(stderr, "c4info: out of memory\n");
            exit(1);
        }
        report->findings = findings;
        report->room = room;
    }
    c4info_finding *made = &report->findings[report->count++];
    *made = (c4info_finding){.check = report->check, .severity = severity};
    va_start(arguments, what);
    vsnprintf(made->what, sizeof made->what, what, arguments);
    va_end(arguments);
}

void c4info_report_fix(c4info_report *report, const char *fix, ...)
{
    va_list arguments;
    c4info_finding *last = &report->findings[report->count - 1];
    va_start(arguments, fix);
    vsnprintf(last->fix, sizeof last->fix, fix, arguments);
    va_end(arguments);
}

/* By insertion: stable, and there are few. */
void c4info_report_sort(c4info_report *report)
{
    for (size_t i = 1; i < report->count; i++) {
        c4info_finding moved = report->findings[i];
        size_t at = i;
        for (; at > 0 && report->findings[at - 1].severity < moved.severity; at--)
            report->findings[at] = report->findings[at - 1];
        report->findings[at] = moved;
    }
}

c4info_severity c4info_report_worst(const c4info_report *report)
{
    c4info_severity worst = C4INFO_OK;
    for (size_t i = 0; i < report->count; i++)
        if (report->findings[i].severity > worst)
            worst = report->findings[i].severity;
    return worst;
}

void c4info_report_fini(c4info_report *report)
{
    free(report->findings);
    *report = (c4info_report){.count = 0};
}

void c4info_run_checks(const c4info_facts *facts, c4info_report *report)
{
    for (size_t i = 0; i < c4info_nchecks; i++) {
        report->check = c4info_checks[i].name;
        c4info_checks[i].run(facts, report);
    }
}

/* ---- the command ---- */

int c4info_doctor_gather(const c4info_request *request, c4info_facts *facts, c4info_report *report)
{
    *report = (c4info_report){.count = 0};
    c4_status status = c4info_facts_read(request->nranks, request->ranks_per_host, facts);
    if (status < 0)
        return c4info_complain(status, "doctor");
    if (request->listen)
        return c4info_listen(facts, request);
    c4info_facts_try_ports(facts);
    c4info_run_checks(facts, report);
    report->check = "peers";
    int wrong = request->peers ? c4info_reach_peers(facts, request, report) : -1;
    c4info_report_sort(report);
    return wrong;
}

/* Notes are no problem: a script that runs this before each job must not stop for them. */
int c4info_doctor_status(const c4info_report *report)
{
    return c4info_report_worst(report) >= C4INFO_WARN;
}

static bool wants_colour(const c4info_request *request)
{
    const char *none = c4_env_get("NO_COLOR"), *terminal = c4_env_get("TERM");
    return request->colour && isatty(STDOUT_FILENO) && !(none && *none) && !(terminal && strcmp(terminal, "dumb") == 0);
}

static void print_finding(const c4info_finding *finding, bool colour)
{
    static const char *const colours[C4INFO_NSEVERITIES] = {"\033[32m", "\033[36m", "\033[33m", "\033[1;31m"};
    printf("%s%-4s%s  %-16s  %s\n", colour ? colours[finding->severity] : "", c4info_severity_name(finding->severity),
           colour ? "\033[0m" : "", finding->check, finding->what);
    if (finding->fix[0])
        printf("%-4s  %-16s  fix: %s\n", "", "", finding->fix);
}

static void print_report(const c4info_request *request, const c4info_facts *facts, const c4info_report *report)
{
    size_t counts[C4INFO_NSEVERITIES] = {0};
    bool colour = wants_colour(request);
    for (size_t i = 0; i < report->count; i++) {
        counts[report->findings[i].severity]++;
        if (report->findings[i].severity > C4INFO_OK || request->all)
            print_finding(&report->findings[i], colour);
    }
    printf("%sFor %d rank%s, %d of them on this host: %zu bad, %zu warn, %zu note, %zu ok%s.\n",
           report->count > counts[C4INFO_OK] || request->all ? "\n" : "", facts->job.nranks,
           facts->job.nranks == 1 ? "" : "s", facts->job.local_nranks, counts[C4INFO_BAD], counts[C4INFO_WARN],
           counts[C4INFO_NOTE], counts[C4INFO_OK], request->all ? "" : " (--all shows these, too)");
}

int c4info_doctor_text(const c4info_request *request)
{
    c4info_report report;
    c4info_facts *facts = calloc(1, sizeof *facts);
    if (!facts)
        return c4info_complain(C4_ERR_MEMORY, "doctor");
    int status = c4info_doctor_gather(request, facts, &report);
    if (status < 0) {
        print_report(request, facts, &report);
        status = c4info_doctor_status(&report);
    }
    c4info_report_fini(&report);
    free(facts);
    return status;
}
