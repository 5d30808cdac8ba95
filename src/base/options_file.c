/* Configuration files: one "NAME = value # comment" a line. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options_internal.h"
#include "base/status.h"

#define FILE_MAX_BYTES 65536
#define SYSTEM_FILE    "/etc/c4.conf"

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

/* A '#' starts a comment at the start of a line or after a blank, so that values may hold one. */
static void cut_comment(char *line)
{
    for (char *c = line; *c; c++) {
        if (*c == '#' && (c == line || c[-1] == ' ' || c[-1] == '\t')) {
            *c = '\0';
            return;
        }
    }
}

typedef struct file_reader {
    c4_options *options;
    const char *path;
    int layer;
    bool warn_unknown;
} file_reader;

static c4_status read_line(const file_reader *reader, char *line, int number)
{
    cut_comment(line);
    char *name = trim(line);
    if (!*name)
        return C4_OK;
    char *equals = strchr(name, '=');
    if (!equals || equals == name)
        return c4_fail(C4_ERR_OPTION, "%s:%d: \"%.80s\" is not NAME = value", reader->path, number, name);
    *equals = '\0';
    name = trim(name);
    char *value = trim(equals + 1);
    bool by_alias = false;
    c4_option_entry *entry = c4_options_find(reader->options, name, &by_alias);
    if (!entry) {
        const char *nearest = c4_options_nearest(reader->options, name);
        if (reader->warn_unknown)
            c4_log(C4_LOG_WARN, "%s:%d: unknown option %.80s is ignored%s%s%s", reader->path, number, name,
                   nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
        return C4_OK;
    }
    char source[PATH_MAX + 16];
    snprintf(source, sizeof source, "file %s", reader->path);
    return c4_options_set(entry, by_alias, value, reader->layer, source);
}

static c4_status read_text(const file_reader *reader, char *text)
{
    int number = 0;
    while (text) {
        char *line = strsep(&text, "\n");
        C4_TRY(read_line(reader, line, ++number));
    }
    return C4_OK;
}

/* Reads at most FILE_MAX_BYTES; a longer file is refused rather than read in part. */
static c4_status read_whole(int fd, const char *path, char **text)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return c4_fail_errno(C4_ERR_OPTION, errno, "configuration file %s", path);
    if (!S_ISREG(info.st_mode))
        return c4_fail(C4_ERR_OPTION, "configuration file %s is not a regular file", path);
    char *buffer = malloc(FILE_MAX_BYTES + 1);
    if (!buffer)
        return c4_fail(C4_ERR_MEMORY, "configuration file %s", path);
    size_t used = 0;
    ssize_t got = 1;
    while (got > 0 && used <= FILE_MAX_BYTES) {
        got = read(fd, buffer + used, FILE_MAX_BYTES + 1 - used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            used += (size_t)got;
    }
    if (got < 0 || used > FILE_MAX_BYTES) {
        free(buffer);
        return c4_fail(C4_ERR_OPTION, "configuration file %s %s", path,
                       got < 0 ? "cannot be read" : "is longer than 64 KiB");
    }
    buffer[used] = '\0';
    *text = buffer;
    return C4_OK;
}

/* A file that must exist (named by the user) and is missing is an error; the usual places may be empty. */
static c4_status read_file(const file_reader *reader, bool required)
{
    int fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        if (required)
            return c4_fail_errno(C4_ERR_OPTION, errno, "C4_CONFIG_FILE: cannot open %s", reader->path);
        if (errno != ENOENT && errno != ENOTDIR)
            c4_log(C4_LOG_WARN, "configuration file %s is ignored: %s", reader->path, strerror(errno));
        return C4_OK;
    }
    char *text = NULL;
    c4_status status = read_whole(fd, reader->path, &text);
    close(fd);
    if (status == C4_OK)
        status = read_text(reader, text);
    free(text);
    return status;
}

c4_status c4_options_read_files(c4_options *options, bool warn_unknown)
{
    file_reader reader = {options, SYSTEM_FILE, C4_OPTION_LAYER_FILE, warn_unknown};
    C4_TRY(read_file(&reader, false));
    const char *home = c4_env_get("HOME");
    char path[PATH_MAX];
    if (home && *home == '/' && snprintf(path, sizeof path, "%s/.config/c4/c4.conf", home) < (int)sizeof path) {
        reader.path = path;
        reader.layer = C4_OPTION_LAYER_FILE + 1;
        C4_TRY(read_file(&reader, false));
    }
    const char *named = c4_env_get("C4_CONFIG_FILE");
    if (!named || !*named)
        return C4_OK;
    reader.path = named;
    reader.layer = C4_OPTION_LAYER_FILE + 2;
    return read_file(&reader, true);
}
