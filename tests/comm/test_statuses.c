/* Every status that a caller can meet, provoked, and its text: what happened, in the words of the status' own name, and the fix. */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c4test.h"
#include "tests/collectives/world.h"
#include "wire/unique_id.h"

/* ---- on a communicator of this process alone ---- */

static c4_comm *alone(const char *options)
{
    c4_unique_id id;
    c4_comm *comm = NULL;
    c4_comm_config config = {.struct_size = sizeof config, .options = options};
    if (c4_unique_id_create(&id) != C4_OK || c4_comm_create(&id, 1, 0, &config, NULL, &comm) != C4_OK)
        return NULL;
    return comm;
}

static float buffer[64];

static c4_status send_to_self(c4_comm *comm)
{
    return c4_send(buffer, 1, C4_FLOAT32, 0, comm, NULL);
}

static c4_status null_buffer(c4_comm *comm)
{
    return c4_all_reduce(NULL, buffer, 1, C4_FLOAT32, C4_SUM, comm, NULL);
}

static c4_status count_too_large(c4_comm *comm)
{
    return c4_all_reduce(buffer, buffer, SIZE_MAX / 2, C4_FLOAT32, C4_SUM, comm, NULL);
}

static c4_status no_dtype(c4_comm *comm)
{
    return c4_all_reduce(buffer, buffer, 1, (c4_dtype)99, C4_SUM, comm, NULL);
}

static c4_status no_operation(c4_comm *comm)
{
    return c4_all_reduce(buffer, buffer, 1, C4_FLOAT32, C4_BAND, comm, NULL);
}

static c4_status no_root(c4_comm *comm)
{
    return c4_broadcast(buffer, buffer, 1, C4_FLOAT32, 5, comm, NULL);
}

static c4_status overlap(c4_comm *comm)
{
    return c4_all_reduce(buffer, buffer + 1, 8, C4_FLOAT32, C4_SUM, comm, NULL);
}

static c4_status misaligned(c4_comm *comm)
{
    return c4_all_reduce((char *)buffer + 1, buffer + 32, 1, C4_FLOAT32, C4_SUM, comm, NULL);
}

static c4_status in_group(c4_comm *comm)
{
    c4_comm *child;
    c4_group_start();
    c4_status status = c4_comm_split(comm, 0, 0, NULL, NULL, &child);
    c4_group_end();
    return status;
}

static c4_status wrong_option(c4_comm *comm)
{
    (void)comm;
    c4_unique_id id;
    c4_comm *made;
    c4_comm_config config = {.struct_size = sizeof config, .options = "C4_PROGRESS=perhaps"};
    c4_status status = c4_unique_id_create(&id);
    return status < 0 ? status : c4_comm_create(&id, 1, 0, &config, NULL, &made);
}

static c4_status no_interface(c4_comm *comm)
{
    (void)comm;
    c4_unique_id id;
    setenv("C4_SOCKET_IFNAME", "=none0", 1);
    return c4_unique_id_create(&id);
}

static c4_status no_port(c4_comm *comm)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t bytes = sizeof name;
    char range[16];
    c4_unique_id id;
    (void)comm;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&name, bytes) || listen(fd, 1) || getsockname(fd, (struct sockaddr *)&name, &bytes))
        return C4_OK;
    snprintf(range, sizeof range, "%u-%u", ntohs(name.sin_port), ntohs(name.sin_port));
    setenv("C4_PORT_RANGE", range, 1);
    return c4_unique_id_create(&id);
}

static c4_status no_files(c4_comm *comm)
{
    c4_unique_id id;
    c4_status status = C4_OK;
    (void)comm;
    for (int i = 0; i < 100 && status == C4_OK; i++) /* ids that are not used */
        status = c4_unique_id_create(&id);
    return status;
}

/* A sanitizer needs address space of its own, and ends the process when it gets none. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static c4_status no_shared_memory(c4_comm *comm)
{
    void *memory;
    (void)comm;
    setrlimit(RLIMIT_AS, &(struct rlimit){1ull << 30, 1ull << 30});
    return c4_mem_alloc(1ull << 40, &memory);
}

static c4_status no_memory(c4_comm *comm)
{
    c4_unique_id id;
    c4_comm *made;
    (void)comm;
    c4_status status = c4_unique_id_create(&id);
    setrlimit(RLIMIT_AS, &(struct rlimit){1, 1}); /* what is there can be used, nothing can be added */
    return status < 0 ? status : c4_comm_create(&id, 65536, 0, NULL, NULL, &made);
}

static c4_status nobody_comes(c4_comm *comm)
{
    c4_unique_id id;
    c4_comm *made;
    c4_comm_config config = {.struct_size = sizeof config, .timeout_ms = 100};
    (void)comm;
    c4_status status = c4_unique_id_create(&id);
    return status < 0 ? status : c4_comm_create(&id, 2, 0, &config, NULL, &made);
}

static c4_status aborted(c4_comm *comm)
{
    c4_comm_abort(comm);
    return c4_barrier(comm, NULL);
}

static c4_status excluded(c4_comm *comm)
{
    c4_comm *smaller;
    return c4_comm_shrink(comm, &(int){0}, 1, NULL, NULL, &smaller);
}

/* The handle of the parent is dead in its child. */
static c4_status after_fork(c4_comm *comm)
{
    return c4_barrier(comm, NULL);
}

typedef struct trigger {
    c4_status status;
    c4_status (*call)(c4_comm *comm);
    const char *says; /* part of the text: what happened */
} trigger;

static const trigger triggers[] = {
    {C4_ERR_ARGUMENT, send_to_self, "post the receive first"},
    {C4_ERR_NULL, null_buffer, "NULL"},
    {C4_ERR_COUNT, count_too_large, "count"},
    {C4_ERR_DTYPE, no_dtype, "99"},
    {C4_ERR_OP, no_operation, "float32"},
    {C4_ERR_ROOT, no_root, "5"},
    {C4_ERR_OVERLAP, overlap, "overlap"},
    {C4_ERR_ALIGNMENT, misaligned, "align"},
    {C4_ERR_GROUP, in_group, "group"},
    {C4_ERR_OPTION, wrong_option, "C4_PROGRESS"},
    {C4_ERR_INTERFACE, no_interface, "none0"},
    {C4_ERR_PORTS, no_port, "C4_PORT_RANGE"},
    {C4_ERR_FILES, no_files, "64 unique ids"},
    {C4_ERR_MEMORY, no_memory, "65536 ranks"},
    {C4_ERR_SHM, no_shared_memory, "1099511627776"},
    {C4_ERR_TIMEOUT, nobody_comes, "rank 1"},
    {C4_ERR_ABORTED, aborted, "aborted by rank 0"},
    {C4_ERR_EXCLUDED, excluded, "this rank"},
    {C4_ERR_DESTROYED, after_fork, "fork"},
};

/* In a process of its own: limits and variables are not given back. */
static int provoke(const trigger *t)
{
    c4_comm *comm = alone("C4_TRANSPORTS=shm");
    pid_t child = t->status == C4_ERR_DESTROYED ? fork() : 0;
    if (child > 0) {
        int status = 1;
        waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    }
    c4_status status = t->call(comm);
    const char *text = c4_last_error(NULL);
    bool good = status == t->status && strstr(text, t->says) && strstr(text, c4_status_name(t->status)) &&
                strstr(text, c4_status_advice(t->status));
    if (!good)
        fprintf(stderr, "%s: got %s, text \"%s\" (is \"%s\" in it?)\n", c4_status_name(t->status),
                c4_status_name(status), text, t->says);
    return good ? 0 : 1;
}

static void test_alone(void)
{
    setenv("C4_LOG", "none", 1);
    for (size_t i = 0; i < sizeof triggers / sizeof triggers[0]; i++) {
        int status = 1;
        if (SANITIZED && (triggers[i].call == no_memory || triggers[i].call == no_shared_memory)) {
            printf("%s is not provoked in a build with a sanitizer\n", c4_status_name(triggers[i].status));
            continue;
        }
        pid_t child = fork();
        if (child == 0)
            _exit(provoke(&triggers[i]));
        CU_ASSERT_FATAL(waitpid(child, &status, 0) == child);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* ---- the whole table ---- */

/* Met in other tests, with several ranks, or by nobody: a caller's program cannot provoke them at will. */
static const struct {
    c4_status status;
    const char *where;
} elsewhere[] = {
    {C4_OK, "every test"},
    {C4_IN_PROGRESS, "tests/collectives/test_requests"},
    {C4_ERR_CONCURRENT_USE, "tests/comm/test_arguments"},
    {C4_ERR_UNSUPPORTED, "needs a machine without libcrypto or another CPU"},
    {C4_ERR_SYSTEM, "needs a system call to fail that does not on a sound machine"},
    {C4_ERR_LINK, "tests/comm/test_bad_days: lost sockets"},
    {C4_ERR_UNREACHABLE, "tests/transports: no transport in common"},
    {C4_ERR_AUTH, "tests/rendezvous/test_bootstrap: wrong key"},
    {C4_ERR_PROTOCOL, "tests/rendezvous/test_bootstrap: bytes that make no sense"},
    {C4_ERR_PEER_DEAD, "tests/comm/test_bad_days: killed ranks"},
    {C4_ERR_PEER_SILENT, "tests/control: stopped ranks"},
    {C4_ERR_PEER_ERROR, "tests/comm/test_abort: a rank that gives up a shrink"},
    {C4_ERR_MISMATCH, "tests/comm/test_grow: different sizes"},
    {C4_ERR_INTERNAL, "a bug"},
};

static bool is_covered(c4_status status)
{
    for (size_t i = 0; i < sizeof triggers / sizeof triggers[0]; i++)
        if (triggers[i].status == status)
            return true;
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (elsewhere[i].status != status)
            continue;
        printf("%s is not provoked here: %s\n", c4_status_name(status), elsewhere[i].where);
        return true;
    }
    fprintf(stderr, "%s is in no list of this test\n", c4_status_name(status));
    return false;
}

static void test_all_are_listed(void)
{
#define CHECK_LISTED(name, value, text, advice) \
    CU_ASSERT(is_covered(C4_##name) && strlen(c4_status_text(C4_##name)) && strlen(c4_status_advice(C4_##name)));
    C4_STATUS_MAP(CHECK_LISTED)
#undef CHECK_LISTED
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST_DEADLINE(alone, 60), C4TEST(all_are_listed), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
