#include "tests/control/admin_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "record/sockets.h"
#include "tests/c4test.h"

typedef struct search {
    int rank;
    char *name;
    int found;
} search;

static void visit(void *context, const char *text, const c4_admin_name *name)
{
    search *s = context;
    if (s->rank != name->rank)
        return;
    snprintf(s->name, 64, "%s", text);
    s->found++;
}

int admin_find(const char *top, int rank, char name[64])
{
    search s = {.rank = rank, .name = name};
    int directory = c4_record_open_top(top, false, NULL);
    if (directory < 0)
        return 0;
    c4_admin_sockets(directory, visit, &s);
    close(directory);
    return s.found;
}

static void ignore(void *context, const char *text, const c4_admin_name *name)
{
    (void)context, (void)text, (void)name;
}

int admin_count(const char *top)
{
    int directory = c4_record_open_top(top, false, NULL);
    int count = directory < 0 ? 0 : (int)c4_admin_sockets(directory, ignore, NULL);
    if (directory >= 0)
        close(directory);
    return count;
}

int admin_connect(const char *top, int rank)
{
    char name[64];
    if (!admin_find(top, rank, name)) {
        errno = ENOENT;
        return -1;
    }
    int directory = c4_record_open_top(top, false, NULL);
    int fd = c4_admin_dial(directory, name);
    int error = errno;
    close(directory);
    errno = error;
    return fd;
}

char *admin_read(int fd, int timeout_ms)
{
    size_t used = 0, room = 4096;
    char *text = malloc(room);
    uint64_t end_ns = c4_now_ns() + (uint64_t)timeout_ms * 1000000u;
    for (;;) {
        uint64_t now_ns = c4_now_ns();
        struct pollfd item = {.fd = fd, .events = POLLIN};
        CU_ASSERT_FATAL(text != NULL);
        if (now_ns >= end_ns || poll(&item, 1, (int)((end_ns - now_ns) / 1000000u) + 1) <= 0)
            break;
        ssize_t got = recv(fd, text + used, room - used - 1, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
        if (room - used < 2)
            text = realloc(text, room *= 2);
    }
    text[used] = '\0';
    return text;
}

char *admin_ask(const char *top, int rank, const char *line)
{
    uint64_t end_ns = c4_now_ns() + (uint64_t)c4test_seconds(8) * 1000000000u;
    int fd;
    while ((fd = admin_connect(top, rank)) < 0 && errno == EAGAIN && c4_now_ns() < end_ns)
        poll(NULL, 0, 1); /* its queue is full */
    if (fd < 0)
        return NULL;
    ssize_t sent = send(fd, line, strlen(line), MSG_NOSIGNAL);
    CU_ASSERT(sent == (ssize_t)strlen(line) || (sent < 0 && errno == EPIPE)); /* it was sent away, and told why */
    char *text = admin_read(fd, c4test_seconds(8) * 1000);
    close(fd);
    return text;
}
