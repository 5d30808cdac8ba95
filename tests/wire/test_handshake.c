#include "wire/handshake.h"

#include <stdio.h>
#include <string.h>

#include "tests/c4test.h"

static const unsigned char key[C4_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static const unsigned char other_key[C4_KEY_BYTES] = "0123456789abcdef0123456789abcdf";

static c4_handshake_identity client_identity(void)
{
    return (c4_handshake_identity){.key = key,
                                   .job_id = 77,
                                   .rank = 3,
                                   .peer_rank = 1,
                                   .nranks = 8,
                                   .stream = 2,
                                   .epoch = 5,
                                   .role = C4_HANDSHAKE_DATA,
                                   .transport = "tcp"};
}

static c4_handshake_identity server_identity(void)
{
    c4_handshake_identity identity = client_identity();
    identity.rank = 1;
    identity.peer_rank = C4_HANDSHAKE_ANY_RANK;
    identity.stream = 0;
    return identity;
}

/* What went over the wire, for replays. */
typedef struct recording {
    unsigned char bytes[4 * C4_HANDSHAKE_MESSAGE_BYTES];
    size_t used;
} recording;

/* Moves what `from` has to say to `to` in random pieces; bit `flip` of the whole conversation (-1: none) is turned. */
static bool carry(c4_handshake *from, c4_handshake *to, recording *tape, long flip)
{
    const unsigned char *bytes = NULL;
    size_t pending = c4_handshake_output(from, &bytes);
    if (!pending)
        return false;
    size_t take = 1 + c4test_rand_below(pending);
    unsigned char piece[C4_HANDSHAKE_MESSAGE_BYTES];
    memcpy(piece, bytes, take);
    long bit = flip - 8 * (long)tape->used;
    if (flip >= 0 && bit >= 0 && bit < 8 * (long)take)
        piece[bit / 8] ^= (unsigned char)(1 << (bit % 8));
    if (tape->used + take <= sizeof tape->bytes)
        memcpy(tape->bytes + tape->used, piece, take);
    tape->used += take;
    size_t consumed = 0;
    c4_handshake_input(to, piece, take, &consumed);
    c4_handshake_sent(from, take);
    return true;
}

static void converse(c4_handshake *client, c4_handshake *server, recording *tape, long flip)
{
    memset(tape, 0, sizeof *tape);
    while (carry(client, server, tape, flip) || carry(server, client, tape, flip))
        continue;
}

static void meet(const c4_handshake_identity *a, const c4_handshake_identity *b, c4_handshake *client,
                 c4_handshake *server)
{
    recording tape;
    C4TEST_OK_FATAL(c4_handshake_init(client, a, true));
    C4TEST_OK_FATAL(c4_handshake_init(server, b, false));
    converse(client, server, &tape, -1);
}

static void test_hmac(void)
{
    /* RFC 4231, cases 1 and 2. */
    unsigned char out[C4_HMAC_BYTES];
    unsigned char key1[20];
    memset(key1, 0x0b, sizeof key1);
    struct iovec one[] = {{(void *)"Hi ", 3}, {NULL, 0}, {(void *)"There", 5}};
    C4TEST_OK_FATAL(c4_hmac_sha256(key1, sizeof key1, one, 3, out));
    CU_ASSERT_EQUAL(
        memcmp(out,
               "\xb0\x34\x4c\x61\xd8\xdb\x38\x53\x5c\xa8\xaf\xce\xaf\x0b\xf1\x2b\x88\x1d\xc2\x00\xc9\x83\x3d\xa7"
               "\x26\xe9\x37\x6c\x2e\x32\xcf\xf7",
               32),
        0);
    struct iovec two[] = {{(void *)"what do ya want for nothing?", 28}};
    C4TEST_OK_FATAL(c4_hmac_sha256("Jefe", 4, two, 1, out));
    CU_ASSERT_EQUAL(
        memcmp(out,
               "\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7\x5a\x00\x3f\x08\x9d\x27\x39\x83"
               "\x9d\xec\x58\xb9\x64\xec\x38\x43",
               32),
        0);
    unsigned char big[C4_HMAC_MAX_INPUT_BYTES] = {0};
    struct iovec three[] = {{big, sizeof big}, {big, 1}};
    C4TEST_INT(c4_hmac_sha256("k", 1, three, 2, out), C4_ERR_COUNT);
    CU_ASSERT(c4_equal_constant_time("abc", "abc", 3));
    CU_ASSERT_FALSE(c4_equal_constant_time("abc", "abd", 3));
    CU_ASSERT_FALSE(c4_equal_constant_time("abc", "bbc", 3));
}

static void test_good(void)
{
    for (int keyed = 0; keyed < 2; keyed++) {
        c4_handshake_identity a = client_identity();
        c4_handshake_identity b = server_identity();
        a.key = b.key = keyed ? key : NULL;
        c4_handshake client;
        c4_handshake server;
        meet(&a, &b, &client, &server);
        C4TEST_OK(c4_handshake_status(&client));
        C4TEST_OK(c4_handshake_status(&server));
        C4TEST_INT(server.peer_rank, 3);
        C4TEST_INT(server.stream, 2);
        C4TEST_INT(client.peer_rank, 1);
    }
}

/* Both ends of a handshake have one secret for what follows; another handshake, label or key gives another. */
static void test_secret(void)
{
    static const char label[16] = "c4 test", other[16] = "c4 test 2";
    unsigned char secrets[4][C4_HMAC_BYTES];
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    c4_handshake client;
    c4_handshake server;
    meet(&a, &b, &client, &server);
    C4TEST_OK(c4_handshake_secret(&client, label, secrets[0]));
    C4TEST_OK(c4_handshake_secret(&server, label, secrets[1]));
    CU_ASSERT_EQUAL(memcmp(secrets[0], secrets[1], C4_HMAC_BYTES), 0);
    C4TEST_OK(c4_handshake_secret(&server, other, secrets[1]));
    meet(&a, &b, &client, &server);
    C4TEST_OK(c4_handshake_secret(&client, label, secrets[2]));
    a.key = b.key = other_key;
    meet(&a, &b, &client, &server);
    C4TEST_OK(c4_handshake_secret(&client, label, secrets[3]));
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++)
            CU_ASSERT_NOT_EQUAL(memcmp(secrets[i], secrets[j], C4_HMAC_BYTES), 0);
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_INT(c4_handshake_secret(&client, label, secrets[0]), C4_ERR_ARGUMENT); /* not ended */
    a.key = b.key = NULL;
    meet(&a, &b, &client, &server);
    C4TEST_INT(c4_handshake_secret(&client, label, secrets[0]), C4_ERR_ARGUMENT); /* nobody is kept out */
}

/* Bytes behind the handshake are left to the next protocol. */
static void test_leftover(void)
{
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    c4_handshake client;
    c4_handshake server;
    unsigned char buffer[C4_HANDSHAKE_MESSAGE_BYTES + 5] = {0};
    const unsigned char *bytes = NULL;
    size_t consumed = 0;
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
    recording tape = {.used = 0};
    while (c4_handshake_output(&client, &bytes) && server.expect != 3 /* proof */)
        carry(&client, &server, &tape, -1);
    while (carry(&server, &client, &tape, -1))
        continue;
    C4TEST_INT_FATAL(c4_handshake_output(&client, &bytes), C4_HANDSHAKE_MESSAGE_BYTES);
    memcpy(buffer, bytes, C4_HANDSHAKE_MESSAGE_BYTES);
    C4TEST_INT(c4_handshake_input(&server, buffer, sizeof buffer, &consumed), C4_IN_PROGRESS); /* accept is unsent */
    C4TEST_INT(consumed, C4_HANDSHAKE_MESSAGE_BYTES);
    C4TEST_INT(c4_handshake_input(&server, buffer, 5, &consumed), C4_IN_PROGRESS);
    C4TEST_INT(consumed, 0);
    c4_handshake_sent(&server, c4_handshake_output(&server, &bytes));
    C4TEST_OK(c4_handshake_status(&server));
}

static void expect_refused(c4_handshake_identity a, c4_handshake_identity b, const char *reason)
{
    c4_handshake client;
    c4_handshake server;
    meet(&a, &b, &client, &server);
    C4TEST_INT(c4_handshake_status(&client), C4_ERR_AUTH);
    C4TEST_INT(c4_handshake_status(&server), C4_ERR_AUTH);
    C4TEST_CONTAINS(client.reason, reason);
    C4TEST_CONTAINS(server.reason, reason);
}

static void test_differences(void)
{
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    c4_handshake_identity x = a;
    x.key = other_key;
    expect_refused(x, b, "different keys");
    x.key = NULL;
    expect_refused(x, b, "one side has a key");
    x = b;
    x.key = NULL;
    expect_refused(a, x, "one side has a key");
    x = a;
    x.job_id++;
    expect_refused(x, b, "different jobs");
    x = a;
    x.role = C4_HANDSHAKE_CONTROL;
    expect_refused(x, b, "data connection met a control port");
    x = a;
    x.transport = "tcp2";
    expect_refused(x, b, "different transports");
    x = a;
    x.epoch++;
    expect_refused(x, b, "different membership epochs");
    x = a;
    x.nranks++;
    expect_refused(x, b, "different rank counts");
    x = a;
    x.tls = true;
    expect_refused(x, b, "one side has C4_TLS=on and the other has not");
    x = b;
    x.tls = true;
    expect_refused(a, x, "one side has C4_TLS=on and the other has not");
    x = a;
    x.peer_rank = 2;
    expect_refused(x, b, "meant for another rank");
    x = a;
    x.rank = 1;
    expect_refused(x, b, "the server's own");
    x = b;
    x.peer_rank = 4;
    expect_refused(a, x, "not the expected one");
}

static void test_version(void)
{
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    c4_handshake client;
    c4_handshake server;
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
    client.out[4] = 9;
    recording tape;
    converse(&client, &server, &tape, -1);
    C4TEST_INT(c4_handshake_status(&server), C4_ERR_PROTOCOL);
    C4TEST_CONTAINS(server.reason, "version 9 of the handshake, this side version 2");
}

/* Whoever changes the layout of a hello raises the version, and writes this one, which fuzzing starts from, anew. */
static void test_sample(void)
{
    char path[512];
    unsigned char bytes[2 + C4_HANDSHAKE_MESSAGE_BYTES]; /* the first two tell the fuzzer how to use the rest */
    c4_handshake_hello hello;
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/fuzz_handshake/to_server", c4test_source_root());
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    C4TEST_INT(fread(bytes, 1, sizeof bytes, file), sizeof bytes);
    fclose(file);
    C4TEST_OK_FATAL(c4_handshake_look(bytes + 2, C4_HANDSHAKE_MESSAGE_BYTES, &hello));
    c4_handshake server;
    c4_handshake_identity identity = {
        .job_id = 1, .peer_rank = C4_HANDSHAKE_ANY_RANK, .nranks = 4, .role = C4_HANDSHAKE_DATA, .transport = "tcp"};
    size_t consumed = 0;
    C4TEST_OK_FATAL(c4_handshake_init(&server, &identity, false));
    C4TEST_INT(c4_handshake_input(&server, bytes + 2, C4_HANDSHAKE_MESSAGE_BYTES, &consumed), C4_IN_PROGRESS);
    C4TEST_INT(server.expect, 3); /* the proof: the hello is a good one */
}

/* Whatever bit is turned on the way: never does a side end in C4_OK with other facts than the peer's, and never do both
 * sides end well. (The accept is the last message: turned, it fails on the client alone.) */
static void test_every_bit(void)
{
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    for (long bit = 0; bit < 4 * 8 * (long)C4_HANDSHAKE_MESSAGE_BYTES; bit++) {
        c4_handshake client;
        c4_handshake server;
        recording tape;
        C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
        C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
        converse(&client, &server, &tape, bit);
        if (c4_handshake_status(&client) == C4_OK && c4_handshake_status(&server) == C4_OK)
            C4TEST_INT(bit, -1);
    }
}

/* A recording of a good conversation opens nothing: neither a server nor a client takes it again. */
static void test_replay(void)
{
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    c4_handshake client;
    c4_handshake server;
    recording good;
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
    converse(&client, &server, &good, -1);
    C4TEST_OK_FATAL(c4_handshake_status(&server));
    size_t consumed = 0;
    const unsigned char *message = good.bytes;
    C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
    C4TEST_INT(c4_handshake_input(&server, message, 112, &consumed), C4_IN_PROGRESS);    /* the old hello ... */
    C4TEST_INT(c4_handshake_input(&server, message + 224, 112, &consumed), C4_ERR_AUTH); /* ... and the old proof */
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_INT(c4_handshake_input(&client, message + 112, 112, &consumed), C4_ERR_AUTH);
    C4TEST_CONTAINS(client.reason, "different keys");
}

/* An attacker without the key sends a side's own messages back to it. */
static void test_reflection(void)
{
    c4_handshake_identity a = client_identity();
    c4_handshake_identity b = server_identity();
    c4_handshake client;
    c4_handshake server;
    const unsigned char *bytes = NULL;
    size_t consumed = 0;
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    size_t n = c4_handshake_output(&client, &bytes);
    C4TEST_INT(c4_handshake_input(&client, bytes, n, &consumed), C4_ERR_PROTOCOL);
    /* Its hello to its own server end. */
    c4_handshake_identity own = a;
    own.peer_rank = C4_HANDSHAKE_ANY_RANK;
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_OK_FATAL(c4_handshake_init(&server, &own, false));
    n = c4_handshake_output(&client, &bytes);
    C4TEST_INT(c4_handshake_input(&server, bytes, n, &consumed), C4_ERR_AUTH);
    /* The server's tag as the client's proof. */
    C4TEST_OK_FATAL(c4_handshake_init(&client, &a, true));
    C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
    n = c4_handshake_output(&client, &bytes);
    C4TEST_INT(c4_handshake_input(&server, bytes, n, &consumed), C4_IN_PROGRESS);
    unsigned char echo[C4_HANDSHAKE_MESSAGE_BYTES];
    n = c4_handshake_output(&server, &bytes);
    C4TEST_INT_FATAL(n, sizeof echo);
    memcpy(echo, bytes, n);
    echo[6] = 3;
    memset(echo + 48, 0, C4_HANDSHAKE_NONCE_BYTES);
    C4TEST_INT(c4_handshake_input(&server, echo, n, &consumed), C4_ERR_AUTH);
    C4TEST_CONTAINS(server.reason, "different keys");
}

static void test_garbage(void)
{
    c4_handshake_identity b = server_identity();
    for (int round = 0; round < 2000; round++) {
        c4_handshake server;
        unsigned char bytes[300];
        size_t consumed = 0;
        C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (unsigned char)c4test_rand();
        if (c4_handshake_input(&server, bytes, sizeof bytes, &consumed) != C4_ERR_PROTOCOL)
            CU_FAIL("garbage was not refused");
        const unsigned char *out = NULL;
        if (c4_handshake_output(&server, &out) != 0)
            CU_FAIL("garbage was answered");
    }
    c4_handshake server;
    size_t consumed = 0;
    C4TEST_OK_FATAL(c4_handshake_init(&server, &b, false));
    C4TEST_INT(c4_handshake_input(&server, "GET ", 4, &consumed), C4_ERR_PROTOCOL); /* no need to wait for more */
    C4TEST_CONTAINS(server.reason, "not the bytes of a C4 handshake");
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {C4TEST(hmac),        C4TEST(good),       C4TEST(secret),  C4TEST(leftover),
                                        C4TEST(differences), C4TEST(version),    C4TEST(sample),  C4TEST(every_bit),
                                        C4TEST(replay),      C4TEST(reflection), C4TEST(garbage), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
