/* Checks of memory: shared, locked, huge, swapped, limited. */
#include <stdio.h>
#include <string.h>

#include "tools/c4info/doctor.h"
#include "tools/c4info/table.h"

#define MIB (1024u * 1024)
/* The least that set-up reserves for a rank with C4_SHM_BACKEND=file. */
#define ARENA_MIN_BYTES (4 * MIB)
/* Queue pairs, completion queues and a bounce buffer of each peer are pinned; below this RDMA fails first. */
#define MEMLOCK_MIN_BYTES (1024ull * MIB)

static bool records_in_shm(const c4info_facts *facts)
{
    return facts->job.record && strncmp(facts->job.record_top, "/dev/shm/", 9) == 0;
}

/* What the ranks of this host put into /dev/shm. */
static uint64_t shm_need(const c4info_facts *facts)
{
    uint64_t ranks = (uint64_t)facts->job.local_nranks, need = 0;
    if (records_in_shm(facts))
        need += ranks * (uint64_t)facts->job.record_bytes;
    if (facts->job.shm_named) {
        uint64_t least = ranks * ARENA_MIN_BYTES, budget = (uint64_t)facts->job.shm_budget_bytes;
        need += budget > least ? budget : least;
    }
    return need;
}

static void fix_shm(const c4info_facts *facts, uint64_t need, c4info_report *report)
{
    unsigned long long mib = need / MIB + need / MIB / 4 + 16;
    if (facts->system.container)
        c4info_report_fix(report,
                          "start the container with --shm-size=%llum (Kubernetes: an emptyDir with medium Memory "
                          "at /dev/shm)",
                          mib);
    else
        c4info_report_fix(report, "mount -o remount,size=%llum /dev/shm", mib);
}

void c4info_check_shm(const c4info_facts *facts, c4info_report *report)
{
    const c4_limits *limits = &facts->system.limits;
    uint64_t need = shm_need(facts);
    char size[32], room[32], needed[32];
    if (need == 0)
        return;
    if (!limits->has_shm) {
        c4info_report_add(report, facts->job.shm_named ? C4INFO_BAD : C4INFO_WARN, "/dev/shm is missing");
        c4info_report_fix(report, "mount -t tmpfs tmpfs /dev/shm, or set %s",
                          facts->job.shm_named ? "C4_SHM_BACKEND=memfd" : "C4_RECORD_DIR to another place");
        return;
    }
    c4info_format_bytes(limits->shm_bytes, size);
    c4info_format_bytes(limits->shm_free_bytes, room);
    c4info_format_bytes(need, needed);
    if (limits->shm_bytes < need) {
        c4info_report_add(report, facts->job.shm_named ? C4INFO_BAD : C4INFO_WARN,
                          "/dev/shm is %s; %d rank%s here need %s", size, facts->job.local_nranks,
                          facts->job.local_nranks == 1 ? "" : "s", needed);
        fix_shm(facts, need, report);
    } else if (limits->shm_free_bytes < need) {
        c4info_report_add(report, facts->job.shm_named ? C4INFO_BAD : C4INFO_WARN,
                          "/dev/shm has %s left of %s; %d rank%s here need %s", room, size, facts->job.local_nranks,
                          facts->job.local_nranks == 1 ? "" : "s", needed);
        c4info_report_fix(report, "see what fills it: ls -lSh /dev/shm; `c4info clean` removes what dead C4 jobs left");
    } else {
        c4info_report_add(report, C4INFO_OK, "/dev/shm has %s left of %s; needed are %s", room, size, needed);
    }
}

void c4info_check_memory(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    uint64_t visible = system->limits.memory_bytes;
    /* Rings live in memfds and records in tmpfs: both count as the control group's memory. */
    uint64_t need = (uint64_t)facts->job.shm_budget_bytes +
                    (uint64_t)facts->job.local_nranks * (facts->job.record ? (uint64_t)facts->job.record_bytes : 0);
    char limit[32], seen[32], needed[32], used[32];
    if (visible == 0)
        return;
    c4info_format_bytes(visible, seen);
    c4info_format_bytes(need, needed);
    if (system->memory_limit_bytes == C4INFO_UNKNOWN || (uint64_t)system->memory_limit_bytes >= visible) {
        c4info_report_add(report, C4INFO_OK, "%s of memory, not limited further", seen);
        return;
    }
    uint64_t room = (uint64_t)system->memory_limit_bytes;
    uint64_t taken = system->memory_in_group_bytes > 0 ? (uint64_t)system->memory_in_group_bytes : 0;
    c4info_format_bytes(room, limit);
    c4info_format_bytes(taken, used);
    bool tight = room < taken || room - taken < need;
    c4info_report_add(report, tight ? C4INFO_WARN : C4INFO_NOTE,
                      "the control group may use %s of the %s that programs see; %s are in use, C4 takes up to %s",
                      limit, seen, used, needed);
    c4info_report_fix(report, tight ? "raise the container's memory limit, or lower C4_SHM_BUDGET_BYTES"
                                    : "size buffers by the limit, not by what `free` shows");
}

void c4info_check_memlock(const c4info_facts *facts, c4info_report *report)
{
    const c4_limit *limit = &facts->system.limits.memlock;
    char soft[32];
    if (!facts->job.wants_verbs)
        return;
    if (limit->soft >= MEMLOCK_MIN_BYTES) {
        c4info_report_add(report, C4INFO_OK, "memory may be locked for RDMA");
        return;
    }
    c4info_format_bytes(limit->soft, soft);
    c4info_report_add(report, C4INFO_BAD, "only %s may be locked (ulimit -l); RDMA pins its buffers", soft);
    if (limit->hard > limit->soft)
        c4info_report_fix(report, "ulimit -l unlimited in the job's script, or before `c4run`");
    else if (facts->system.container)
        c4info_report_fix(report, "start the container with --ulimit memlock=-1 --cap-add=IPC_LOCK");
    else
        c4info_report_fix(report, "put \"* - memlock unlimited\" into /etc/security/limits.d/c4.conf and log in again "
                                  "(Slurm: PropagateResourceLimitsExcept=MEMLOCK; systemd: LimitMEMLOCK=infinity)");
}

void c4info_check_file_size(const c4info_facts *facts, c4info_report *report)
{
    int64_t limit = facts->system.file_size_limit;
    int64_t share = facts->job.shm_budget_bytes / (facts->job.local_nranks > 0 ? facts->job.local_nranks : 1);
    int64_t need = share > (int64_t)ARENA_MIN_BYTES ? share : (int64_t)ARENA_MIN_BYTES;
    char text[32], needed[32];
    if (limit == C4INFO_UNKNOWN || limit >= need) {
        c4info_report_add(report, C4INFO_OK, "files may be as large as shared memory needs");
        return;
    }
    c4info_format_bytes((unsigned long long)limit, text);
    c4info_format_bytes((unsigned long long)need, needed);
    c4info_report_add(report, C4INFO_BAD, "files may have %s (ulimit -f); the shared memory of a rank has %s", text,
                      needed);
    c4info_report_fix(report, "ulimit -f unlimited, or a lower C4_SHM_BUDGET_BYTES");
}

void c4info_check_swap(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    char used[32], size[32];
    if (system->swap_bytes <= 0)
        return;
    c4info_format_bytes((unsigned long long)system->swap_used_bytes, used);
    c4info_format_bytes((unsigned long long)system->swap_bytes, size);
    /* A little is old, idle pages; more is memory pressure. */
    bool pressed = system->swap_used_bytes > system->swap_bytes / 10;
    c4info_report_add(report, pressed ? C4INFO_WARN : C4INFO_OK, "%s of %s swap in use", used, size);
    if (pressed)
        c4info_report_fix(report, "find what does not fit (ps --sort=-rss aux), then swapoff -a: one rank that swaps "
                                  "slows all of them");
}

void c4info_check_hugepages(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    char idle[32];
    if (system->hugepages <= 0)
        return;
    uint64_t bytes =
        (uint64_t)system->hugepages_free * (uint64_t)(system->hugepage_bytes > 0 ? system->hugepage_bytes : 0);
    c4info_format_bytes(bytes, idle);
    /* C4 does not take them itself; a trainer may. */
    bool wasted = bytes > system->limits.memory_bytes / 10;
    c4info_report_add(report, wasted ? C4INFO_NOTE : C4INFO_OK, "%lld huge pages are set aside, %s of them unused",
                      (long long)system->hugepages, idle);
    if (wasted)
        c4info_report_fix(report,
                          "sysctl vm.nr_hugepages=0 unless a program of the job asks for them: nothing else can "
                          "use that memory");
}

void c4info_check_thp(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    if (!system->thp[0])
        return;
    if (strcmp(system->thp, "never") == 0) {
        c4info_report_add(report, C4INFO_NOTE, "transparent huge pages are off: large buffers cost more TLB misses");
        c4info_report_fix(report, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    } else if (strcmp(system->thp, "always") == 0 && strcmp(system->thp_defrag, "always") == 0) {
        c4info_report_add(report, C4INFO_NOTE,
                          "page faults wait for compaction of huge pages (defrag is \"always\"): "
                          "ranks stall at random");
        c4info_report_fix(report, "echo madvise > /sys/kernel/mm/transparent_hugepage/defrag");
    } else {
        c4info_report_add(report, C4INFO_OK, "transparent huge pages: %s", system->thp);
    }
}

void c4info_check_stale(const c4info_facts *facts, c4info_report *report)
{
    const c4info_system_facts *system = &facts->system;
    uint64_t bytes = system->stale_segment_bytes + system->stale_job_bytes;
    char size[32];
    if (system->stale_segments == 0 && system->stale_jobs == 0) {
        c4info_report_add(report, C4INFO_OK, "no files of dead jobs");
        return;
    }
    bool many = system->limits.has_shm && bytes > system->limits.shm_bytes / 4;
    c4info_report_add(report, many ? C4INFO_WARN : C4INFO_NOTE,
                      "dead jobs left %s: shared memory of %llu process%s in %s, flight records of %llu job%s in %s",
                      c4info_format_bytes(bytes, size), (unsigned long long)system->stale_segments,
                      system->stale_segments == 1 ? "" : "es", system->segment_directory,
                      (unsigned long long)system->stale_jobs, system->stale_jobs == 1 ? "" : "s",
                      facts->job.record_top);
    c4info_report_fix(report, "c4info clean (--dry-run lists them; records also go by age and size on their own)");
}
