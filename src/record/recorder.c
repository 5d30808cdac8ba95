/* The file: created, allocated up front, mapped, filled with areas, removed after a clean end. */
#include "record/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fork_lock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "record/internal.h"

#define RINGS 4u

static pthread_mutex_t recorder_lock = PTHREAD_MUTEX_INITIALIZER;
static c4_recorder *recorder_open; /* the process's one; guarded by the lock */

static uint32_t power_below(uint64_t value)
{
    uint32_t power = 16;
    while ((uint64_t)power * 2 <= value && power < 1u << 20)
        power *= 2;
    return power;
}

static c4_record_area area_place(uint64_t *at, uint32_t count, uint32_t stride)
{
    c4_record_area area = {*at, count, stride};
    *at = (*at + (uint64_t)count * stride + 4095) / 4096 * 4096;
    return area;
}

/* Fixed tables first; what remains of `bytes` is shared by the two kinds of rings. */
static void plan_areas(size_t bytes, c4_record_header *header)
{
    uint64_t at = C4_RECORD_HEADER_BYTES;
    uint32_t scale = bytes >= 512 * 1024 ? 1 : 4;
    header->comms = area_place(&at, C4_RECORD_COMMS / scale, sizeof(c4_record_comm));
    header->programs = area_place(&at, C4_RECORD_PROGRAMS / scale, sizeof(c4_record_program));
    header->edges = area_place(&at, C4_RECORD_EDGES / scale, sizeof(c4_record_edge));
    header->rings = area_place(&at, RINGS, sizeof(c4_record_ring));
    uint64_t left = bytes > at ? bytes - at : 0;
    uint32_t each = power_below(left / 2 / RINGS / sizeof(c4_record_operation));
    header->operations = area_place(&at, each * RINGS, sizeof(c4_record_operation));
    header->moves = area_place(&at, each * RINGS, sizeof(c4_record_move));
    header->file_bytes = at;
}

static void fill_header(c4_record_header *header, const c4_recorder_spec *spec)
{
    struct timespec wall;
    header->version = C4_RECORD_VERSION;
    header->header_bytes = C4_RECORD_HEADER_BYTES;
    header->job_id = spec->job_id;
    header->pid = (uint32_t)getpid();
    header->rank = spec->rank;
    header->pid_start_ticks = c4_record_start_ticks(getpid());
    header->ticks_per_second = c4_tsc_hz();
    clock_gettime(CLOCK_REALTIME, &wall);
    header->ticks_0 = c4_tsc();
    header->wall_ns_0 = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec;
    gethostname(header->host, sizeof header->host - 1);
    snprintf(header->library, sizeof header->library, "%d.%d.%d", C4_VERSION_MAJOR, C4_VERSION_MINOR, C4_VERSION_PATCH);
    __atomic_store_n(&header->magic, C4_RECORD_MAGIC, __ATOMIC_RELEASE); /* last: from here on it is a record */
}

/* Creates the file in the job's directory. The directory may go in between: the last process of a run of the same job
 * id, or the cleaner, removes it when empty. The nonce keeps processes of several pid namespaces apart. */
static c4_status create_file(c4_recorder *recorder, const c4_recorder_spec *spec, int top_fd, int *job_fd,
                             c4_record_reason *reason)
{
    char rank[16] = "x";
    uint64_t nonce;
    C4_TRY(c4_random_bytes(&nonce, sizeof nonce));
    if (spec->rank >= 0)
        snprintf(rank, sizeof rank, "%d", spec->rank);
    snprintf(recorder->job, sizeof recorder->job, "%016llx", (unsigned long long)spec->job_id);
    snprintf(recorder->file, sizeof recorder->file, "%s-%ld-%016llx" C4_RECORD_SUFFIX, rank, (long)getpid(),
             (unsigned long long)nonce);
    for (int tries = 0; tries < 100; tries++) {
        *job_fd = c4_record_open_job(top_fd, recorder->job, true, reason);
        if (*job_fd < 0 && errno != ENOENT)
            return C4_ERR_SYSTEM;
        if (*job_fd < 0)
            continue;
        recorder->fd = openat(*job_fd, recorder->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (recorder->fd >= 0)
            return C4_OK;
        int error = errno;
        close(*job_fd);
        *job_fd = -1;
        snprintf(reason->text, sizeof reason->text, "cannot create %s/%s in %s: %s (set C4_RECORD_DIR)", recorder->job,
                 recorder->file, recorder->top, strerror(error));
        if (error != ENOENT)
            break;
    }
    return C4_ERR_SYSTEM;
}

static c4_status map_file(c4_recorder *recorder, const c4_recorder_spec *spec, c4_record_reason *reason)
{
    c4_record_header plan;
    memset(&plan, 0, sizeof plan);
    plan_areas(spec->bytes, &plan);
    flock(recorder->fd, LOCK_EX | LOCK_NB); /* before there is a header: without one the cleaner does not touch it */
    /* A full /dev/shm is told now, not by SIGBUS. */
    int error = posix_fallocate(recorder->fd, 0, (off_t)plan.file_bytes);
    void *map = error ? MAP_FAILED : mmap(NULL, plan.file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, recorder->fd, 0);
    if (!error && map == MAP_FAILED)
        error = errno;
    if (error) {
        snprintf(reason->text, sizeof reason->text,
                 "%llu bytes in %s: %s (make room there, or set C4_RECORD_DIR or a smaller C4_RECORD_BYTES)",
                 (unsigned long long)plan.file_bytes, recorder->top, strerror(error));
        return C4_ERR_SYSTEM;
    }
    recorder->header = map;
    *recorder->header = plan;
    fill_header(recorder->header, spec);
    return C4_OK;
}

static c4_status open_record(c4_recorder *recorder, const c4_recorder_spec *spec, c4_record_reason *reason)
{
    int job_fd = -1;
    if (!c4_record_expand_top(spec->directory, recorder->top)) {
        snprintf(reason->text, sizeof reason->text, "C4_RECORD_DIR is too long (at most %d characters)",
                 C4_RECORD_TOP_BYTES - 1);
        return C4_ERR_SYSTEM;
    }
    int top_fd = c4_record_open_top(recorder->top, true, reason);
    if (top_fd < 0)
        return C4_ERR_SYSTEM;
    c4_record_clean(top_fd, spec->keep_s, spec->keep_bytes); /* first: it may make the room */
    c4_status status = create_file(recorder, spec, top_fd, &job_fd, reason);
    if (status == C4_OK) {
        status = map_file(recorder, spec, reason);
        if (status != C4_OK) {
            unlinkat(job_fd, recorder->file, 0);
            unlinkat(top_fd, recorder->job, AT_REMOVEDIR);
            close(recorder->fd);
        }
        close(job_fd);
    }
    close(top_fd);
    return status;
}

static c4_recorder *recorder_create(const c4_recorder_spec *spec)
{
    c4_recorder *recorder = calloc(1, sizeof *recorder);
    if (!recorder)
        return NULL;
    c4_record_reason reason = {""};
    if (open_record(recorder, spec, &reason) == C4_OK) {
        pthread_mutex_init(&recorder->tables, NULL);
        return recorder;
    }
    c4_log(C4_LOG_WARN, "flight recorder is off: %s", *reason.text ? reason.text : "no random bytes to be had");
    free(recorder);
    return NULL;
}

static void remove_record(const c4_recorder *recorder)
{
    int top_fd = c4_record_open_top(recorder->top, false, NULL);
    int job_fd = top_fd < 0 ? -1 : c4_record_open_job(top_fd, recorder->job, false, NULL);
    if (job_fd >= 0) {
        unlinkat(job_fd, recorder->file, 0);
        close(job_fd);
        unlinkat(top_fd, recorder->job, AT_REMOVEDIR); /* the last process of the job on this host succeeds */
    }
    if (top_fd >= 0)
        close(top_fd);
}

c4_recorder *c4_recorder_acquire(const c4_recorder_spec *spec)
{
    if (!spec->directory || !*spec->directory || spec->bytes == 0)
        return NULL;
    c4_fork_lock(&recorder_lock);
    if (recorder_open && recorder_open->header->pid != (uint32_t)getpid()) {
        close(recorder_open->fd); /* forked: the parent's file stays the parent's, and its lock too */
        recorder_open = NULL;
    }
    if (!recorder_open)
        recorder_open = recorder_create(spec);
    c4_recorder *recorder = recorder_open;
    if (recorder)
        recorder->users++;
    pthread_mutex_unlock(&recorder_lock);
    return recorder;
}

void c4_recorder_release(c4_recorder *recorder, bool clean)
{
    if (!recorder || recorder->header->pid != (uint32_t)getpid())
        return;
    c4_fork_lock(&recorder_lock);
    recorder->unclean |= !clean;
    if (--recorder->users == 0) {
        recorder->header->closed = 1;
        munmap(recorder->header, recorder->header->file_bytes);
        if (!recorder->unclean)
            remove_record(recorder);
        close(recorder->fd);
        pthread_mutex_destroy(&recorder->tables);
        free(recorder);
        recorder_open = NULL;
    }
    pthread_mutex_unlock(&recorder_lock);
}
