/* What ranks tell one another while a communicator is set up: unique id, rank card, cost card, addresses, options. Byte 0 chooses
 * the layout. What unpacks must be within the limits that its users rely on, and survive being packed and unpacked. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "wire/bytes.h"
#include "wire/call_card.h"
#include "wire/cost_card.h"
#include "wire/option_card.h"
#include "wire/rank_card.h"
#include "wire/unique_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Exactly `bytes`, of which the input fills the beginning. */
static void take(unsigned char *to, size_t bytes, const uint8_t *data, size_t size)
{
    memset(to, 0, bytes);
    if (size)
        memcpy(to, data, size < bytes ? size : bytes);
}

static void fuzz_net_address(const uint8_t *data, size_t size)
{
    unsigned char in[C4_NET_ADDRESS_BYTES], again[C4_NET_ADDRESS_BYTES];
    char text[C4_NET_ADDRESS_TEXT_BYTES];
    struct sockaddr_storage name;
    c4_net_address address, back;
    take(in, sizeof in, data, size);
    if (c4_net_address_unpack(in, &address) < 0)
        return;
    c4_net_address_pack(&address, again);
    require(memcmp(again, in, sizeof in) == 0);
    require(c4_net_address_parse(c4_net_address_format(&address, text), &back));
    require(memcmp((const void *)&address, (const void *)&back, sizeof back) == 0);
    require(c4_net_address_to_sockaddr(&address, &name) > 0);
    require(c4_net_address_from_sockaddr((struct sockaddr *)&name, &back));
    require(memcmp((const void *)&address, (const void *)&back, sizeof back) == 0);
}

static void fuzz_net_address_text(const uint8_t *data, size_t size)
{
    unsigned char packed[C4_NET_ADDRESS_BYTES];
    c4_net_address address, back;
    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (c4_net_address_parse(text, &address)) {
        c4_net_address_pack(&address, packed);
        require(c4_net_address_unpack(packed, &back) == C4_OK &&
                memcmp((const void *)&address, (const void *)&back, sizeof back) == 0);
    }
    free(text);
}

/* The checksum is made right, so that the rest is reached. */
static void fuzz_unique_id(const uint8_t *data, size_t size)
{
    c4_unique_id id, again;
    c4_unique_id_fields fields, back;
    take(id.bytes, sizeof id.bytes, data, size);
    uint64_t hash = c4_hash_bytes(C4_HASH_INIT, id.bytes, C4_UNIQUE_ID_BYTES - 4);
    c4_put_u32(id.bytes + C4_UNIQUE_ID_BYTES - 4, (uint32_t)(hash ^ hash >> 32));
    if (c4_unique_id_unpack(&id, &fields) < 0)
        return;
    require(fields.naddresses >= 1 && fields.naddresses <= C4_UNIQUE_ID_ADDRESSES);
    c4_unique_id_pack(&fields, &again);
    require(c4_unique_id_unpack(&again, &back) == C4_OK);
    require(memcmp((const void *)&fields, (const void *)&back, sizeof back) == 0);
    again.bytes[size % (C4_UNIQUE_ID_BYTES - 4)] ^= 1;
    require(c4_unique_id_unpack(&again, &back) == C4_ERR_ARGUMENT);
}

static void fuzz_rank_card(const uint8_t *data, size_t size)
{
    static c4_rank_card card, back;
    unsigned char in[C4_RANK_CARD_BYTES], again[C4_RANK_CARD_BYTES];
    take(in, sizeof in, data, size);
    if (c4_rank_card_unpack(in, &card) < 0)
        return;
    unsigned present = 0;
    for (unsigned i = 0; i < C4_RANK_CARD_TRANSPORTS; i++) {
        require(card.transports[i].bytes <= C4_ADDRESS_MAX_BYTES);
        present += card.transports[i].bytes != 0;
    }
    require(present == in[12]); /* none came twice */
    require(c4_rank_card_pack(&card, again) == C4_OK);
    require(c4_rank_card_unpack(again, &back) == C4_OK &&
            memcmp((const void *)&card, (const void *)&back, sizeof back) == 0);
}

static int is_time(double value)
{
    return isfinite(value) && value >= 0;
}

static void check_link(const c4_cost_card_link *link)
{
    require(is_time(link->latency_s) && is_time(link->seconds_per_byte) && is_time(link->reduce_seconds_per_byte));
    require(link->max_frame_bytes >= C4_COST_CARD_FRAME_MIN_BYTES && link->max_readers >= 1);
    require(link->max_readers <= UINT32_MAX);
}

static void fuzz_cost_card(const uint8_t *data, size_t size)
{
    enum { USED = 120 };
    unsigned char in[C4_COST_CARD_BYTES], again[C4_COST_CARD_BYTES];
    c4_cost_card card;
    take(in, sizeof in, data, size);
    if (c4_cost_card_unpack(in, &card) < 0)
        return;
    check_link(&card.local);
    check_link(&card.remote);
    require(is_time(card.step_s) && isfinite(card.ranks_per_core) && card.ranks_per_core > 0);
    c4_cost_card_pack(&card, again);
    require(memcmp(again, in, USED) == 0);
}

static void fuzz_call_card(const uint8_t *data, size_t size)
{
    unsigned char in[C4_CALL_CARD_BYTES], again[C4_CALL_CARD_BYTES], once[C4_CALL_CARD_BYTES];
    c4_call_question question;
    c4_call_answer answer;
    take(in, sizeof in, data, size);
    if (c4_call_question_unpack(in, &question) == C4_OK) {
        require(question.call.dtype < C4_NDTYPES && question.call.op <= C4_NOPS);
        c4_call_question_pack(&question, once);
        require(c4_call_question_unpack(once, &question) == C4_OK);
        c4_call_question_pack(&question, again);
        require(memcmp(once, again, sizeof once) == 0);
    }
    if (c4_call_answer_unpack(in, &answer) == C4_OK) {
        require(answer.call.dtype < C4_NDTYPES && answer.stuck.op <= C4_NOPS);
        c4_call_answer_pack(&answer, once);
        require(c4_call_answer_unpack(once, &answer) == C4_OK);
        c4_call_answer_pack(&answer, again);
        require(memcmp(once, again, sizeof once) == 0);
    }
}

/* Texts that can be printed and found again. */
static void fuzz_option_card(const uint8_t *data, size_t size)
{
    static c4_option_card card, back;
    unsigned char in[C4_OPTION_CARD_BYTES], again[C4_OPTION_CARD_BYTES];
    take(in, sizeof in, data, size);
    if (c4_option_card_unpack(in, &card) < 0)
        return;
    require(card.count <= C4_OPTION_CARD_ITEMS);
    for (unsigned i = 0; i < card.count; i++) {
        require(strlen(card.items[i].name) < sizeof card.items[i].name &&
                c4_option_card_find(&card, card.items[i].name));
        for (const char *c = card.items[i].value; *c; c++)
            require(*c >= ' ' && *c <= '~');
    }
    c4_option_card_pack(&card, again);
    require(c4_option_card_unpack(again, &back) == C4_OK && back.count == card.count);
    for (unsigned i = 0; i < card.count; i++)
        require(back.items[i].hash == card.items[i].hash && strcmp(back.items[i].value, card.items[i].value) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const layouts[])(const uint8_t *, size_t) = {fuzz_net_address, fuzz_net_address_text, fuzz_unique_id,
                                                               fuzz_rank_card,   fuzz_cost_card,        fuzz_call_card,
                                                               fuzz_option_card};
    c4_log_configure(C4_LOG_NONE, NULL);
    if (size)
        layouts[data[0] % (sizeof layouts / sizeof layouts[0])](data + 1, size - 1);
    return 0;
}
