/* The statuses that take another process: links, peers, and what ranks do not do alike. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/comm/statuses.h"

static float buffer[1024];

static c4_status create(stage *s, const char *options)
{
    c4_comm_config config = {.struct_size = sizeof config, .options = options, .timeout_ms = c4test_seconds(10) * 1000};
    return c4_comm_create(&s->id, s->nranks, s->rank, &config, NULL, &s->comm);
}

/* The ranks let each other know where they are, in one byte. */
static void tell(stage *s)
{
    (void)!write(s->gate[1], "x", 1);
}

static void await_word(stage *s)
{
    char byte;
    (void)!read(s->gate[0], &byte, 1);
}

/* ---- links ---- */

/* What a firewall does that lets established connections live. */
static void close_listeners(void)
{
    for (int fd = 3; fd < 256; fd++) {
        int listens = 0;
        socklen_t bytes = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) == 0 && listens)
            shutdown(fd, SHUT_RDWR);
    }
}

static c4_status refused(stage *s)
{
    if (s->rank == 1) {
        close_listeners();
        tell(s);
        return stage_wait_end(s);
    }
    await_word(s);
    return c4_send(buffer, 4, C4_FLOAT32, 1, s->comm, NULL);
}
PROVOCATIONS(ERR_LINK, {.what = "a port that is closed",
                        .part = refused,
                        .nranks = 2,
                        .options = "C4_TRANSPORTS=tcp C4_SOCKET_IFNAME==lo C4_TCP_RETRY_MS=100",
                        .says = {"send", "\"world\"", "send to rank 1 (host ", "127.0.0.1:", "Connection refused",
                                 "C4_TCP_RETRY_MS=100"}});

static c4_status loop_only(stage *s)
{
    return create(s, "C4_TRANSPORTS=loop");
}
PROVOCATIONS(ERR_UNREACHABLE, {.what = "C4_TRANSPORTS that does not reach",
                               .part = loop_only,
                               .nranks = 2,
                               .raw = true,
                               .says = {"rank 1", "loop: ", "C4_TRANSPORTS"}});

static void set_key(char digit)
{
    char key[65] = "";
    memset(key, digit, 64);
    setenv("C4_KEY", key, 1);
}

/* A port of this host at which this process listens. */
static int listen_somewhere(stage *s, unsigned short *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)s;
    if (bind(fd, (struct sockaddr *)&name, bytes) || listen(fd, 4) || getsockname(fd, (struct sockaddr *)&name, &bytes))
        return -1;
    *port = ntohs(name.sin_port);
    return fd;
}

/* The launcher's variables, with a port that was just free. */
static c4_status create_launched(stage *s, unsigned short port)
{
    char text[32];
    setenv("C4_RANK", s->rank ? "1" : "0", 1);
    setenv("C4_NRANKS", "2", 1);
    snprintf(text, sizeof text, "127.0.0.1:%u", port);
    setenv("C4_RENDEZVOUS", text, 1);
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = c4test_seconds(10) * 1000};
    return c4_comm_create_from_env(&config, NULL, &s->comm);
}

static c4_status another_key(stage *s)
{
    unsigned short port = 0;
    if (s->rank == 0) {
        close(listen_somewhere(s, &port));
        (void)!write(s->gate[1], &port, sizeof port);
    } else {
        (void)!read(s->gate[0], &port, sizeof port);
    }
    set_key(s->rank ? 'b' : 'a');
    if (s->rank == 1)
        return create_launched(s, port);
    setenv("C4_SETUP_TIMEOUT_MS", "2s", 1);
    return create_launched(s, port);
}
PROVOCATIONS(ERR_AUTH, {.what = "another key",
                        .part = another_key,
                        .nranks = 2,
                        .judged = 1,
                        .raw = true,
                        .says = {"rank 1", "rank 0 at 127.0.0.1:", "key", "C4_KEY_FILE"}});

/* Another service holds the port that C4_RENDEZVOUS names. */
static c4_status web_server(stage *s)
{
    static const char page[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    unsigned short port = 0;
    char request[512];
    if (s->rank == 1) {
        (void)!read(s->gate[0], &port, sizeof port);
        set_key('a');
        return create_launched(s, port);
    }
    int fd = listen_somewhere(s, &port);
    (void)!write(s->gate[1], &port, sizeof port);
    int made = accept(fd, NULL, NULL);
    (void)!write(made, page, sizeof page - 1);
    while (read(made, request, sizeof request) > 0)
        ;
    return C4_OK;
}

/* Frames that make no sense, as from a broken switch or a version that says it is this one. */
static c4_status garbage(stage *s)
{
    c4_status status = C4_OK;
    if (s->rank == 1) {
        for (int i = 0; i < 100 && status == C4_OK; i++)
            status = c4_send(buffer, 4, C4_FLOAT32, 0, s->comm, NULL);
        return stage_wait_end(s);
    }
    while (status == C4_OK)
        status = c4_recv(buffer, 4, C4_FLOAT32, 1, s->comm, NULL);
    return status;
}
PROVOCATIONS(ERR_PROTOCOL,
             {.what = "a web server at the rendezvous",
              .part = web_server,
              .nranks = 2,
              .judged = 1,
              .raw = true,
              .says = {"rank 1", "rank 0 at 127.0.0.1:", "C4_RENDEZVOUS"}},
             {.what = "frames that are none",
              .part = garbage,
              .nranks = 2,
              .options = "C4_TRANSPORTS=tcp C4_SOCKET_IFNAME==lo C4_HOOK=garbage=tcp@frame:3#1",
              .says = {"rank 1", "127.0.0.1:"}}); /* it may be found between two calls */

/* ---- peers ---- */

static c4_status reduce(stage *s)
{
    return c4_all_reduce(buffer, buffer, 1024, C4_FLOAT32, C4_SUM, s->comm, NULL);
}

static c4_status killed(stage *s)
{
    if (s->rank == 1) {
        await_word(s); /* the other has its communicator */
        raise(SIGKILL);
    }
    tell(s);
    return reduce(s);
}
PROVOCATIONS(ERR_PEER_DEAD, {.what = "SIGKILL",
                             .part = killed,
                             .nranks = 2,
                             .says = {"all_reduce", "#1", "\"world\"", "rank 1 (pid ", "died: killed by signal 9"}});

static c4_status stopped(stage *s)
{
    if (s->rank == 1)
        raise(SIGSTOP);
    return reduce(s);
}
PROVOCATIONS(ERR_PEER_SILENT, {.what = "SIGSTOP",
                               .part = stopped,
                               .nranks = 2,
                               .options = "C4_HEARTBEAT_MS=100 C4_SILENT_MS=400",
                               .says = {"all_reduce", "#1", "\"world\"", "rank 1 (pid ", "C4_SILENT_MS", "stopped"}});

static c4_status unprepared(stage *s)
{
    c4_status status = create(s, s->rank ? "C4_TUNING_FILE=/nonexistent/tuning" : NULL);
    return s->rank ? stage_wait_end(s) : status;
}
PROVOCATIONS(ERR_PEER_ERROR, {.what = "a file that rank 1 lacks",
                              .part = unprepared,
                              .nranks = 2,
                              .raw = true,
                              .says = {"rank 1 (pid ", "C4_TUNING_FILE", "/nonexistent/tuning", "No such file"}});

/* ---- this machine, but not alone ---- */

static const char *chroot_missing(void)
{
    return geteuid() == 0 ? NULL : "only root may hide libcrypto from a process";
}

/* As in a minimal container: the job has a key, and nothing there to prove it by. */
static c4_status no_libcrypto(stage *s)
{
    const char *empty = c4test_path("empty");
    if (s->rank == 0)
        return create(s, NULL);
    mkdir(empty, 0700);
    if (chdir(empty) || chroot("."))
        return C4_OK;
    return create(s, NULL);
}
PROVOCATIONS(ERR_UNSUPPORTED, {.what = "no libcrypto",
                               .part = no_libcrypto,
                               .nranks = 2,
                               .judged = 1,
                               .raw = true,
                               .missing = chroot_missing,
                               .says = {"libcrypto", "libssl3"}});

/* ---- what is not alike ---- */

static c4_status another_call(stage *s)
{
    c4_op op = s->rank ? C4_MAX : C4_SUM;
    c4_status status = c4_all_reduce(buffer, buffer, 4, C4_FLOAT32, op, s->comm, NULL);
    return s->rank ? stage_wait_end(s) : status == C4_OK ? c4_barrier(s->comm, NULL) : status;
}
PROVOCATIONS(ERR_MISMATCH, {.what = "sum and max",
                            .part = another_call,
                            .nranks = 2,
                            .says = {"rank 0", "rank 1 (host ", "all_reduce", "sum", "max", "\"world\""}});
