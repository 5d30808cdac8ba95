/* Names of admin sockets, and which of them are left behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/sockets.h"
#include "tests/c4test.h"

static void test_names(void)
{
    static const char *const wrong[] = {"",
                                        "x",
                                        "daaf305260338ea2",
                                        "daaf305260338ea2-0-17786-7fe5e302",
                                        "daaf305260338ea2-0-17786-7fe5e302.sock.new",
                                        "daaf305260338ea2--1-17786-7fe5e302.sock",
                                        "DAAF305260338EA2-0-17786-7fe5e302.sock",
                                        "daaf305260338ea2-00-17786-7fe5e302.sock",
                                        "daaf305260338ea2-0-0-7fe5e302.sock",
                                        "../daaf305260338ea2-0-1-7fe5e302.sock"};
    c4_admin_name name = {0xdaaf305260338ea2u, 65535, 4194304, 0x7fe5e302u}, back;
    char text[C4_RECORD_NAME_BYTES];
    c4_admin_name_format(&name, text);
    C4TEST_STRING(text, "daaf305260338ea2-65535-4194304-7fe5e302.sock");
    CU_ASSERT(c4_admin_name_parse(text, &back));
    CU_ASSERT(back.job == name.job && back.rank == name.rank && back.pid == name.pid && back.host == name.host);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CU_ASSERT(!c4_admin_name_parse(wrong[i], &back));
    CU_ASSERT(c4_admin_host() == c4_admin_host());
}

/* Somebody's files, and a socket that is about to listen, stay. */
static void test_others_stay(void)
{
    const char *top = c4test_path("records");
    c4_admin_name name = {7, 0, getpid(), c4_admin_host()}, away = {7, 1, getpid(), c4_admin_host() + 1};
    char text[C4_RECORD_NAME_BYTES], fresh[C4_RECORD_NAME_BYTES + 8], far[C4_RECORD_NAME_BYTES];
    CU_ASSERT_FATAL(mkdir(top, 0700) == 0);
    int directory = c4_record_open_top(top, false, NULL);
    c4_admin_name_format(&name, text);
    c4_admin_name_format(&away, far);
    snprintf(fresh, sizeof fresh, "%s.new", text);
    close(openat(directory, text, O_WRONLY | O_CREAT, 0600)); /* a file, not a socket */
    int first = c4_admin_listen(directory, far);
    CU_ASSERT_FATAL(first >= 0);
    close(first); /* nobody listens, but it is another host's */
    CU_ASSERT(c4_admin_sockets_stale(directory, 0, true, NULL, NULL) == 0);
    CU_ASSERT(unlinkat(directory, text, 0) == 0);
    int fd = c4_admin_listen(directory, text);
    CU_ASSERT_FATAL(fd >= 0);
    CU_ASSERT(c4_admin_sockets_stale(directory, 0, true, NULL, NULL) == 0);
    CU_ASSERT(c4_admin_listen(directory, text) < 0 && errno == EADDRINUSE);
    int clients[256], nclients = 0; /* of a process that does not look after its clients, and lives */
    while (nclients < 256 && (clients[nclients] = c4_admin_dial(directory, text)) >= 0)
        nclients++;
    C4TEST_INT(errno, EAGAIN);
    CU_ASSERT(c4_admin_sockets_stale(directory, 0, true, NULL, NULL) == 0);
    CU_ASSERT(faccessat(directory, text, F_OK, 0) == 0);
    while (nclients > 0)
        close(clients[--nclients]);
    CU_ASSERT(renameat(directory, text, directory, fresh) == 0);
    close(fd);
    CU_ASSERT(c4_admin_sockets_stale(directory, 0, true, NULL, NULL) == 0);
    CU_ASSERT(renameat(directory, fresh, directory, text) == 0);
    fd = c4_admin_listen(directory, text); /* in the place of a dead one */
    CU_ASSERT(fd >= 0);
    close(fd);
    CU_ASSERT(c4_admin_sockets_stale(directory, 0, true, NULL, NULL) == 1);
    close(directory);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(names), C4TEST(others_stay), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
