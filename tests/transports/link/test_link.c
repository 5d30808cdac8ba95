/* The layer of links alone, under a transport that has nothing but a few bytes to pass: what its contract promises. Two hubs
 * in one process, driven by one thread, so that both sides of each link are seen. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "tests/c4test.h"
#include "tests/conformance/host.h"
#include "transports/link/internal.h"
#include "transports/tcp/tcp.h"

#define WORDS_BYTES 200
#define EXTRA_BYTES 40

typedef struct toy_link {
    c4_tlink base;
    unsigned wants;
    unsigned nwords, nups, ndowns, novers, nreadable; /* calls */
    bool deaf;                                        /* does not read its stream */
    bool made_ready;                                  /* words have been given since the last up */
    unsigned char theirs[WORDS_BYTES];
    c4_status over;
    char got; /* the last byte that came by the stream */
} toy_link;

typedef struct toy_module {
    c4_tlink_hub hub; /* first: a link finds its module by it */
    c4_test_host host;
    c4_status answer;  /* of words, */
    unsigned nanswers; /* so many times; then C4_OK */
    unsigned nfinis;
    c4_status error; /* of progress */
    int named;
} toy_module;

static toy_module *module_of(const c4_tlink *link)
{
    return (toy_module *)link->hub;
}

/* Whose they are, for which link, and the how-manieth: none but the last count. */
static void fill_words(const toy_link *link, unsigned char *words)
{
    for (int i = 0; i < WORDS_BYTES; i++)
        words[i] = (unsigned char)(i + link->base.hub->host.rank * 101 + (int)link->base.index * 13);
    words[0] = (unsigned char)link->nwords;
}

static c4_status toy_words(c4_tlink *base, const unsigned char *theirs, unsigned char *mine)
{
    toy_link *link = (toy_link *)base;
    toy_module *module = module_of(base);
    C4TEST_INT(base->state, C4_TLINK_DOWN);
    C4TEST_INT(base->stream.fd, -1);
    link->nwords++;
    if (module->nanswers > 0) {
        module->nanswers--;
        return module->answer;
    }
    if (theirs != NULL)
        C4TEST_INT(theirs[1], (unsigned char)(1 + base->peer * 101 + (int)base->index * 13));
    fill_words(link, mine);
    link->made_ready = true;
    return C4_OK;
}

static void toy_up(c4_tlink *base, const unsigned char *theirs)
{
    toy_link *link = (toy_link *)base;
    C4TEST_INT(base->state, C4_TLINK_UP);
    CU_ASSERT(link->made_ready);
    link->made_ready = false;
    link->nups++;
    memcpy(link->theirs, theirs, sizeof link->theirs);
}

static void toy_down(c4_tlink *base)
{
    toy_link *link = (toy_link *)base;
    C4TEST_INT(base->state, C4_TLINK_DOWN);
    C4TEST_INT(base->stream.fd, -1);
    link->ndowns++;
    C4TEST_INT(link->ndowns, link->nups);
}

static void toy_over(c4_tlink *base, c4_status status)
{
    toy_link *link = (toy_link *)base;
    CU_ASSERT(base->state >= C4_TLINK_ENDED);
    link->novers++;
    link->over = status;
    link->wants = 0;
}

static unsigned toy_wants(const c4_tlink *base)
{
    return ((const toy_link *)base)->wants;
}

static bool toy_progress(c4_tlink *base, bool readable)
{
    toy_link *link = (toy_link *)base;
    ssize_t got = 1;
    bool moved = false;
    link->nreadable += readable;
    while (readable && !link->deaf && (got = c4_tlink_stream_read(&base->stream, &link->got, 1)) > 0)
        moved = true;
    if (got == 0 || (got < 0 && errno != EAGAIN))
        c4_tlink_lost(base, got == 0 ? ECONNRESET : errno);
    return moved;
}

static void toy_fini(c4_tlink *base)
{
    C4TEST_INT(base->stream.fd, -1);
    module_of(base)->nfinis++;
}

static const c4_tlink_ops toy_ops = {
    .name = "toy",
    .links_option = "C4_TCP_SOCKETS",
    .retry_option = "C4_TCP_RETRY_MS",
    .link_bytes = sizeof(toy_link),
    .words_bytes = WORDS_BYTES,
    .extra_bytes = EXTRA_BYTES,
    .guarded = true,
    .words = toy_words,
    .up = toy_up,
    .down = toy_down,
    .over = toy_over,
    .wants = toy_wants,
    .progress = toy_progress,
    .fini = toy_fini,
};

/* ---- two of them ---- */

static void open_one(toy_module *module, int rank, const c4_tlink_ops *ops, const char *overrides)
{
    *module = (toy_module){.named = -1};
    c4_test_host_init(&module->host, &c4_tcp_option_table, overrides, (uint64_t)getpid(), rank, 2);
    C4TEST_OK_FATAL(c4_tlink_hub_open(&module->hub, &module->host.host, ops));
    memset(module->hub.extra, 'a' + rank, EXTRA_BYTES);
    module->hub.setup_period_tsc = 0; /* look for connections in every call */
}

static void introduce(toy_module modules[2])
{
    for (int rank = 0; rank < 2; rank++) {
        unsigned char address[C4_ADDRESS_MAX_BYTES];
        size_t bytes = sizeof address;
        char reason[128] = "";
        C4TEST_OK(c4_tlink_hub_address(&modules[1 - rank].hub, address, &bytes));
        C4TEST_OK_FATAL(c4_tlink_hub_add_peer(&modules[rank].hub, 1 - rank, address, bytes, reason, sizeof reason));
    }
}

static void open_two(toy_module modules[2], toy_link *links[2], const char *overrides)
{
    for (int rank = 0; rank < 2; rank++)
        open_one(&modules[rank], rank, &toy_ops, overrides);
    introduce(modules);
    for (int rank = 0; rank < 2; rank++) {
        c4_tlink *link;
        C4TEST_OK_FATAL(c4_tlink_get(&modules[rank].hub, 1 - rank, 1, &link));
        links[rank] = (toy_link *)link;
    }
}

static void progress_one(toy_module *module)
{
    int peer;
    c4_status status = c4_tlink_hub_progress(&module->hub, &peer);
    if (status >= 0)
        return;
    module->error = status;
    module->named = peer;
}

static void progress_two(toy_module modules[2])
{
    for (int rank = 0; rank < 2; rank++) {
        c4_tlink_hub_disarm(&modules[rank].hub); /* who has nothing to do looks at once */
        progress_one(&modules[rank]);
    }
}

static void want(toy_link *link, unsigned wants)
{
    link->wants = wants;
    c4_tlink_activate(&link->base);
}

/* Until both ends of the link are up, and of one connection. */
static void both_up(toy_module modules[2], toy_link *links[2])
{
    while (links[0]->base.state != C4_TLINK_UP || links[1]->base.state != C4_TLINK_UP ||
           links[0]->base.generation != links[1]->base.generation)
        progress_two(modules);
}

static void assert_words(const toy_link *link, const toy_link *from)
{
    unsigned char expected[WORDS_BYTES];
    fill_words(from, expected);
    CU_ASSERT(memcmp(link->theirs, expected, WORDS_BYTES) == 0);
}

static void pass_byte(toy_module modules[2], toy_link *from, toy_link *to, char byte)
{
    C4TEST_INT(c4_tlink_stream_writev(&from->base.stream, &(struct iovec){&byte, 1}, 1), 1);
    while (to->got != byte)
        progress_two(modules);
}

static void close_two(toy_module modules[2])
{
    for (int rank = 0; rank < 2; rank++) {
        modules[rank].hub.closing = true;
        unsigned nlinks = modules[rank].hub.nlinks;
        c4_tlink_hub_close(&modules[rank].hub);
        C4TEST_INT(modules[rank].nfinis, nlinks);
    }
}

/* ---- cases ---- */

static void test_words_and_address(void)
{
    toy_module modules[2];
    toy_link *links[2];
    unsigned char address[C4_ADDRESS_MAX_BYTES];
    size_t bytes = sizeof address;
    char reason[128];
    open_two(modules, links, "C4_TCP_SOCKETS=3");
    for (int rank = 0; rank < 2; rank++)
        for (int i = 0; i < EXTRA_BYTES; i++)
            C4TEST_INT(modules[rank].hub.peers[1 - rank].extra[i], 'a' + 1 - rank);
    want(links[0], C4_TLINK_SEND);
    both_up(modules, links);
    for (int rank = 0; rank < 2; rank++) {
        C4TEST_INT(links[rank]->nwords, 1);
        C4TEST_INT(links[rank]->nups, 1);
        assert_words(links[rank], links[1 - rank]);
    }
    pass_byte(modules, links[0], links[1], 'x');
    pass_byte(modules, links[1], links[0], 'y');
    C4TEST_OK(c4_tlink_hub_address(&modules[1].hub, address, &bytes));
    bytes--;
    C4TEST_INT(c4_tlink_hub_add_peer(&modules[0].hub, 1, address, bytes, reason, sizeof reason), C4_ERR_UNREACHABLE);
    C4TEST_STRING(reason, "malformed address");
    C4TEST_INT(c4_tlink_hub_address(&modules[1].hub, address, &bytes), C4_ERR_COUNT);
    close_two(modules);
}

/* Both begin at once; one connection comes of it, and the last words that either gave are the other's. */
static void test_crossing(void)
{
    for (int round = 0; round < 20; round++) {
        toy_module modules[2];
        toy_link *links[2];
        open_two(modules, links, "");
        want(links[0], C4_TLINK_SEND);
        want(links[1], C4_TLINK_SEND);
        both_up(modules, links);
        pass_byte(modules, links[0], links[1], 'x');
        pass_byte(modules, links[1], links[0], 'y');
        for (int rank = 0; rank < 2; rank++)
            assert_words(links[rank], links[1 - rank]);
        close_two(modules);
    }
}

/* The transport says that the link is lost: down, and up again when something is wanted, on both sides. */
static void test_lost_and_again(void)
{
    toy_module modules[2];
    toy_link *links[2];
    open_two(modules, links, "");
    want(links[0], C4_TLINK_SEND);
    both_up(modules, links);
    for (int loss = 1; loss <= 6; loss++) {
        toy_link *loser = links[loss % 2];
        want(links[(loss / 2) % 2], C4_TLINK_SEND);
        links[1 - (loss / 2) % 2]->wants = 0;
        c4_tlink_lost(&loser->base, EIO);
        C4TEST_INT(loser->base.state, C4_TLINK_DOWN);
        C4TEST_CONTAINS(modules[loss % 2].host.last_info, "lost (Input/output error); connecting again");
        C4TEST_INT(loser->ndowns, loss);
        c4_tlink_lost(&loser->base, EIO); /* nothing any more */
        C4TEST_INT(loser->ndowns, loss);
        both_up(modules, links);
        for (int rank = 0; rank < 2; rank++) {
            C4TEST_INT(links[rank]->nups, loss + 1);
            C4TEST_INT(links[rank]->ndowns, loss);
            assert_words(links[rank], links[1 - rank]);
        }
        pass_byte(modules, links[0], links[1], (char)('a' + loss));
    }
    close_two(modules);
}

/* The peer has noticed first: this side is still up when the next connection comes. */
static void test_unaware(void)
{
    toy_module modules[2];
    toy_link *links[2];
    open_two(modules, links, "");
    want(links[0], C4_TLINK_SEND);
    both_up(modules, links);
    links[1]->deaf = true;
    c4_tlink_lost(&links[0]->base, EIO);
    C4TEST_INT(links[1]->base.state, C4_TLINK_UP);
    while (links[0]->base.state != C4_TLINK_UP) {
        progress_two(modules);
        C4TEST_INT_FATAL(links[1]->base.state, C4_TLINK_UP);
    }
    C4TEST_INT(links[1]->ndowns, 1);
    C4TEST_INT(links[1]->base.generation, 2);
    links[1]->deaf = false;
    pass_byte(modules, links[0], links[1], 'x');
    close_two(modules);
}

/* Nobody wants anything: the link rests, but a byte or the end of the stream wakes a sleeper and is told. */
static void test_guard(void)
{
    toy_module modules[2];
    toy_link *links[2];
    int fd, peer;
    char byte = 'z';
    open_two(modules, links, "");
    want(links[0], C4_TLINK_SEND);
    both_up(modules, links);
    links[0]->wants = 0;
    for (int i = 0; i < 100 || links[0]->base.active || links[1]->base.active; i++)
        progress_two(modules);
    C4TEST_INT(links[1]->nreadable, 0);
    C4TEST_INT(c4_tlink_hub_arm(&modules[1].hub, &fd), C4_IN_PROGRESS);
    struct pollfd sleeper = {.fd = fd, .events = POLLIN};
    C4TEST_INT(poll(&sleeper, 1, 0), 0);
    C4TEST_INT(c4_tlink_stream_writev(&links[0]->base.stream, &(struct iovec){&byte, 1}, 1), 1);
    C4TEST_INT(poll(&sleeper, 1, -1), 1);
    c4_tlink_hub_disarm(&modules[1].hub);
    while (links[1]->got != byte)
        CU_ASSERT(c4_tlink_hub_progress(&modules[1].hub, &peer) >= 0);
    c4_tlink_lost(&links[0]->base, EIO);
    C4TEST_INT(links[0]->base.retry_at_ns, 0); /* not wanted */
    C4TEST_INT(c4_tlink_hub_arm(&modules[1].hub, &fd), C4_IN_PROGRESS);
    C4TEST_INT(poll(&sleeper, 1, -1), 1);
    c4_tlink_hub_disarm(&modules[1].hub);
    while (links[1]->base.state == C4_TLINK_UP)
        CU_ASSERT(c4_tlink_hub_progress(&modules[1].hub, &peer) >= 0);
    C4TEST_INT(links[1]->ndowns, 1);
    want(links[1], C4_TLINK_SEND);
    both_up(modules, links);
    close_two(modules);
}

/* "Not now" of either side: tried again until it goes. */
static void test_not_now(void)
{
    for (int side = 0; side < 2; side++) {
        toy_module modules[2];
        toy_link *links[2];
        open_two(modules, links, "");
        modules[side].answer = C4_IN_PROGRESS;
        modules[side].nanswers = 3;
        want(links[0], C4_TLINK_SEND);
        both_up(modules, links);
        C4TEST_INT(links[side]->nwords, 4);
        C4TEST_INT(links[1 - side]->nwords, side == 0 ? 1 : 4);
        C4TEST_INT(links[0]->nups + links[1]->nups, 2);
        close_two(modules);
    }
}

/* The server cannot: its link fails and is reported, once; the client hears that nothing comes any more. */
static void test_server_refuses(void)
{
    toy_module modules[2];
    toy_link *links[2];
    open_two(modules, links, "");
    modules[1].answer = C4_ERR_MEMORY;
    modules[1].nanswers = 1;
    want(links[0], C4_TLINK_SEND | C4_TLINK_SETTLE);
    while (modules[0].error == C4_OK || modules[1].error == C4_OK)
        progress_two(modules);
    C4TEST_INT(modules[1].error, C4_ERR_MEMORY);
    C4TEST_INT(modules[1].named, 0);
    C4TEST_INT(links[1]->over, C4_ERR_MEMORY);
    C4TEST_INT(modules[0].error, C4_ERR_LINK);
    C4TEST_INT(modules[0].named, 1);
    C4TEST_CONTAINS(c4_fail_text(), "toy: rank 1 closed its end while data was expected");
    modules[0].error = modules[1].error = C4_OK;
    for (int i = 0; i < 100; i++)
        progress_two(modules);
    C4TEST_INT(modules[0].error, C4_OK);
    C4TEST_INT(modules[1].error, C4_OK);
    for (int rank = 0; rank < 2; rank++) {
        C4TEST_INT(links[rank]->base.state, C4_TLINK_FAILED);
        C4TEST_INT(links[rank]->novers, 1);
        C4TEST_INT(links[rank]->nups, 0);
    }
    close_two(modules);
}

static void test_client_refuses(void)
{
    toy_module modules[2];
    toy_link *links[2];
    open_two(modules, links, "");
    modules[0].answer = C4_ERR_SYSTEM;
    modules[0].nanswers = 1;
    want(links[0], C4_TLINK_SEND);
    while (modules[0].error == C4_OK)
        progress_two(modules);
    C4TEST_INT(modules[0].error, C4_ERR_SYSTEM);
    C4TEST_INT(links[0]->novers, 1);
    C4TEST_INT(links[1]->base.state, C4_TLINK_DOWN);
    C4TEST_INT(links[1]->nwords, 0);
    close_two(modules);
}

/* A peer that leaves: no error to who expects nothing of it. */
static void test_ended(void)
{
    for (int expecting = 0; expecting < 2; expecting++) {
        toy_module modules[2];
        toy_link *links[2];
        open_two(modules, links, "");
        want(links[0], C4_TLINK_SEND);
        both_up(modules, links);
        links[0]->wants = expecting ? C4_TLINK_RECV : C4_TLINK_SEND;
        c4_tlink_ended(&links[0]->base);
        C4TEST_INT(links[0]->base.state, expecting ? C4_TLINK_FAILED : C4_TLINK_ENDED);
        C4TEST_INT(links[0]->over, C4_ERR_LINK);
        C4TEST_INT(links[0]->ndowns, 0);
        for (int i = 0; i < 100; i++)
            progress_two(modules);
        C4TEST_INT(modules[0].error, expecting ? C4_ERR_LINK : C4_OK);
        close_two(modules);
    }
}

/* A hub of another name has the key of the job, and is not let in all the same. */
static void test_other_name(void)
{
    toy_module modules[2];
    c4_tlink_ops other = toy_ops;
    c4_tlink *link;
    other.name = "other";
    open_one(&modules[0], 0, &other, "");
    open_one(&modules[1], 1, &toy_ops, "");
    introduce(modules);
    C4TEST_OK_FATAL(c4_tlink_get(&modules[0].hub, 1, 0, &link));
    want((toy_link *)link, C4_TLINK_SEND);
    while (modules[0].error == C4_OK)
        progress_two(modules);
    C4TEST_INT(modules[0].named, 1);
    CU_ASSERT_PTR_NULL(modules[1].hub.peers[0].links);
    C4TEST_CONTAINS(modules[1].host.last_warning, "toy: refused a connection from 127.0.0.1");
    modules[0].hub.closing = modules[1].hub.closing = true;
    c4_tlink_hub_close(&modules[0].hub);
    c4_tlink_hub_close(&modules[1].hub);
    c4_tlink_hub_close(&modules[1].hub); /* closed already: nothing */
}

static void test_hellos_and_addresses(void)
{
    const c4_tlink_hello hello = {C4_TLINK_STALE, 3, 1ull << 40};
    unsigned char wire[C4_TLINK_HELLO_BYTES], place[C4_TLINK_CONTACT_BYTES];
    c4_tlink_hello got;
    c4_tlink_hello_pack(&hello, wire);
    CU_ASSERT(c4_tlink_hello_unpack(wire, &got) && got.generation == hello.generation);
    CU_ASSERT(got.code == hello.code && got.index == hello.index);
    wire[6] = 9;
    CU_ASSERT(!c4_tlink_hello_unpack(wire, &got));
    c4_tlink_contact contact = {.host = 77, .tls = true, .count = 2}, back;
    contact.at[0] = (c4_tlink_address){.family = 4, .port = 80, .ip = {10, 0, 0, 5}};
    contact.at[1] = (c4_tlink_address){.family = 6, .port = 4711, .scope = 2, .ip = {0xfe, 0x80}};
    size_t bytes = c4_tlink_contact_pack(&contact, place);
    size_t used = 0;
    C4TEST_INT(bytes, 64);
    CU_ASSERT_PTR_NULL(c4_tlink_contact_unpack(place, bytes, &back, &used));
    C4TEST_INT(used, bytes);
    CU_ASSERT(back.host == 77 && back.tls && back.count == 2 && back.at[0].port == 80 && back.at[0].family == 4);
    CU_ASSERT(back.at[1].port == 4711 && back.at[1].scope == 2 &&
              memcmp(back.at[1].ip, contact.at[1].ip, sizeof contact.at[1].ip) == 0);
    for (size_t cut = 0; cut < bytes; cut++)
        CU_ASSERT_PTR_NOT_NULL(c4_tlink_contact_unpack(place, cut, &back, &used));
    static const struct {
        unsigned char at, value;
    } wrong[] = {{6, 0}, {6, 3}, {6, 5}, {7, 2}, {16, 5}, {17, 9}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        unsigned char kept = place[wrong[i].at];
        place[wrong[i].at] = wrong[i].value;
        C4TEST_STRING(c4_tlink_contact_unpack(place, bytes, &back, &used), "malformed address");
        place[wrong[i].at] = kept;
    }
    place[4] ^= 1;
    C4TEST_STRING(c4_tlink_contact_unpack(place, bytes, &back, &used), "the peer runs another C4 version");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(words_and_address),
                                        C4TEST(crossing),
                                        C4TEST(lost_and_again),
                                        C4TEST(unaware),
                                        C4TEST(guard),
                                        C4TEST(not_now),
                                        C4TEST(server_refuses),
                                        C4TEST(client_refuses),
                                        C4TEST(ended),
                                        C4TEST(other_name),
                                        C4TEST(hellos_and_addresses),
                                        C4TEST_END};
    return c4test_main(argc, argv, cases);
}
