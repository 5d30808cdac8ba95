#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "tests/c4test.h"
#include "wire/control_message.h"
#include "wire/control_overlay.h"
#include "wire/cost_card.h"
#include "wire/net_address.h"
#include "wire/rank_card.h"
#include "wire/unique_id.h"

/* ---- addresses ---- */

static void test_address_text(void)
{
    static const char *const good[] = {"127.0.0.1:4711", "0.0.0.0:0", "[::1]:65535", "[2001:db8::1]:80"};
    static const char *const bad[] = {
        "",           ":",          "1.2.3.4",      "1.2.3.4:", "1.2.3.4:65536", "1.2.3:80",
        "host:80",    "[::1]",      "::1:80",       "[::1:80",  "[]:80",         "[1.2.3.4]:80",
        "1.2.3.4:-1", "1.2.3.4:8x", "1.2.3.4.5:80", "[::g]:80", "300.0.0.1:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        c4_net_address address;
        c4_net_address again;
        char text[C4_NET_ADDRESS_TEXT_BYTES];
        unsigned char packed[C4_NET_ADDRESS_BYTES];
        struct sockaddr_storage name;
        CU_ASSERT_FATAL(c4_net_address_parse(good[i], &address));
        C4TEST_STRING(c4_net_address_format(&address, text), good[i]);
        c4_net_address_pack(&address, packed);
        C4TEST_OK(c4_net_address_unpack(packed, &again));
        C4TEST_STRING(c4_net_address_format(&again, text), good[i]);
        CU_ASSERT(c4_net_address_to_sockaddr(&address, &name) > 0);
        CU_ASSERT(c4_net_address_from_sockaddr((struct sockaddr *)&name, &again));
        C4TEST_STRING(c4_net_address_format(&again, text), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        c4_net_address address;
        if (c4_net_address_parse(bad[i], &address))
            C4TEST_STRING(bad[i], "refused");
    }
    c4_net_address address;
    CU_ASSERT(c4_net_address_parse("127.3.2.1:1", &address) && c4_net_address_is_loopback(&address));
    CU_ASSERT(c4_net_address_parse("[::1]:1", &address) && c4_net_address_is_loopback(&address));
    CU_ASSERT(c4_net_address_parse("[::2]:1", &address) && !c4_net_address_is_loopback(&address));
    struct sockaddr local = {.sa_family = AF_UNIX};
    CU_ASSERT_FALSE(c4_net_address_from_sockaddr(&local, &address));
}

static void test_address_bytes(void)
{
    unsigned char packed[C4_NET_ADDRESS_BYTES] = {4, 0, 80, 0, 127, 0, 0, 1};
    c4_net_address address;
    C4TEST_OK(c4_net_address_unpack(packed, &address));
    C4TEST_INT(address.port, 80);
    packed[0] = 5;
    C4TEST_INT(c4_net_address_unpack(packed, &address), C4_ERR_PROTOCOL);
    packed[0] = 4;
    packed[19] = 1; /* behind the four bytes of IPv4 */
    C4TEST_INT(c4_net_address_unpack(packed, &address), C4_ERR_PROTOCOL);
    packed[0] = 6;
    C4TEST_OK(c4_net_address_unpack(packed, &address));
    packed[1] = 1;
    C4TEST_INT(c4_net_address_unpack(packed, &address), C4_ERR_PROTOCOL);
}

/* ---- unique ids ---- */

static void refuse_id(const c4_unique_id *id, const char *part)
{
    c4_unique_id_fields fields;
    C4TEST_INT(c4_unique_id_unpack(id, &fields), C4_ERR_ARGUMENT);
    C4TEST_CONTAINS(c4_fail_text(), part);
}

static void test_unique_id(void)
{
    c4_unique_id_fields fields = {.job_id = 0x0123456789abcdef, .naddresses = 3};
    c4_unique_id_fields again;
    c4_unique_id id;
    memset(fields.key, 0x5a, sizeof fields.key);
    CU_ASSERT(c4_net_address_parse("10.0.0.1:1", &fields.addresses[0]));
    CU_ASSERT(c4_net_address_parse("[2001:db8::7]:2", &fields.addresses[1]));
    CU_ASSERT(c4_net_address_parse("192.168.1.1:3", &fields.addresses[2]));
    c4_unique_id_pack(&fields, &id);
    C4TEST_OK_FATAL(c4_unique_id_unpack(&id, &again));
    CU_ASSERT_EQUAL(again.job_id, fields.job_id);
    C4TEST_INT(again.naddresses, 3);
    CU_ASSERT_EQUAL(memcmp(again.key, fields.key, sizeof again.key), 0);
    for (size_t i = 0; i < 3; i++) {
        C4TEST_INT(again.addresses[i].family, fields.addresses[i].family);
        C4TEST_INT(again.addresses[i].port, fields.addresses[i].port);
        C4TEST_INT(memcmp(again.addresses[i].bytes, fields.addresses[i].bytes, 16), 0);
    }
    for (size_t bit = 0; bit < 8 * sizeof id.bytes; bit++) { /* any change on the way is seen */
        c4_unique_id damaged = id;
        damaged.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        C4TEST_INT(c4_unique_id_unpack(&damaged, &again), C4_ERR_ARGUMENT);
    }
    c4_unique_id damaged = id;
    damaged.bytes[20] ^= 1;
    refuse_id(&damaged, "damaged on its way; all 128 bytes must arrive");
    damaged.bytes[4] = 9;
    refuse_id(&damaged, "version 9, this library has 1");
    memset(&damaged, 0, sizeof damaged);
    refuse_id(&damaged, "not made by c4_unique_id_create");
    fields.naddresses = 0; /* right checksum, senseless contents */
    c4_unique_id_pack(&fields, &damaged);
    refuse_id(&damaged, "0 addresses");
    fields.naddresses = 200;
    c4_unique_id_pack(&fields, &damaged);
    refuse_id(&damaged, "200 addresses");
    fields.naddresses = 1;
    fields.addresses[0].family = 9;
    c4_unique_id_pack(&fields, &damaged);
    refuse_id(&damaged, "address 0 is malformed");
}

/* ---- control messages ---- */

static c4_status header_status(c4_control_kind kind, uint32_t bytes, uint32_t rank, uint32_t nranks)
{
    unsigned char packed[C4_CONTROL_HEADER_BYTES];
    c4_control_header header = {kind, bytes, rank, 77};
    c4_control_header again;
    c4_control_header_pack(&header, packed);
    c4_status status = c4_control_header_unpack(packed, nranks, &again);
    if (status == C4_OK)
        CU_ASSERT(again.kind == kind && again.bytes == bytes && again.rank == rank && again.value == 77);
    return status;
}

static void test_header(void)
{
    C4TEST_OK(header_status(C4_CONTROL_BLOCKS, 4096, 3, 4));
    C4TEST_OK(header_status(C4_CONTROL_BLOCKS, 0, UINT32_MAX, 4));
    C4TEST_INT(header_status(C4_CONTROL_BLOCKS, 1, 4, 4), C4_ERR_PROTOCOL);
    C4TEST_OK(header_status(C4_CONTROL_TABLE, 4 * C4_CONTROL_TABLE_RANK_BYTES, 0, 4));
    C4TEST_INT(header_status(C4_CONTROL_TABLE, 4 * C4_CONTROL_TABLE_RANK_BYTES + 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_LINKED, 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_OK(header_status(C4_CONTROL_BLOCKS, 4 * 4096, 0, 4));
    C4TEST_INT(header_status(C4_CONTROL_BLOCKS, 4 * 4096 + 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_BLOCKS, UINT32_MAX, 0, C4_CONTROL_MAX_RANKS), C4_ERR_PROTOCOL);
    C4TEST_OK(header_status(C4_CONTROL_JOIN, C4_PROCESS_BYTES, 0, 4));
    C4TEST_INT(header_status(C4_CONTROL_JOIN, C4_PROCESS_BYTES - 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_WELCOME, C4_CONTROL_WELCOME_BYTES + 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_FAULT, 3, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_DEATH, 4 + C4_CONTROL_TEXT_MAX_BYTES + 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_HEARTBEAT, C4_CONTROL_MESSAGE_MAX_BYTES + 1, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status(C4_CONTROL_NKINDS, 0, 0, 4), C4_ERR_PROTOCOL);
    C4TEST_INT(header_status((c4_control_kind)0, 0, 0, 4), C4_ERR_PROTOCOL);
    unsigned char packed[C4_CONTROL_HEADER_BYTES];
    c4_control_header header = {C4_CONTROL_GOODBYE, 0, 1, 0};
    for (size_t at = 0; at < 4; at++) { /* magic, version, kind, zero */
        c4_control_header_pack(&header, packed);
        packed[at] ^= 0x40;
        C4TEST_INT(c4_control_header_unpack(packed, 4, &header), C4_ERR_PROTOCOL);
    }
}

/* What one rank sends and another reads: whoever changes a layout raises the version, and sets the hash anew. */
static void test_version_of_layouts(void)
{
    unsigned char text[C4_CONTROL_MESSAGE_MAX_BYTES] = {0};
    c4_control_header header = {C4_CONTROL_WELCOME, 3, 4, 5};
    c4_process process = {.pid = 6, .uid = 7, .start_ticks = 8, .pid_namespace = 9, .boot_id = {10}, .host = "node"};
    c4_control_welcome welcome = {.has_key = true, .nonce = {11}, .key = {12}};
    c4_control_fault fault = {C4_ERR_MEMORY, "no room"};
    c4_overlay_card card = {.about = 1};
    uint64_t hash = C4_HASH_INIT;
    c4_control_header_pack(&header, text);
    hash = c4_hash_bytes(hash, text, C4_CONTROL_HEADER_BYTES);
    c4_process_pack(&process, text);
    hash = c4_hash_bytes(hash, text, C4_PROCESS_BYTES);
    c4_control_welcome_pack(&welcome, text);
    hash = c4_hash_bytes(hash, text, C4_CONTROL_WELCOME_BYTES);
    hash = c4_hash_bytes(hash, text, c4_control_fault_pack(&fault, text));
    memset(text, 0, sizeof text);
    c4_overlay_card_pack(&card, text);
    hash = c4_hash_bytes(hash, text, C4_OVERLAY_CARD_BYTES);
    C4TEST_INT(C4_CONTROL_VERSION, 2);
    C4TEST_INT((long long)hash, 0x7e4b1b26ebbf8fc7);
}

/* The samples that fuzzing starts from would lead nowhere if they were of an earlier version. */
static void test_samples(void)
{
    static const char *const samples[] = {"join", "welcome", "death"};
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        char path[512];
        unsigned char bytes[512];
        c4_control_header header = {0};
        snprintf(path, sizeof path, "%s/tests/fuzz/corpus/fuzz_control/%s", c4test_source_root(), samples[i]);
        FILE *file = fopen(path, "re");
        CU_ASSERT_PTR_NOT_NULL_FATAL(file);
        size_t got = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        CU_ASSERT_FATAL(got > 1 + C4_CONTROL_HEADER_BYTES); /* the first byte chooses the parser */
        C4TEST_OK(c4_control_header_unpack(bytes + 1, 16, &header));
        C4TEST_INT(header.bytes, got - 1 - C4_CONTROL_HEADER_BYTES);
    }
}

static void test_process(void)
{
    c4_process process = {.pid = 42,
                          .uid = 1000,
                          .start_ticks = 1234567890123,
                          .pid_namespace = 4026531836,
                          .boot_id = {1, 2, 3},
                          .host = "node-7"};
    c4_process again;
    unsigned char packed[C4_PROCESS_BYTES + 1];
    c4_process_pack(&process, packed);
    C4TEST_OK(c4_process_unpack(packed, C4_PROCESS_BYTES, &again));
    C4TEST_STRING(again.host, "node-7");
    CU_ASSERT(again.pid == 42 && again.uid == 1000 && again.start_ticks == process.start_ticks &&
              again.pid_namespace == process.pid_namespace && memcmp(again.boot_id, process.boot_id, 16) == 0);
    C4TEST_INT(c4_process_unpack(packed, C4_PROCESS_BYTES - 1, &again), C4_ERR_PROTOCOL);
    C4TEST_INT(c4_process_unpack(packed, C4_PROCESS_BYTES + 1, &again), C4_ERR_PROTOCOL);
    packed[42] = 0x1b; /* would reach a terminal */
    C4TEST_INT(c4_process_unpack(packed, C4_PROCESS_BYTES, &again), C4_ERR_PROTOCOL);
    memset(packed + 40, 'x', C4_HOST_NAME_BYTES); /* no end */
    C4TEST_INT(c4_process_unpack(packed, C4_PROCESS_BYTES, &again), C4_ERR_PROTOCOL);
    process.pid = 0;
    c4_process_pack(&process, packed);
    C4TEST_INT(c4_process_unpack(packed, C4_PROCESS_BYTES, &again), C4_ERR_PROTOCOL);
    process.pid = 0x80000000u; /* a negative pid would name a process group */
    c4_process_pack(&process, packed);
    C4TEST_INT(c4_process_unpack(packed, C4_PROCESS_BYTES, &again), C4_ERR_PROTOCOL);
}

static void test_welcome(void)
{
    c4_control_welcome welcome = {.has_key = true};
    c4_control_welcome again;
    unsigned char packed[C4_CONTROL_WELCOME_BYTES];
    memset(welcome.key, 7, sizeof welcome.key);
    memset(welcome.nonce, 9, sizeof welcome.nonce);
    c4_control_welcome_pack(&welcome, packed);
    C4TEST_OK(c4_control_welcome_unpack(packed, sizeof packed, &again));
    CU_ASSERT(again.has_key && memcmp(again.key, welcome.key, sizeof again.key) == 0);
    CU_ASSERT_EQUAL(memcmp(again.nonce, welcome.nonce, sizeof again.nonce), 0);
    C4TEST_INT(c4_control_welcome_unpack(packed, sizeof packed - 1, &again), C4_ERR_PROTOCOL);
    packed[0] = 2;
    C4TEST_INT(c4_control_welcome_unpack(packed, sizeof packed, &again), C4_ERR_PROTOCOL);
}

static void test_fault(void)
{
    c4_control_fault fault = {.status = C4_ERR_MEMORY};
    c4_control_fault again;
    unsigned char packed[C4_CONTROL_MESSAGE_MAX_BYTES];
    memset(fault.text, 'y', C4_CONTROL_TEXT_MAX_BYTES);
    fault.text[1] = '\n';
    size_t bytes = c4_control_fault_pack(&fault, packed);
    C4TEST_INT(bytes, 4 + C4_CONTROL_TEXT_MAX_BYTES);
    C4TEST_OK(c4_control_fault_unpack(packed, bytes, &again));
    C4TEST_INT(again.status, C4_ERR_MEMORY);
    C4TEST_INT(strlen(again.text), C4_CONTROL_TEXT_MAX_BYTES);
    C4TEST_INT(again.text[1], '?');
    C4TEST_OK(c4_control_fault_unpack(packed, 4, &again));
    C4TEST_STRING(again.text, c4_status_text(C4_ERR_MEMORY));
    C4TEST_INT(c4_control_fault_unpack(packed, 3, &again), C4_ERR_PROTOCOL);
    static const int bad[] = {0, 1, -1, -999, -108 * 1000};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fault.status = (c4_status)bad[i];
        bytes = c4_control_fault_pack(&fault, packed);
        C4TEST_INT(c4_control_fault_unpack(packed, bytes, &again), C4_ERR_PROTOCOL);
    }
}

/* ---- the overlay of the control threads ---- */

static void test_overlay_agree(void)
{
    static const unsigned char dead[] = {0x21, 0x02};
    unsigned char packed[C4_CONTROL_MESSAGE_MAX_BYTES + 16];
    c4_overlay_agree agree = {.envelope = {.target = 3, .number = 8, .ttl = 20},
                              .step = C4_AGREE_PROPOSE,
                              .ballot = 2,
                              .accepted = UINT32_MAX,
                              .round = 1ull << 40,
                              .value = 5,
                              .minimum = 6,
                              .lowest = 1,
                              .blob_bytes = 3,
                              .blob = (const unsigned char *)"abc",
                              .nmembers = 10,
                              .dead = dead};
    c4_overlay_agree again;
    size_t bytes = c4_overlay_agree_pack(&agree, packed);
    C4TEST_INT(bytes, C4_OVERLAY_AGREE_BYTES + 3 + 2);
    C4TEST_OK(c4_overlay_agree_unpack(packed, bytes, 10, &again));
    CU_ASSERT(again.step == C4_AGREE_PROPOSE && again.ballot == 2 && again.round == 1ull << 40 && again.value == 5 &&
              again.minimum == 6 && again.lowest == 1 && again.envelope.target == 3 && again.envelope.number == 8);
    CU_ASSERT(memcmp(again.blob, "abc", 3) == 0 && memcmp(again.dead, dead, 2) == 0);
    C4TEST_INT(c4_overlay_agree_unpack(packed, bytes - 1, 10, &again), C4_ERR_PROTOCOL);
    C4TEST_INT(c4_overlay_agree_unpack(packed, bytes, 9, &again), C4_ERR_PROTOCOL); /* more members than ranks */
    agree.lowest = 10;
    C4TEST_INT(c4_overlay_agree_unpack(packed, c4_overlay_agree_pack(&agree, packed), 10, &again), C4_ERR_PROTOCOL);
    agree = (c4_overlay_agree){.step = C4_AGREE_DECIDE, .accepted = UINT32_MAX}; /* decides nothing */
    C4TEST_INT(c4_overlay_agree_unpack(packed, c4_overlay_agree_pack(&agree, packed), 10, &again), C4_ERR_PROTOCOL);
}

static void test_overlay(void)
{
    unsigned char packed[C4_CONTROL_MESSAGE_MAX_BYTES];
    c4_overlay_leavers leavers = {.ttl = 4, .count = C4_OVERLAY_LEAVERS_MAX};
    c4_overlay_leavers left;
    for (uint32_t i = 0; i < leavers.count; i++)
        leavers.ranks[i] = i;
    size_t bytes = c4_overlay_leavers_pack(&leavers, packed);
    C4TEST_INT(bytes, C4_CONTROL_MESSAGE_MAX_BYTES);
    C4TEST_OK(c4_overlay_leavers_unpack(packed, bytes, leavers.count, &left));
    C4TEST_INT(left.ranks[left.count - 1], C4_OVERLAY_LEAVERS_MAX - 1);
    C4TEST_INT(c4_overlay_leavers_unpack(packed, bytes, leavers.count - 1, &left), C4_ERR_PROTOCOL);
    C4TEST_INT(c4_overlay_leavers_unpack(packed, 4, 8, &left), C4_ERR_PROTOCOL);
    C4TEST_INT(c4_overlay_leavers_unpack(packed, 9, 8, &left), C4_ERR_PROTOCOL);
    c4_overlay_rumor rumor = {.episode = 7, .phase = C4_RUMOR_SUSPECTED, .closed = true, .age_ms = 9};
    c4_overlay_rumor heard;
    c4_overlay_rumor_pack(&rumor, packed);
    C4TEST_OK(c4_overlay_rumor_unpack(packed, C4_OVERLAY_RUMOR_BYTES, &heard));
    CU_ASSERT(heard.episode == 7 && heard.phase == C4_RUMOR_SUSPECTED && heard.closed && heard.age_ms == 9);
    packed[4] = 4;
    C4TEST_INT(c4_overlay_rumor_unpack(packed, C4_OVERLAY_RUMOR_BYTES, &heard), C4_ERR_PROTOCOL);
    c4_overlay_card card = {.envelope = {.target = 2, .ttl = 9}, .about = 1, .answer = 4, .sequence = 11};
    c4_overlay_card seen;
    card.card[63] = 77;
    c4_overlay_card_pack(&card, packed);
    C4TEST_OK(c4_overlay_card_unpack(packed, C4_OVERLAY_CARD_BYTES, 3, &seen));
    CU_ASSERT(seen.about == 1 && seen.answer == 4 && seen.sequence == 11 && seen.card[63] == 77);
    C4TEST_INT(c4_overlay_card_unpack(packed, C4_OVERLAY_CARD_BYTES, 2, &seen), C4_ERR_PROTOCOL);
    c4_overlay_envelope all = {.target = UINT32_MAX, .number = 0}; /* to all, yet routed */
    c4_overlay_envelope_pack(&all, packed);
    C4TEST_INT(c4_overlay_envelope_unpack(packed, C4_OVERLAY_ENVELOPE_BYTES, 4, &all), C4_ERR_PROTOCOL);
}

/* ---- cards ---- */

static void test_rank_card(void)
{
    static c4_rank_card card, again;
    unsigned char packed[C4_RANK_CARD_BYTES];
    card = (c4_rank_card){.options_hash = 0x1122334455667788, .version = 9};
    card.transports[2].bytes = 3;
    memcpy(card.transports[2].address, "abc", 3);
    card.transports[5].bytes = C4_ADDRESS_MAX_BYTES;
    memset(card.transports[5].address, 'x', C4_ADDRESS_MAX_BYTES);
    C4TEST_OK(c4_rank_card_pack(&card, packed));
    C4TEST_OK(c4_rank_card_unpack(packed, &again));
    CU_ASSERT(memcmp((const void *)&card, (const void *)&again, sizeof card) == 0);
    packed[13] = 5; /* the same one twice */
    C4TEST_INT(c4_rank_card_unpack(packed, &again), C4_ERR_PROTOCOL);
    packed[13] = 8;
    C4TEST_INT(c4_rank_card_unpack(packed, &again), C4_ERR_PROTOCOL);
    packed[13] = 2;
    packed[12] = 3; /* a third one: of no bytes */
    C4TEST_INT(c4_rank_card_unpack(packed, &again), C4_ERR_PROTOCOL);
}

static void test_cost_card(void)
{
    c4_cost_card_link link = {1e-6, 1e-10, 0, 3, 64, 4096};
    c4_cost_card good = {.local = link, .remote = link, .step_s = 1e-9, .ranks_per_core = 1}, again;
    c4_cost_card bad[8];
    unsigned char packed[C4_COST_CARD_BYTES];
    c4_cost_card_pack(&good, packed);
    C4TEST_OK(c4_cost_card_unpack(packed, &again));
    CU_ASSERT(memcmp((const void *)&good, (const void *)&again, sizeof good) == 0);
    for (size_t i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].local.latency_s = -1;
    bad[1].remote.seconds_per_byte = NAN;
    bad[2].local.reduce_seconds_per_byte = INFINITY;
    bad[3].remote.max_frame_bytes = 0;
    bad[4].local.max_readers = 0;
    bad[5].local.max_readers = (uint64_t)1 << 32; /* 0 in 32 bits */
    bad[6].step_s = NAN;
    bad[7].ranks_per_core = 0;
    for (size_t i = 0; i < 8; i++) {
        c4_cost_card_pack(&bad[i], packed);
        C4TEST_INT(c4_cost_card_unpack(packed, &again), C4_ERR_PROTOCOL);
    }
}

int main(int argc, char **argv)
{
    static const c4test_case cases[] = {
        C4TEST(address_text),  C4TEST(address_bytes), C4TEST(unique_id), C4TEST(header), C4TEST(version_of_layouts),
        C4TEST(samples),       C4TEST(process),       C4TEST(welcome),   C4TEST(fault),  C4TEST(overlay),
        C4TEST(overlay_agree), C4TEST(rank_card),     C4TEST(cost_card), C4TEST_END};
    return c4test_main(argc, argv, cases);
}
