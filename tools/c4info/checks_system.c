/* Checks of processes: descriptors, cores, clocks, and of what the job was told. */
#include <stdio.h>
#include <string.h>

#include "tools/c4info/doctor.h"
#include "tools/c4info/table.h"

/* Beside peers: the trainer's own files and libraries, the listener, the control plane, timers. */
#define OTHER_FILES 256
/* A rank, its control thread and its progress thread. */
#define THREADS_PER_RANK 3

static const char *plural(int64_t count)
{
    return count == 1 ? "" : "s";
}

void c4info_check_files(const c4info_facts *facts, c4info_report *report)
{
    const c4_limit *limit = &facts->system.limits.nofile;
    int64_t remote = facts->job.nranks - facts->job.local_nranks;
    /* Connections are lazy: this is a rank that has talked to all others. */
    uint64_t need = OTHER_FILES + (uint64_t)(facts->job.nranks) + (uint64_t)(remote * facts->job.tcp_sockets);
    if (limit->soft >= need) {
        c4info_report_add(report, C4INFO_OK, "%llu open files are allowed, a rank needs up to %llu",
                          (unsigned long long)limit->soft, (unsigned long long)need);
        return;
    }
    c4info_report_add(report, limit->hard >= need ? C4INFO_WARN : C4INFO_BAD,
                      "%llu open files are allowed (ulimit -n); a rank with %d peers needs up to %llu",
                      (unsigned long long)limit->soft, facts->job.nranks - 1, (unsigned long long)need);
    if (limit->hard >= need)
        c4info_report_fix(report, "ulimit -n %llu in the job's script", (unsigned long long)need);
    else
        c4info_report_fix(report,
                          "put \"* - nofile %llu\" into /etc/security/limits.d/c4.conf and log in again "
                          "(container: --ulimit nofile=%llu; systemd: LimitNOFILE)",
                          (unsigned long long)need * 2, (unsigned long long)need * 2);
}

void c4info_check_processes(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    uint64_t need = (uint64_t)facts->job.local_nranks * THREADS_PER_RANK;
    uint64_t room = system->limits.nproc.soft;
    const char *what = "ulimit -u";
    if (system->pids_limit != C4INFO_UNKNOWN) {
        int64_t rest = system->pids_limit - (system->pids_in_group > 0 ? system->pids_in_group : 0);
        uint64_t left = rest > 0 ? (uint64_t)rest : 0;
        if (left < room) {
            room = left;
            what = "the control group's pids.max";
        }
    }
    if (room >= need) {
        c4info_report_add(report, C4INFO_OK, "enough processes and threads are allowed");
        return;
    }
    c4info_report_add(report, C4INFO_BAD, "%llu more processes and threads are allowed (%s); %d rank%s need %llu",
                      (unsigned long long)room, what, facts->job.local_nranks, plural(facts->job.local_nranks),
                      (unsigned long long)need);
    c4info_report_fix(report,
                      "ulimit -u unlimited; container: --pids-limit=-1; Kubernetes: podPidsLimit of the kubelet");
}

void c4info_check_cores(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (facts->job.local_nranks <= system->cores) {
        c4info_report_add(report, C4INFO_OK, "%d rank%s on %lld core%s", facts->job.local_nranks,
                          plural(facts->job.local_nranks), (long long)system->cores, plural(system->cores));
        return;
    }
    c4info_report_add(report, C4INFO_WARN,
                      "%d ranks on %lld core%s: they take turns, and each step waits for the next turn",
                      facts->job.local_nranks, (long long)system->cores, plural(system->cores));
    c4info_report_fix(report,
                      "start at most %lld rank%s on this host (%lld hardware thread%s), or widen the job's CPU set",
                      (long long)system->cores, plural(system->cores), (long long)system->cpus, plural(system->cpus));
}

void c4info_check_cpu_quota(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (system->cpu_quota <= 0 || system->cpu_quota >= (double)system->cpus)
        return;
    bool short_of = system->cpu_quota < facts->job.local_nranks;
    c4info_report_add(report, short_of ? C4INFO_WARN : C4INFO_NOTE,
                      "the control group may use %.1f of the %lld CPUs it sees; beyond that all its ranks stand still "
                      "until the next period (100 ms)",
                      system->cpu_quota, (long long)system->cpus);
    c4info_report_fix(report, "%s",
                      short_of ? "raise the CPU limit to one core per rank, or use a CPU set instead of a "
                                 "quota (docker: --cpuset-cpus; Kubernetes: static CPU manager)"
                               : "start no more ranks and threads than the quota has cores");
}

void c4info_check_governor(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (!system->governor[0])
        return;
    bool saves = strcmp(system->governor, "powersave") == 0;
    /* With these drivers "powersave" still goes up with the load; with the others it pins the lowest frequency. */
    bool dynamic =
        strcmp(system->cpu_driver, "intel_pstate") == 0 || strncmp(system->cpu_driver, "amd-pstate", 10) == 0;
    if (!saves) {
        c4info_report_add(report, C4INFO_OK, "CPU governor: %s", system->governor);
        return;
    }
    c4info_report_add(report, dynamic ? C4INFO_NOTE : C4INFO_WARN, "CPU governor is powersave (%s): %s",
                      system->cpu_driver[0] ? system->cpu_driver : "unknown driver",
                      dynamic ? "ranks start slowly after each wait" : "the cores stay at their lowest frequency");
    c4info_report_fix(report, "cpupower frequency-set -g performance");
}

void c4info_check_numa_balancing(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (system->numa_nodes < 2 || system->numa_balancing == C4INFO_UNKNOWN)
        return;
    if (system->numa_balancing == 0) {
        c4info_report_add(report, C4INFO_OK, "automatic NUMA balancing is off");
        return;
    }
    c4info_report_add(report, C4INFO_NOTE,
                      "automatic NUMA balancing unmaps pages to see who uses them: ranks stall at "
                      "random");
    c4info_report_fix(report, "sysctl kernel.numa_balancing=0, and bind the ranks (c4run binds them)");
}

void c4info_check_ptrace(const c4info_facts *facts, c4info_report *report)
{
    int scope = facts->system.limits.ptrace_scope;
    if (scope <= 0) {
        c4info_report_add(report, C4INFO_OK, "debuggers of the same user may attach");
        return;
    }
    c4info_report_add(report, C4INFO_NOTE,
                      "ptrace_scope is %d: gdb and py-spy cannot attach to a rank that hangs, nor can libraries copy "
                      "between processes (process_vm_readv); C4's own shared memory does not need it",
                      scope);
    c4info_report_fix(report, scope >= 3 ? "it cannot be lowered before the next boot: kernel.yama.ptrace_scope=0 in "
                                           "/etc/sysctl.d/"
                                         : "sysctl kernel.yama.ptrace_scope=0 (container: --cap-add=SYS_PTRACE)");
}

void c4info_check_clock(const c4info_facts *facts, c4info_report *report)
{
    if (facts->system.clock_unsynchronised == C4INFO_UNKNOWN)
        return;
    if (facts->system.clock_unsynchronised == 0) {
        c4info_report_add(report, C4INFO_OK, "the clock is synchronised");
        return;
    }
    c4info_report_add(report, C4INFO_NOTE,
                      "nothing synchronises this clock: times in logs of different hosts do not "
                      "compare");
    c4info_report_fix(report, "systemctl enable --now chronyd (or systemd-timesyncd)");
}

void c4info_check_clocksource(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (!system->x86 || !system->clocksource[0])
        return;
    /* A virtual machine's own clock reads the TSC through a shared page. */
    bool fast = strcmp(system->clocksource, "tsc") == 0 || strcmp(system->clocksource, "kvm-clock") == 0 ||
                strcmp(system->clocksource, "hyperv_clocksource_tsc_page") == 0;
    if (!fast) {
        c4info_report_add(report, C4INFO_WARN,
                          "the clock is read from %s: every reading is a system call of about a "
                          "microsecond",
                          system->clocksource);
        c4info_report_fix(report, "see why the kernel gave up the TSC (dmesg | grep -i tsc); boot with clocksource=tsc "
                                  "tsc=reliable where it is sound");
    } else if (!system->tsc_invariant) {
        c4info_report_add(report, C4INFO_WARN,
                          "the TSC changes its rate or stops in sleep (no constant_tsc, "
                          "nonstop_tsc): C4's times are wrong then");
        c4info_report_fix(report, "virtual machine: expose the host's CPU (qemu: -cpu host,+invtsc); else turn deep "
                                  "sleep states off (processor.max_cstate=1)");
    } else {
        c4info_report_add(report, C4INFO_OK, "clock source %s, invariant TSC", system->clocksource);
    }
}

/* ---- what the job was told ---- */

void c4info_check_options(const c4info_facts *facts, c4info_report *report)
{
    if (!facts->job.option_error[0]) {
        c4info_report_add(report, C4INFO_OK, "all options have values that C4 understands");
        return;
    }
    c4info_report_add(report, C4INFO_BAD, "an option is wrong: %s", facts->job.option_error);
    c4info_report_fix(report, "correct it: `c4info options` lists types, defaults and what they are for");
}

void c4info_check_variables(const c4info_facts *facts, c4info_report *report)
{
    if (facts->job.nunknown == 0)
        c4info_report_add(report, C4INFO_OK, "no unknown C4_ variables");
    for (size_t i = 0; i < facts->job.nunknown; i++) {
        const c4info_name *unknown = &facts->job.unknown[i];
        c4info_report_add(report, C4INFO_WARN, "the variable %s means nothing to C4 and is ignored", unknown->name);
        if (unknown->nearest[0])
            c4info_report_fix(report, "set %s instead, or unset it", unknown->nearest);
        else
            c4info_report_fix(report, "unset it; `c4info options` lists the known ones");
    }
}

void c4info_check_key(const c4info_facts *facts, c4info_report *report)
{
    const c4info_job_facts *job = &facts->job;
    if (job->key_error[0]) {
        c4info_report_add(report, C4INFO_BAD, "the key cannot be used: %s", job->key_error);
        c4info_report_fix(report, "(umask 077; head -c 32 /dev/urandom > KEY), copy it to all hosts, C4_KEY_FILE=KEY");
    } else if (job->insecure) {
        c4info_report_add(report, C4INFO_WARN, "C4_INSECURE=1: whoever reaches the port may join the job");
        c4info_report_fix(report, "unset C4_INSECURE and start with c4run, which makes a key, or set C4_KEY_FILE");
    } else if (job->has_key) {
        c4info_report_add(report, C4INFO_OK, "connections are authenticated with the job's key");
    } else if (job->nranks > job->local_nranks) {
        c4info_report_add(report, C4INFO_NOTE, "no key is set here: without one, ranks of other hosts are refused");
        c4info_report_fix(report,
                          "start with c4run, which makes one, or set C4_KEY_FILE to a file with mode 0600 on all "
                          "hosts");
    }
}

void c4info_check_record(const c4info_facts *facts, c4info_report *report)
{
    const c4info_job_facts *job = &facts->job;
    if (!job->record) {
        c4info_report_add(report, C4INFO_NOTE, "C4_RECORD=0: nothing can be said about a hang afterwards");
        c4info_report_fix(report, "unset C4_RECORD; recording costs less than 1 %% of time");
    } else if (job->record_error[0]) {
        c4info_report_add(report, C4INFO_WARN, "flight records cannot be written: %s", job->record_error);
        c4info_report_fix(report, "set C4_RECORD_DIR to a directory that belongs to this user alone");
    } else {
        c4info_report_add(report, C4INFO_OK, "flight records go to %s", job->record_top);
    }
}

void c4info_check_host_name(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (!system->name[0])
        return;
    if (!system->name_address[0]) {
        c4info_report_add(report, C4INFO_NOTE,
                          "this host's name, %s, does not resolve; C4 does not need it, gloo and some "
                          "launchers do",
                          system->name);
        c4info_report_fix(report, "add \"ADDRESS %s\" to /etc/hosts", system->name);
    } else if (system->name_is_loopback) {
        c4info_report_add(report, C4INFO_NOTE,
                          "this host's name, %s, resolves to %s; C4 never asks, but gloo and some "
                          "launchers tell that address to other hosts",
                          system->name, system->name_address);
        c4info_report_fix(report, "give %s the address of the network in /etc/hosts", system->name);
    } else {
        c4info_report_add(report, C4INFO_OK, "this host's name, %s, resolves to %s", system->name,
                          system->name_address);
    }
}
