/* tcp with C4_TLS=on: what goes over the wire, who is kept out, and that records may be lost and cut anywhere. */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/transports/tcp/pair.h"
#include "transports/link/socket.h"
#include "transports/link/tls.h"

/* ---- two ends of TLS on a pair of sockets, without a transport ---- */

typedef struct ends {
    c4_tlink_tls_context *context;
    int fds[2];
    c4_tlink_tls *tls[2];
    c4_status status[2];
    char reason[2][128];
} ends;

static void ends_open(ends *e, const unsigned char *secret0, const unsigned char *secret1)
{
    memset(e, 0, sizeof *e);
    C4TEST_OK_FATAL(c4_tlink_tls_open("tcp", &e->context));
    C4TEST_INT_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, e->fds), 0);
    for (int i = 0; i < 2; i++) {
        int small = 8192; /* every write is cut somewhere */
        setsockopt(e->fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
        C4TEST_OK_FATAL(c4_tlink_tls_start(e->context, e->fds[i], i == 0, i == 0 ? secret0 : secret1, &e->tls[i]));
        e->status[i] = C4_IN_PROGRESS;
    }
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < 2; i++)
            if (e->status[i] == C4_IN_PROGRESS)
                e->status[i] = c4_tlink_tls_handshake(e->tls[i], e->reason[i], sizeof e->reason[i]);
}

static void ends_close(ends *e)
{
    for (int i = 0; i < 2; i++) {
        c4_tlink_tls_end(e->tls[i]);
        close(e->fds[i]);
    }
    c4_tlink_tls_close(e->context);
}

static const unsigned char secret[C4_TLINK_TLS_SECRET_BYTES] = "a secret",
                           other_secret[C4_TLINK_TLS_SECRET_BYTES] = "other";

static unsigned char byte_at(size_t position)
{
    return (unsigned char)(position * 2654435761u >> 13);
}

/* Writes from `position` on in random pieces, as a caller of sendmsg does. */
static size_t write_some(c4_tlink_tls *tls, const unsigned char *data, size_t position, size_t total)
{
    struct iovec iov[16];
    int n = 0;
    size_t at = position;
    while (n < 16 && at < total) {
        size_t part = c4test_rand_below(3) == 0 ? 1 + c4test_rand_below(100) : 1 + c4test_rand_below(40000);
        part = part < total - at ? part : total - at;
        iov[n++] = (struct iovec){(void *)(uintptr_t)(data + at), part};
        at += part;
    }
    /* After a short count the next call must offer at least what this one did. */
    iov[n - 1].iov_len += total - at;
    ssize_t got = c4_tlink_tls_write(tls, iov, n);
    CU_ASSERT_FATAL(got > 0 || errno == EAGAIN);
    return got > 0 ? (size_t)got : 0;
}

/* Reads in random pieces and checks every byte. */
static size_t read_some(c4_tlink_tls *tls, size_t position)
{
    static unsigned char memory[3][40000];
    struct iovec iov[3];
    for (int i = 0; i < 3; i++)
        iov[i] = (struct iovec){memory[i], 1 + c4test_rand_below(i == 1 ? sizeof memory[i] : 60)};
    ssize_t got = c4_tlink_tls_read(tls, iov, 3);
    CU_ASSERT_FATAL(got > 0 || (got < 0 && errno == EAGAIN));
    size_t left = got > 0 ? (size_t)got : 0;
    for (int i = 0; i < 3 && left > 0; i++)
        for (size_t j = 0; j < iov[i].iov_len && left > 0; j++, left--, position++)
            if (memory[i][j] != byte_at(position))
                CU_FAIL_FATAL("a wrong byte");
    return got > 0 ? (size_t)got : 0;
}

/* Both directions at once over sockets that take a few KiB at a time, with new keys all the time: every byte arrives,
 * none counts as written before the peer can read it, and none that is readable stays unnoticed. */
static void test_pieces_and_rekeying(void)
{
    const size_t total = 4 << 20;
    unsigned char *data = malloc(total);
    size_t written[2] = {0, 0}, got[2] = {0, 0};
    ends e;
    for (size_t i = 0; i < total; i++)
        data[i] = byte_at(i);
    ends_open(&e, secret, secret);
    C4TEST_OK_FATAL(e.status[0]);
    C4TEST_OK_FATAL(e.status[1]);
    c4_tlink_tls_rekey_after(e.context, 5);
    while (got[0] < total || got[1] < total)
        for (int i = 0; i < 2; i++) {
            if (written[i] < total && c4test_rand_below(2) == 0)
                written[i] += write_some(e.tls[i], data, written[i], total);
            struct pollfd ready = {.fd = e.fds[i], .events = POLLIN};
            poll(&ready, 1, 0);
            bool awake = (ready.revents & POLLIN) != 0 || c4_tlink_tls_buffered(e.tls[i]);
            size_t now = c4test_rand_below(2) == 0 ? read_some(e.tls[i], got[i]) : 0;
            CU_ASSERT(now == 0 || awake);
            got[i] += now;
            CU_ASSERT(got[i] <= written[1 - i] + (now == 0 ? total : 262144));
        }
    C4TEST_INT(written[0], total);
    C4TEST_INT(got[1], total);
    ends_close(&e);
    free(data);
}

/* Bytes on the wire for ten records of one byte. */
static int ten_records(uint32_t rekey_after)
{
    ends e;
    int queued = 0;
    ends_open(&e, secret, secret);
    C4TEST_OK_FATAL(e.status[1]);
    if (rekey_after != 0)
        c4_tlink_tls_rekey_after(e.context, rekey_after);
    for (unsigned char i = 0; i < 10; i++)
        C4TEST_INT(c4_tlink_tls_write(e.tls[0], &(struct iovec){&i, 1}, 1), 1);
    C4TEST_INT(ioctl(e.fds[1], FIONREAD, &queued), 0);
    for (unsigned char i = 0; i < 10; i++) {
        unsigned char got = 99;
        C4TEST_INT(c4_tlink_tls_read(e.tls[1], &(struct iovec){&got, 1}, 1), 1);
        C4TEST_INT(got, i);
    }
    ends_close(&e);
    return queued;
}

static void test_new_keys(void)
{
    C4TEST_INT(ten_records(0), 10 * (1 + 22));
    C4TEST_INT(ten_records(3), 10 * (1 + 22) + 3 * (5 + 22)); /* before the 4th, 7th and 10th */
}

static void test_other_secret(void)
{
    ends e;
    ends_open(&e, secret, other_secret);
    CU_ASSERT(e.status[0] < 0);
    C4TEST_INT(e.status[1], C4_ERR_AUTH); /* the server sees the wrong binder first */
    C4TEST_CONTAINS(e.reason[1], "TLS handshake failed: ");
    ends_close(&e);
}

static void test_garbage_instead_of_tls(void)
{
    ends e;
    memset(&e, 0, sizeof e);
    C4TEST_OK_FATAL(c4_tlink_tls_open("tcp", &e.context));
    C4TEST_INT_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, e.fds), 0);
    for (int client = 0; client < 2; client++) {
        char reason[128] = "";
        C4TEST_OK_FATAL(c4_tlink_tls_start(e.context, e.fds[client], client, secret, &e.tls[client]));
        C4TEST_INT(c4_tlink_tls_handshake(e.tls[client], reason, sizeof reason), C4_IN_PROGRESS);
        CU_ASSERT(send(e.fds[1 - client], "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
        C4TEST_INT(c4_tlink_tls_handshake(e.tls[client], reason, sizeof reason), C4_ERR_AUTH);
        C4TEST_CONTAINS(reason, "TLS handshake failed: ");
        char rest[1024];
        while (recv(e.fds[1 - client], rest, sizeof rest, MSG_DONTWAIT) > 0) /* an alert, or the client's hello */
            continue;
    }
    ends_close(&e);
}

/* ---- what epoll does not know of ---- */

/* Many frames have come with one read of the kernel. The rank neither goes to sleep on them, nor does it wait for the
 * kernel to call the link readable when it asks for many links together. */
static void test_buffered_frames(void)
{
    enum { FRAMES = 40, BYTES = 4096 };
    static unsigned char memory[FRAMES][BYTES], sink[FRAMES][BYTES];
    c4_xfer sends[FRAMES], receives[FRAMES], idle[4];
    c4_channel *out[2], *in[2];
    pair p;
    int fd = -1, peer;
    pair_open(&p, 2, "C4_TLS=on C4_TCP_SOCKETS=8");
    open_both(&p, out, in);
    for (uint32_t i = 0; i < 4; i++) { /* other links that wait, so that they are asked together */
        c4_channel *channel = pair_channel(&p, 1, 10 + i, 0, 1);
        idle[i] = (c4_xfer){.pointer = sink, .bytes = 8};
        CU_ASSERT(c4_tcp_ops.recv(channel, &idle[i]) == C4_IN_PROGRESS);
        c4_channel *other = pair_channel(&p, 0, 10 + i, 0, 1);
        c4_xfer send = {.pointer = memory, .bytes = 8};
        CU_ASSERT(c4_tcp_ops.send(other, &send) >= 0);
        pair_wait(&p, &idle[i]);
        CU_ASSERT(c4_tcp_ops.recv(channel, &idle[i]) == C4_IN_PROGRESS);
    }
    exchange(&p, out, in, 8, memory[0]);
    for (int i = 0; i < FRAMES; i++) {
        sends[i] = (c4_xfer){.pointer = memory[i], .bytes = BYTES};
        receives[i] = (c4_xfer){.pointer = sink[i], .bytes = BYTES};
        memset(memory[i], i, BYTES);
        CU_ASSERT(c4_tcp_ops.recv(in[1], &receives[i]) == C4_IN_PROGRESS);
        CU_ASSERT(c4_tcp_ops.send(out[0], &sends[i]) >= 0);
    }
    CU_ASSERT(p.modules[1]->hub.nactive >= 3);
    c4_tcp_ops.progress(p.modules[1], &peer);
    CU_ASSERT(c4_tlink_stream_buffered(&in[1]->link->stream));
    C4TEST_INT(c4_tcp_ops.arm(p.modules[1], &fd), C4_OK);
    c4_tcp_ops.disarm(p.modules[1]);
    for (int i = 0; i < 1000 && receives[FRAMES - 1].state == C4_IN_PROGRESS; i++)
        c4_tcp_ops.progress(p.modules[1], &peer);
    C4TEST_INT(receives[FRAMES - 1].state, C4_OK);
    CU_ASSERT_EQUAL(memcmp(memory, sink, sizeof memory), 0);
    C4TEST_INT(c4_tcp_ops.arm(p.modules[1], &fd), C4_IN_PROGRESS);
    c4_tcp_ops.disarm(p.modules[1]);
    pair_close(&p);
}

/* ---- a proxy that keeps what passes ---- */

typedef struct proxy {
    int listen_fd, fds[2];
    c4_tlink_address address;
    c4_tlink_contact target;
    unsigned char *tape;
    size_t used;
} proxy;

enum { TAPE_BYTES = 4 << 20 };

static void proxy_open(proxy *x, const c4_module *target)
{
    c4_rng rng = {.state = 1};
    *x = (proxy){.fds = {-1, -1}, .address = target->hub.contact.at[0], .target = target->hub.contact};
    x->tape = malloc(TAPE_BYTES);
    C4TEST_OK_FATAL(c4_tlink_socket_listen("tcp", &x->address, (c4_port_range){0, 0}, &rng, &x->listen_fd));
}

static void proxy_step(proxy *x)
{
    int fd = x->fds[0] < 0 ? accept4(x->listen_fd, NULL, NULL, SOCK_NONBLOCK) : -1;
    if (fd >= 0) {
        x->fds[0] = fd;
        x->fds[1] = c4_tlink_socket_connect(&x->target.at[0], &x->target);
    }
    for (int i = 0; i < 2 && x->fds[1] >= 0; i++) {
        unsigned char *to = x->tape + x->used;
        ssize_t got = recv(x->fds[i], to, TAPE_BYTES - x->used < 65536 ? TAPE_BYTES - x->used : 65536, MSG_DONTWAIT);
        for (ssize_t sent = 0; sent < got;) {
            ssize_t now = send(x->fds[1 - i], to + sent, (size_t)(got - sent), MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += now > 0 ? now : 0;
            CU_ASSERT_FATAL(now > 0 || errno == EAGAIN);
        }
        x->used += got > 0 ? (size_t)got : 0;
    }
}

static void proxy_close(proxy *x)
{
    close(x->listen_fd);
    close(x->fds[0]);
    close(x->fds[1]);
    free(x->tape);
}

/* What a listener on the line sees of a payload, a small one and one of several records. */
static bool payload_in_clear(const char *overrides)
{
    static const char words[] = "attack at dawn, and bring the weights of the model with you";
    const size_t sizes[] = {sizeof words, 100000};
    unsigned char *memory = malloc(100000), *sink = malloc(100000);
    pair p;
    proxy x;
    pair_open(&p, 2, overrides);
    proxy_open(&x, p.modules[1]);
    p.modules[0]->hub.peers[1].contact.at[0].port = x.address.port;
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    for (size_t i = 0; i < 100000; i++)
        memory[i] = (unsigned char)words[i % sizeof words];
    for (size_t i = 0; i < 2; i++) {
        c4_xfer send = {.pointer = memory, .bytes = sizes[i]}, receive = {.pointer = sink, .bytes = sizes[i]};
        memset(sink, 0, sizes[i]);
        CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
        CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
        while (receive.state == C4_IN_PROGRESS || send.state == C4_IN_PROGRESS) {
            pair_progress(&p);
            proxy_step(&x);
        }
        C4TEST_INT(receive.state, C4_OK);
        CU_ASSERT_EQUAL(memcmp(sink, memory, sizes[i]), 0);
    }
    CU_ASSERT(x.used > 100000); /* it did go through the proxy */
    bool clear = memmem(x.tape, x.used, words, 16) != NULL;
    pair_close(&p);
    proxy_close(&x);
    free(memory);
    free(sink);
    return clear;
}

static void test_payload_on_the_wire(void)
{
    CU_ASSERT(payload_in_clear("C4_TLS=off C4_TCP_SOCKETS=1")); /* the test sees what there is to see */
    CU_ASSERT_FALSE(payload_in_clear("C4_TLS=on C4_TCP_SOCKETS=1"));
}

/* ---- who is kept out ---- */

static void test_wrong_key(void)
{
    static const unsigned char other_key[32] = "not the key of this job";
    pair p;
    unsigned char memory[64];
    pair_open(&p, 2, "C4_TLS=on");
    p.modules[1]->hub.host.key = other_key;
    c4_channel *out = pair_channel(&p, 1, 1, 1, 0), *in = pair_channel(&p, 0, 1, 1, 0);
    c4_xfer receive = {.pointer = memory, .bytes = 8}, send = {.pointer = memory + 8, .bytes = 8};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
    while (p.errors[1] == C4_OK)
        pair_progress(&p);
    C4TEST_INT(p.errors[1], C4_ERR_AUTH);
    C4TEST_CONTAINS(c4_fail_text(), "different keys");
    C4TEST_INT(receive.state, C4_IN_PROGRESS);
    c4_tcp_ops.cancel(in, &receive);
    pair_close(&p);
}

/* One side with TLS and one without: refused, whoever connects, with the fix in the text. */
static void test_downgrade(void)
{
    for (int with = 0; with < 2; with++) {
        pair p;
        unsigned char memory[64];
        pair_open(&p, 2, "C4_TLS=on");
        c4_tlink_tls_context *tls = p.modules[1 - with]->hub.tls;
        p.modules[1 - with]->hub.tls = NULL;
        c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
        c4_xfer receive = {.pointer = memory, .bytes = 8}, send = {.pointer = memory + 8, .bytes = 8};
        CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
        CU_ASSERT(c4_tcp_ops.send(out, &send) >= 0);
        while (p.errors[0] == C4_OK)
            pair_progress(&p);
        C4TEST_INT(p.errors[0], C4_ERR_AUTH);
        C4TEST_CONTAINS(c4_fail_text(), "one side has C4_TLS=on and the other has not; set it alike on all ranks");
        C4TEST_CONTAINS(p.hosts[1].last_warning, "one side has C4_TLS=on");
        C4TEST_INT(receive.state, C4_IN_PROGRESS);
        c4_tcp_ops.cancel(in, &receive);
        p.modules[1 - with]->hub.tls = tls;
        pair_close(&p);
    }
}

static c4_status open_keyless(const char *overrides, c4_module **module)
{
    static c4_test_host host;
    c4_test_host_init(&host, &c4_tcp_option_table, overrides, 1, 0, 2);
    host.host.key = NULL;
    return c4_tcp_ops.open(&host.host, module);
}

static void test_needs_a_key(void)
{
    c4_module *module = NULL;
    C4TEST_INT(open_keyless("C4_TLS=on", &module), C4_ERR_OPTION);
    C4TEST_CONTAINS(c4_fail_text(), "C4_TLS=on needs a job key and this job has none: start it with c4run");
    C4TEST_CONTAINS(c4_fail_text(), "C4_KEY_FILE");
    C4TEST_OK_FATAL(open_keyless("", &module));
    c4_tcp_ops.close(module);
    /* Who asks about the machine needs none, and is not warned. */
    c4_test_host host;
    c4_transport_caps caps = {.struct_size = sizeof caps};
    char reason[256] = "";
    c4_test_host_init(&host, &c4_tcp_option_table, "C4_TLS=on", 1, 0, 2);
    host.host.key = NULL;
    C4TEST_OK(c4_tcp_ops.probe(&host.host, &caps, reason, sizeof reason));
}

/* ---- libssl is opened when needed and only then (linked with --wrap) ---- */

static bool hide_libssl;
static unsigned libssl_opened;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags)
{
    if (name == NULL || strncmp(name, "libssl", 6) != 0)
        return __real_dlopen(name, flags);
    libssl_opened++;
    return __real_dlopen(hide_libssl ? "libssl-is-not-installed.so" : name, flags);
}

static void test_libssl_missing(void)
{
    c4_test_host host;
    c4_module *module = NULL;
    hide_libssl = true;
    c4_test_host_init(&host, &c4_tcp_option_table, "C4_TLS=off", 1, 0, 2);
    C4TEST_OK_FATAL(c4_tcp_ops.open(&host.host, &module));
    c4_tcp_ops.close(module);
    C4TEST_INT(libssl_opened, 0);
    c4_test_host_init(&host, &c4_tcp_option_table, "C4_TLS=on", 1, 0, 2);
    C4TEST_INT(c4_tcp_ops.open(&host.host, &module), C4_ERR_UNSUPPORTED);
    C4TEST_CONTAINS(c4_fail_text(),
                    "C4_TLS=on needs OpenSSL's libssl (Debian package libssl3): libssl-is-not-installed");
    hide_libssl = false; /* installed meanwhile */
    C4TEST_OK_FATAL(c4_tcp_ops.open(&host.host, &module));
    c4_tcp_ops.close(module);
    C4TEST_INT(libssl_opened, 2);
}

/* ---- rubbish and loss in the middle ---- */

static void add_u32(void *dst, const void *a, const void *b, size_t count, unsigned flags)
{
    uint32_t *d = dst;
    const uint32_t *x = a, *y = b;
    (void)flags;
    for (size_t i = 0; i < count; i++)
        d[i] = x[i] + y[i];
}

/* Somebody on the line cuts connections and writes into them while a frame is reduced in place. It costs connections,
 * never a byte: nothing is added twice, nothing is missing, nothing foreign is believed. */
static void test_disturbed_while_reducing(void)
{
    const c4_reduction sum = {add_u32, 4};
    const size_t count = 2 << 20;
    uint32_t *source = malloc(count * 4), *result = malloc(count * 4);
    pair p;
    c4_edge_counters counters = {0, 0, 0};
    pair_open(&p, 2, "C4_TLS=on C4_TCP_BUFFER_BYTES=300000");
    c4_channel *out = pair_channel(&p, 0, 1, 0, 1), *in = pair_channel(&p, 1, 1, 0, 1);
    for (size_t i = 0; i < count; i++) {
        source[i] = (uint32_t)i;
        result[i] = 7;
    }
    c4_xfer send = {.pointer = source, .bytes = count * 4};
    c4_xfer receive = {.pointer = result, .operand = result, .reduce = &sum, .bytes = count * 4};
    CU_ASSERT(c4_tcp_ops.recv(in, &receive) == C4_IN_PROGRESS);
    CU_ASSERT(c4_tcp_ops.send(out, &send) == C4_IN_PROGRESS);
    static const char *const faults[] = {"close_socket", "garbage", "truncate"};
    unsigned disturbed = 0;
    for (size_t seen = 0; receive.state == C4_IN_PROGRESS;) {
        pair_progress(&p);
        C4TEST_OK_FATAL(p.errors[0]);
        C4TEST_OK_FATAL(p.errors[1]);
        if (((c4_tcp_link *)in->link)->rx.done < seen + (500 << 10))
            continue;
        seen = ((c4_tcp_link *)in->link)->rx.done;
        C4TEST_OK(c4_tcp_ops.inject(p.modules[disturbed % 2], faults[disturbed % 3]));
        disturbed++;
    }
    pair_wait(&p, &send);
    CU_ASSERT(disturbed >= 5);
    C4TEST_INT(receive.state, C4_OK);
    for (size_t i = 0; i < count; i++)
        if (result[i] != (uint32_t)i + 7) {
            C4TEST_INT(result[i], i + 7);
            break;
        }
    C4TEST_OK(c4_tcp_ops.counters(out, &counters));
    CU_ASSERT(counters.resends >= 1);
    CU_ASSERT(in->link->generation > 3);
    pair_close(&p);
    free(source);
    free(result);
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(pieces_and_rekeying),
        C4TEST(new_keys),
        C4TEST(other_secret),
        C4TEST(garbage_instead_of_tls),
        C4TEST(buffered_frames),
        C4TEST(payload_on_the_wire),
        C4TEST(wrong_key),
        C4TEST(downgrade),
        C4TEST(needs_a_key),
        C4TEST(libssl_missing),
        C4TEST(disturbed_while_reducing),
        C4TEST_END,
    };
    return c4test_main(argc, argv, cases);
}
