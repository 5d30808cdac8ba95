#include "wire/admin_request.h"

#include <stdio.h>
#include <string.h>

static const char *const names[C4_ADMIN_NCOMMANDS] = {
    [C4_ADMIN_STATUS] = "status", [C4_ADMIN_DUMP] = "dump",   [C4_ADMIN_PROBE] = "probe",
    [C4_ADMIN_PLAN] = "plan",     [C4_ADMIN_ABORT] = "abort",
};
static const char comm_key[] = "communicator=";

const char *c4_admin_command_name(c4_admin_command command)
{
    return command < C4_ADMIN_NCOMMANDS ? names[command] : "unknown";
}

static bool is_text(const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            return false;
    return true;
}

/* The next word and what follows it, without the blanks between. */
static size_t take_word(const char **at, const char *end)
{
    const char *word = *at;
    while (*at < end && **at != ' ')
        ++*at;
    size_t bytes = (size_t)(*at - word);
    while (*at < end && **at == ' ')
        ++*at;
    return bytes;
}

static bool find_command(const char *word, size_t bytes, c4_admin_command *command)
{
    for (int i = 0; i < C4_ADMIN_NCOMMANDS; i++)
        if (strlen(names[i]) == bytes && memcmp(names[i], word, bytes) == 0) {
            *command = (c4_admin_command)i;
            return true;
        }
    return false;
}

static bool take_comm(const char **at, const char *end, c4_admin_request *request, char *error)
{
    const size_t key = sizeof comm_key - 1;
    if ((size_t)(end - *at) < key || memcmp(*at, comm_key, key) != 0)
        return true;
    const char *value = *at + key;
    size_t bytes = take_word(at, end) - key;
    if (bytes == 0 || bytes >= sizeof request->comm) {
        snprintf(error, C4_ADMIN_ERROR_BYTES, "%s needs the name or id of a communicator, of at most %zu bytes",
                 comm_key, sizeof request->comm - 1);
        return false;
    }
    memcpy(request->comm, value, bytes);
    return true;
}

bool c4_admin_request_parse(const char *line, size_t bytes, c4_admin_request *request, char error[C4_ADMIN_ERROR_BYTES])
{
    memset(request, 0, sizeof *request);
    const bool fits = bytes < C4_ADMIN_LINE_BYTES;
    if (bytes > 0 && line[bytes - 1] == '\r')
        bytes--;
    while (bytes > 0 && line[bytes - 1] == ' ')
        bytes--;
    if (!fits || !is_text(line, bytes)) {
        snprintf(error, C4_ADMIN_ERROR_BYTES, "a request is one line of text of at most %u bytes",
                 C4_ADMIN_LINE_BYTES - 1);
        return false;
    }
    const char *at = line, *end = line + bytes;
    while (at < end && *at == ' ')
        at++;
    const char *word = at;
    size_t length = take_word(&at, end);
    if (!find_command(word, length, &request->command)) {
        snprintf(error, C4_ADMIN_ERROR_BYTES, "%s \"%.*s\": expected status, dump, probe, plan or abort",
                 length ? "unknown command" : "no command in", length < 40 ? (int)length : 40, word);
        return false;
    }
    if (!take_comm(&at, end, request, error))
        return false;
    size_t rest = (size_t)(end - at);
    if (rest > 0 && request->command != C4_ADMIN_ABORT) {
        snprintf(error, C4_ADMIN_ERROR_BYTES, "%s takes communicator=NAME and nothing else, not \"%.*s\"",
                 names[request->command], rest < 40 ? (int)rest : 40, at);
        return false;
    }
    if (rest >= sizeof request->reason) {
        snprintf(error, C4_ADMIN_ERROR_BYTES, "the reason has %zu bytes; at most %zu", rest,
                 sizeof request->reason - 1);
        return false;
    }
    memcpy(request->reason, at, rest);
    return true;
}

size_t c4_admin_request_format(const c4_admin_request *request, char line[C4_ADMIN_LINE_BYTES])
{
    if (request->command >= C4_ADMIN_NCOMMANDS || strchr(request->comm, ' ') ||
        !is_text(request->comm, strlen(request->comm)) || !is_text(request->reason, strlen(request->reason)))
        return 0;
    int wrote =
        snprintf(line, C4_ADMIN_LINE_BYTES, "%s%s%s%s%s\n", names[request->command],
                 *request->comm ? " communicator=" : "", request->comm, *request->reason ? " " : "", request->reason);
    return wrote > 0 && (size_t)wrote < C4_ADMIN_LINE_BYTES ? (size_t)wrote : 0;
}
