#include "tools/c4train/bible.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/options.h"
#include "base/status.h"
#include "tools/c4train/message.h"

/* The program reads commands from its standard input: an empty line ends it after -f. Its own complaints are kept off
 * the screen, because the message below says what to do. */
#define COMMAND "echo | bible -f 'gen1:1-rev22:21' 2>/dev/null"
#define INSTALL "install it with: apt-get install bible-kjv (or give a text with --data FILE)"
enum { SMALLEST_BYTES = 1000000, EXIT_NOT_FOUND = 127 };

c4_status c4_bible_path(char *path, size_t bytes)
{
    const char *cache = c4_env_get("XDG_CACHE_HOME"), *home = c4_env_get("HOME");
    int length;
    if (cache && cache[0] == '/')
        length = snprintf(path, bytes, "%s/c4/bible-kjv.txt", cache);
    else if (home && home[0] == '/')
        length = snprintf(path, bytes, "%s/.cache/c4/bible-kjv.txt", home);
    else
        return c4_train_fail(C4_ERR_OPTION, "no place for the text: set HOME or XDG_CACHE_HOME, or give --data FILE");
    if (length < 0 || (size_t)length >= bytes)
        return c4_train_fail(C4_ERR_ARGUMENT, "the cache directory's path is too long; give --data FILE");
    return C4_OK;
}

/* mkdir -p of the directories above `path`. */
static c4_status make_parents(const char *path)
{
    char part[4096];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t length = (size_t)(slash - path);
        if (length >= sizeof part)
            return c4_train_fail(C4_ERR_ARGUMENT, "path %s is too long", path);
        memcpy(part, path, length);
        part[length] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return c4_train_fail(C4_ERR_SYSTEM, "cannot make directory %s: %s", part, strerror(errno));
    }
    return C4_OK;
}

/* C4_OK when all was read and written; the caller judges the program's exit and the size. */
static c4_status copy_stream(FILE *from, FILE *to, size_t *copied)
{
    char block[65536];
    for (size_t got; (got = fread(block, 1, sizeof block, from)) > 0; *copied += got)
        if (fwrite(block, 1, got, to) != got)
            return C4_ERR_SYSTEM;
    return fflush(to) == 0 && !ferror(from) ? C4_OK : C4_ERR_SYSTEM;
}

static c4_status print_bible(FILE *out, const char *path)
{
    FILE *program = popen(COMMAND, "re");
    if (!program)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot start a shell: %s", strerror(errno));
    size_t copied = 0;
    c4_status status = copy_stream(program, out, &copied);
    int error = errno, end = pclose(program);
    if (status < 0)
        return c4_train_fail(status, "cannot write %s: %s", path, strerror(error));
    if (WIFEXITED(end) && WEXITSTATUS(end) == EXIT_NOT_FOUND)
        return c4_train_fail(C4_ERR_UNSUPPORTED,
                             "the default text needs the program 'bible' of package bible-kjv; " INSTALL);
    if (end != 0 || copied < SMALLEST_BYTES)
        return c4_train_fail(C4_ERR_UNSUPPORTED,
                             "'bible' printed %zu bytes instead of 4.4 million; its package "
                             "bible-kjv seems broken; " INSTALL,
                             copied);
    return C4_OK;
}

static c4_status make_file(const char *path)
{
    char temporary[4096 + 32];
    snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
    FILE *out = fopen(temporary, "we");
    if (!out)
        return c4_train_fail(C4_ERR_SYSTEM, "cannot write %s: %s", temporary, strerror(errno));
    c4_status status = print_bible(out, temporary);
    if (fclose(out) != 0 && status == C4_OK)
        status = c4_train_fail(C4_ERR_SYSTEM, "cannot write %s: %s", temporary, strerror(errno));
    if (status == C4_OK && rename(temporary, path) != 0)
        status = c4_train_fail(C4_ERR_SYSTEM, "cannot rename to %s: %s", path, strerror(errno));
    if (status < 0)
        unlink(temporary);
    return status;
}

c4_status c4_bible_ensure(const char *path)
{
    if (access(path, R_OK) == 0)
        return C4_OK;
    C4_TRY(make_parents(path));
    return make_file(path);
}
