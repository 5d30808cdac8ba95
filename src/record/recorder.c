/* The file: created, allocated up front, mapped, filled with areas, removed after a clean end. */
#include "record/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/status.h"
#include "record/internal.h"

#define COMMS    64u
#define PROGRAMS 256u
#define EDGES    1024u
#define RINGS    4u

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
    header->comms = area_place(&at, COMMS / scale, sizeof(c4_record_comm));
    header->programs = area_place(&at, PROGRAMS / scale, sizeof(c4_record_program));
    header->edges = area_place(&at, EDGES / scale, sizeof(c4_record_edge));
    header->rings = area_place(&at, RINGS, sizeof(c4_record_ring));
    uint64_t left = bytes > at ? bytes - at : 0;
    uint32_t each = power_below(left / 2 / RINGS / sizeof(c4_record_operation));
    header->operations = area_place(&at, each * RINGS, sizeof(c4_record_operation));
    header->moves = area_place(&at, each * RINGS, sizeof(c4_record_move));
    header->file_bytes = at;
}

static uint64_t own_start_ticks(void)
{
    char text[1024];
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return 0;
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    /* The command name, in parentheses, may hold anything; field 22 is the 20th after it. */
    char *field = strrchr(text, ')');
    for (int i = 0; field && i < 20; i++)
        field = strchr(field + 1, ' ');
    return field && sscanf(field, " %llu", &ticks) == 1 ? ticks : 0;
}

static void fill_header(c4_record_header *header, const c4_recorder_spec *spec)
{
    struct timespec wall;
    header->version = C4_RECORD_VERSION;
    header->header_bytes = C4_RECORD_HEADER_BYTES;
    header->job_id = spec->job_id;
    header->pid = (uint32_t)getpid();
    header->rank = spec->rank;
    header->pid_start_ticks = own_start_ticks();
    header->ticks_per_second = c4_tsc_hz();
    clock_gettime(CLOCK_REALTIME, &wall);
    header->ticks_0 = c4_tsc();
    header->wall_ns_0 = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec;
    gethostname(header->host, sizeof header->host - 1);
    snprintf(header->library, sizeof header->library, "%d.%d.%d", C4_VERSION_MAJOR, C4_VERSION_MINOR, C4_VERSION_PATCH);
    __atomic_store_n(&header->magic, C4_RECORD_MAGIC, __ATOMIC_RELEASE); /* last: from here on it is a record */
}

/* "%u" at the end of C4_RECORD_DIR is the user's number: users of one host do not share the directory. */
static void expand_directory(const char *pattern, char *out, size_t bytes)
{
    size_t length = strlen(pattern);
    bool numbered = length >= 2 && strcmp(pattern + length - 2, "%u") == 0;
    if (numbered)
        snprintf(out, bytes, "%.*s%ld", (int)(length - 2), pattern, (long)geteuid());
    else
        snprintf(out, bytes, "%s", pattern);
}

/* "<dir>/<job>/<pid>.c4rec", directories 0700. */
static c4_status make_path(const c4_recorder_spec *spec, char *directory, char *path, size_t bytes)
{
    char top[PATH_MAX / 2];
    expand_directory(spec->directory, top, sizeof top);
    if ((mkdir(top, 0700) < 0 && errno != EEXIST) ||
        snprintf(directory, bytes, "%s/%016llx", top, (unsigned long long)spec->job_id) >= (int)bytes ||
        (mkdir(directory, 0700) < 0 && errno != EEXIST))
        return C4_ERR_SYSTEM;
    struct stat info;
    if (lstat(directory, &info) < 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid()) {
        errno = EPERM; /* somebody else's directory of this name: do not write through it */
        return C4_ERR_SYSTEM;
    }
    return snprintf(path, bytes, "%s/%ld.c4rec", directory, (long)getpid()) < (int)bytes ? C4_OK : C4_ERR_SYSTEM;
}

static c4_status map_file(c4_recorder *recorder, const c4_recorder_spec *spec)
{
    c4_record_header plan;
    memset(&plan, 0, sizeof plan);
    plan_areas(spec->bytes, &plan);
    int fd = open(recorder->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return C4_ERR_SYSTEM;
    int error = posix_fallocate(fd, 0, (off_t)plan.file_bytes); /* a full /dev/shm is told now, not by SIGBUS */
    void *map = error ? MAP_FAILED : mmap(NULL, plan.file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!error && map == MAP_FAILED)
        error = errno;
    close(fd);
    if (error) {
        unlink(recorder->path);
        errno = error;
        return C4_ERR_SYSTEM;
    }
    recorder->header = map;
    *recorder->header = plan;
    fill_header(recorder->header, spec);
    return C4_OK;
}

static c4_recorder *recorder_create(const c4_recorder_spec *spec)
{
    c4_recorder *recorder = calloc(1, sizeof *recorder);
    if (!recorder)
        return NULL;
    if (make_path(spec, recorder->directory, recorder->path, sizeof recorder->path) == C4_OK &&
        map_file(recorder, spec) == C4_OK) {
        pthread_mutex_init(&recorder->tables, NULL);
        return recorder;
    }
    c4_log(C4_LOG_WARN,
           "flight recorder is off: %s: %s (make room there, or set C4_RECORD_DIR or a smaller C4_RECORD_BYTES)",
           *recorder->path ? recorder->path : spec->directory, strerror(errno));
    free(recorder);
    return NULL;
}

c4_recorder *c4_recorder_acquire(const c4_recorder_spec *spec)
{
    if (!spec->directory || !*spec->directory || spec->bytes == 0)
        return NULL;
    pthread_mutex_lock(&recorder_lock);
    if (recorder_open && recorder_open->header->pid != (uint32_t)getpid())
        recorder_open = NULL; /* forked: the parent's file stays the parent's */
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
    pthread_mutex_lock(&recorder_lock);
    recorder->unclean |= !clean;
    if (--recorder->users == 0) {
        recorder->header->closed = 1;
        munmap(recorder->header, recorder->header->file_bytes);
        if (!recorder->unclean) {
            unlink(recorder->path);
            rmdir(recorder->directory); /* the last process of the job on this host succeeds */
        }
        pthread_mutex_destroy(&recorder->tables);
        free(recorder);
        recorder_open = NULL;
    }
    pthread_mutex_unlock(&recorder_lock);
}
