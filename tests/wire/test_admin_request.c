#include <stdio.h>
#include <string.h>

#include "tests/c4test.h"
#include "wire/admin_request.h"

static void test_request(void)
{
    static const struct {
        const char *line;
        c4_admin_command command;  /* NCOMMANDS: refused */
        const char *comm, *reason; /* or reason: part of the error */
    } rows[] = {
        {"status", C4_ADMIN_STATUS, "", ""},
        {"  dump  ", C4_ADMIN_DUMP, "", ""},
        {"probe\r", C4_ADMIN_PROBE, "", ""},
        {"plan communicator=dp", C4_ADMIN_PLAN, "dp", ""},
        {"abort", C4_ADMIN_ABORT, "", ""},
        {"abort wrong data set", C4_ADMIN_ABORT, "", "wrong data set"},
        {"abort communicator=0a1b2c3d it hangs", C4_ADMIN_ABORT, "0a1b2c3d", "it hangs"},
        {"abort reason communicator=x", C4_ADMIN_ABORT, "", "reason communicator=x"},
        {"", C4_ADMIN_NCOMMANDS, NULL, "no command"},
        {"   ", C4_ADMIN_NCOMMANDS, NULL, "no command"},
        {"GET / HTTP/1.1", C4_ADMIN_NCOMMANDS, NULL,
         "unknown command \"GET\": expected status, dump, probe, plan or abort"},
        {"dumps", C4_ADMIN_NCOMMANDS, NULL, "unknown command \"dumps\""},
        {"dum", C4_ADMIN_NCOMMANDS, NULL, "unknown command \"dum\""},
        {"dump all", C4_ADMIN_NCOMMANDS, NULL, "dump takes communicator=NAME and nothing else, not \"all\""},
        {"probe communicator=", C4_ADMIN_NCOMMANDS, NULL, "needs the name"},
        {"dump\tx", C4_ADMIN_NCOMMANDS, NULL, "one line of text"},
        {"dump\x7f", C4_ADMIN_NCOMMANDS, NULL, "one line of text"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        c4_admin_request request;
        char error[C4_ADMIN_ERROR_BYTES] = "";
        bool taken = c4_admin_request_parse(rows[i].line, strlen(rows[i].line), &request, error);
        C4TEST_INT(taken, rows[i].command != C4_ADMIN_NCOMMANDS);
        if (!taken) {
            C4TEST_CONTAINS(error, rows[i].reason);
            continue;
        }
        char line[C4_ADMIN_LINE_BYTES];
        c4_admin_request again;
        C4TEST_INT(request.command, rows[i].command);
        C4TEST_STRING(request.comm, rows[i].comm);
        C4TEST_STRING(request.reason, rows[i].reason);
        size_t bytes = c4_admin_request_format(&request, line);
        CU_ASSERT_FATAL(bytes > 0 && line[bytes - 1] == '\n');
        CU_ASSERT(c4_admin_request_parse(line, bytes - 1, &again, error));
        CU_ASSERT(memcmp(&request, &again, sizeof again) == 0);
    }
}

static void test_request_limits(void)
{
    char line[2 * C4_ADMIN_LINE_BYTES], error[C4_ADMIN_ERROR_BYTES];
    c4_admin_request request;
    memset(line, 'x', sizeof line);
    CU_ASSERT(!c4_admin_request_parse(line, sizeof line, &request, error));
    memset(line + 6, ' ', sizeof line - 6); /* blanks at the end count too: what is accepted is a line */
    memcpy(line, "status", 6);
    CU_ASSERT(c4_admin_request_parse(line, C4_ADMIN_LINE_BYTES - 1, &request, error));
    CU_ASSERT(!c4_admin_request_parse(line, C4_ADMIN_LINE_BYTES, &request, error));
    C4TEST_CONTAINS(error, "one line of text of at most 511 bytes");
    memset(line, 'x', sizeof line);
    memcpy(line, "abort ", 6);
    CU_ASSERT(c4_admin_request_parse(line, 6 + C4_ADMIN_REASON_BYTES - 1, &request, error));
    CU_ASSERT(!c4_admin_request_parse(line, 6 + C4_ADMIN_REASON_BYTES, &request, error));
    C4TEST_CONTAINS(error, "the reason has 200 bytes; at most 199");
    memcpy(line, "dump communicator=", 18);
    CU_ASSERT(c4_admin_request_parse(line, 18 + C4_ADMIN_COMM_BYTES - 1, &request, error));
    CU_ASSERT(!c4_admin_request_parse(line, 18 + C4_ADMIN_COMM_BYTES, &request, error));
    request = (c4_admin_request){.command = C4_ADMIN_DUMP, .comm = "two words"};
    CU_ASSERT(c4_admin_request_format(&request, line) == 0);
    request = (c4_admin_request){.command = C4_ADMIN_ABORT, .reason = "line\nbreak"};
    CU_ASSERT(c4_admin_request_format(&request, line) == 0);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(request), C4TEST(request_limits), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
