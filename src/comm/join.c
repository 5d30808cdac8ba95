#include "comm/join.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/export.h"
#include "comm/create.h"

enum { ANSWER_MS = 2000, ANSWER_BYTES = 256, ID_TEXT_BYTES = 2 * C4_UNIQUE_ID_BYTES + 1 };

/* ---- one question to c4run ---- */

static bool is_own_user(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.uid == geteuid();
}

/* -1 with errno. The name is of the abstract name space. */
static int connect_run(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length + 1 > sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
    if (connect(fd, (struct sockaddr *)&address, bytes) == 0 && is_own_user(fd))
        return fd;
    int error = errno ? errno : EPERM;
    close(fd);
    errno = error;
    return -1;
}

/* Reads up to the end of the line; false after ANSWER_MS or at the end of the connection. */
static bool read_answer(int fd, char answer[ANSWER_BYTES])
{
    struct pollfd watch = {.fd = fd, .events = POLLIN};
    size_t used = 0;
    while (used + 1 < ANSWER_BYTES) {
        if (poll(&watch, 1, ANSWER_MS) <= 0)
            return false;
        ssize_t got = recv(fd, answer + used, ANSWER_BYTES - 1 - used, 0);
        if (got <= 0)
            return false;
        used += (size_t)got;
        answer[used] = '\0';
        char *end = strchr(answer, '\n');
        if (end) {
            *end = '\0';
            return true;
        }
    }
    return false;
}

static c4_status ask_run(const char *name, const char *question, char answer[ANSWER_BYTES])
{
    int fd = connect_run(name);
    if (fd < 0)
        return c4_fail_errno(C4_ERR_LINK, errno, "c4run, which started this job (C4_RUN_SOCKET=%.80s)", name);
    size_t bytes = strlen(question);
    bool answered = send(fd, question, bytes, MSG_NOSIGNAL) == (ssize_t)bytes && read_answer(fd, answer);
    close(fd);
    if (!answered)
        return c4_fail(C4_ERR_LINK, "c4run, which started this job, did not answer within %d ms", ANSWER_MS);
    return C4_OK;
}

/* ---- pending ---- */

static c4_status count_waiting(int32_t *count)
{
    const char *name = c4_env_get("C4_RUN_SOCKET");
    char answer[ANSWER_BYTES];
    int64_t value;
    *count = 0;
    if (!name)
        return C4_OK;
    C4_TRY(ask_run(name, "pending\n", answer));
    if (!c4_parse_int(answer, &value) || value < 0 || value > (int64_t)C4_CONTROL_MAX_RANKS)
        return c4_fail(C4_ERR_PROTOCOL, "c4run answers \"%.40s\" where a number is due: use one C4 version", answer);
    *count = (int32_t)value;
    return C4_OK;
}

/* Rank 0's answer for all: the count, or its error. */
static c4_status pending(c4_comm *comm, int *nwaiting)
{
    int32_t word[2] = {0, 0};
    c4_status own = C4_OK;
    char text[C4_ERROR_TEXT_BYTES];
    c4_call call = {.kind = C4_KIND_BROADCAST, .dtype = C4_INT32, .send = word, .recv = word, .count = 2};
    C4_TRY(c4_comm_usable(comm));
    if (comm->rank == 0) {
        own = count_waiting(&word[0]);
        word[1] = own;
        snprintf(text, sizeof text, "%s", c4_fail_text());
    }
    C4_TRY(c4_call_check(comm, &call));
    C4_TRY(c4_comm_submit(comm, &call, NULL));
    if (own < 0)
        c4_fail_keep(text);
    C4_TRY(own);
    if (word[1] < 0)
        return c4_fail(C4_ERR_PEER_ERROR, "c4_comm_pending: rank 0 cannot ask c4run: see its log");
    *nwaiting = word[0];
    return C4_OK;
}

C4_API c4_status c4_comm_pending(c4_comm *comm, int *nwaiting)
{
    C4_TRY(c4_comm_enter(comm));
    c4_status status = C4_OK;
    if (!nwaiting)
        status = c4_fail(C4_ERR_NULL, "c4_comm_pending: nwaiting is NULL");
    else if (c4_group_active())
        status = c4_fail(C4_ERR_GROUP, "c4_comm_pending inside a group");
    else
        status = pending(comm, nwaiting);
    return c4_comm_leave(comm, status);
}

/* ---- offer ---- */

static c4_status make_id(c4_comm *comm, c4_unique_id *id)
{
    c4_listen_spec spec;
    C4_TRY(c4_creation_listen_spec(comm->options, &spec));
    return c4_unique_id_listen(&spec, id);
}

static void drop_id(const c4_unique_id *id)
{
    c4_unique_id_fields fields;
    int fd = c4_unique_id_unpack(id, &fields) == C4_OK ? c4_listener_take(fields.job_id) : -1;
    if (fd >= 0)
        close(fd);
}

c4_status c4_join_offer(c4_comm *comm, int nranks, c4_unique_id *id)
{
    const char *name = c4_env_get("C4_RUN_SOCKET");
    char digits[ID_TEXT_BYTES], offer[ID_TEXT_BYTES + 64], answer[ANSWER_BYTES];
    if (!name)
        return c4_fail(C4_ERR_NULL,
                       "c4_comm_grow on rank 0: id is NULL, and the job was not started by c4run, where ranks could "
                       "wait; pass the id of c4_comm_grow_id");
    C4_TRY(make_id(comm, id));
    for (size_t i = 0; i < C4_UNIQUE_ID_BYTES; i++)
        snprintf(digits + 2 * i, 3, "%02x", id->bytes[i]);
    snprintf(offer, sizeof offer, "offer %d %d %s\n", comm->nranks, nranks, digits);
    c4_status status = ask_run(name, offer, answer);
    explicit_bzero(digits, sizeof digits);
    explicit_bzero(offer, sizeof offer);
    if (status == C4_OK && strcmp(answer, "ok") != 0)
        status = c4_fail(C4_ERR_COUNT, "c4_comm_grow of \"%s\" from %d to %d ranks: c4run: %.160s", comm->name,
                         comm->nranks, nranks, answer);
    if (status < 0)
        drop_id(id);
    return status;
}

/* ---- a rank that joins ---- */

static bool read_id(const char *text, c4_unique_id *id)
{
    if (strspn(text, "0123456789abcdef") != 2 * C4_UNIQUE_ID_BYTES || strlen(text) != 2 * C4_UNIQUE_ID_BYTES)
        return false;
    for (size_t i = 0; i < C4_UNIQUE_ID_BYTES; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        id->bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return true;
}

static bool read_place(c4_launch *launch)
{
    const char *rank = c4_env_get("C4_RANK"), *nranks = c4_env_get("C4_NRANKS");
    int64_t r = -1, n = 0;
    if (!rank || !nranks || !c4_parse_int(rank, &r) || !c4_parse_int(nranks, &n) || n < 2 ||
        n > (int64_t)C4_CONTROL_MAX_RANKS || r < 1 || r >= n)
        return false;
    launch->rank = (int)r;
    launch->nranks = (int)n;
    return true;
}

c4_status c4_join_launch(c4_launch *launch, bool *joins)
{
    const char *text = c4_env_get("C4_UNIQUE_ID");
    c4_launch made = {.launcher = "c4run", .local_rank = -1, .local_nranks = -1, .has_key = true, .listen_fd = -1};
    c4_unique_id_fields fields;
    c4_unique_id id;
    *joins = text != NULL;
    if (!text)
        return C4_OK;
    if (!read_id(text, &id) || !read_place(&made))
        return c4_fail(C4_ERR_OPTION, "C4_UNIQUE_ID, C4_RANK or C4_NRANKS is not as `c4run --join` sets it; unset "
                                      "C4_UNIQUE_ID for a job of its own");
    C4_TRY(c4_unique_id_unpack(&id, &fields));
    made.job_id = fields.job_id;
    made.naddresses = fields.naddresses;
    memcpy(made.key, fields.key, sizeof made.key);
    memcpy(made.addresses, fields.addresses, sizeof made.addresses);
    *launch = made;
    return C4_OK;
}
