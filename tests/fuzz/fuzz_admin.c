/* Requests to the admin socket and names of its files: what is accepted is written again as what it was. Byte 0 chooses. */
#include <stdlib.h>
#include <string.h>

#include "record/sockets.h"
#include "wire/admin_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void fuzz_request(const char *line, size_t bytes)
{
    c4_admin_request request, back;
    char error[C4_ADMIN_ERROR_BYTES] = "", again[C4_ADMIN_LINE_BYTES];
    if (!c4_admin_request_parse(line, bytes, &request, error)) {
        require(*error && memchr(error, '\0', sizeof error) != NULL);
        return;
    }
    require(request.command < C4_ADMIN_NCOMMANDS && bytes < C4_ADMIN_LINE_BYTES);
    require(memchr(request.comm, '\0', sizeof request.comm) && memchr(request.reason, '\0', sizeof request.reason));
    require(request.command == C4_ADMIN_ABORT || !*request.reason);
    size_t length = c4_admin_request_format(&request, again);
    require(length > 1 && length < sizeof again && again[length - 1] == '\n');
    require(c4_admin_request_parse(again, length - 1, &back, error) && memcmp(&request, &back, sizeof back) == 0);
}

static void fuzz_name(const char *text)
{
    c4_admin_name name;
    char again[C4_RECORD_NAME_BYTES];
    if (!c4_admin_name_parse(text, &name))
        return;
    require(name.rank >= 0 && name.pid > 0 && !strchr(text, '/'));
    c4_admin_name_format(&name, again);
    require(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size); /* exactly: a read beyond it is seen */
    require(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 2)
        fuzz_name(text);
    else
        fuzz_request(text, size - 1);
    free(text);
    return 0;
}
