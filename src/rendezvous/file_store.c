#include "rendezvous/file_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/status.h"
#include "rendezvous/process.h"

enum { MAX_REPLACE_TRIES = 2000 }; /* a millisecond each */

/* ---- text ---- */

static bool parse_boot_id(const char *digits, unsigned char out[16])
{
    for (size_t i = 0; i < 16; i++) {
        char pair[3] = {digits[2 * i], digits[2 * i + 1], '\0'};
        char *end = NULL;
        out[i] = (unsigned char)strtoul(pair, &end, 16);
        if (end != pair + 2)
            return false;
    }
    return digits[32] == '\0';
}

bool c4_file_store_parse(const char *text, size_t bytes, c4_file_store_entry *entry)
{
    char copy[C4_FILE_STORE_BYTES + 1];
    char boot[33] = "";
    int used = 0;
    if (bytes > C4_FILE_STORE_BYTES || memchr(text, '\0', bytes))
        return false;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    c4_file_store_entry made = {0};
    c4_process *process = &made.process;
    if (sscanf(copy,
               "c4-rendezvous 1\njob %16" SCNx64 " ranks %9" SCNu32 "\nprocess %9" SCNu32 " %20" SCNu64 " %20" SCNu64
               " %32[0-9a-f] %63[!-~]\n%n",
               &made.job_id, &made.nranks, &process->pid, &process->start_ticks, &process->pid_namespace, boot,
               process->host, &used) != 7 ||
        used == 0 || !parse_boot_id(boot, process->boot_id))
        return false;
    if (process->pid > INT32_MAX || made.nranks > INT32_MAX) /* sscanf takes signs */
        return false;
    char *rest = NULL;
    for (char *line = strtok_r(copy + used, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "address ", 8) != 0 || made.naddresses == C4_UNIQUE_ID_ADDRESSES ||
            !c4_net_address_parse(line + 8, &made.addresses[made.naddresses]))
            return false;
        made.naddresses++;
    }
    *entry = made;
    return made.naddresses > 0 && text[bytes - 1] == '\n';
}

static size_t append(char *text, size_t used, const char *format, ...) __attribute__((format(printf, 3, 4)));
static size_t append(char *text, size_t used, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text + used, C4_FILE_STORE_BYTES - used, format, args);
    va_end(args);
    return used + (size_t)length;
}

/* Three addresses and the longest of all else fit well. */
size_t c4_file_store_print(const c4_file_store_entry *entry, char text[C4_FILE_STORE_BYTES])
{
    const c4_process *process = &entry->process;
    char address[C4_NET_ADDRESS_TEXT_BYTES];
    size_t used =
        append(text, 0, "c4-rendezvous 1\njob %016" PRIx64 " ranks %" PRIu32 "\n", entry->job_id, entry->nranks);
    used = append(text, used, "process %" PRIu32 " %" PRIu64 " %" PRIu64 " ", process->pid, process->start_ticks,
                  process->pid_namespace);
    for (size_t i = 0; i < sizeof process->boot_id; i++)
        used = append(text, used, "%02x", process->boot_id[i]);
    used = append(text, used, " %s\n", *process->host ? process->host : "?");
    for (size_t i = 0; i < entry->naddresses; i++)
        used = append(text, used, "address %s\n", c4_net_address_format(&entry->addresses[i], address));
    return used;
}

/* ---- reading ---- */

static bool is_same_process(const c4_process *a, const c4_process *b)
{
    return a->pid == b->pid && a->start_ticks == b->start_ticks && c4_process_same_kernel(a, b);
}

/* A client of NFS may remember for a minute that a file is not there. Reading its directory makes it ask again. */
static void look_into_directory(const char *path)
{
    char name[4096];
    const char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) >= sizeof name - 1)
        return;
    snprintf(name, sizeof name, "%.*s/", (int)(slash - path), path);
    DIR *directory = opendir(name);
    if (!directory)
        return;
    (void)!readdir(directory);
    closedir(directory);
}

/* What is no regular file of this user alone is nobody's word. */
static c4_status check_file(const char *path, const struct stat *info)
{
    if (!S_ISREG(info->st_mode))
        return c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS=file:%s is not a regular file; name another one", path);
    if (info->st_uid != geteuid())
        return c4_fail(
            C4_ERR_OPTION,
            "C4_RENDEZVOUS=file:%s is of user %u (mode %03o) and this process of user %u: run all ranks as one "
            "user, and name a file where owners are kept (NFS with root_squash gives root's files away)",
            path, info->st_uid, info->st_mode & 0777u, geteuid());
    if (info->st_mode & (S_IWGRP | S_IWOTH))
        return c4_fail(C4_ERR_OPTION,
                       "C4_RENDEZVOUS=file:%s can be written by others (mode %03o): remove it, and name a file where "
                       "modes are kept if it was made so",
                       path, info->st_mode & 0777u);
    return C4_OK;
}

/* C4_IN_PROGRESS with errno: it is not there, or cannot be read now. */
static c4_status read_file(const char *path, char text[C4_FILE_STORE_BYTES], size_t *bytes)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        look_into_directory(path);
        errno = ENOENT;
    }
    if (fd < 0 && errno == ELOOP)
        return c4_fail(C4_ERR_OPTION, "C4_RENDEZVOUS=file:%s is a symbolic link; name the file itself", path);
    if (fd < 0)
        return C4_IN_PROGRESS;
    c4_status status = fstat(fd, &info) < 0 ? C4_IN_PROGRESS : check_file(path, &info);
    ssize_t got = status == C4_OK ? read(fd, text, C4_FILE_STORE_BYTES) : 0;
    int error = errno;
    close(fd);
    errno = error;
    *bytes = got > 0 ? (size_t)got : 0;
    return got < 0 ? C4_IN_PROGRESS : status;
}

c4_status c4_file_store_read(const char *path, uint64_t job_id, uint32_t nranks, c4_file_store_entry *entry,
                             char reason[C4_FILE_STORE_REASON_BYTES])
{
    char text[C4_FILE_STORE_BYTES];
    size_t bytes = 0;
    c4_file_store_entry found;
    c4_process self;
    c4_status status = read_file(path, text, &bytes);
    if (status < 0)
        return status;
    if (status == C4_IN_PROGRESS) {
        snprintf(reason, C4_FILE_STORE_REASON_BYTES, "%s",
                 errno == ENOENT ? "rank 0 has not written it" : strerror(errno));
        return C4_IN_PROGRESS;
    }
    if (!c4_file_store_parse(text, bytes, &found)) {
        snprintf(reason, C4_FILE_STORE_REASON_BYTES, "what it holds was not written by rank 0");
        return C4_IN_PROGRESS;
    }
    c4_process_self(&self);
    const c4_process *process = &found.process;
    if (found.job_id != job_id || found.nranks != nranks)
        snprintf(reason, C4_FILE_STORE_REASON_BYTES, "it is of another job, of %u ranks (pid %u on %s)", found.nranks,
                 process->pid, process->host);
    else if (c4_process_same_kernel(&self, process) && !c4_process_is_alive(process))
        snprintf(reason, C4_FILE_STORE_REASON_BYTES, "it was left by pid %u on %s, which is dead", process->pid,
                 process->host);
    else {
        *entry = found;
        return C4_OK;
    }
    return C4_IN_PROGRESS;
}

/* ---- writing ---- */

static c4_status fail_write(const char *path, int error)
{
    return c4_fail_errno(C4_ERR_OPTION, error,
                         "C4_RENDEZVOUS=file:%s cannot be written; name a file in a directory that all hosts share and "
                         "this user may write to",
                         path);
}

typedef enum owner { OWNER_NOBODY, OWNER_SELF, OWNER_DEAD, OWNER_ALIVE } owner;

/* Whose the file is, as far as this host knows. < 0: it can never be used. */
static c4_status find_owner(const char *path, const c4_process *self, owner *whose, c4_process *found)
{
    char text[C4_FILE_STORE_BYTES];
    size_t bytes = 0;
    c4_file_store_entry old;
    c4_status status = read_file(path, text, &bytes);
    *whose = OWNER_NOBODY;
    if (status != C4_OK || !c4_file_store_parse(text, bytes, &old))
        return status < 0 ? status : C4_OK;
    *found = old.process;
    if (is_same_process(self, found))
        *whose = OWNER_SELF;
    else
        *whose = c4_process_same_kernel(self, found) && c4_process_is_alive(found) ? OWNER_ALIVE : OWNER_DEAD;
    return C4_OK;
}

static c4_status fail_in_use(const char *path, const c4_process *process)
{
    return c4_fail(C4_ERR_OPTION,
                   "C4_RENDEZVOUS=file:%s is in use by another job that is starting (rank 0 is pid %u on %s); give "
                   "each job its own file",
                   path, process->pid, process->host);
}

/* Of two jobs that start at once both may find what a dead one has left, and the slower one must not replace what the
 * faster one has written since: who replaces a file holds its lock. -1: there is none to hold; C4_IN_PROGRESS: another one
 * has it, or the file has been replaced or is gone. */
static c4_status lock_old(const char *path, bool was_there, int *fd)
{
    struct stat mine, there;
    *fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*fd < 0)
        return was_there && errno == ENOENT ? C4_IN_PROGRESS : C4_OK;
    bool busy = flock(*fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; /* else a file system may know no locks */
    if (!busy && fstat(*fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino)
        return C4_OK;
    close(*fd);
    *fd = -1;
    return C4_IN_PROGRESS;
}

static c4_status replace(const char *temporary, const char *path, bool was_there, const c4_process *self)
{
    owner whose = OWNER_NOBODY;
    c4_process found;
    int fd = -1;
    c4_status status = lock_old(path, was_there, &fd);
    if (status == C4_OK)
        status = find_owner(path, self, &whose, &found);
    if (status == C4_OK && whose == OWNER_ALIVE)
        status = fail_in_use(path, &found);
    else if (status == C4_OK && rename(temporary, path) < 0)
        status = fail_write(path, errno);
    if (status == C4_OK && whose == OWNER_DEAD)
        c4_log(C4_LOG_INFO, "rendezvous: replacing %s, left by pid %u on %s", path, found.pid, found.host);
    if (fd >= 0)
        close(fd);
    return status;
}

/* 0: the file has its name now, and had it not before. */
static int link_new(const char *temporary, const char *path)
{
    struct stat info;
    if (link(temporary, path) == 0)
        return 0;
    int error = errno; /* of NFS it may be the answer to the second asking */
    return stat(temporary, &info) == 0 && info.st_nlink == 2 ? 0 : error;
}

/* Gives the temporary file its name, unless that is in use. It may stay when this fails. */
static c4_status put_in_place(const char *temporary, const char *path, const c4_process *self)
{
    for (int tries = 0; tries < MAX_REPLACE_TRIES; tries++) {
        int error = link_new(temporary, path);
        if (!error) {
            unlink(temporary);
            return C4_OK;
        }
        /* also where a file system knows no links */
        c4_status status = replace(temporary, path, error == EEXIST, self);
        if (status != C4_IN_PROGRESS)
            return status;
        poll(NULL, 0, 1); /* whoever replaces it is done in a moment */
    }
    return c4_fail(C4_ERR_OPTION,
                   "C4_RENDEZVOUS=file:%s is held by another job that is starting; give each job its own file", path);
}

/* Some file systems keep neither owner nor mode: better rank 0 says so than that all others do and it waits for them. */
static c4_status read_back(const char *path, const c4_file_store_entry *entry)
{
    char text[C4_FILE_STORE_BYTES], own[C4_FILE_STORE_BYTES];
    size_t bytes = 0;
    c4_status status = read_file(path, text, &bytes);
    if (status < 0)
        return status;
    if (status == C4_IN_PROGRESS)
        return fail_write(path, errno);
    if (bytes != c4_file_store_print(entry, own) || memcmp(text, own, bytes) != 0)
        return c4_fail(
            C4_ERR_OPTION,
            "C4_RENDEZVOUS=file:%s does not hold what rank 0 has just written: another job uses it; give each "
            "job its own file",
            path);
    return C4_OK;
}

static int write_all(int fd, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(fd, text, bytes);
        if (done < 0 && errno != EINTR)
            return errno;
        if (done > 0) {
            text += done;
            bytes -= (size_t)done;
        }
    }
    return fsync(fd) < 0 ? errno : 0; /* other hosts must not see an empty file */
}

c4_status c4_file_store_publish(const char *path, const c4_file_store_entry *entry)
{
    char text[C4_FILE_STORE_BYTES];
    char temporary[4096];
    uint64_t unique = 0;
    C4_TRY(c4_random_bytes(&unique, sizeof unique));
    int length = snprintf(temporary, sizeof temporary, "%s.%016" PRIx64, path, unique);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return fail_write(path, ENAMETOOLONG);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_write(path, errno);
    int error = write_all(fd, text, c4_file_store_print(entry, text));
    close(fd);
    c4_status status = error ? fail_write(path, error) : put_in_place(temporary, path, &entry->process);
    if (status < 0) {
        unlink(temporary);
        return status;
    }
    return read_back(path, entry);
}

void c4_file_store_remove(const char *path, const c4_file_store_entry *entry)
{
    char text[C4_FILE_STORE_BYTES];
    size_t bytes = 0;
    c4_file_store_entry found;
    bool own = read_file(path, text, &bytes) == C4_OK && c4_file_store_parse(text, bytes, &found) &&
               found.job_id == entry->job_id && is_same_process(&found.process, &entry->process);
    if (own && unlink(path) < 0)
        c4_log(C4_LOG_WARN, "rendezvous: cannot remove %s: %s", path, strerror(errno));
}
