/* The statuses that a process meets by itself: arguments, options, what its machine does not give it. */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/comm/statuses.h"
#include "wire/rank_card.h"

static float buffer[64];

/* ---- no errors ---- */

static c4_status barrier(stage *s)
{
    return c4_barrier(s->comm, NULL);
}
PROVOCATIONS(OK, {.what = "a barrier", .part = barrier});

static c4_status receive_later(stage *s)
{
    c4_request *request;
    c4_status status = c4_recv(buffer, 1, C4_FLOAT32, 0, s->comm, &request);
    return status < 0 ? status : c4_test(&request);
}
PROVOCATIONS(IN_PROGRESS, {.what = "nobody has sent yet", .part = receive_later});

/* ---- arguments ---- */

static c4_status send_to_self(stage *s)
{
    return c4_send(buffer, 1, C4_FLOAT32, 0, s->comm, NULL);
}
PROVOCATIONS(ERR_ARGUMENT,
             {.what = "a send to oneself", .part = send_to_self, .says = {"post the receive first", "\"world\""}});

static c4_status null_buffer(stage *s)
{
    return c4_all_reduce(NULL, buffer, 1, C4_FLOAT32, C4_SUM, s->comm, NULL);
}
PROVOCATIONS(ERR_NULL, {.what = "no buffer", .part = null_buffer, .says = {"all_reduce on \"world\"", "send is NULL"}});

static c4_status count_too_large(stage *s)
{
    return c4_all_reduce(buffer, buffer, SIZE_MAX / 2, C4_FLOAT32, C4_SUM, s->comm, NULL);
}
PROVOCATIONS(ERR_COUNT, {.what = "more than memory",
                         .part = count_too_large,
                         .says = {"all_reduce on \"world\"", "9223372036854775807 elements"}});

static c4_status no_dtype(stage *s)
{
    return c4_all_reduce(buffer, buffer, 1, (c4_dtype)99, C4_SUM, s->comm, NULL);
}
PROVOCATIONS(ERR_DTYPE, {.what = "dtype 99", .part = no_dtype, .says = {"all_reduce on \"world\"", "99"}});

static c4_status no_operation(stage *s)
{
    return c4_all_reduce(buffer, buffer, 1, C4_FLOAT32, C4_BAND, s->comm, NULL);
}
PROVOCATIONS(ERR_OP,
             {.what = "and of floats", .part = no_operation, .says = {"all_reduce on \"world\"", "band", "float32"}});

static c4_status no_root(stage *s)
{
    return c4_broadcast(buffer, buffer, 1, C4_FLOAT32, 5, s->comm, NULL);
}
PROVOCATIONS(ERR_ROOT, {.what = "root 5 of 1",
                        .part = no_root,
                        .says = {"broadcast on \"world\"", "root 5", "0 .. 0", "\"world\""}});

static c4_status overlap(stage *s)
{
    return c4_all_reduce(buffer, buffer + 1, 8, C4_FLOAT32, C4_SUM, s->comm, NULL);
}
PROVOCATIONS(ERR_OVERLAP,
             {.what = "one element apart", .part = overlap, .says = {"all_reduce on \"world\"", "overlap"}});

static c4_status misaligned(stage *s)
{
    return c4_all_reduce((char *)buffer + 1, buffer + 32, 1, C4_FLOAT32, C4_SUM, s->comm, NULL);
}
PROVOCATIONS(ERR_ALIGNMENT,
             {.what = "an odd address", .part = misaligned, .says = {"all_reduce on \"world\"", "align", "4 bytes"}});

/* The thread of a split that has not ended: rank 1 does not come. */
static c4_status two_threads(stage *s)
{
    c4_comm *child;
    c4_request *request;
    if (s->rank == 1)
        return stage_wait_end(s);
    c4_status status = c4_comm_split(s->comm, 0, 0, NULL, &request, &child);
    return status < 0 ? status : c4_barrier(s->comm, NULL);
}
PROVOCATIONS(ERR_CONCURRENT_USE, {.what = "two threads",
                                  .part = two_threads,
                                  .nranks = 2,
                                  .says = {"\"world\" is in use by another thread", "c4_comm_split"}});

static c4_status in_group(stage *s)
{
    c4_comm *child;
    c4_group_start();
    c4_status status = c4_comm_split(s->comm, 0, 0, NULL, NULL, &child);
    c4_group_end();
    return status;
}
PROVOCATIONS(ERR_GROUP, {.what = "a split in a group", .part = in_group, .says = {"c4_comm_split inside a group"}});

/* ---- options ---- */

static c4_status create_with(const char *options, int nranks, int timeout_ms)
{
    c4_unique_id id;
    c4_comm *made;
    c4_comm_config config = {.struct_size = sizeof config, .options = options, .timeout_ms = timeout_ms};
    c4_status status = c4_unique_id_create(&id);
    return status < 0 ? status : c4_comm_create(&id, nranks, 0, &config, NULL, &made);
}

static c4_status wrong_option(stage *s)
{
    (void)s;
    return create_with("C4_PROGRESS=perhaps", 1, 0);
}

PROVOCATIONS(ERR_OPTION, {.what = "no such value",
                          .part = wrong_option,
                          .says = {"C4_PROGRESS=perhaps", "(call)", "inline|thread"}});

/* ---- this machine ---- */

static c4_status no_interface(stage *s)
{
    setenv("C4_SOCKET_IFNAME", "=none0", 1);
    return c4_unique_id_create(&s->id);
}
PROVOCATIONS(ERR_INTERFACE, {.what = "an interface that is none",
                             .part = no_interface,
                             .says = {"C4_SOCKET_IFNAME==none0", "there are: ", "lo 127.0.0.1"}});

static c4_status no_port(stage *s)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t bytes = sizeof name;
    char range[16];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&name, bytes) || listen(fd, 1) || getsockname(fd, (struct sockaddr *)&name, &bytes))
        return C4_OK;
    snprintf(range, sizeof range, "%u-%u", ntohs(name.sin_port), ntohs(name.sin_port));
    setenv("C4_PORT_RANGE", range, 1);
    return c4_unique_id_create(&s->id);
}
PROVOCATIONS(ERR_PORTS, {.what = "a range in use",
                         .part = no_port,
                         .says = {"cannot listen on ", "all ports of C4_PORT_RANGE=", "are in use"}});

/* What another id needs is there no more. */
static c4_status no_descriptor(stage *s)
{
    int highest = dup(0);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)highest, (rlim_t)highest});
    return c4_unique_id_create(&s->id);
}

static c4_status unused_ids(stage *s)
{
    c4_status status = C4_OK;
    for (int i = 0; i < 100 && status == C4_OK; i++)
        status = c4_unique_id_create(&s->id);
    return status;
}
PROVOCATIONS(ERR_FILES, {.what = "ulimit -n", .part = no_descriptor, .says = {"Too many open files", "ulimit -n"}},
             {.what = "ids that nobody uses", .part = unused_ids, .says = {"64 unique ids"}});

static c4_status no_shared_memory(stage *s)
{
    void *memory;
    (void)s;
    setrlimit(RLIMIT_AS, &(struct rlimit){1ull << 30, 1ull << 30});
    return c4_mem_alloc(1ull << 40, &memory);
}
PROVOCATIONS(ERR_SHM,
             {.what = "a terabyte", .part = no_shared_memory, .memory = true, .says = {"1099511627776", "--shm-size"}});

static c4_status no_memory(stage *s)
{
    c4_comm *made;
    c4_status status = c4_unique_id_create(&s->id);
    setrlimit(RLIMIT_AS, &(struct rlimit){1, 1}); /* what is there can be used, nothing can be added */
    return status < 0 ? status : c4_comm_create(&s->id, 65536, 0, NULL, NULL, &made);
}
PROVOCATIONS(ERR_MEMORY, {.what = "ulimit -v", .part = no_memory, .memory = true, .says = {"65536 ranks"}});

/* As a cgroup's pids.max does it. Root is free of the limit. */
static c4_status no_thread(stage *s)
{
    c4_comm *made;
    c4_request *request;
    c4_status status = c4_unique_id_create(&s->id);
    if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
        return C4_OK;
    setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0});
    return status < 0 ? status : c4_comm_create(&s->id, 1, 0, NULL, &request, &made);
}
PROVOCATIONS(ERR_SYSTEM,
             {.what = "ulimit -u", .part = no_thread, .says = {"thread", "errno 11", "ulimit -u", "pids.max"}});

/* ---- its own doing ---- */

static c4_status nobody_comes(stage *s)
{
    (void)s;
    return create_with(NULL, 2, 100);
}

static c4_status too_slow(stage *s)
{
    return c4_recv(buffer, 1, C4_FLOAT32, 1, s->comm, NULL);
}

static c4_status late(stage *s)
{
    return s->rank == 0 ? too_slow(s) : stage_wait_end(s);
}
PROVOCATIONS(ERR_TIMEOUT, {.what = "a rank that does not come", .part = nobody_comes, .says = {"rank 1", "100 ms"}},
             {.what = "a rank that does not send",
              .part = late,
              .nranks = 2,
              .options = "C4_TIMEOUT_MS=200",
              .says = {"recv", "#0", "\"world\"", "receive from rank 1", "(host ", "C4_TIMEOUT_MS=200"}});

static c4_status aborted(stage *s)
{
    c4_comm_abort(s->comm);
    return c4_barrier(s->comm, NULL);
}
PROVOCATIONS(ERR_ABORTED, {.what = "by itself", .part = aborted, .says = {"\"world\"", "aborted by rank 0"}});

static c4_status excluded(stage *s)
{
    c4_comm *smaller;
    return c4_comm_shrink(s->comm, &(int){0}, 1, NULL, NULL, &smaller);
}
PROVOCATIONS(ERR_EXCLUDED, {.what = "itself", .part = excluded, .says = {"\"world\"", "exclude[0] is this rank, 0"}});

/* The handle of the parent is dead in its child, in which the text is. */
static c4_status after_fork(stage *s)
{
    pid_t child = fork();
    int status = 1;
    if (child == 0)
        return c4_barrier(s->comm, NULL);
    waitpid(child, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
PROVOCATIONS(ERR_DESTROYED, {.what = "after a fork", .part = after_fork, .says = {"fork"}});

/* A bug cannot be asked for: this is one of the places that look for them. */
static c4_status addresses_too_long(stage *s)
{
    unsigned char out[C4_RANK_CARD_BYTES];
    c4_rank_card card = {0};
    (void)s;
    for (unsigned i = 0; i < C4_RANK_CARD_TRANSPORTS; i++)
        card.transports[i].bytes = C4_ADDRESS_MAX_BYTES;
    return c4_rank_card_pack(&card, out);
}
PROVOCATIONS(ERR_INTERNAL, {.what = "addresses that do not fit",
                            .part = addresses_too_long,
                            .says = {"do not fit into 1024 bytes", "report"}});
