#include "record/sockets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"

#define NEW_SUFFIX  ".new" /* of a socket that does not listen yet */
#define NEW_LIFE_S  60     /* after so long nobody is going to */
#define BACKLOG     32
#define MAX_ENTRIES 65536u

/* ---- names ---- */

void c4_admin_name_format(const c4_admin_name *name, char text[C4_RECORD_NAME_BYTES])
{
    snprintf(text, C4_RECORD_NAME_BYTES, "%016llx-%d-%ld-%08x" C4_ADMIN_SUFFIX, (unsigned long long)name->job,
             name->rank, name->pid, name->host);
}

/* What format writes of these numbers is the text again: so nothing else is a name. */
bool c4_admin_name_parse(const char *text, c4_admin_name *name)
{
    unsigned long long job;
    char again[C4_RECORD_NAME_BYTES];
    if (strlen(text) >= sizeof again ||
        sscanf(text, "%16llx-%d-%ld-%8x", &job, &name->rank, &name->pid, &name->host) != 4)
        return false;
    name->job = job;
    c4_admin_name_format(name, again);
    return name->rank >= 0 && name->pid > 0 && strcmp(text, again) == 0;
}

uint32_t c4_admin_host(void)
{
    char boot[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, boot, sizeof boot - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        gethostname(boot, sizeof boot - 1);
    return (uint32_t)c4_hash_bytes(C4_HASH_INIT, boot, strlen(boot));
}

/* ---- one socket ---- */

/* Through the descriptor: the path has 108 bytes at most, and nothing on it can be exchanged. */
static void address_of(int directory, const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", directory, name);
}

int c4_admin_dial(int directory, const char *name)
{
    struct sockaddr_un address;
    address_of(directory, name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool is_refused(int directory, const char *name)
{
    int fd = c4_admin_dial(directory, name);
    if (fd < 0)
        return errno == ECONNREFUSED;
    close(fd);
    return false;
}

int c4_admin_listen(int directory, const char *name)
{
    char fresh[C4_RECORD_NAME_BYTES + sizeof NEW_SUFFIX];
    struct sockaddr_un address;
    snprintf(fresh, sizeof fresh, "%s" NEW_SUFFIX, name);
    address_of(directory, fresh, &address);
    int error =
        faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 && !is_refused(directory, name) ? EADDRINUSE : 0;
    int fd = error ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        errno = error ? error : errno;
        return -1;
    }
    unlinkat(directory, fresh, 0);
    /* The mode of the descriptor, less the umask, becomes that of the file: there is no moment in which others may. And the
     * name appears when somebody listens: until then a cleaner would take the socket for a dead one. */
    if (fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        fchmodat(directory, fresh, 0600, 0) == 0 && listen(fd, BACKLOG) == 0 &&
        renameat(directory, fresh, directory, name) == 0)
        return fd;
    error = errno;
    unlinkat(directory, fresh, 0);
    close(fd);
    errno = error;
    return -1;
}

/* ---- all of them ---- */

/* "x.sock.new" and "x.sock" have the name of x; *fresh: the former. */
static bool parse_entry(const char *text, c4_admin_name *name, bool *fresh)
{
    char whole[C4_RECORD_NAME_BYTES];
    size_t length = strlen(text), suffix = sizeof NEW_SUFFIX - 1;
    *fresh = length > suffix && strcmp(text + length - suffix, NEW_SUFFIX) == 0;
    size_t bytes = *fresh ? length - suffix : length;
    if (bytes >= sizeof whole)
        return false;
    memcpy(whole, text, bytes);
    whole[bytes] = '\0';
    return c4_admin_name_parse(whole, name);
}

/* Of this host, whoever listens. */
static bool next_socket(DIR *dir, uint32_t host, char text[C4_RECORD_NAME_BYTES + 8], c4_admin_name *name, bool *fresh)
{
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        struct stat info;
        if (!parse_entry(entry->d_name, name, fresh) || name->host != host ||
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISSOCK(info.st_mode) ||
            info.st_uid != geteuid() || (*fresh && time(NULL) - info.st_ctime < NEW_LIFE_S))
            continue;
        memcpy(text, entry->d_name, strlen(entry->d_name) + 1); /* parse_entry allows no more */
        return true;
    }
    return false;
}

size_t c4_admin_sockets(int directory, c4_admin_visit visit, void *context)
{
    char text[C4_RECORD_NAME_BYTES + 8];
    c4_admin_name name;
    size_t count = 0;
    bool fresh;
    uint32_t host = c4_admin_host();
    DIR *dir = c4_record_list(directory);
    while (dir && count < MAX_ENTRIES && next_socket(dir, host, text, &name, &fresh)) {
        if (fresh)
            continue;
        count++;
        visit(context, text, &name);
    }
    if (dir)
        closedir(dir);
    return count;
}

size_t c4_admin_sockets_stale(int directory, uint64_t spare, bool remove, c4_admin_visit visit, void *context)
{
    char text[C4_RECORD_NAME_BYTES + 8];
    c4_admin_name name;
    size_t count = 0;
    bool fresh;
    uint32_t host = c4_admin_host();
    DIR *dir = c4_record_list(directory);
    while (dir && count < MAX_ENTRIES && next_socket(dir, host, text, &name, &fresh)) {
        bool spared = spare && name.job == spare;
        if (spared || !is_refused(directory, text) || (remove && unlinkat(directory, text, 0) < 0))
            continue;
        count++;
        if (visit)
            visit(context, text, &name);
    }
    if (dir)
        closedir(dir);
    return count;
}
